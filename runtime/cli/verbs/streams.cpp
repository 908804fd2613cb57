#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/cli/event_json.hpp>
#include <eventcore/runtime/cli/verb.hpp>

#include <algorithm>
#include <optional>

namespace eventcore::cli {

namespace {

class streams final : public verb {
  void declare(CLI::App& app) override {
    app.add_option("-c,--category", categories_, "List only streams of this category (may be repeated)")
        ->type_name("CATEGORY")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->check(is_category());
    app.add_option("-n,--limit", limit_, "List at most this many")->type_name("N")->check(is_number());
    app.footer("Example:\n"
               "  eventcore streams -j build/permits --category case --limit 10\n"
               "\n"
               "Each stream is one line of JSON: stream, version (the number of its events), and position\n"
               "(of its last event in the log). The order is the journal's own.");
  }

  result<exit_code> run(const std::filesystem::path& journal_dir, output& out) override {
    const auto journal = open_lmdb_journal_reader(journal_dir);
    if (!journal)
      return journal.error();
    auto left = limit_.value_or(~std::uint64_t{0});
    std::vector<std::string> without = categories_; // a stream, so far
    std::string token;
    while (left != 0 && out.open()) {
      const auto page = (*journal)->list_streams(token);
      if (!page)
        return page.error();
      if (page->empty())
        break;
      for (const auto& s : *page) {
        if (left == 0)
          break;
        if (!admits(s.stream))
          continue;
        --left;
        std::erase(without, s.stream.substr(0, s.stream.find('-')));
        out.line(to_line({{"stream", s.stream}, {"version", s.version}, {"position", s.position}}));
      }
    }
    if (without.empty() || left == 0 || !out.open())
      return exit_code::done;
    for (const auto& category : without)
      complain("the journal in " + journal_dir.string() + " has no stream of category " + category);
    return exit_code::found_wrong;
  }

  bool admits(std::string_view stream) const {
    const auto category = stream.substr(0, stream.find('-'));
    return categories_.empty() || std::ranges::find(categories_, category) != categories_.end();
  }

  std::vector<std::string> categories_;
  std::optional<std::uint64_t> limit_;
};

const registered_verb<streams> registration{"streams", "Lists the streams, each with its version"};

} // namespace

} // namespace eventcore::cli
