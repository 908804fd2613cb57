#include <support/journal_helpers.hpp>

#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/persistence/verify.hpp>

#include <algorithm>
#include <functional>

using namespace eventcore;
using namespace eventcore::test;

namespace {

/// A journal in memory whose answers a test can falsify.
class falsified_reader final : public journal_reader {
public:
  std::function<void(log_position& next, event_page& page)> after_read_log;
  std::function<void(stream_cursor& where, event_page& page)> after_read_stream;
  std::function<void(std::vector<stream_head>& streams)> after_list_streams;
  std::function<void(std::vector<event_type_info>& types)> after_event_types;
  /// Asked before a read.
  std::function<std::optional<error>(log_position next)> fail_read_log;
  std::function<std::optional<error>(stream_cursor& where)> fail_read_stream;
  std::function<std::optional<error>()> fail_list_streams;
  std::function<std::optional<error>()> fail_read_timers;

  /// `order-1` and `order-2` with three events each, in turn: positions 1 to 6.
  falsified_reader() {
    for (int round = 0; round < 3; ++round)
      for (const auto* stream : {"order-1", "order-2"})
        add(stream);
  }

  void add(std::string_view stream) {
    must(inner_->commit_and_wait(append(stream, expected_version::any(), {happened(1)})));
  }

  const journal_info& info() const noexcept override { return inner_->info(); }
  result<log_position> head() override { return inner_->head(); }
  result<stream_head> head_of(const stream_id& stream) override { return inner_->head_of(stream); }
  result<void> read_stream(stream_cursor& where, event_page& page, read_limits limits) override {
    page.clear();
    if (fail_read_stream) {
      if (const auto why = fail_read_stream(where))
        return *why;
      limits.events = 1;
    }
    auto read = inner_->read_stream(where, page, limits);
    if (after_read_stream)
      after_read_stream(where, page);
    return read;
  }
  result<void> read_log(log_position& next, event_page& page, const log_filter& filter,
                        read_limits limits) override {
    page.clear();
    if (fail_read_log) {
      if (const auto why = fail_read_log(next))
        return *why;
      limits.events = 1;
    }
    auto read = inner_->read_log(next, page, filter, limits);
    if (after_read_log)
      after_read_log(next, page);
    return read;
  }
  result<std::vector<stream_head>> list_streams(std::string& token, std::size_t limit) override {
    if (fail_list_streams)
      if (const auto why = fail_list_streams())
        return *why;
    auto streams = inner_->list_streams(token, limit);
    if (after_list_streams && !streams->empty())
      after_list_streams(*streams);
    return streams;
  }
  result<std::vector<event_type_info>> event_types() override {
    auto types = inner_->event_types();
    if (after_event_types)
      after_event_types(*types);
    return types;
  }
  result<std::optional<snapshot>> load_snapshot(const stream_id& stream, const std::string& type,
                                                stream_version up_to) override {
    return inner_->load_snapshot(stream, type, up_to);
  }
  result<log_position> load_cursor(const std::string& name) override { return inner_->load_cursor(name); }
  result<std::vector<durable_timer>> read_timers(const durable_timer& after, timestamp until,
                                                 std::size_t limit) override {
    if (fail_read_timers)
      if (const auto why = fail_read_timers())
        return *why;
    return inner_->read_timers(after, until, limit);
  }

private:
  std::unique_ptr<journal> inner_ = open_memory_journal();
};

/// Fails unless the report holds `count` problems, one of which contains `part`.
void check_problems(const verify_report& report, std::uint64_t count, std::string_view part) {
  std::string all;
  for (const auto& problem : report.problems)
    all += problem + "\n";
  BOOST_TEST(report.problem_count == count, all);
  check_contains(all, part);
  BOOST_TEST(!report.ok());
}

/// `page` without its event at `position`.
void hide(event_page& page, log_position position) {
  const std::vector<recorded_event> events{page.begin(), page.end()};
  page.clear();
  for (const auto& e : events)
    if (e.position != position)
      page.emplace_back() = e;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_sound_journal_has_no_problems) {
  falsified_reader journal;
  journal.add("user-1");
  const auto report = verify_journal(journal);
  BOOST_TEST(report.ok());
  BOOST_TEST(report.problems.empty());
  BOOST_TEST(report.head == 7u);
  BOOST_TEST(report.events == 7u);
  BOOST_TEST(report.streams == 3u);
  BOOST_TEST(report.types == 1u);
}

BOOST_AUTO_TEST_CASE(an_empty_journal_has_no_problems) {
  const auto journal = open_memory_journal();
  const auto report = verify_journal(*journal);
  BOOST_TEST(report.ok());
  BOOST_TEST(report.head == 0u);
}

BOOST_AUTO_TEST_CASE(what_is_committed_meanwhile_is_left_out) {
  falsified_reader journal;
  journal.after_read_log = [&](auto&, auto&) { journal.add("order-2"); };
  journal.after_list_streams = [&](auto&) { journal.add("order-1"); };
  journal.after_read_stream = [&](auto&, auto&) { journal.add("order-3"); };
  const auto report = verify_journal(journal);
  BOOST_TEST(report.ok());
  BOOST_TEST(report.head == 6u);
  BOOST_TEST(report.events == 6u);
  BOOST_TEST(report.streams == 2u);
}

BOOST_AUTO_TEST_CASE(progress_grows_to_the_end_of_both_passes) {
  falsified_reader journal;
  std::vector<std::pair<verify_pass, std::uint64_t>> steps;
  const auto report = verify_journal(journal, {.on_progress = [&](verify_pass pass, auto done, auto total) {
                                       BOOST_TEST(total == 6u);
                                       steps.emplace_back(pass, done);
                                     }});
  BOOST_TEST(report.ok());
  BOOST_TEST(std::ranges::is_sorted(steps));
  BOOST_TEST((std::ranges::count(steps, std::pair{verify_pass::log, std::uint64_t{6}}) > 0));
  BOOST_TEST((steps.back() == std::pair{verify_pass::streams, std::uint64_t{6}}));
}

BOOST_AUTO_TEST_CASE(a_position_without_an_event_is_reported) {
  falsified_reader journal;
  journal.after_read_log = [](auto&, event_page& page) { hide(page, 3); };
  const auto report = verify_journal(journal);
  // Once in the log, and once where order-1's version 2 leads there.
  check_problems(report, 2, "position 3 is missing");
  check_problems(report, 2, "stream order-1, version 2");
  BOOST_TEST(report.events == 5u);
}

BOOST_AUTO_TEST_CASE(a_log_that_ends_before_its_head_is_reported) {
  falsified_reader journal;
  journal.after_read_log = [](log_position& next, event_page& page) {
    hide(page, 5);
    hide(page, 6);
    next = std::min<log_position>(next, 5);
  };
  const auto report = verify_journal(journal, {.max_problems = 1});
  BOOST_TEST(report.problem_count == 4u);
  BOOST_TEST_REQUIRE(report.problems.size() == 1u);
  check_contains(report.problems.front(), "positions 5 to 6 are missing");
}

BOOST_AUTO_TEST_CASE(a_damaged_record_does_not_hide_what_stands_behind_it) {
  falsified_reader journal;
  journal.fail_read_log = [](log_position next) {
    return next == 3 ? std::optional{make_error(journal_errc::corrupt, "position 3 is damaged")}
                     : std::nullopt;
  };
  journal.fail_read_stream = [](stream_cursor& where) -> std::optional<error> {
    if (where.stream.str() != "order-1" || where.next != 2)
      return std::nullopt;
    where.damaged_at = 3;
    return make_error(journal_errc::corrupt, "position 3 is damaged");
  };
  const auto report = verify_journal(journal);
  BOOST_TEST(report.events == 5u);
  BOOST_TEST(report.streams == 2u);
  check_problems(report, 2, "stream order-1, version 2: position 3 is damaged");
}

BOOST_AUTO_TEST_CASE(a_read_that_fails_otherwise_ends_the_check) {
  falsified_reader journal;
  journal.fail_read_log = [](log_position next) {
    return next == 3 ? std::optional{make_error(journal_errc::io_error, "the disk is gone")} : std::nullopt;
  };
  journal.fail_list_streams = [] {
    return std::optional{make_error(journal_errc::io_error, "the disk is gone")};
  };
  check_problems(verify_journal(journal), 2, "the disk is gone; the rest was not checked");
}

BOOST_AUTO_TEST_CASE(a_damaged_timer_is_reported) {
  falsified_reader journal;
  journal.fail_read_timers = [] {
    return std::optional{make_error(journal_errc::corrupt, "timer 'a/1' is damaged")};
  };
  check_problems(verify_journal(journal), 1, "timer 'a/1' is damaged");
}

BOOST_AUTO_TEST_CASE(an_event_of_an_unknown_type_is_reported) {
  falsified_reader journal;
  journal.after_event_types = [](auto& types) { types.clear(); };
  check_problems(verify_journal(journal), 6, "position 4, type eventcore.test.Happened");
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_not_listed_is_reported) {
  falsified_reader journal;
  journal.after_list_streams = [](auto& streams) {
    std::erase_if(streams, [](auto& s) { return s.stream == "order-2"; });
  };
  check_problems(verify_journal(journal), 3, "position 4, stream order-2, version 2: the event is not found");
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_listed_twice_is_reported) {
  falsified_reader journal;
  journal.after_list_streams = [](auto& streams) { streams.push_back(streams.front()); };
  check_problems(verify_journal(journal), 3, "or was reached before");
}

BOOST_AUTO_TEST_CASE(a_stream_that_ends_before_its_head_is_reported) {
  falsified_reader journal;
  journal.after_list_streams = [](auto& streams) {
    for (auto& s : streams)
      if (s.stream == "order-1")
        s = {s.stream, 4, 6};
  };
  check_problems(verify_journal(journal), 1, "stream order-1, version 4: not found");
}

BOOST_AUTO_TEST_CASE(a_head_that_cannot_be_is_reported) {
  for (const auto& [version, position] : std::vector<std::pair<stream_version, log_position>>{
           {0, 5}, {6, 5}, {3, 7}, {~stream_version{0}, ~log_position{0}}}) {
    falsified_reader journal;
    journal.after_list_streams = [&](auto& streams) {
      for (auto& s : streams)
        if (s.stream == "order-1")
          s = {s.stream, version, position};
    };
    check_problems(verify_journal(journal), 1, "the stream cannot end here");
  }
}

BOOST_AUTO_TEST_CASE(a_head_at_another_position_is_reported) {
  falsified_reader journal;
  journal.after_list_streams = [](auto& streams) {
    for (auto& s : streams)
      if (s.stream == "order-1")
        s.position = 6;
  };
  check_problems(verify_journal(journal), 1, "but the stream's end to position 6");
}

BOOST_AUTO_TEST_CASE(an_index_that_leads_to_another_stream_is_reported) {
  falsified_reader journal;
  journal.after_read_stream = [](stream_cursor& where, event_page& page) {
    if (where.stream.str() != "order-1" || page.empty())
      return;
    const std::vector<recorded_event> events{page.begin(), page.end()};
    page.clear();
    for (const auto& e : events) {
      page.emplace_back() = e;
      if (e.version == 2) {
        page.pop_back();
        auto& wrong = page.emplace_back();
        wrong.stream = "order-2";
        wrong.position = 4;
      }
    }
  };
  const auto report = verify_journal(journal);
  check_problems(report, 3,
                 "stream order-1, version 2: the index leads to position 4, which holds stream order-2");
  check_problems(report, 3, "position 3, stream order-1, version 2: the event is not found");
}

BOOST_AUTO_TEST_CASE(an_entry_that_is_no_stream_id_is_reported) {
  falsified_reader journal;
  journal.after_list_streams = [](auto& streams) { streams.push_back({"no*id", 1, 1}); };
  check_problems(verify_journal(journal), 1, "no*id");
}
