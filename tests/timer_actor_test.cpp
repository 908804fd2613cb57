#include "support/entity_world.hpp"

#include <eventcore/actors/internal/timer_actor.hpp>
#include <eventcore/actors/internal/timer_clock.hpp>

#include <boost/test/unit_test.hpp>

#include <set>

using namespace eventcore;
using namespace eventcore::internal;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

using names = std::vector<std::string>;

/// A journal, a timer actor, and owners that note what fires. Civil time is `now`, moved by `pass` and by the test.
struct timers_world : entity_world {
  timestamp now = entity_world::now();
  const timestamp start = now;
  caf::actor timers;
  names fired;
  std::vector<caf::actor> actors;

  ~timers_world() {
    stop(timers);
    for (auto& actor : actors)
      stop(actor);
  }

  void stop(const caf::actor& actor) {
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    run();
  }

  void start_actor(const timer_options& options = {}) {
    if (timers)
      stop(timers);
    timers = start_timers(
        system(), journal, [this] { return now; }, options);
    run();
  }

  caf::actor note_taker() {
    actors.push_back(spawn([this](caf::event_based_actor*) -> caf::behavior {
      return {[this](const timer_due& timer) {
        BOOST_TEST((timer.due <= now), timer.name << " fires before it is due");
        fired.push_back(timer.name);
      }};
    }));
    return actors.back();
  }

  void own(const std::string& owner) {
    caf::anon_send(timers, fire_timers{owner, note_taker()});
    run();
  }

  void write(std::vector<timer_change> changes) {
    commit c;
    c.timers = std::move(changes);
    journal.submit(std::move(c), *journal.reserve(0), nullptr, 0);
    journal.step();
    run();
  }
  void set(const std::string& name, std::chrono::microseconds in) { write({{name, {}, start + in}}); }
  void cancel(const std::string& name, std::chrono::microseconds in) { write({{name, start + in, {}}}); }

  /// Time passes by both clocks.
  void pass(std::chrono::microseconds time) {
    now += time;
    advance(time);
  }

  names take() { return std::exchange(fired, {}); }
};

struct running_timers : timers_world {
  running_timers() {
    start_actor();
    own("a");
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(timer_actor_test, running_timers)

BOOST_AUTO_TEST_CASE(timers_fire_when_they_are_due_and_in_order) {
  write({{"a/3", {}, start + 2s},
         {"a/2", {}, start + 1'500ms},
         {"a/1", {}, start + 1'500ms},
         {"a/never", {}, timestamp::max()}});
  pass(1'499ms);
  BOOST_TEST(fired.empty());
  pass(1ms);
  BOOST_TEST((take() == names{"a/1", "a/2"}));
  pass(499'999us);
  BOOST_TEST(fired.empty());
  pass(1us);
  BOOST_TEST((take() == names{"a/3"}));
}

BOOST_AUTO_TEST_CASE(a_timer_that_is_due_already_fires_at_once) {
  pass(5s);
  set("a/1", 1s);
  BOOST_TEST((take() == names{"a/1"}));
}

BOOST_AUTO_TEST_CASE(a_timer_that_is_set_for_the_past_fires_alone) {
  set("a/2", 2s);
  pass(2s);
  BOOST_TEST((take() == names{"a/2"}));
  set("a/1", 1s);
  BOOST_TEST((take() == names{"a/1"}));
}

BOOST_AUTO_TEST_CASE(a_timer_set_during_a_sleep_fires_in_time) {
  set("a/late", 900ms);
  set("a/early", 300ms);
  pass(299ms);
  BOOST_TEST(fired.empty());
  pass(1ms);
  BOOST_TEST((take() == names{"a/early"}));
  pass(600ms);
  BOOST_TEST((take() == names{"a/late"}));
}

BOOST_AUTO_TEST_CASE(a_cancelled_timer_does_not_fire_and_a_moved_one_fires_then) {
  set("a/1", 1s);
  set("a/2", 1s);
  cancel("a/1", 1s);
  write({{"a/2", start + 1s, start + 3s}});
  pass(2'999ms);
  BOOST_TEST(fired.empty());
  pass(1ms);
  BOOST_TEST((take() == names{"a/2"}));
}

BOOST_AUTO_TEST_CASE(a_timer_fires_again_until_it_is_cancelled) {
  set("a/1", 1s);
  set("a/2", 1s);
  pass(1s);
  BOOST_TEST((take() == names{"a/1", "a/2"}));
  pass(9'999ms);
  BOOST_TEST(fired.empty());
  pass(1ms);
  BOOST_TEST((take() == names{"a/1", "a/2"}));
  cancel("a/1", 1s);
  pass(10s);
  BOOST_TEST((take() == names{"a/2"}));
  cancel("a/2", 1s);
  for (int i = 0; i < 30; ++i)
    pass(1s);
  BOOST_TEST(fired.empty());
}

BOOST_AUTO_TEST_CASE(timers_fire_after_a_restart) {
  set("a/1", 1s);
  set("a/2", 20s);
  pass(1s);
  BOOST_TEST((take() == names{"a/1"}));
  stop(timers);
  pass(5s);
  start_actor();
  BOOST_TEST(fired.empty());
  own("a");
  BOOST_TEST((take() == names{"a/1"}), "it was not cancelled before");
  cancel("a/1", 1s);
  pass(14s);
  BOOST_TEST((take() == names{"a/2"}));
}

BOOST_AUTO_TEST_CASE(an_owner_that_comes_late_gets_its_timers_and_keeps_nobody_waiting) {
  write({{"b/1", {}, start + 1s}, {"a/1", {}, start + 2s}, {"b/2", {}, start + 3s}, {"b/3", {}, start + 9s}});
  pass(5s);
  BOOST_TEST((take() == names{"a/1"}));
  own("b");
  BOOST_TEST((take() == names{"b/1", "b/2"}));
  pass(4s);
  BOOST_TEST((take() == names{"b/3"}));
}

BOOST_AUTO_TEST_CASE(a_new_actor_of_an_owner_gets_what_the_last_one_left) {
  set("a/1", 1s);
  pass(1s);
  BOOST_TEST((take() == names{"a/1"}));
  own("a");
  BOOST_TEST((take() == names{"a/1"}));
}

BOOST_AUTO_TEST_CASE(only_what_is_due_is_read) {
  std::vector<timer_change> changes;
  for (int i = 0; i < 20'000; ++i)
    changes.push_back({"a/" + std::to_string(i), {}, start + 24h});
  write(std::move(changes));
  set("a/now", 30s);
  std::size_t reads = 0;
  journal.fail_read_timers = [&] {
    ++reads;
    return std::nullopt;
  };
  start_actor();
  own("a");
  BOOST_TEST(reads <= 2u);
  pass(30s);
  BOOST_TEST((take() == names{"a/now"}));
  BOOST_TEST(reads <= 4u);
}

BOOST_AUTO_TEST_CASE(timers_go_on_when_the_journal_can_be_read_again) {
  set("a/1", 1s);
  bool fails = true;
  journal.fail_read_timers = [&] {
    return fails ? std::optional{make_error(journal_errc::io_error, "the disk is gone")} : std::nullopt;
  };
  pass(1s);
  pass(1s);
  BOOST_TEST(fired.empty());
  fails = false;
  pass(1s);
  BOOST_TEST((take() == names{"a/1"}));
}

BOOST_AUTO_TEST_CASE(many_timers_at_once_are_handed_out_in_bounds) {
  constexpr std::size_t count = 100'000;
  // Some have a time in common, and those of another owner stand between.
  own("b");
  std::vector<timer_change> all;
  for (std::size_t i = 0; i < count; ++i)
    all.push_back({"a/" + std::to_string(count + i), {}, start + 1s + std::chrono::microseconds{i / 5'000}});
  for (std::size_t from = 0; from < count; from += 20'000)
    write({all.begin() + static_cast<std::ptrdiff_t>(from),
           all.begin() + static_cast<std::ptrdiff_t>(from + 20'000)});
  set("b/1", 2s);
  pass(2s);
  const auto outstanding = timer_options{}.max_outstanding;
  BOOST_TEST((std::ranges::count(fired, "b/1") == 1), "an owner that is slow does not keep others waiting");
  std::erase(fired, "b/1");
  cancel("b/1", 2s);
  BOOST_TEST_REQUIRE(fired.size() == outstanding);
  pass(5s);
  BOOST_TEST_REQUIRE(fired.size() == outstanding, "no more while none of them is cancelled");
  for (std::size_t done = 0; done < count;) {
    BOOST_TEST_REQUIRE(fired.size() > done);
    BOOST_TEST_REQUIRE(fired.size() <= done + outstanding);
    const auto until = done + std::min<std::size_t>(fired.size() - done, 1'500);
    std::vector<timer_change> cancels;
    for (; done < until; ++done) {
      BOOST_TEST_REQUIRE(fired[done] == all[done].name);
      cancels.push_back({all[done].name, all[done].to, {}});
    }
    write(std::move(cancels));
    pass(200ms);
  }
  BOOST_TEST(fired.size() == count);
}

BOOST_AUTO_TEST_CASE(timers_set_before_those_in_hand_fire_next) {
  start_actor({.max_outstanding = 2, .chunk = 4});
  own("a");
  set("a/8", 1s);
  set("a/9", 1s);
  pass(1s);
  BOOST_TEST((take() == names{"a/8", "a/9"}));
  std::vector<timer_change> earlier;
  for (char c = '0'; c <= '9'; ++c)
    earlier.push_back({std::string{"a/0"} + c, {}, start + 1s});
  write(std::move(earlier));
  pass(9'999ms);
  BOOST_TEST(fired.empty());
  pass(1ms);
  BOOST_TEST((take() == names{"a/8", "a/9"}));
  cancel("a/8", 1s);
  cancel("a/9", 1s);
  pass(1s);
  BOOST_TEST((take() == names{"a/00", "a/01"}));
}

BOOST_AUTO_TEST_CASE(timers_of_others_at_the_same_time_do_not_hide_an_answer) {
  std::vector<timer_change> changes;
  for (int i = 0; i < 5'000; ++i)
    changes.push_back({"0/" + std::to_string(i), {}, start + 1s});
  write(std::move(changes));
  write({{"a/1", {}, start + 1s}, {"a/2", {}, start + 1s}});
  pass(1s);
  BOOST_TEST((take() == names{"a/1", "a/2"}));
  cancel("a/1", 1s);
  pass(10s);
  BOOST_TEST((take() == names{"a/2"}));
}

BOOST_AUTO_TEST_CASE(without_a_clock_time_starts_at_the_last_event) {
  const timestamp far = std::chrono::sys_days{std::chrono::year{2200} / 1 / 1};
  auto c = commit{};
  c.appends.push_back({*stream_id::parse("x-1"), expected_version::any(), {opened()}});
  c.occurred_at = far;
  c.timers = {{"c/1", {}, far - 1h}, {"c/2", {}, far + 24h}};
  journal.submit(std::move(c), *journal.reserve(0), nullptr, 0);
  journal.step();
  now = far;
  const auto other = start_timers(system(), journal);
  caf::anon_send(other, fire_timers{"c", note_taker()});
  run();
  BOOST_TEST((take() == names{"c/1"}));
  stop(other);
}

BOOST_AUTO_TEST_CASE(a_wall_clock_that_jumps_neither_stops_timers_nor_is_missed) {
  timestamp wall = now;
  const timer_clock::steady::time_point zero;
  auto steady = zero;
  auto clock = std::make_shared<timer_clock>(
      timestamp{}, [&] { return wall; }, [&] { return steady; });
  stop(timers);
  timers = start_timers(system(), journal, [clock] { return clock->now(); });
  own("a");
  set("a/1", 2s);
  set("a/2", 3600s);
  now = timestamp::max();
  wall -= 24h;
  steady += 1'999ms;
  advance(1'999ms);
  BOOST_TEST(fired.empty());
  steady += 1ms;
  advance(1ms);
  BOOST_TEST((take() == names{"a/1"}), "the wall clock was set back");
  wall = start + 3600s;
  steady += 1s;
  advance(1s);
  BOOST_TEST((take() == names{"a/2"}), "the wall clock was set forward");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(a_timer_clock_never_goes_back) {
  const timestamp start{1'000s};
  auto wall = start;
  timer_clock::steady::time_point steady;
  timer_clock clock{start + 10s, [&] { return wall; }, [&] { return steady; }};
  BOOST_TEST((clock.now() == start + 10s), "no earlier than its floor");
  wall += 2s;
  steady += 2s;
  BOOST_TEST((clock.now() == start + 12s), "goes on with the steady clock");
  wall += 60s;
  BOOST_TEST((clock.now() == start + 62s), "jumps forward with the wall clock");
  wall -= 1h;
  BOOST_TEST((clock.now() == start + 62s));
  steady += 1ms;
  BOOST_TEST((clock.now() == start + 62s + 1ms));
  for (int i = 0; i < 3'000; ++i) {
    steady += 1ns;
    clock.now();
  }
  BOOST_TEST((clock.now() == start + 62s + 1ms + 3us), "parts of a microsecond add up");
}
