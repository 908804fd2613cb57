#include "support/subscription_world.hpp"

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

using list = std::vector<std::int64_t>;

} // namespace

BOOST_FIXTURE_TEST_SUITE(subscription_test, subscription_world)

// -- spec 9, 10: following ----------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(it_catches_up_and_goes_on_live) {
  happen("a-1", {1, 2, 3});
  auto s = follow();
  BOOST_TEST((heard == list{1, 2, 3}));
  happen("b-1", {4});
  happen("a-1", {5, 6});
  BOOST_TEST((heard == list{1, 2, 3, 4, 5, 6}));
  auto now = stats(s);
  BOOST_TEST(now.name == "sub");
  BOOST_TEST((now.state == subscription_state::live));
  BOOST_TEST(now.position == 6u);
  BOOST_TEST(now.head == 6u);
  BOOST_TEST(now.lag() == 0u);
  BOOST_TEST(now.handled == 6u);
}

BOOST_AUTO_TEST_CASE(it_starts_where_it_is_told) {
  happen("a-1", {1, 2, 3});
  options.name = "from now";
  options.start = start_from::now();
  follow();
  options.name = "from position";
  options.start = start_from::position(3);
  follow();
  BOOST_TEST((heard == list{3}));
  happen("a-1", {4});
  BOOST_TEST((heard == list{3, 4, 4}));
}

BOOST_AUTO_TEST_CASE(one_that_starts_now_remembers_when_that_was) {
  happen("a-1", {1});
  options.start = start_from::now();
  auto s = follow();
  kill(s);
  happen("a-1", {2});
  follow();
  BOOST_TEST((heard == list{2}));
}

BOOST_AUTO_TEST_CASE(the_filter_admits_categories_and_types) {
  options.filter.categories = {"a"};
  auto s = follow();
  happen("a-1", {1});
  happen("b-1", {2});
  append("a-1", expected_version::any(), {other()});
  happen("a-2", {3});
  settle();
  BOOST_TEST((heard == list{1, 3}));
  auto now = stats(s);
  BOOST_TEST(now.handled == 2u);
  BOOST_TEST(now.passed_over == 1u); // admitted, and not declared
  BOOST_TEST(now.position == 4u);
}

BOOST_AUTO_TEST_CASE(a_handler_hears_where_an_event_stands) {
  std::vector<std::string> contexts;
  on_event = [&](const Happened&, const event_context& x) {
    contexts.push_back(std::string{x.stream} + ' ' + std::to_string(x.version) + ' ' +
                       std::to_string(x.position) + ' ' + std::to_string(x.attempt));
    return result<void>{};
  };
  follow();
  happen("a-1", {1});
  happen("b-1", {2});
  happen("a-1", {3});
  BOOST_TEST((contexts == std::vector<std::string>{"a-1 1 1 1", "b-1 1 2 1", "a-1 2 3 1"}));
}

BOOST_AUTO_TEST_CASE(a_subscriber_without_types_takes_all_as_it_is_stored) {
  struct raw : subscriber<raw> {
    std::vector<std::string>* types;
    explicit raw(std::vector<std::string>* t)
        : types{t} {}
    void handle(const recorded_event& e) { types->push_back(e.type); }
  };
  std::vector<std::string> types;
  auto s = must(subscribe<raw>(options, [&] { return std::make_unique<raw>(&types); }));
  settle();
  happen("a-1", {1});
  append("a-1", expected_version::any(), {other()});
  settle();
  BOOST_TEST((types == std::vector<std::string>{"eventcore.test.Happened", "eventcore.test.Other"}));
  BOOST_TEST(stats(s).handled == 2u);
}

BOOST_AUTO_TEST_CASE(reached_waits_until_a_position_is_handled) {
  auto s = follow();
  auto answer = send(actor_of(s), caf::make_message(internal::await_position{2}));
  happen("a-1", {1});
  BOOST_TEST(!answer.arrived());
  happen("a-1", {2});
  BOOST_TEST(answer.arrived());
  BOOST_TEST(send(actor_of(s), caf::make_message(internal::await_position{1})).arrived() == false);
}

// -- spec 9, 11: the cursor ---------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_cursor_follows_now_and_then) {
  auto s = follow();
  happen("a-1", {1, 2, 3});
  BOOST_TEST(cursor() == 0u);
  pass(199ms);
  BOOST_TEST(cursor() == 0u);
  pass(1ms);
  BOOST_TEST(cursor() == 3u);
  BOOST_TEST(stats(s).cursor == 3u);
  const auto submitted = journal.submitted;
  pass(10s);
  BOOST_TEST(journal.submitted == submitted); // nothing to do, nothing written
}

BOOST_AUTO_TEST_CASE(the_cursor_follows_after_so_many_events) {
  options.cursor_every = 3;
  follow();
  happen("a-1", {1, 2});
  BOOST_TEST(cursor() == 0u);
  happen("a-1", {3, 4});
  BOOST_TEST(cursor() == 4u);
}

BOOST_AUTO_TEST_CASE(what_the_cursor_has_not_passed_comes_again_after_a_crash) {
  auto s = follow();
  happen("a-1", {1, 2});
  pass(1s);
  happen("a-1", {3, 4});
  kill(s);
  heard.clear();
  follow();
  BOOST_TEST((heard == list{3, 4}));
}

BOOST_AUTO_TEST_CASE(a_stop_in_order_leaves_nothing_to_repeat) {
  auto s = follow();
  happen("a-1", {1, 2});
  stop(s);
  BOOST_TEST(cursor() == 2u);
  heard.clear();
  happen("a-1", {3});
  follow();
  BOOST_TEST((heard == list{3}));
}

BOOST_AUTO_TEST_CASE(events_that_the_filter_keeps_out_move_the_cursor_as_well) {
  options.filter.categories = {"a"};
  follow();
  happen("b-1", list(50, 7));
  pass(1s);
  BOOST_TEST(cursor() == 50u);
}

BOOST_AUTO_TEST_CASE(without_a_cursor_each_start_begins_where_it_is_told) {
  options.keep_cursor = false;
  happen("a-1", {1, 2});
  auto s = follow();
  pass(1s);
  stop(s);
  BOOST_TEST(journal.submitted == 0u);
  options.start = start_from::position(2);
  follow();
  BOOST_TEST((heard == list{1, 2, 2}));
}

BOOST_AUTO_TEST_CASE(a_cursor_that_cannot_be_written_is_written_later) {
  auto s = follow();
  happen("a-1", {1});
  journal.fail_commit = [](auto&) {
    return std::optional{make_error(journal_errc::disk_full, "the disk is full")};
  };
  pass(1s);
  happen("a-1", {2});
  BOOST_TEST((stats(s).state == subscription_state::retrying));
  BOOST_TEST(stats(s).last_error == "the disk is full");
  journal.fail_commit = nullptr;
  pass(30s);
  BOOST_TEST((heard == list{1, 2}));
  BOOST_TEST(cursor() == 2u);
  BOOST_TEST((stats(s).state == subscription_state::live));
  BOOST_TEST(stats(s).last_error == "");
}

BOOST_AUTO_TEST_CASE(a_cursor_without_credit_waits_and_nothing_else_does) {
  auto s = follow();
  journal.fail_reserve = [] { return std::optional{make_error(journal_errc::overloaded, "too much waits")}; };
  happen("a-1", {1});
  pass(1s);
  happen("a-1", {2});
  BOOST_TEST((heard == list{1, 2}));
  BOOST_TEST((stats(s).state == subscription_state::live));
  BOOST_TEST(stats(s).last_error == "");
  BOOST_TEST(cursor() == 0u);
  journal.fail_reserve = nullptr;
  pass(200ms);
  BOOST_TEST(cursor() == 2u);
}

BOOST_AUTO_TEST_CASE(a_move_whose_outcome_is_not_known_is_found_out) {
  for (auto written : {true, false}) {
    const auto before = cursor();
    auto s = follow();
    journal.written_nevertheless = written;
    bool failed = false;
    journal.fail_commit = [&](auto&) {
      return std::exchange(failed, true)
                 ? std::nullopt
                 : std::optional{make_error(journal_errc::outcome_unknown, "who knows")};
    };
    happen("a-1", {1});
    pass(200ms);
    BOOST_TEST(failed);
    BOOST_TEST(cursor() == before + (written ? 1u : 0u));
    happen("a-1", {2});
    pass(30s);
    BOOST_TEST(cursor() == before + 2u);
    BOOST_TEST((stats(s).state == subscription_state::live));
    stop(s);
  }
}

BOOST_AUTO_TEST_CASE(a_log_that_cannot_be_read_is_tried_again) {
  happen("a-1", {1});
  journal.fail_read_log = [] { return std::optional{make_error(journal_errc::io_error, "no disk")}; };
  auto s = follow();
  BOOST_TEST((stats(s).state == subscription_state::retrying));
  BOOST_TEST(stats(s).last_error == "no disk");
  journal.fail_read_log = nullptr;
  pass(99ms);
  BOOST_TEST(heard.empty());
  pass(1ms);
  BOOST_TEST((heard == list{1}));
}

// -- what does not start ------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_name_runs_once) {
  auto s = follow();
  auto message = must_refuse(subscription_errc::name_in_use);
  check_contains(message, "sub");
  stop(s);
  follow();
}

BOOST_AUTO_TEST_CASE(invalid_options_are_refused) {
  for (auto name : {std::string{}, std::string{"a*"}, std::string(201, 'x'), std::string{"a\nb"}}) {
    options.name = name;
    must_refuse(subscription_errc::invalid_options);
  }
  options.name = "sub";
  options.workers = 0;
  must_refuse(subscription_errc::invalid_options);
  options.workers = 1;
  options.backoff = 0ms;
  must_refuse(subscription_errc::invalid_options);
}

BOOST_AUTO_TEST_CASE(a_cursor_behind_the_end_of_the_journal_is_refused) {
  happen("a-1", {1});
  stop(follow());
  set_cursor("subscription/sub", 7);
  auto message = must_refuse(subscription_errc::cursor_ahead);
  check_contains(message, "position 8");
  check_contains(message, "ends at 1");
  options.keep_cursor = false;
  options.start = start_from::position(3);
  must_refuse(subscription_errc::cursor_ahead);
}

BOOST_AUTO_TEST_CASE(a_cursor_of_another_history_is_refused) {
  happen("a-1", {1});
  stop(follow());
  set_cursor("subscription-history/sub", 12345);
  auto message = must_refuse(subscription_errc::other_history);
  check_contains(message, "backup");
}

BOOST_AUTO_TEST_CASE(a_cursor_that_somebody_else_moves_stops_it) {
  auto s = follow();
  happen("a-1", {1, 2, 3});
  set_cursor("subscription/sub", 1);
  pass(1s);
  BOOST_TEST((stats(s).state == subscription_state::stopped));
  check_contains(stats(s).last_error, "runs twice");
}

// -- spec 12: failures --------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_failing_handler_is_tried_again_with_back_off) {
  fail_at(2, 3);
  auto s = follow();
  happen("a-1", {1, 2, 3});
  BOOST_TEST((heard == list{1}));
  BOOST_TEST(tries == 1);
  BOOST_TEST((stats(s).state == subscription_state::retrying));
  pass(99ms);
  BOOST_TEST(tries == 1);
  pass(1ms);
  BOOST_TEST(tries == 2);
  pass(199ms);
  BOOST_TEST(tries == 2);
  pass(1ms);
  BOOST_TEST(tries == 3);
  pass(400ms);
  BOOST_TEST((heard == list{1, 2, 3}));
  BOOST_TEST(stats(s).retries == 3u);
  BOOST_TEST((stats(s).state == subscription_state::live));
  BOOST_TEST(stats(s).last_error == "");
}

BOOST_AUTO_TEST_CASE(then_it_stops_until_it_is_resumed) {
  fail_at(2, 4);
  auto s = follow();
  happen("a-1", {1, 2, 3});
  pass(10s);
  BOOST_TEST(tries == 4);
  BOOST_TEST((heard == list{1}));
  BOOST_TEST((stats(s).state == subscription_state::stopped));
  for (auto part : {"event 2", "stream a-1", "position 2", "eventcore.test.Happened", "no 2 today"})
    check_contains(stats(s).last_error, part);
  pass(1h);
  BOOST_TEST(tries == 4);
  caf::anon_send(actor_of(s), internal::resume_subscription{});
  settle();
  BOOST_TEST((heard == list{1, 2, 3}));
}

BOOST_AUTO_TEST_CASE(one_that_stopped_has_moved_its_cursor_to_there) {
  fail_at(3, 100);
  options.retries = 0;
  auto s = follow();
  happen("a-1", {1, 2, 3, 4});
  pass(1s);
  BOOST_TEST(cursor() == 2u);
  BOOST_TEST((stats(s).state == subscription_state::stopped));
  stop(s);
  BOOST_TEST(cursor() == 2u);
  tries = 100;
  follow();
  BOOST_TEST((heard == list{1, 2, 3, 4}));
}

BOOST_AUTO_TEST_CASE(or_it_skips_the_event) {
  options.on_failure = on_failure::skip;
  fail_at(2, 100);
  auto s = follow();
  happen("a-1", {1, 2, 3});
  pass(10s);
  BOOST_TEST((heard == list{1, 3}));
  BOOST_TEST(stats(s).skipped == 1u);
  BOOST_TEST(stats(s).position == 3u);
}

BOOST_AUTO_TEST_CASE(or_it_parks_the_event_with_its_cursor) {
  options.on_failure = on_failure::park;
  options.retries = 1;
  fail_at(2, 100);
  auto s = follow();
  happen("a-1", {1, 2, 3});
  pass(100ms);
  BOOST_TEST((heard == list{1, 3}));
  BOOST_TEST(stats(s).parked == 1u);
  BOOST_TEST(cursor() == 2u); // in the letter's own commit
  auto letters = must(list_dead_letters(journal, "sub"));
  BOOST_TEST_REQUIRE(letters.size() == 1u);
  BOOST_TEST(letters[0].position == 2u);
  BOOST_TEST(letters[0].stream == "a-1");
  BOOST_TEST(letters[0].version == 2u);
  BOOST_TEST(letters[0].type == "eventcore.test.Happened");
  BOOST_TEST(letters[0].attempts == 2u);
  check_contains(letters[0].why, "no 2 today");
  BOOST_TEST(events("deadletter-sub").at(0).metadata.causation_id == to_string(events("a-1")[1].id));
  BOOST_TEST((must(list_dead_letter_subscriptions(journal)) == std::vector<std::string>{"sub"}));
  happen("a-1", {4});
  BOOST_TEST(stats(s).passed_over == 0u); // its own letters are not for it
}

BOOST_AUTO_TEST_CASE(a_letter_that_cannot_be_written_is_not_lost) {
  options.on_failure = on_failure::park;
  options.retries = 0;
  fail_at(1, 100);
  auto s = follow();
  journal.fail_commit = [](auto& c) {
    return c.appends.empty() ? std::nullopt : std::optional{make_error(journal_errc::disk_full, "full")};
  };
  happen("a-1", {1, 2});
  pass(1s);
  BOOST_TEST(heard.empty());
  journal.fail_commit = nullptr;
  pass(30s);
  BOOST_TEST((heard == list{2}));
  BOOST_TEST(events("deadletter-sub").size() == 1u);
  BOOST_TEST(stats(s).position >= 2u);
}

BOOST_AUTO_TEST_CASE(a_handler_may_fail_by_an_exception_of_any_kind) {
  options.retries = 0;
  options.on_failure = on_failure::skip;
  on_event = [&](const Happened& e, const event_context&) -> result<void> {
    if (e.number() == 1)
      throw std::runtime_error{"an exception"};
    if (e.number() == 2)
      throw 2;
    heard.push_back(e.number());
    return {};
  };
  auto s = follow();
  happen("a-1", {1, 2, 3});
  BOOST_TEST((heard == list{3}));
  BOOST_TEST(stats(s).skipped == 2u);
}

/// spec 10
BOOST_AUTO_TEST_CASE(a_payload_that_does_not_decode_stops_it_with_a_clear_error) {
  auto s = follow();
  happen("a-1", {1});
  append("a-1", expected_version::any(), {{Happened::descriptor(), "\xff\xff garbage", 1}});
  happen("a-1", {2});
  settle();
  BOOST_TEST((heard == list{1}));
  BOOST_TEST((stats(s).state == subscription_state::stopped));
  for (auto part : {"event 2", "stream a-1", "position 2", "eventcore.test.Happened", "does not parse"})
    check_contains(stats(s).last_error, part);
  BOOST_TEST(stats(s).retries == 0u);
}

BOOST_AUTO_TEST_CASE(a_newer_schema_version_stops_it_as_well) {
  auto s = follow();
  auto event = happened(1);
  event.schema_version = 2;
  append("a-1", expected_version::any(), {event});
  settle();
  BOOST_TEST((stats(s).state == subscription_state::stopped));
  check_contains(stats(s).last_error, "schema version 2");
}

BOOST_AUTO_TEST_CASE(one_that_fails_keeps_no_other_waiting) {
  fail_at(1, 1000);
  follow();
  options.name = "other";
  list others;
  auto s = must(subscribe<listener>(options, [&] {
    return std::make_unique<listener>([&](const Happened& e, const event_context&) {
      others.push_back(e.number());
      return result<void>{};
    });
  }));
  happen("a-1", {1, 2, 3});
  BOOST_TEST(heard.empty());
  BOOST_TEST((others == list{1, 2, 3}));
}

// -- spec 13: flow ------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_slow_one_has_two_chunks_in_hand_at_most) {
  options.chunk = {.events = 10};
  fail_at(1, 1000);
  options.retries = 1000;
  std::size_t reads = 0;
  happen("a-1", list(1'000, 1));
  journal.fail_read_log = [&] {
    ++reads;
    return std::nullopt;
  };
  follow();
  pass(1min);
  BOOST_TEST(reads == 2u);
}

BOOST_AUTO_TEST_CASE(an_event_larger_than_a_chunk_is_handled) {
  options.chunk = {.events = 1, .bytes = 10};
  follow();
  append("a-1", expected_version::any(), {happened(1, std::string(100'000, 'x')), happened(2)});
  settle();
  BOOST_TEST((heard == list{1, 2}));
}

// -- spec 14: workers ---------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(workers_share_the_streams_and_keep_their_order) {
  options.workers = 4;
  std::map<std::string, list> by_stream;
  on_event = [&](const Happened& e, const event_context& x) {
    by_stream[std::string{x.stream}].push_back(e.number());
    return result<void>{};
  };
  auto s = follow();
  for (int i = 0; i < 200; ++i)
    happen("s-" + std::to_string(i % 20), {i});
  BOOST_TEST(made == 4u);
  BOOST_TEST(by_stream.size() == 20u);
  for (auto& [stream, found] : by_stream)
    BOOST_TEST(std::ranges::is_sorted(found));
  BOOST_TEST(stats(s).position == 200u);
  pass(1s);
  BOOST_TEST(cursor() == 200u);
}

BOOST_AUTO_TEST_CASE(the_cursor_stays_before_the_lowest_unfinished_event) {
  options.workers = 4;
  fail_at(3, 1000);
  options.retries = 1000;
  auto s = follow();
  for (int i = 1; i <= 40; ++i)
    happen("s-" + std::to_string(i), {i});
  pass(1s);
  BOOST_TEST(heard.size() > 20u); // the others went on
  BOOST_TEST(cursor() == 2u);
  BOOST_TEST(stats(s).position == 2u);
}

/// Breaks at every seventh event it gets.
struct brittle_handler : event_handler {
  list& heard;
  int& count;

  brittle_handler(list& h, int& c)
      : heard{h}
      , count{c} {}
  handled handle(std::span<const recorded_event* const> events, handler_run& run) override {
    handled result;
    for (; result.done < events.size() && run.go_on(result.done); ++result.done) {
      if (++count % 7 == 0)
        throw std::runtime_error{"broken"};
      heard.push_back(number_of(*events[result.done]));
    }
    return result;
  }
};

BOOST_AUTO_TEST_CASE(a_worker_that_dies_is_replaced_and_nothing_is_lost) {
  options.workers = 3;
  int count = 0;
  std::size_t handlers = 0;
  auto s = must(world::subscribe({[&] {
                                    ++handlers;
                                    return std::make_unique<brittle_handler>(heard, count);
                                  },
                                  false,
                                  {}},
                                 options));
  for (int i = 0; i < 60; ++i)
    happen("s-" + std::to_string(i % 12), {i});
  pass(10s);
  BOOST_TEST(heard.size() == 60u); // what was finished before it broke is not repeated
  std::ranges::sort(heard);
  for (int i = 0; i < 60; ++i)
    BOOST_TEST(heard[static_cast<std::size_t>(i)] == i);
  BOOST_TEST(stats(s).restarts > 5u);
  BOOST_TEST(handlers == 3 + stats(s).restarts);
  BOOST_TEST(stats(s).position == 60u);
}

BOOST_AUTO_TEST_CASE(an_event_that_breaks_every_handler_is_given_up) {
  options.on_failure = on_failure::park;
  struct breaker_of_2 : event_handler {
    list& heard;
    explicit breaker_of_2(list& h)
        : heard{h} {}
    handled handle(std::span<const recorded_event* const> events, handler_run&) override {
      if (number_of(*events[0]) == 2)
        throw std::runtime_error{"broken by 2"};
      heard.push_back(number_of(*events[0]));
      return {.done = 1};
    }
  };
  auto s =
      must(world::subscribe({[&] { return std::make_unique<breaker_of_2>(heard); }, false, {}}, options));
  happen("a-1", {1, 2, 3});
  pass(10s);
  BOOST_TEST((heard == list{1, 3}));
  BOOST_TEST(stats(s).parked == 1u);
  BOOST_TEST(stats(s).restarts == 4u);
}

BOOST_AUTO_TEST_CASE(a_subscriber_that_cannot_be_made_is_tried_again) {
  make_fails = 3;
  auto s = follow();
  happen("a-1", {1});
  BOOST_TEST((stats(s).state == subscription_state::retrying));
  check_contains(stats(s).last_error, "no subscriber today");
  pass(10s);
  BOOST_TEST((heard == list{1}));
  BOOST_TEST(stats(s).restarts == 3u);
}

BOOST_AUTO_TEST_SUITE_END()
