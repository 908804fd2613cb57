#include "support/entity_world.hpp"

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

using version = expected_version;

/// An account that says no at length, and whose state can be saved.
struct till : decider<till> {
  static constexpr std::string_view category = "till";
  using commands = eventcore::commands<bank::Open, bank::Deposit, bank::Withdraw, bank::GetBalance>;
  using events = eventcore::events<bank::Opened, bank::Deposited, bank::Withdrawn>;
  struct state {
    bool open = false;
    std::int64_t cents = 0;
  };

  static void evolve(state& s, const bank::Opened&) { s.open = true; }
  static void evolve(state& s, const bank::Deposited& e) { s.cents += e.cents(); }
  static void evolve(state& s, const bank::Withdrawn& e) { s.cents -= e.cents(); }

  static effect<no_reply> decide(const state& s, const bank::Open& c) {
    if (s.open)
      return reject("it is open");
    return persist(make<bank::Opened>([&](auto& e) { e.set_owner(c.owner()); }));
  }
  static effect<bank::Balance> decide(const state&, const bank::Deposit& c) {
    return persist(make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); })).then_reply(balance);
  }
  static effect<bank::Balance> decide(const state& s, const bank::Withdraw& c) {
    if (s.cents < c.cents())
      return reject("no_cover", "too little money", "has " + std::to_string(s.cents));
    return persist(make<bank::Withdrawn>([&](auto& e) { e.set_cents(c.cents()); })).then_reply(balance);
  }
  static effect<bank::Balance> decide(const state& s, const bank::GetBalance&) { return balance(s); }

  static bank::Balance balance(const state& s) {
    return make<bank::Balance>([&](auto& b) { b.set_cents(s.cents); });
  }
  static bank::Balance to_snapshot(const state& s) { return balance(s); }
  static state from_snapshot(const bank::Balance& b) { return {.open = true, .cents = b.cents()}; }
};

timestamp at(std::chrono::seconds time) {
  return timestamp{time};
}

command_context keyed(std::string key, timestamp now = at(1s)) {
  command_context context;
  context.idempotency_key = std::move(key);
  context.now = now;
  return context;
}

struct till_world : entity_world {
  explicit till_world(const host_options& how = {.idle_time = 100ms})
      : options{how} {}

  host_options options;
  host<till> tills = start<till>(options);

  /// Sends without letting the journal write.
  template <class Command>
  asked send(std::string key, Command command, timestamp now = at(1s)) {
    auto request = ask(tills, "a", keyed(std::move(key), now), std::move(command));
    run();
    return request;
  }
  template <class Command>
  asked done(std::string key, Command command, timestamp now = at(1s)) {
    auto request = send(std::move(key), std::move(command), now);
    settle();
    return request;
  }
  std::int64_t balance() { return done("", bank::GetBalance{}).cents(); }

  void passivate() {
    for (auto i = 0; i != 10; ++i)
      advance(25ms);
    settle();
    BOOST_REQUIRE(stats(tills).resident == 0u);
  }
  void restart() {
    auto end = ask_raw(tills, caf::make_message(internal::stop_host{}));
    settle();
    BOOST_REQUIRE(end.answered());
    tills = start<till>(options);
  }
};

std::optional<error> nothing_wrong() {
  return std::nullopt;
}

/// Fails the first commit that comes.
auto fail_once(journal_errc code) {
  return [code, turn = 0](const commit&) mutable {
    return ++turn == 1 ? std::optional{make_error(code, "as the test wants")} : nothing_wrong();
  };
}

} // namespace

BOOST_AUTO_TEST_SUITE(repeats)

BOOST_FIXTURE_TEST_CASE(a_repeat_gets_the_first_reply_and_has_one_effect, till_world) {
  BOOST_TEST(done("k", deposit(5)).cents() == 5);
  BOOST_TEST(done("l", deposit(7)).cents() == 12);
  auto submitted = journal.submitted;
  BOOST_TEST(done("k", deposit(5)).cents() == 5);
  BOOST_TEST(done("l", deposit(7)).cents() == 12);
  BOOST_TEST(journal.submitted == submitted);
  BOOST_TEST(balance() == 12);
}

BOOST_FIXTURE_TEST_CASE(a_command_without_a_key_is_a_new_one_each_time, till_world) {
  BOOST_TEST(done("", deposit(5)).cents() == 5);
  BOOST_TEST(done("", deposit(5)).cents() == 10);
}

BOOST_FIXTURE_TEST_CASE(a_repeat_in_flight_waits_for_the_commit_of_the_first, till_world) {
  auto first = send("k", deposit(5));
  auto other = send("l", deposit(7));
  auto repeat = send("k", deposit(5));
  BOOST_TEST(!first.answered());
  BOOST_TEST(!repeat.answered());
  BOOST_TEST(journal.submitted == 2u);
  settle();
  BOOST_TEST(first.cents() == 5);
  BOOST_TEST(other.cents() == 12);
  BOOST_TEST(repeat.cents() == 5);
  BOOST_TEST(events("till-a").size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_repeat_in_flight_of_a_command_that_was_not_persisted_is_the_first_one) {
  for (auto code : {journal_errc::disk_full, journal_errc::too_large}) {
    till_world world;
    world.journal.fail_commit = fail_once(code);
    auto first = world.send("k", deposit(5));
    auto repeat = world.send("k", deposit(5));
    world.settle();
    BOOST_TEST((first.code() == entity_errc::not_persisted));
    BOOST_TEST(repeat.cents() == 5);
    BOOST_TEST(world.events("till-a").size() == 1u);
    BOOST_TEST(world.done("k", deposit(5)).cents() == 5);
    BOOST_TEST(world.balance() == 5);
  }
}

BOOST_FIXTURE_TEST_CASE(passivation_forgets_no_answer, till_world) {
  done("k", deposit(5));
  done("l", deposit(7));
  passivate();
  BOOST_TEST(done("k", deposit(5)).cents() == 5);
  BOOST_TEST(balance() == 12);
}

BOOST_FIXTURE_TEST_CASE(a_restart_forgets_no_answer, till_world) {
  done("k", deposit(5));
  done("l", deposit(7));
  restart();
  BOOST_TEST(done("k", deposit(5)).cents() == 5);
  BOOST_TEST(done("l", deposit(7)).cents() == 12);
  BOOST_TEST(balance() == 12);
}

BOOST_FIXTURE_TEST_CASE(a_conflict_forgets_no_answer_and_repeats_none, till_world) {
  done("k", deposit(5));
  submit("till-a", version::exact(1), {deposited(100)});
  auto lost = send("l", deposit(1));
  auto repeat_of_lost = send("l", deposit(1));
  auto repeat = send("k", deposit(5));
  settle();
  BOOST_TEST(lost.cents() == 106);
  BOOST_TEST(repeat_of_lost.cents() == 106);
  BOOST_TEST(repeat.cents() == 5);
  BOOST_TEST(events("till-a").size() == 3u);
  BOOST_TEST(done("l", deposit(1)).cents() == 106);
}

// From the second conflict on, recovery begins at a copy that is kept in memory.
BOOST_FIXTURE_TEST_CASE(many_conflicts_forget_no_answer, till_world) {
  done("k", deposit(5));
  for (auto round = 1; round != 4; ++round) {
    submit("till-a", version::any(), {deposited(100)});
    auto lost = send("l" + std::to_string(round), deposit(1));
    auto repeat = send("k", deposit(5));
    settle();
    BOOST_TEST(lost.cents() == 5 + round * 101);
    BOOST_TEST(repeat.cents() == 5);
    BOOST_TEST(done("l1", deposit(1)).cents() == 106);
  }
  BOOST_TEST(balance() == 308);
}

BOOST_FIXTURE_TEST_CASE(what_another_writer_answered_is_not_done_again, till_world) {
  BOOST_TEST(balance() == 0);
  auto others = start<till>();
  auto first = ask(others, "a", keyed("k"), deposit(5));
  settle();
  auto more = ask(others, "a", keyed("l"), deposit(7));
  settle();
  auto repeat = done("k", deposit(5));
  BOOST_TEST(first.cents() == 5);
  BOOST_TEST(more.cents() == 12);
  BOOST_TEST(repeat.cents() == 5);
  BOOST_TEST(balance() == 12);
}

BOOST_AUTO_TEST_CASE(after_an_unknown_outcome_a_repeat_leaves_one_effect) {
  for (auto written : {false, true}) {
    till_world world;
    world.done("", deposit(100));
    world.journal.written_nevertheless = written;
    world.journal.fail_commit = fail_once(journal_errc::outcome_unknown);
    auto first = world.send("k", deposit(5));
    auto repeat_in_flight = world.send("k", deposit(5));
    world.settle();
    BOOST_TEST((first.code() == entity_errc::outcome_unknown));
    BOOST_TEST(repeat_in_flight.cents() == 105);
    BOOST_TEST(world.done("k", deposit(5)).cents() == 105);
    BOOST_TEST(world.events("till-a").size() == 2u);
    BOOST_TEST(world.balance() == 105);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(answers_of_each_kind)

BOOST_FIXTURE_TEST_CASE(a_rejection_is_repeated_although_the_state_would_now_accept, till_world) {
  done("", deposit(5));
  done("k", withdraw(100));
  done("", deposit(500));
  auto check = [&] {
    auto failure = done("k", withdraw(100)).failure();
    BOOST_TEST((failure.code() == entity_errc::rejected));
    BOOST_TEST(failure.reason() == "no_cover");
    BOOST_TEST(failure.message() == "too little money");
    BOOST_TEST(failure.details() == "has 5");
    BOOST_TEST(balance() == 505);
  };
  check();
  restart();
  check();
  BOOST_TEST(done("l", withdraw(100)).cents() == 405);
}

BOOST_FIXTURE_TEST_CASE(a_rejection_is_not_answered_before_it_is_kept, till_world) {
  auto no = send("k", withdraw(100));
  BOOST_TEST(!no.answered());
  settle();
  BOOST_TEST((no.code() == entity_errc::rejected));
  auto kept = events("till-a");
  BOOST_REQUIRE(kept.size() == 1u);
  BOOST_TEST(kept[0].type == "eventcore.CommandAnswered");
  BOOST_TEST(kept[0].answer.key == "k");
}

BOOST_FIXTURE_TEST_CASE(a_command_without_reply_succeeds_again, till_world) {
  BOOST_TEST(done("k", open_account()).answer().empty());
  auto repeat = done("k", open_account());
  BOOST_TEST(repeat.answer().empty());
  restart();
  auto later = done("k", open_account());
  BOOST_TEST(later.answer().empty());
  BOOST_TEST((done("l", open_account()).code() == entity_errc::rejected));
}

BOOST_FIXTURE_TEST_CASE(a_query_with_a_key_repeats_what_it_said_first, till_world) {
  done("", deposit(5));
  BOOST_TEST(done("q", bank::GetBalance{}).cents() == 5);
  done("", deposit(7));
  BOOST_TEST(done("q", bank::GetBalance{}).cents() == 5);
  restart();
  BOOST_TEST(done("q", bank::GetBalance{}).cents() == 5);
  BOOST_TEST(balance() == 12);
}

BOOST_FIXTURE_TEST_CASE(a_reply_of_nothing_but_defaults_is_a_reply, till_world) {
  BOOST_TEST(done("q", bank::GetBalance{}).cents() == 0);
  restart();
  BOOST_TEST(done("q", bank::GetBalance{}).cents() == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(keys)

BOOST_FIXTURE_TEST_CASE(a_key_belongs_to_one_command, till_world) {
  done("k", deposit(5));
  auto check = [&](asked request) {
    BOOST_TEST((request.code() == entity_errc::key_reused));
    BOOST_TEST(request.failure().message().find("another command") != std::string::npos);
  };
  check(done("k", deposit(6)));
  check(done("k", withdraw(5)));
  check(done("k", bank::GetBalance{}));
  send("l", deposit(1));
  auto in_flight = send("l", deposit(2));
  settle();
  check(in_flight);
  restart();
  check(done("k", deposit(6)));
  BOOST_TEST(events("till-a").size() == 2u);
  BOOST_TEST(balance() == 6);
  BOOST_TEST(done("k", deposit(5)).cents() == 5);
}

BOOST_FIXTURE_TEST_CASE(a_key_is_unique_in_its_stream_only, till_world) {
  auto a = ask(tills, "a", keyed("k"), deposit(5));
  auto b = ask(tills, "b", keyed("k"), deposit(6));
  settle();
  BOOST_TEST(a.cents() == 5);
  BOOST_TEST(b.cents() == 6);
}

BOOST_FIXTURE_TEST_CASE(a_key_too_long_or_no_text_is_refused, till_world) {
  for (const auto& key :
       {std::string(256, 'k'), std::string{"\xff"}, std::string{"\xc3"}, std::string{"\xed\xa0\x80"}}) {
    auto request = done(key, deposit(5));
    BOOST_TEST((request.code() == entity_errc::invalid_command));
    BOOST_TEST(request.failure().message().find("idempotency key") != std::string::npos);
  }
  BOOST_TEST(journal.submitted == 0u);
  for (const auto& key : {std::string(255, 'k'), std::string{"\xc3\xa4"}, std::string{"\0x", 2}}) {
    auto first = done(key, deposit(5)).cents();
    BOOST_TEST(done(key, deposit(5)).cents() == first);
  }
  BOOST_TEST(balance() == 15);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(bounds)

BOOST_AUTO_TEST_CASE(the_newest_answers_are_kept) {
  for (auto restarts : {false, true}) {
    till_world world{{.answers = {.keep = 2}}};
    world.done("k", deposit(1));
    world.done("l", deposit(10));
    world.done("m", deposit(100));
    if (restarts)
      world.restart();
    BOOST_TEST(world.done("l", deposit(10)).cents() == 11);
    BOOST_TEST(world.done("m", deposit(100)).cents() == 111);
    BOOST_TEST(world.done("k", deposit(1)).cents() == 112);
    if (restarts)
      world.restart();
    BOOST_TEST(world.done("m", deposit(100)).cents() == 111);
    BOOST_TEST(world.done("k", deposit(1)).cents() == 112);
    BOOST_TEST(world.done("l", deposit(10)).cents() == 122);
  }
}

BOOST_AUTO_TEST_CASE(no_answers_are_kept_where_none_are_wanted) {
  till_world world{{.answers = {.keep = 0}}};
  BOOST_TEST(world.done("k", deposit(5)).cents() == 5);
  BOOST_TEST(world.done("k", deposit(5)).cents() == 10);
  world.restart();
  BOOST_TEST(world.done("k", deposit(5)).cents() == 15);
}

BOOST_AUTO_TEST_CASE(answers_grow_old_by_the_times_of_the_commands) {
  for (auto restarts : {false, true}) {
    till_world world{{.answers = {.age = 10s}}};
    auto next = [&] {
      if (restarts)
        world.restart();
    };
    BOOST_TEST(world.done("k", deposit(5), at(1s)).cents() == 5);
    next();
    BOOST_TEST(world.done("k", deposit(5), at(11s)).cents() == 5);
    next();
    BOOST_TEST(world.done("k", deposit(5), at(11s) + 1us).cents() == 10);
    next();
    BOOST_TEST(world.done("k", deposit(5), at(12s)).cents() == 10);
    BOOST_TEST(world.events("till-a").size() == 2u);
  }
}

BOOST_AUTO_TEST_CASE(an_expired_key_may_name_another_command) {
  till_world world{{.answers = {.age = 10s}}};
  world.done("k", deposit(5), at(1s));
  BOOST_TEST((world.done("k", withdraw(5), at(2s)).code() == entity_errc::key_reused));
  BOOST_TEST(world.done("k", withdraw(5), at(20s)).cents() == 0);
}

BOOST_AUTO_TEST_CASE(answers_may_be_kept_for_ever) {
  till_world world{{.answers = {.age = std::chrono::seconds::max()}}};
  world.done("k", deposit(5), at(1s));
  BOOST_TEST(world.done("k", deposit(5), at(std::chrono::hours{24 * 365 * 100})).cents() == 5);
}

BOOST_AUTO_TEST_CASE(snapshots_hold_the_answers_of_the_events_that_they_spare) {
  till_world world{{.snapshots = {.every = 1, .keep = 1}}};
  auto earliest = ~stream_version{0};
  world.journal.fail_read = [&](const stream_cursor& where) {
    earliest = std::min(earliest, where.next);
    return nothing_wrong();
  };
  world.done("k", deposit(5));
  world.done("n", withdraw(9));
  for (auto& key : {"l", "m"}) { // what a snapshot brought goes into the next one
    earliest = ~stream_version{0};
    world.restart();
    world.done(key, deposit(1));
    BOOST_TEST(earliest > 2u);
    BOOST_TEST(world.done("k", deposit(5)).cents() == 5);
    BOOST_TEST(world.done("n", withdraw(9)).failure().details() == "has 5");
  }
  BOOST_TEST(world.balance() == 7);
}

BOOST_AUTO_TEST_SUITE_END()
