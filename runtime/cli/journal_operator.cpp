#include <eventcore/runtime/cli/journal_operator.hpp>

#include <eventcore/persistence/lmdb_journal.hpp>

#include <nlohmann/json.hpp>

#include <thread>

namespace eventcore::cli {

namespace {

using namespace std::chrono_literals;
using internal::control_client;
using internal::control_errc;

constexpr auto patience = 5s;
constexpr auto pause = 20ms;
/// Others may be asking, too.
constexpr auto answer_limit = 3 * internal::control_handler_limit;

} // namespace

result<journal_operator> journal_operator::open(const std::filesystem::path& journal_dir) {
  journal_operator opened;
  opened.journal_dir_ = journal_dir;
  for (const auto deadline = std::chrono::steady_clock::now() + patience;;
       std::this_thread::sleep_for(pause)) {
    auto node = control_client::connect(journal_dir, patience);
    if (node) {
      opened.node_ = std::make_unique<control_client>(*std::move(node));
      return opened;
    }
    if (node.error().code() != control_errc::nobody_listens)
      return node.error();
    lmdb_options options;
    options.create = false;
    auto journal = eventcore::open_lmdb_journal(journal_dir, options);
    if (journal) {
      opened.writer_ = *std::move(journal);
      return opened;
    }
    // A node that is just starting or ending, or another tool, has it for a short time.
    if (journal.error().code() != journal_errc::locked)
      return journal.error();
    if (std::chrono::steady_clock::now() >= deadline)
      return make_error(journal_errc::locked, journal.error().message() +
                                                  ", and that process does not listen on " +
                                                  (journal_dir / internal::control_socket).string() +
                                                  ": ask again when it does, or end it first");
  }
}

result<journal_reader*> journal_operator::journal() {
  if (writer_)
    return writer_.get();
  if (!reader_) {
    auto reader = open_lmdb_journal_reader(journal_dir_);
    if (!reader)
      return reader.error();
    reader_ = *std::move(reader);
  }
  return reader_.get();
}

result<nlohmann::json> journal_operator::ask(const nlohmann::json& request) {
  return node_->ask(request, answer_limit);
}

} // namespace eventcore::cli
