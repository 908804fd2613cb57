#include "support/account.hpp"
#include "support/subscription_world.hpp"

#include <eventcore/actors/multi_stream.hpp>

#include <boost/test/unit_test.hpp>

#include <random>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t accounts = 3;

std::string account_of(std::int64_t number) {
  return std::to_string(number % accounts);
}

/// Takes money from an account to another one.
struct transfers : multi_stream_decider<transfers> {
  using commands = eventcore::commands<bank::Transfer>;
  using streams = eventcore::folds<account>;

  static void declare(stream_set& s, const bank::Transfer& c) {
    s.read<account>(c.from());
    s.read<account>(c.to());
  }
  static effect<no_reply> decide(const stream_states& s, const bank::Transfer& c) {
    if (s.get<account>(c.from()).cents < c.cents())
      return reject("insufficient funds");
    return append<account>(c.from(), make<bank::Withdrawn>([&](auto& e) { e.set_cents(c.cents()); }))
        .append<account>(c.to(), make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); }));
  }
};

/// Answers each number with a deposit of so many cents; a negative one with a withdrawal, 0 with nothing, and one above a million
/// with a transfer.
struct depositor : subscriber<depositor> {
  using events = eventcore::events<Happened>;

  reaction handle(const Happened& e) {
    if (e.number() == 0)
      return nothing();
    if (e.number() > 1'000'000)
      return to<transfers>(make<bank::Transfer>([&](auto& c) {
        c.set_from("0");
        c.set_to("1");
        c.set_cents(e.number() - 1'000'000);
      }));
    if (e.number() < 0)
      return to<account>("0", make<bank::Withdraw>([&](auto& c) { c.set_cents(-e.number()); }));
    return to<account>(account_of(e.number()),
                       make<bank::Deposit>([&](auto& c) { c.set_cents(e.number()); }));
  }
};

/// A decider that nobody hosts.
struct nobody : decider<nobody> {
  static constexpr std::string_view category = "nobody";
  using commands = eventcore::commands<bank::Deposit>;
  using events = eventcore::events<bank::Deposited>;
  struct state {};
  static void evolve(state&, const bank::Deposited&) {}
  static effect<no_reply> decide(const state&, const bank::Deposit&) { return nothing(); }
};

struct lost : subscriber<lost> {
  using events = eventcore::events<Happened>;
  reaction handle(const Happened&) { return to<nobody>("1", bank::Deposit{}); }
};

struct reaction_world : subscription_world {
  host<account> bank = start<account>();
  multi_stream_host<transfers> moves = world::start_multi_stream<transfers>();

  reaction_world() {
    options.filter.categories = {"order"};
    for (std::int64_t i = 0; i < accounts; ++i)
      append("account-" + std::to_string(i), expected_version::none(), {serialise_opened()});
  }

  static new_event serialise_opened() {
    return {bank::Opened::descriptor(), bank::Opened{}.SerializeAsString(), 1};
  }

  subscription react() {
    auto s = subscribe<depositor>(options);
    settle();
    return must(std::move(s));
  }

  /// The cents of the deposits to account `i`, in order.
  std::vector<std::int64_t> deposits(std::int64_t i) {
    std::vector<std::int64_t> found;
    for (auto& event : events("account-" + std::to_string(i)))
      if (bank::Deposited e; event.type == e.GetTypeName() && e.ParseFromString(event.payload))
        found.push_back(e.cents());
    return found;
  }

  std::int64_t balance(std::int64_t i) {
    std::int64_t cents = 0;
    for (auto& event : events("account-" + std::to_string(i))) {
      if (bank::Deposited e; event.type == e.GetTypeName() && e.ParseFromString(event.payload))
        cents += e.cents();
      if (bank::Withdrawn e; event.type == e.GetTypeName() && e.ParseFromString(event.payload))
        cents -= e.cents();
    }
    return cents;
  }
};

using cents = std::vector<std::int64_t>;

} // namespace

BOOST_FIXTURE_TEST_SUITE(subscription_reaction_test, reaction_world)

/// spec 11
BOOST_AUTO_TEST_CASE(the_command_s_commit_moves_the_cursor) {
  auto s = react();
  std::vector<std::size_t> commits;
  journal.fail_commit = [&](const commit& c) -> std::optional<error> {
    if (!c.cursors.empty())
      commits.push_back(c.appends.size());
    return std::nullopt;
  };
  happen("order-1", {3, 6});
  BOOST_TEST((deposits(0) == cents{3, 6}));
  BOOST_TEST(cursor() == accounts + 2u);
  BOOST_TEST((commits == std::vector<std::size_t>{1, 1}));
  BOOST_TEST(stats(s).handled == 2u);
  const auto event = events("account-0").at(1);
  BOOST_TEST(event.metadata.causation_id == to_string(events("order-1")[0].id));
  BOOST_TEST(event.metadata.correlation_id == event.metadata.causation_id);
}

BOOST_AUTO_TEST_CASE(a_multi_stream_command_does_so_too) {
  auto s = react();
  happen("order-1", {9, 1'000'004});
  BOOST_TEST(balance(0) == 5);
  BOOST_TEST(balance(1) == 4);
  BOOST_TEST(cursor() == accounts + 2u);
  happen("order-1", {1'000'400});
  BOOST_TEST(balance(0) == 5);
  BOOST_TEST(stats(s).rejected == 1u);
}

BOOST_AUTO_TEST_CASE(a_rejected_command_moves_the_cursor) {
  auto s = react();
  happen("order-1", {-50, 3});
  BOOST_TEST(balance(0) == 3);
  BOOST_TEST(stats(s).rejected == 1u);
  BOOST_TEST(cursor() == accounts + 2u);
}

BOOST_AUTO_TEST_CASE(nothing_to_do_moves_the_cursor_later) {
  react();
  happen("order-1", {0});
  pass(200ms);
  BOOST_TEST(cursor() >= accounts + 1u);
}

BOOST_AUTO_TEST_CASE(a_command_whose_outcome_is_not_known_is_found_out) {
  for (auto written : {true, false}) {
    auto s = react();
    const auto before = deposits(0).size();
    journal.written_nevertheless = written;
    bool failed = false;
    journal.fail_commit = [&](const commit& c) -> std::optional<error> {
      if (c.appends.empty() || std::exchange(failed, true))
        return std::nullopt;
      return make_error(journal_errc::outcome_unknown, "who knows");
    };
    happen("order-1", {3, 6});
    pass(5s);
    BOOST_TEST(failed);
    BOOST_TEST(deposits(0).size() == before + 2);
    BOOST_TEST((stats(s).state == subscription_state::live));
    stop(s);
  }
}

BOOST_AUTO_TEST_CASE(a_command_for_nobody_is_a_failure) {
  auto s = must(subscribe<lost>(options));
  settle();
  happen("order-1", {1});
  pass(10s);
  BOOST_TEST((stats(s).state == subscription_state::stopped));
  check_contains(stats(s).last_error, "nobody");
}

BOOST_AUTO_TEST_CASE(a_command_that_always_fails_is_parked_and_replayed_exactly_once) {
  options.on_failure = on_failure::park;
  options.retries = 1;
  auto s = react();
  auto refuse = [&](const commit& c) -> std::optional<error> {
    if (!c.appends.empty() && c.appends[0].stream.category() == "account")
      return make_error(journal_errc::not_owned, "not ours");
    return std::nullopt;
  };
  journal.fail_commit = refuse;
  happen("order-1", {3});
  pass(1s);
  BOOST_TEST(stats(s).parked == 1u);
  journal.fail_commit = nullptr;
  happen("order-1", {6});
  BOOST_TEST((deposits(0) == cents{6}));

  const auto replay = [&] {
    auto letters = must(list_dead_letters(journal, "sub"));
    commit c;
    DeadLetterReplayWanted wish;
    wish.set_position(letters.at(0).position);
    c.appends.push_back(
        {*stream_id::parse("deadletter-sub"), expected_version::any(), {internal::serialise(wish)}});
    journal.inner().submit(std::move(c), *journal.inner().reserve(), nullptr, 0);
    journal.inner().step();
    caf::anon_send(actor_of(s), internal::look_at_letters{});
  };
  // It fails again, and stays.
  journal.fail_commit = refuse;
  replay();
  settle();
  pass(1s);
  BOOST_TEST(stats(s).replays_failed == 1u);
  BOOST_TEST(must(list_dead_letters(journal, "sub")).size() == 1u);
  journal.fail_commit = nullptr;
  // The process ends when the command is committed, and before that is recorded.
  replay();
  for (int i = 0; i < 100 && deposits(0).size() == 1; ++i) {
    run();
    write();
  }
  BOOST_TEST((deposits(0) == cents{6, 3}));
  kill(s);
  journal.lose_all_but(0);
  BOOST_TEST(must(list_dead_letters(journal, "sub")).size() == 1u);
  s = react();
  BOOST_TEST((deposits(0) == cents{6, 3}));
  BOOST_TEST(must(list_dead_letters(journal, "sub")).empty());
}

BOOST_AUTO_TEST_CASE(it_cannot_be_shared_by_workers) {
  options.workers = 2;
  auto s = subscribe<depositor>(options);
  BOOST_REQUIRE(!s.has_value());
  BOOST_TEST((s.error().code() == subscription_errc::invalid_options));
}

/// spec 11: everything in memory is lost 100 times, at any step of actors and journal, with the commits that were not written.
BOOST_AUTO_TEST_CASE(killed_a_hundred_times_it_ends_with_exactly_the_right_state) {
  for (unsigned seed = 1; seed <= 3; ++seed) {
    reaction_world w;
    std::minstd_rand random{seed};
    auto s = w.react();
    std::map<std::int64_t, cents> wanted;
    std::int64_t number = 0;
    int kills = 0;
    const auto happen_some = [&] {
      std::vector<new_event> list;
      for (auto n = random() % 20; n > 0; --n) {
        list.push_back(happened(++number));
        wanted[number % accounts].push_back(number);
      }
      if (!list.empty())
        w.append("order-1", expected_version::any(), std::move(list));
    };
    while (kills < 100) {
      happen_some();
      for (auto steps = random() % 120; steps > 0; --steps) {
        if (random() % 4 == 0)
          w.write();
        else
          w.run_one(random());
        if (random() % 50 == 0)
          w.advance(std::chrono::milliseconds{random() % 300});
      }
      if (random() % 2 == 0)
        continue;
      ++kills;
      const auto waiting = random() % 3;
      caf::anon_send(actor_of(s), internal::stop_host{true});
      caf::anon_send(actor_of(w.bank), internal::stop_host{true});
      w.journal.lose_all_but(waiting);
      w.run();
      w.write();
      w.bank = w.start<account>();
      s = must(w.subscribe<depositor>(w.options));
    }
    w.settle();
    for (int i = 0; i < 100 && w.stats(s).lag() > 0; ++i)
      w.pass(1s);
    BOOST_TEST(w.stats(s).lag() == 0u);
    for (std::int64_t i = 0; i < accounts; ++i)
      BOOST_TEST((w.deposits(i) == wanted[i]), "account " << i << " with seed " << seed);
  }
}

BOOST_AUTO_TEST_SUITE_END()
