#include <eventcore/persistence/event_decoder.hpp>
#include <eventcore/persistence/verify.hpp>

#include <algorithm>
#include <utility>

namespace eventcore {

namespace {

std::string text(std::uint64_t n) {
  return std::to_string(n);
}

class verifier {
public:
  verifier(journal_reader& journal, const verify_options& options)
      : journal_{journal}
      , options_{options}
      , decoder_{journal} {}

  verify_report run() {
    if (!start())
      return std::move(report_);
    check_log();
    if (check_streams())
      report_unreached();
    check_timers();
    return std::move(report_);
  }

private:
  bool start() {
    const auto head = journal_.head();
    if (!head)
      return give_up(head.error());
    const auto types = journal_.event_types();
    if (!types)
      return give_up(types.error());
    const std::string* last = nullptr;
    for (const auto& type : *types)
      if (last == nullptr || *last != type.name) {
        last = &type.name;
        ++report_.types;
      }
    report_.head = *head;
    unreached_.assign(*head + 1, false);
    return true;
  }

  void check_log() {
    auto next = log_position{1};
    while (next <= report_.head) {
      auto expected = next;
      const auto read = journal_.read_log(next, page_);
      for (const auto& e : page_) {
        if (e.position > report_.head)
          break;
        missing(expected, e.position);
        expected = e.position + 1;
        ++report_.events;
        unreached_[e.position] = true;
        if (const auto decoded = decoder_.decode(e); !decoded)
          problem(decoded.error().message());
      }
      missing(expected, std::min(next, report_.head + 1));
      if (!read) {
        if (read.error().code() != journal_errc::corrupt) {
          give_up(read.error());
          return;
        }
        problem(read.error().message());
        ++next;
      } else if (next == expected && page_.empty()) {
        missing(next, report_.head + 1);
        return;
      }
      progress(verify_pass::log, std::min(next - 1, report_.head));
    }
  }

  /// Reports the positions from `first` to before `end`, if any.
  void missing(log_position first, log_position end) {
    if (first + 1 == end)
      problem("position " + text(first) + " is missing in the log");
    else if (first < end)
      problem("positions " + text(first) + " to " + text(end - 1) + " are missing in the log", end - first);
  }

  /// Whether all streams could be walked.
  bool check_streams() {
    bool all = true;
    for (std::string token;;) {
      const auto streams = journal_.list_streams(token);
      if (!streams)
        return give_up(streams.error());
      const auto head = journal_.head();
      if (!head)
        return give_up(head.error());
      if (streams->empty())
        break;
      for (const auto& s : *streams)
        all &= check_stream(s, *head);
    }
    progress(verify_pass::streams, report_.head);
    return all;
  }

  /// Whether the stream could be walked. `journal_head` is not before the stream's head.
  bool check_stream(const stream_head& stream, log_position journal_head) {
    const auto id = stream_id::parse(stream.stream);
    if (!id) {
      problem("the list of streams holds an entry that is none: " + id.error().message());
      return false;
    }
    const auto at = [&](stream_version v) { return "stream " + stream.stream + ", version " + text(v); };
    if (stream.version == 0 || stream.version > stream.position || stream.position > journal_head) {
      problem(at(stream.version) + ": the stream cannot end here at position " + text(stream.position) +
              ", where the journal's head is " + text(journal_head));
      return false;
    }
    bool counted = false;
    stream_cursor where{*id};
    while (where.next <= stream.version) {
      auto expected = where.next;
      const auto read = journal_.read_stream(where, page_);
      for (const auto& e : page_) {
        if (e.position > report_.head)
          return true;
        if (!std::exchange(counted, true))
          ++report_.streams;
        check_place(e, stream, expected++);
      }
      if (!read) {
        problem(at(expected) + ": " + read.error().message());
        if (read.error().code() != journal_errc::corrupt || where.damaged_at == 0)
          return false;
        where = {*id, expected + 1, where.damaged_at};
      } else if (page_.empty()) {
        problem(at(expected) + ": not found, but the stream's end is version " + text(stream.version));
        return true;
      }
      progress(verify_pass::streams, reached_);
    }
    return true;
  }

  /// `e` was found as version `expected` of `stream`.
  void check_place(const recorded_event& e, const stream_head& stream, stream_version expected) {
    const auto found = "stream " + stream.stream + ", version " + text(expected) +
                       ": the index leads to position " + text(e.position);
    if (e.stream != stream.stream || e.version != expected)
      problem(found + ", which holds stream " + e.stream + ", version " + text(e.version));
    else if (!unreached_[e.position])
      problem(found + ", which was not sound in the log, or was reached before");
    else if (e.version == stream.version && e.position != stream.position)
      problem(found + ", but the stream's end to position " + text(stream.position));
    if (unreached_[e.position]) {
      unreached_[e.position] = false;
      ++reached_;
    }
  }

  /// Sound events that their streams do not lead to.
  void report_unreached() {
    for (log_position p = 1; p <= report_.head; ++p) {
      if (!unreached_[p])
        continue;
      auto name = "position " + text(p);
      if (report_.problems.size() < options_.max_problems) {
        auto next = p;
        if (journal_.read_log(next, page_, {}, {.events = 1}) && !page_.empty())
          name += ", stream " + page_.begin()->stream + ", version " + text(page_.begin()->version);
      }
      problem(name + ": the event is not found through its stream");
    }
  }

  void check_timers() {
    for (durable_timer last;;) {
      const auto timers = journal_.read_timers(last, timestamp::max());
      if (!timers) {
        give_up(timers.error());
        return;
      }
      if (timers->empty())
        return;
      last = timers->back();
    }
  }

  void problem(std::string what, std::uint64_t count = 1) {
    report_.problem_count += count;
    if (report_.problems.size() < options_.max_problems)
      report_.problems.push_back(std::move(what));
  }

  bool give_up(const error& e) {
    problem(e.message() + "; the rest was not checked");
    return false;
  }

  void progress(verify_pass pass, std::uint64_t done) {
    if (options_.on_progress)
      options_.on_progress(pass, done, report_.head);
  }

  journal_reader& journal_;
  const verify_options& options_;
  event_decoder decoder_;
  event_page page_;
  verify_report report_;
  /// By position: sound in the log, and no stream has led here yet.
  std::vector<bool> unreached_;
  std::uint64_t reached_ = 0;
};

} // namespace

verify_report verify_journal(journal_reader& journal, const verify_options& options) {
  return verifier{journal, options}.run();
}

} // namespace eventcore
