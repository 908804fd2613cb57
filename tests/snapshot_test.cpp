#include "support/entity_world.hpp"
#include "support/journal_helpers.hpp"

#include <eventcore/actors/internal/fold_state.hpp>

#include "snapshot.pb.h"

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

using version = expected_version;

/// Amounts at which saving or loading throws, something of `std` or something else.
constexpr std::int64_t unloadable = 13;
constexpr std::int64_t oddly_unloadable = 26;
constexpr std::int64_t unsavable = 14;
constexpr std::int64_t oddly_unsavable = 28;

/// An account whose states of another version have another meaning: they count each cent `Version` times.
template <std::uint32_t Version>
struct vault : decider<vault<Version>> {
  static constexpr std::string_view category = "vault";
  using commands = eventcore::commands<bank::Open, bank::Deposit, bank::Withdraw, bank::GetBalance>;
  using events = eventcore::events<bank::Opened, bank::Deposited, bank::Withdrawn>;
  template <class R>
  using effect = eventcore::effect<vault, R>;
  using base = decider<vault>;
  struct state {
    std::string owner;
    std::int64_t cents = 0;
  };

  static void evolve(state& s, const bank::Opened& e) { s.owner = e.owner(); }
  static void evolve(state& s, const bank::Deposited& e) { s.cents += e.cents() * Version; }
  static void evolve(state& s, const bank::Withdrawn& e) { s.cents -= e.cents() * Version; }

  static effect<no_reply> decide(const state&, const bank::Open& c) {
    return base::persist(make<bank::Opened>([&](auto& e) { e.set_owner(c.owner()); }));
  }
  static effect<bank::Balance> decide(const state&, const bank::Deposit& c) {
    return base::persist(make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); })).then_reply(balance);
  }
  /// Two events: the amount and a fee of one cent.
  static effect<bank::Balance> decide(const state&, const bank::Withdraw& c) {
    return base::persist(make<bank::Withdrawn>([&](auto& e) { e.set_cents(c.cents()); }),
                         make<bank::Withdrawn>([&](auto& e) { e.set_cents(1); }))
        .then_reply(balance);
  }
  static effect<bank::Balance> decide(const state& s, const bank::GetBalance&) { return balance(s); }
  static bank::Balance balance(const state& s) {
    return make<bank::Balance>([&](auto& b) { b.set_cents(s.cents); });
  }

  static constexpr std::uint32_t state_version = Version;
  static snapshot_test::Vault to_snapshot(const state& s) {
    if (s.cents == unsavable)
      throw std::runtime_error{"to_snapshot cannot save 14"};
    if (s.cents == oddly_unsavable)
      throw s.cents;
    return make<snapshot_test::Vault>([&](auto& m) {
      m.set_owner(s.owner);
      m.set_cents(s.cents);
    });
  }
  static state from_snapshot(const snapshot_test::Vault& m) {
    if (m.cents() == unloadable)
      throw std::runtime_error{"from_snapshot cannot load 13"};
    if (m.cents() == oddly_unloadable)
      throw m.cents();
    return {m.owner(), m.cents()};
  }
};

/// An account whose state is a Protobuf message, which needs no functions to be saved.
struct chest : decider<chest> {
  static constexpr std::string_view category = "chest";
  using commands = eventcore::commands<bank::Deposit>;
  using events = eventcore::events<bank::Deposited>;
  using state = snapshot_test::Chest;

  static void evolve(state& s, const bank::Deposited& e) { s.set_cents(s.cents() + e.cents()); }
  static effect<bank::Balance> decide(const state&, const bank::Deposit& c) {
    return persist(make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); }))
        .then_reply(
            [](const state& s) { return make<bank::Balance>([&](auto& b) { b.set_cents(s.cents()); }); });
  }
};

constexpr auto stream = "vault-a";
const std::string form = "snapshot_test.Vault";

snapshot_options saved_every(std::size_t every, std::size_t keep = 100) {
  return {.every = every, .on_passivation = 0, .keep = keep};
}

/// One entity, "a". The first read of its stream is noted at each recovery.
struct vault_world : entity_world {
  explicit vault_world(const snapshot_options& snapshots)
      : options{.idle_time = 100ms, .snapshots = snapshots} {
    start_anew<vault<1>>();
    journal.fail_read = [this](const stream_cursor& where) -> std::optional<error> {
      if (!first_read)
        first_read = where.next;
      return std::nullopt;
    };
  }

  host_options options;
  host_handle host;
  std::optional<stream_version> first_read;

  template <class D>
  void start_anew() {
    if (host) {
      auto end = ask_raw(host, caf::make_message(internal::stop_host{}));
      settle();
      BOOST_REQUIRE(end.answered());
    }
    host = start<D>(options);
    first_read.reset();
  }
  void restart() { start_anew<vault<1>>(); }

  void passivate() {
    for (auto i = 0; i != 10; ++i)
      advance(25ms);
    settle();
    BOOST_REQUIRE(stats(host).resident == 0u);
    first_read.reset();
  }

  template <class Command>
  asked send(Command command) {
    auto request = ask(host, "a", std::move(command));
    run();
    return request;
  }
  template <class Command>
  asked done(Command command) {
    auto request = send(std::move(command));
    settle();
    return request;
  }
  void deposit_each(std::initializer_list<std::int64_t> amounts) {
    for (auto cents : amounts)
      BOOST_REQUIRE(done(deposit(cents)).answered());
  }
  std::int64_t balance() { return done(bank::GetBalance{}).cents(); }

  void plant(stream_version at, std::uint32_t state_version, std::string state) {
    journal.inner().save_snapshot(
        sid(stream), {at, events(stream).at(at - 1).position, form, state_version, std::move(state)});
  }

  std::vector<snapshot> all_snapshots() {
    std::vector<snapshot> all;
    auto up_to = ~stream_version{0};
    while (auto found = must(journal.inner().load_snapshot(sid(stream), form, up_to))) {
      up_to = found->version - 1;
      all.push_back(std::move(*found));
    }
    return all;
  }
  /// The versions of the snapshots, newest first. Each must be what the durable events up to it make.
  std::vector<stream_version> snapshots() {
    std::vector<stream_version> versions;
    auto history = events(stream);
    for (const auto& s : all_snapshots()) {
      BOOST_REQUIRE(s.version >= 1u);
      BOOST_REQUIRE(s.version <= history.size());
      BOOST_TEST(s.position == history[s.version - 1].position);
      internal::fold_state loaded{entity_type_of<vault<1>>()};
      internal::fold_state folded{entity_type_of<vault<1>>()};
      BOOST_REQUIRE(!loaded.load(s, {}));
      for (std::size_t i = 0; i != s.version; ++i)
        BOOST_REQUIRE(!folded.apply(history[i], {}));
      BOOST_TEST(cents_of(loaded) == cents_of(folded), "version " << s.version);
      versions.push_back(s.version);
    }
    return versions;
  }

private:
  static std::int64_t cents_of(const internal::fold_state& s) {
    return static_cast<const vault<1>::state*>(s.get())->cents;
  }
};

using versions = std::vector<stream_version>;

} // namespace

BOOST_AUTO_TEST_SUITE(taking)

BOOST_AUTO_TEST_CASE(a_state_is_saved_every_so_many_events) {
  vault_world world{saved_every(3)};
  world.deposit_each({1, 2});
  BOOST_TEST((world.snapshots() == versions{}));
  world.deposit_each({3});
  BOOST_TEST((world.snapshots() == versions{3}));
  world.deposit_each({4, 5, 6, 7});
  BOOST_TEST((world.snapshots() == versions{6, 3}));
  BOOST_TEST(world.stats(world.host).snapshots_saved == 2u);
  auto newest = world.all_snapshots().front();
  BOOST_TEST(newest.type == form);
  BOOST_TEST(newest.type_version == 1u);
}

BOOST_AUTO_TEST_CASE(a_snapshot_never_cuts_a_commit) {
  vault_world world{saved_every(3)};
  for (auto i = 0; i != 4; ++i)
    BOOST_REQUIRE(world.done(withdraw(5)).answered());
  BOOST_TEST((world.snapshots() == versions{8, 4}));
}

BOOST_AUTO_TEST_CASE(the_newest_snapshots_are_kept) {
  vault_world world{saved_every(1, 3)};
  world.deposit_each({1, 2, 3, 4, 5});
  BOOST_TEST((world.snapshots() == versions{5, 4, 3}));
}

BOOST_AUTO_TEST_CASE(the_count_goes_on_from_the_snapshot_of_a_recovery) {
  vault_world world{saved_every(3)};
  world.deposit_each({1, 2, 3, 4});
  world.restart();
  world.deposit_each({5});
  BOOST_TEST((world.snapshots() == versions{3}));
  world.deposit_each({6});
  BOOST_TEST((world.snapshots() == versions{6, 3}));
}

BOOST_AUTO_TEST_CASE(nothing_is_saved_where_nobody_asks_for_it) {
  vault_world world{saved_every(0)};
  world.deposit_each({1, 2, 3});
  world.passivate();
  BOOST_TEST((world.snapshots() == versions{}));
}

BOOST_AUTO_TEST_CASE(a_decider_without_a_form_for_its_state_saves_nothing) {
  entity_world world;
  auto host = world.start<account>({.snapshots = {.every = 1, .on_passivation = 1}});
  world.ask(host, "a", open_account());
  auto request = world.ask(host, "a", deposit(1));
  world.settle();
  BOOST_TEST(request.cents() == 1);
  BOOST_TEST(world.stats(host).snapshots_saved == 0u);
}

BOOST_AUTO_TEST_CASE(snapshots_know_their_position_among_other_streams) {
  vault_world world{saved_every(2)};
  world.append("vault-b", version::any(), {deposited(1), deposited(1)});
  world.deposit_each({1});
  world.append("vault-b", version::any(), {deposited(1)});
  world.deposit_each({2});
  world.append("vault-b", version::any(), {deposited(1)});
  BOOST_TEST((world.snapshots() == versions{2})); // compares the positions
  world.restart();
  BOOST_TEST(world.balance() == 3);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(durable_states_only)

BOOST_AUTO_TEST_CASE(a_state_is_not_saved_before_its_commit) {
  vault_world world{saved_every(3)};
  for (auto cents : {1, 2, 3, 4, 5, 6, 7})
    world.send(deposit(cents));
  BOOST_TEST((world.snapshots() == versions{}));
  world.settle();
  // The state has run ahead to 7 by now, yet what is saved is the state at 3.
  BOOST_TEST((world.snapshots() == versions{3}));
}

BOOST_AUTO_TEST_CASE(a_commit_that_fails_leaves_no_snapshot_of_its_state) {
  for (auto code : {journal_errc::conflict, journal_errc::disk_full, journal_errc::too_large,
                    journal_errc::outcome_unknown})
    for (auto written : {false, true})
      for (auto failing : {1, 2, 3, 4})
        for (auto every : {1u, 2u}) {
          if (written && code != journal_errc::outcome_unknown)
            continue;
          BOOST_TEST_CONTEXT("code " << code << ", commit " << failing << ", every " << every) {
            vault_world world{saved_every(every)};
            world.journal.written_nevertheless = written;
            world.journal.fail_commit = [&, turn = 0](const commit&) mutable -> std::optional<error> {
              if (++turn == failing)
                return make_error(code, "as the test wants");
              return std::nullopt;
            };
            for (auto cents : {1, 10, 100, 1'000})
              world.send(deposit(cents));
            world.settle();
            world.snapshots(); // compares the states
            world.deposit_each({10'000, 100'000});
            BOOST_TEST(!world.snapshots().empty());
            auto balance = world.balance();
            world.restart();
            BOOST_TEST(world.balance() == balance);
            BOOST_TEST(*world.first_read > 1u);
          }
        }
}

BOOST_AUTO_TEST_CASE(a_commit_that_fails_alone_is_not_saved_when_the_entity_leaves) {
  for (auto passivate : {false, true}) {
    vault_world world{{.every = 1, .on_passivation = 1, .keep = 100}};
    world.journal.fail_commit = [](const commit&) {
      return make_error(journal_errc::disk_full, "no space left");
    };
    BOOST_TEST((world.done(deposit(5)).code() == entity_errc::not_persisted));
    if (passivate)
      world.passivate();
    world.restart();
    BOOST_TEST((world.snapshots() == versions{}));
  }
}

BOOST_AUTO_TEST_CASE(states_that_other_writers_had_part_in_are_saved_as_they_are) {
  vault_world world{saved_every(2)};
  world.deposit_each({1});
  world.submit(stream, version::exact(1), {deposited(100)});
  BOOST_TEST(world.done(deposit(10)).cents() == 111);
  world.append(stream, version::exact(3), {deposited(1'000)});
  BOOST_TEST(world.balance() == 1'111);
  world.deposit_each({10'000, 100'000});
  BOOST_TEST(!world.snapshots().empty());
  world.restart();
  BOOST_TEST(world.balance() == 111'111);
  BOOST_TEST(*world.first_read > 3u);
}

// What is kept in memory for conflicts may be older than what was saved since.
BOOST_AUTO_TEST_CASE(a_conflict_costs_no_more_than_the_events_behind_the_newest_snapshot) {
  vault_world world{saved_every(5)};
  world.deposit_each({1});
  world.submit(stream, version::exact(1), {deposited(1)});
  world.deposit_each({1, 1, 1, 1, 1});
  auto saved = world.snapshots();
  BOOST_REQUIRE(!saved.empty());
  world.first_read.reset();
  world.submit(stream, version::exact(7), {deposited(1)});
  BOOST_TEST(world.done(deposit(1)).cents() == 9);
  BOOST_TEST(*world.first_read == saved.front() + 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(passivation)

BOOST_AUTO_TEST_CASE(the_state_is_saved_when_the_entity_leaves) {
  vault_world world{{.every = 0, .on_passivation = 3, .keep = 100}};
  world.deposit_each({1, 2});
  world.passivate();
  BOOST_TEST((world.snapshots() == versions{}));
  world.deposit_each({3, 4});
  world.passivate();
  BOOST_TEST((world.snapshots() == versions{4}));
  BOOST_TEST(world.balance() == 10);
  BOOST_TEST(*world.first_read == 5u);
  world.passivate();
  BOOST_TEST(world.stats(world.host).snapshots_saved == 1u);
}

BOOST_AUTO_TEST_CASE(the_state_is_saved_when_the_host_stops) {
  vault_world world{{.every = 0, .on_passivation = 3, .keep = 100}};
  world.deposit_each({1, 2, 3});
  world.restart();
  BOOST_TEST((world.snapshots() == versions{3}));
  BOOST_TEST(world.balance() == 6);
  BOOST_TEST(*world.first_read == 4u);
}

BOOST_AUTO_TEST_CASE(a_stop_in_the_midst_of_commits_saves_what_became_durable) {
  vault_world world{{.every = 0, .on_passivation = 1, .keep = 100}};
  for (auto cents : {1, 2, 3})
    world.send(deposit(cents));
  world.restart();
  BOOST_TEST((world.snapshots() == versions{3}));
}

BOOST_AUTO_TEST_CASE(a_long_recovery_is_worth_a_snapshot) {
  vault_world world{{.every = 0, .on_passivation = 3, .keep = 100}};
  world.append(stream, version::none(), {deposited(1), deposited(2), deposited(3)});
  BOOST_TEST(world.balance() == 6);
  world.passivate();
  BOOST_TEST((world.snapshots() == versions{3}));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(recovery)

BOOST_AUTO_TEST_CASE(only_the_events_behind_the_snapshot_are_read) {
  vault_world world{saved_every(4)};
  world.done(make<bank::Open>([](auto& c) { c.set_owner("alice"); }));
  world.deposit_each({1, 2, 3, 4, 5});
  BOOST_TEST((world.snapshots() == versions{4}));
  world.restart();
  BOOST_TEST(world.balance() == 15);
  BOOST_TEST(*world.first_read == 5u);
  BOOST_TEST(world.stats(world.host).snapshots_passed_over == 0u);
}

BOOST_AUTO_TEST_CASE(a_state_that_is_a_message_needs_no_functions) {
  entity_world world;
  auto first_read = stream_version{0};
  {
    auto host = world.start<chest>({.snapshots = saved_every(2)});
    for (auto cents : {1, 2, 3})
      world.ask(host, "a", deposit(cents));
    world.settle();
  }
  auto saved = must(world.journal.inner().load_snapshot(sid("chest-a"), "snapshot_test.Chest"));
  BOOST_REQUIRE(saved);
  world.journal.fail_read = [&](const stream_cursor& where) -> std::optional<error> {
    if (first_read == 0)
      first_read = where.next;
    return std::nullopt;
  };
  auto host = world.start<chest>();
  auto request = world.ask(host, "a", deposit(4));
  world.settle();
  BOOST_TEST(request.cents() == 10);
  BOOST_TEST(first_read == saved->version + 1);
}

BOOST_AUTO_TEST_CASE(snapshots_of_another_state_version_are_passed_over) {
  vault_world world{saved_every(2)};
  world.deposit_each({1, 2, 3, 4});
  BOOST_TEST((world.snapshots() == versions{4, 2}));
  world.start_anew<vault<2>>();
  BOOST_TEST(world.balance() == 20);
  BOOST_TEST(*world.first_read == 1u);
  BOOST_TEST(world.stats(world.host).snapshots_passed_over == 2u);

  world.deposit_each({5});
  BOOST_TEST(world.all_snapshots().front().version == 5u);
  BOOST_TEST(world.all_snapshots().front().type_version == 2u);
  world.start_anew<vault<2>>();
  BOOST_TEST(world.balance() == 30);
  BOOST_TEST(*world.first_read == 6u);

  world.restart(); // an older program finds its own one
  BOOST_TEST(world.balance() == 15);
  BOOST_TEST(*world.first_read == 5u);
  BOOST_TEST(world.stats(world.host).snapshots_passed_over == 1u);
}

BOOST_AUTO_TEST_CASE(a_snapshot_that_does_not_parse_is_passed_over_for_an_older_one) {
  for (const auto& garbage : {std::string{"\xff\xff"}, std::string{"\x0a\x01\xff"}}) { // the outer, the inner
    vault_world world{saved_every(2)};
    world.deposit_each({1, 2, 3});
    world.plant(3, 1, garbage);
    world.restart();
    BOOST_TEST(world.balance() == 6);
    BOOST_TEST(*world.first_read == 3u);
    BOOST_TEST(world.stats(world.host).snapshots_passed_over == 1u);
  }
}

BOOST_AUTO_TEST_CASE(without_any_usable_snapshot_the_events_make_the_state) {
  vault_world world{saved_every(0)};
  world.deposit_each({1, 2, 3});
  world.plant(2, 1, "\xff\xff");
  world.plant(3, 7, "");
  world.restart();
  BOOST_TEST(world.balance() == 6);
  BOOST_TEST(*world.first_read == 1u);
  BOOST_TEST(world.stats(world.host).snapshots_passed_over == 2u);
}

BOOST_AUTO_TEST_CASE(a_snapshot_that_throws_when_loaded_is_passed_over) {
  for (auto cents : {unloadable, oddly_unloadable}) {
    vault_world world{saved_every(1)};
    world.deposit_each({1, cents - 1});
    world.restart();
    BOOST_TEST(world.balance() == cents);
    BOOST_TEST(*world.first_read == 2u);
    BOOST_TEST(world.stats(world.host).snapshots_passed_over == 1u);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(states_that_cannot_be_saved)

BOOST_AUTO_TEST_CASE(a_state_too_large_is_counted_and_breaks_nothing) {
  vault_world world{{.every = 1, .on_passivation = 1, .keep = 100, .max_bytes = 100}};
  world.deposit_each({1});
  BOOST_TEST((world.snapshots() == versions{1}));
  world.done(make<bank::Open>([](auto& c) { c.set_owner(std::string(101, 'x')); }));
  world.deposit_each({2, 3});
  BOOST_TEST((world.snapshots() == versions{1}));
  BOOST_TEST(world.stats(world.host).snapshots_saved == 1u);
  BOOST_TEST(world.stats(world.host).snapshots_too_large == 3u);
  world.passivate();
  BOOST_TEST(world.balance() == 6);
  BOOST_TEST(*world.first_read == 2u);
}

BOOST_AUTO_TEST_CASE(a_state_that_throws_when_saved_breaks_nothing) {
  for (auto cents : {unsavable, oddly_unsavable}) {
    vault_world world{{.every = 1, .on_passivation = 1, .keep = 100}};
    BOOST_TEST(world.done(deposit(cents)).cents() == cents);
    world.passivate();
    BOOST_TEST((world.snapshots() == versions{}));
    BOOST_TEST(world.done(deposit(100)).cents() == cents + 100);
    BOOST_TEST((world.snapshots() == versions{2}));
  }
}

BOOST_AUTO_TEST_CASE(a_state_that_throws_when_saved_at_passivation_breaks_nothing) {
  for (auto cents : {unsavable, oddly_unsavable}) {
    vault_world world{{.every = 0, .on_passivation = 1, .keep = 100}};
    BOOST_TEST(world.done(deposit(cents)).cents() == cents);
    world.passivate();
    BOOST_TEST(world.stats(world.host).passivations == 1u);
    BOOST_TEST((world.snapshots() == versions{}));
    BOOST_TEST(world.done(deposit(100)).cents() == cents + 100);
    world.passivate();
    BOOST_TEST((world.snapshots() == versions{2}));
  }
}

BOOST_AUTO_TEST_SUITE_END()
