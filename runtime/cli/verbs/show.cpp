#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/cli/event_json.hpp>
#include <eventcore/runtime/cli/verb.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace eventcore::cli {

namespace {

class show final : public verb {
  void declare(CLI::App& app) override {
    app.add_option("STREAM", stream_, "The stream, such as order-4711")->required()->check(is_stream_id());
    app.add_option("--from", from_, "Begin with this version")->type_name("VERSION")->check(is_number(1));
    app.add_option("-n,--limit", limit_, "Print at most this many events")
        ->type_name("N")
        ->check(is_number());
    app.footer(std::string{"Example:\n"
                           "  eventcore show order-4711 -j data --from 10 --limit 5\n"
                           "\n"} +
               event_lines_help);
  }

  result<exit_code> run(const std::filesystem::path& journal_dir, output& out) override {
    const auto stream = stream_id::parse(stream_);
    if (!stream)
      return stream.error();
    const auto opened = open_lmdb_journal_reader(journal_dir);
    if (!opened)
      return opened.error();
    auto& journal = **opened;
    const auto head = journal.head_of(*stream);
    // Of a stream whose last record is damaged the end is not known, but what stands before it can be shown.
    if (!head && head.error().code() != journal_errc::corrupt)
      return head.error();
    if (head && head->version == 0) {
      complain("stream " + stream_ + " has no events in " + journal_dir.string());
      return exit_code::found_wrong;
    }

    auto last = head ? head->version : ~stream_version{0};
    if (limit_)
      last = *limit_ == 0 ? 0 : std::min(last, from_ + std::min(*limit_ - 1, ~stream_version{0} - from_));
    event_printer printer{journal, out};
    event_page page;
    stream_cursor where{*stream, from_};
    // A damaged record spoils the search for a version; then the stream is walked from its first one.
    bool searching = from_ > 1;
    while (where.next <= last && out.open()) {
      const auto read = journal.read_stream(where, page);
      for (const auto& e : page)
        if (e.version >= from_ && e.version <= last)
          printer.print(e);
      if (read) {
        if (page.empty())
          break;
        searching = false;
      } else if (std::exchange(searching, false)) {
        where = stream_cursor{*stream};
      } else if (read.error().code() != journal_errc::corrupt || where.damaged_at == 0) {
        return read.error();
      } else {
        if (where.next >= from_)
          printer.print_damaged({{"stream", stream_}, {"version", where.next}}, read.error());
        where = {*stream, where.next + 1, where.damaged_at};
      }
    }
    return printer.all_sound() ? exit_code::done : exit_code::found_wrong;
  }

  std::string stream_;
  stream_version from_ = 1;
  std::optional<std::uint64_t> limit_;
};

const registered_verb<show> registration{"show", "Prints the events of a stream"};

} // namespace

} // namespace eventcore::cli
