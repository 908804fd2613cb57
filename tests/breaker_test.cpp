#include "support/breaker_world.hpp"

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::literals;

namespace {

using enum breaker_state;
using clock_type = std::chrono::steady_clock;

/// Breakers of functions, and a clock that the test moves.
struct clocked {
  clock_type::time_point now{1h};
  int runs = 0;

  breaker make(breaker_options options) {
    options.name = "bank";
    options.jitter = 0;
    return breaker{std::move(options), [this] { return now; }};
  }
  result<int> good(const breaker& b) {
    return b.call([this]() -> result<int> { return ++runs; });
  }
  result<int> bad(const breaker& b, error e = outage()) {
    return b.call([&]() -> result<int> {
      ++runs;
      return std::move(e);
    });
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(every_error_has_a_text_of_its_own_and_travels_between_actors) {
  std::set<std::string> texts;
  const auto last = static_cast<int>(breaker_errc::gave_up);
  for (int i = 1; i <= last; ++i) {
    auto e = make_error(static_cast<breaker_errc>(i), "why").with_reason("reason", "details");
    auto back = from_caf_error(to_caf_error(e));
    BOOST_TEST((back.code() == e.code()));
    BOOST_TEST(back.message() == "why");
    BOOST_TEST(back.details() == "details");
    texts.insert(e.code().message());
  }
  BOOST_TEST(texts.size() == static_cast<std::size_t>(last));
  BOOST_TEST(texts.count(make_error_code(static_cast<breaker_errc>(last + 1)).message()) == 0u);
}

// -- in front of functions -------------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(failures_in_a_row_open_it, clocked) {
  auto b = make({.failures = 3});
  BOOST_TEST(!bad(b));
  BOOST_TEST(!bad(b));
  BOOST_TEST(good(b).has_value()); // begins the count anew
  BOOST_TEST(!bad(b));
  BOOST_TEST(!bad(b));
  BOOST_TEST(b.stats().state == closed);
  BOOST_TEST(!bad(b));
  BOOST_TEST(b.stats().state == open);
}

BOOST_FIXTURE_TEST_CASE(an_open_breaker_does_not_run_the_operation_and_says_when_to_come_back, clocked) {
  auto b = make({.failures = 1, .retry_after = 1'000ms});
  BOOST_TEST(!bad(b));
  now += 400ms;
  auto refused = good(b);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code() == breaker_errc::circuit_open));
  BOOST_TEST((retry_after(refused.error()) == 600ms));
  BOOST_TEST(refused.error().message().find("600 ms") != std::string::npos);
  BOOST_TEST(refused.error().message().find("no route to host") != std::string::npos);
  BOOST_TEST(runs == 1);
  BOOST_TEST(b.stats().refused == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_trial_that_succeeds_closes_it, clocked) {
  auto b = make({.failures = 1, .retry_after = 1'000ms});
  BOOST_TEST(!bad(b));
  now += 1'000ms;
  BOOST_TEST(b.stats().state == half_open);
  BOOST_TEST(good(b).has_value());
  BOOST_TEST(b.stats().state == closed);
}

BOOST_FIXTURE_TEST_CASE(trials_that_fail_open_it_for_twice_the_time_up_to_a_bound, clocked) {
  auto b = make({.failures = 1, .retry_after = 1'000ms, .max_retry_after = 5'000ms});
  BOOST_TEST(!bad(b));
  for (auto pause : {1'000ms, 2'000ms, 4'000ms, 5'000ms, 5'000ms}) {
    BOOST_TEST((b.stats().retry_after == pause));
    now += pause;
    BOOST_TEST(!bad(b));
  }
  now += 5'000ms;
  BOOST_TEST(good(b).has_value());
  BOOST_TEST(!bad(b)); // the pause begins anew
  BOOST_TEST((b.stats().retry_after == 1'000ms));
}

BOOST_FIXTURE_TEST_CASE(half_open_passes_as_many_trials_as_allowed, clocked) {
  auto b = make({.failures = 1, .retry_after = 1'000ms, .trials = 2, .call_limit = 300ms});
  BOOST_TEST(!bad(b));
  now += 1'000ms;
  auto first = b.admit();
  now += 100ms;
  auto second = b.admit();
  BOOST_TEST((first && second));
  auto third = b.admit();
  BOOST_REQUIRE(!third);
  BOOST_TEST((third.error().code() == breaker_errc::circuit_open));
  BOOST_TEST((retry_after(third.error()) == 200ms)); // then the first one's place is free
  BOOST_TEST(second->finish(result<int>{1}).has_value());
  BOOST_TEST(b.stats().state == closed);
  BOOST_TEST(!first->finish(result<int>{outage()})); // of the state before: changes nothing
  BOOST_TEST(b.stats().state == closed);
}

BOOST_FIXTURE_TEST_CASE(a_trial_that_never_answers_frees_its_place_after_the_time_limit, clocked) {
  auto b = make({.failures = 1, .retry_after = 1'000ms, .call_limit = 300ms});
  BOOST_TEST(!bad(b));
  now += 1'000ms;
  auto lost = b.admit();
  BOOST_REQUIRE(lost.has_value());
  now += 299ms;
  BOOST_TEST(b.stats().state == half_open);
  now += 1ms;
  BOOST_TEST(b.stats().state == open); // a failed trial
  BOOST_TEST((b.stats().retry_after == 2'000ms));
  now += 2'000ms;
  auto next = b.admit();
  BOOST_REQUIRE(next.has_value());
  auto late = lost->finish(result<int>{1});
  BOOST_REQUIRE(!late);
  BOOST_TEST((late.error().code() == breaker_errc::timeout));
  BOOST_TEST(b.stats().state == half_open);
  BOOST_TEST(next->finish(result<int>{1}).has_value());
  BOOST_TEST(b.stats().state == closed);
}

BOOST_FIXTURE_TEST_CASE(a_share_of_failures_in_the_window_opens_it, clocked) {
  auto b = make({.failures = 0, .failure_rate = 0.5, .window = 1'000ms, .min_calls = 4});
  BOOST_TEST(!bad(b));
  BOOST_TEST(!bad(b));
  BOOST_TEST(good(b).has_value());
  now += 1'000ms; // the three are forgotten
  BOOST_TEST(!bad(b));
  BOOST_TEST(good(b).has_value());
  BOOST_TEST(good(b).has_value());
  BOOST_TEST(b.stats().state == closed);
  now += 900ms;
  BOOST_TEST(!bad(b)); // two of four
  BOOST_TEST(b.stats().state == open);
}

BOOST_FIXTURE_TEST_CASE(the_pause_is_lengthened_at_random, clocked) {
  std::set<std::int64_t> pauses;
  for (int i = 0; i != 50; ++i) {
    breaker b{{.failures = 1, .retry_after = 100'000ms, .jitter = 0.5}, [this] { return now; }};
    BOOST_TEST(!bad(b));
    auto pause = b.stats().retry_after;
    BOOST_TEST((pause >= 100'000ms && pause <= 150'000ms));
    pauses.insert(pause.count());
  }
  BOOST_TEST(pauses.size() > 10u);
}

BOOST_FIXTURE_TEST_CASE(a_failure_is_wrapped_and_stays_readable, clocked) {
  auto b = make({});
  auto failed = bad(b);
  BOOST_REQUIRE(!failed);
  BOOST_TEST((failed.error().code() == breaker_errc::operation_failed));
  BOOST_TEST((cause_of(failed.error()) == journal_errc::io_error));
  BOOST_TEST(failed.error().message().find("bank") != std::string::npos);
  BOOST_TEST(failed.error().message().find("no route to host") != std::string::npos);
  BOOST_TEST(!cause_of(outage()));
  BOOST_TEST(!retry_after(failed.error()));
}

BOOST_FIXTURE_TEST_CASE(answers_that_are_no_failures_pass_as_they_are_and_count_as_success, clocked) {
  auto b = make({.failures = 2});
  BOOST_TEST(!bad(b));
  auto rejection = make_error(entity_errc::rejected, "insufficient funds");
  rejection.with_reason("funds", "7");
  auto rejected = bad(b, rejection);
  BOOST_REQUIRE(!rejected);
  BOOST_TEST((rejected.error().code() == entity_errc::rejected));
  BOOST_TEST(rejected.error().message() == "insufficient funds");
  BOOST_TEST(rejected.error().reason() == "funds");
  BOOST_TEST(!bad(b));
  BOOST_TEST(b.stats().state == closed);
  BOOST_TEST(b.stats().successes == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_classifier_decides_what_counts, clocked) {
  auto b = make({.failures = 1, .is_failure = [](const error& e) {
                   if (e.message() == "thrown")
                     throw std::runtime_error{"no idea"};
                   return e.code() == entity_errc::rejected;
                 }});
  BOOST_TEST((bad(b).error().code() == journal_errc::io_error));
  BOOST_TEST(b.stats().state == closed);
  BOOST_TEST(!bad(b, make_error(entity_errc::rejected, "no")));
  BOOST_TEST(b.stats().state == open);
  now += 1'000ms;
  BOOST_TEST(!bad(b, outage("thrown")));
  BOOST_TEST(b.stats().opened == 2u);
}

BOOST_FIXTURE_TEST_CASE(what_comes_after_the_time_limit_is_a_timeout_and_counts, clocked) {
  auto b = make({.failures = 1, .call_limit = 300ms});
  auto late = b.call([this]() -> result<int> {
    now += 300ms;
    return 1;
  });
  BOOST_REQUIRE(!late);
  BOOST_TEST((late.error().code() == breaker_errc::timeout));
  BOOST_TEST(b.stats().state == open);
  BOOST_TEST(b.stats().timeouts == 1u);
}

BOOST_FIXTURE_TEST_CASE(an_exception_counts_as_failure, clocked) {
  auto b = make({.failures = 1});
  BOOST_CHECK_THROW(b.call([]() -> result<int> { throw std::runtime_error{"oops"}; }), std::runtime_error);
  BOOST_TEST(b.stats().state == open);
  BOOST_TEST(b.stats().under_way == 0u);
}

BOOST_FIXTURE_TEST_CASE(calls_at_one_time_are_bounded, clocked) {
  auto b = make({.max_concurrent = 2});
  auto first = b.admit();
  auto second = b.admit();
  auto third = b.admit();
  BOOST_REQUIRE(!third);
  BOOST_TEST((third.error().code() == breaker_errc::too_many_calls));
  BOOST_TEST(b.stats().too_many == 1u);
  BOOST_TEST(first->finish(result<int>{1}).has_value());
  BOOST_TEST(good(b).has_value());
  BOOST_TEST(b.stats().under_way == 1u);
}

// -- in front of actors ----------------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(calls_pass_to_the_worker_and_answers_back, breaker_world) {
  watch();
  auto first = ask(1);
  auto second = ask(2);
  BOOST_TEST(!first.answered());
  BOOST_TEST(stats().under_way == 2u);
  answer(std::int64_t{10});
  answer(std::int64_t{20});
  BOOST_TEST(number(first) == 10);
  BOOST_TEST(number(second) == 20);
  auto s = stats();
  BOOST_TEST(s.name == "bank");
  BOOST_TEST(s.calls == 2u);
  BOOST_TEST(s.successes == 2u);
  BOOST_TEST(s.under_way == 0u);
}

BOOST_FIXTURE_TEST_CASE(a_worker_that_fails_is_left_alone_for_the_retry_time, breaker_world) {
  watch({.failures = 2, .retry_after = 1'000ms});
  for (int i = 0; i != 2; ++i) {
    auto call = ask();
    fail();
    BOOST_TEST((call.code() == breaker_errc::operation_failed));
    BOOST_TEST((cause_of(call.failure()) == journal_errc::io_error));
  }
  advance(400ms);
  auto refused = ask();
  BOOST_TEST(worker.taken.empty());
  BOOST_TEST((refused.code() == breaker_errc::circuit_open));
  BOOST_TEST((retry_after(refused.failure()) == 600ms));
  advance(600ms);
  auto trial = ask();
  BOOST_TEST((ask().code() == breaker_errc::circuit_open));
  BOOST_TEST(worker.taken.size() == 1u);
  answer(std::int64_t{7});
  BOOST_TEST(number(trial) == 7);
  BOOST_TEST(stats().state == closed);
}

BOOST_FIXTURE_TEST_CASE(a_rejection_passes_unwrapped, breaker_world) {
  watch({.failures = 1});
  auto call = ask();
  answer(to_caf_error(make_error(entity_errc::rejected, "insufficient funds")));
  BOOST_TEST((call.code() == entity_errc::rejected));
  BOOST_TEST(call.failure().message() == "insufficient funds");
  asked unknown = send(actor_of(breaker), caf::make_message(std::string{"what?"}));
  run();
  BOOST_TEST((unknown.code() == entity_errc::unknown_command));
  BOOST_TEST(stats().state == closed);
}

BOOST_FIXTURE_TEST_CASE(silence_is_answered_at_the_time_limit_and_late_answers_change_nothing,
                        breaker_world) {
  watch({.failures = 2, .call_limit = 300ms});
  auto first = ask(1);
  advance(100ms);
  auto second = ask(2);
  advance(199ms);
  BOOST_TEST(!first.answered());
  advance(1ms);
  BOOST_TEST((first.code() == breaker_errc::timeout));
  BOOST_TEST(!second.answered());
  answer(std::int64_t{1}); // late: neither an answer nor a success
  BOOST_TEST((first.code() == breaker_errc::timeout));
  BOOST_TEST(stats().successes == 0u);
  advance(100ms);
  BOOST_TEST((second.code() == breaker_errc::timeout));
  BOOST_TEST(stats().state == open);
  BOOST_TEST(stats().timeouts == 2u);
}

BOOST_FIXTURE_TEST_CASE(more_calls_than_allowed_are_refused, breaker_world) {
  watch({.max_concurrent = 2});
  auto first = ask();
  auto second = ask();
  BOOST_TEST((ask().code() == breaker_errc::too_many_calls));
  BOOST_TEST(worker.taken.size() == 2u);
  answer(std::int64_t{1});
  auto fourth = ask();
  BOOST_TEST(!fourth.answered());
}

BOOST_FIXTURE_TEST_CASE(messages_that_are_no_requests_pass_count_and_are_not_answered, breaker_world) {
  watch({.failures = 1});
  auto answers = std::make_shared<int>(0);
  auto sender = spawn([&, answers](caf::event_based_actor* self) -> caf::behavior {
    self->send(actor_of(breaker), std::int64_t{1});
    self->set_default_handler(
        [answers](caf::scheduled_actor*, caf::message_view&) -> caf::result<caf::message> {
          ++*answers;
          return caf::message{};
        });
    return {[](caf::unit_t) {}};
  });
  run();
  fail();
  BOOST_TEST(stats().state == open);
  BOOST_TEST(*answers == 0);
}

BOOST_FIXTURE_TEST_CASE(a_watched_worker_that_ends_fails_its_calls_and_the_breaker_gives_up, breaker_world) {
  watch();
  auto taken = ask();
  // Still in the worker's mailbox when it ends.
  asked unseen = send(actor_of(breaker), caf::make_message(std::int64_t{2}));
  caf::anon_send_exit(worker.actor, caf::exit_reason::out_of_workers);
  run();
  BOOST_TEST((taken.code() == breaker_errc::worker_lost));
  BOOST_TEST((unseen.code() == breaker_errc::worker_lost));
  auto after = ask();
  BOOST_TEST((after.code() == breaker_errc::gave_up));
  BOOST_TEST(after.failure().message().find("out_of_workers") != std::string::npos);
  BOOST_TEST(stats().state == gave_up);
  BOOST_TEST(stats().worker_ends == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_worker_that_is_dead_already_is_noticed, breaker_world) {
  auto dead = worker.start(*this);
  run();
  stop_worker(caf::exit_reason::user_shutdown);
  breaker = start_breaker(system(), named(), dead);
  BOOST_TEST((ask().code() != breaker_errc::timeout));
  BOOST_TEST((ask().code() == breaker_errc::gave_up));
}

BOOST_FIXTURE_TEST_CASE(the_end_of_the_worker_is_one_failure_however_many_calls_it_had, breaker_world) {
  supervise({.failures = 2, .restart_after = 100ms});
  auto first = ask();
  auto second = ask();
  auto third = ask();
  stop_worker(caf::exit_reason::kill);
  BOOST_TEST((first.code() == breaker_errc::worker_lost));
  BOOST_TEST((third.code() == breaker_errc::worker_lost));
  BOOST_TEST(stats().state == closed);
  BOOST_TEST(stats().failures == 3u);
  BOOST_TEST(stats().under_way == 0u);
  advance(100ms);
  stop_worker(caf::exit_reason::kill); // idle: a failure as well
  BOOST_TEST(stats().state == open);
}

BOOST_FIXTURE_TEST_CASE(a_worker_is_started_again_with_back_off, breaker_world) {
  supervise({.failures = 0, .restart_after = 100ms, .max_restart_after = 300ms});
  for (auto pause : {100ms, 200ms, 300ms, 300ms}) {
    auto before = worker.starts;
    stop_worker(caf::exit_reason::kill);
    auto refused = ask();
    BOOST_TEST((refused.code() == breaker_errc::worker_lost));
    BOOST_TEST((retry_after(refused.failure()) == pause));
    advance(pause - 1ms);
    BOOST_TEST(worker.starts == before);
    advance(1ms);
    BOOST_TEST(worker.starts == before + 1);
    auto call = ask();
    answer(std::int64_t{5});
    BOOST_TEST(number(call) == 5);
  }
  BOOST_TEST(stats().restarts == 4u);
}

BOOST_FIXTURE_TEST_CASE(after_too_many_ends_in_a_row_it_gives_up_with_a_report, breaker_world) {
  supervise({.failures = 0, .max_restarts = 2, .stable_after = 1'000ms, .restart_after = 10ms});
  stop_worker(caf::exit_reason::kill);
  advance(10ms);
  advance(1'000ms); // lives long: the count begins anew
  for (int i = 0; i != 2; ++i) {
    stop_worker(caf::exit_reason::kill);
    advance(20ms);
  }
  BOOST_TEST(worker.starts == 4);
  stop_worker(caf::exit_reason::kill);
  BOOST_TEST(stats().state == gave_up);
  advance(60'000ms);
  BOOST_TEST(worker.starts == 4);
  auto refused = ask();
  BOOST_TEST((refused.code() == breaker_errc::gave_up));
  BOOST_TEST(refused.failure().message().find("bank") != std::string::npos);
  BOOST_TEST(refused.failure().message().find("3 times in a row") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(a_worker_that_cannot_be_started_counts_as_one_that_ended, breaker_world) {
  int tries = 0;
  breaker = start_breaker(system(), named({.max_restarts = 1, .restart_after = 10ms}),
                          [&](caf::actor_system&) -> caf::actor {
                            if (++tries == 1)
                              throw std::runtime_error{"no device"};
                            return {};
                          });
  run();
  BOOST_TEST(stats().last_failure.find("no device") != std::string::npos);
  advance(10ms);
  BOOST_TEST(tries == 2);
  BOOST_TEST(stats().state == gave_up);
}

BOOST_FIXTURE_TEST_CASE(a_breaker_that_ends_answers_its_calls_and_ends_its_worker, breaker_world) {
  supervise();
  auto call = ask();
  caf::anon_send_exit(actor_of(breaker), caf::exit_reason::user_shutdown);
  run();
  BOOST_TEST((call.code() == breaker_errc::worker_lost));
  asked direct = send(worker.actor, caf::make_message(std::int64_t{1}));
  run();
  BOOST_TEST((direct.code() == entity_errc::stopped));
}

BOOST_FIXTURE_TEST_CASE(a_caller_that_is_gone_changes_nothing, breaker_world) {
  watch({.failures = 1});
  {
    auto caller = spawn([&](caf::event_based_actor* self) -> caf::behavior {
      self->request(actor_of(breaker), caf::infinite, std::int64_t{1}).then([](std::int64_t) {});
      return {[](caf::unit_t) {}};
    });
    run();
    caf::anon_send_exit(caller, caf::exit_reason::kill);
    run();
  }
  answer(std::int64_t{1});
  BOOST_TEST(stats().successes == 1u);
  BOOST_TEST(stats().under_way == 0u);
}

BOOST_FIXTURE_TEST_CASE(entities_live_behind_a_breaker, breaker_world) {
  auto accounts = start<account>();
  breaker = start_breaker(system(), named({.failures = 1}), actor_of(accounts));
  auto call = [&](auto command) {
    asked a = send(actor_of(breaker), caf::make_message("alice"s, std::move(command)));
    settle();
    return a;
  };
  call(open_account());
  BOOST_TEST(call(deposit(700)).cents() == 700);
  BOOST_TEST((call(withdraw(800)).code() == entity_errc::rejected));
  journal.fail_commit = [](const commit&) { return make_error(journal_errc::disk_full, "no space left"); };
  auto failed = call(deposit(1));
  BOOST_TEST((failed.code() == breaker_errc::operation_failed));
  BOOST_TEST((cause_of(failed.failure()) == entity_errc::not_persisted));
  BOOST_TEST((call(deposit(1)).code() == breaker_errc::circuit_open));
}

BOOST_AUTO_TEST_CASE(stats_are_for_every_thread) {
  caf::actor_system_config config;
  caf::actor_system system{config};
  auto b = start_breaker(system, {.name = "bank"}, [](caf::actor_system& s) {
    return s.spawn([]() -> caf::behavior { return {[](std::int64_t number) { return number; }}; });
  });
  auto s = b.stats(10s);
  BOOST_REQUIRE(s.has_value());
  BOOST_TEST(s->state == closed);
  caf::anon_send_exit(actor_of(b), caf::exit_reason::user_shutdown);
}
