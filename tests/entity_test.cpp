#include "support/entity_world.hpp"

#include <boost/test/unit_test.hpp>

#include <stdexcept>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

using version = expected_version;

/// An account whose functions throw on demand: decide at 666 cents, evolve at 13, the reply's closure at 14.
struct shaky : decider<shaky> {
  static constexpr std::string_view category = "shaky";
  using commands = eventcore::commands<bank::Deposit, bank::GetBalance>;
  using events = eventcore::events<bank::Deposited>;
  struct state {
    std::int64_t cents = 0;
  };

  static void evolve(state& s, const bank::Deposited& e) {
    s.cents += e.cents();
    if (e.cents() == 13)
      throw std::runtime_error{"evolve cannot take 13"};
  }
  static effect<bank::Balance> decide(const state&, const bank::Deposit& c) {
    if (c.cents() == 666)
      throw std::runtime_error{"decide cannot take 666"};
    return persist(make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); }))
        .then_reply([c](const state& s) {
          if (c.cents() == 14)
            throw std::runtime_error{"the reply cannot take 14"};
          return balance(s);
        });
  }
  static effect<bank::Balance> decide(const state& s, const bank::GetBalance&) { return balance(s); }
  static bank::Balance balance(const state& s) {
    return make<bank::Balance>([&](auto& b) { b.set_cents(s.cents); });
  }
};

/// An account that stops after every deposit.
struct shy : decider<shy> {
  static constexpr std::string_view category = "shy";
  using commands = eventcore::commands<bank::Deposit>;
  using events = eventcore::events<bank::Deposited>;
  struct state {
    std::int64_t cents = 0;
  };
  static void evolve(state& s, const bank::Deposited& e) { s.cents += e.cents(); }
  static effect<bank::Balance> decide(const state&, const bank::Deposit& c) {
    return persist(make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); }))
        .then_stop()
        .then_reply(
            [](const state& s) { return make<bank::Balance>([&](auto& b) { b.set_cents(s.cents); }); });
  }
};

struct account_world : entity_world {
  account_world() { append("account-alice", version::none(), {opened(), deposited(1'000)}); }

  host<account> accounts = start<account>();

  template <class Command>
  asked alice(Command command) {
    auto request = ask(accounts, "alice", std::move(command));
    run();
    return request;
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(durable_before_visible)

BOOST_FIXTURE_TEST_CASE(a_reply_is_held_until_its_events_are_durable, account_world) {
  auto request = alice(deposit(500));
  BOOST_TEST(!request.answered());
  BOOST_TEST(events("account-alice").size() == 2u);
  write();
  run();
  BOOST_TEST(request.cents() == 1'500);
  BOOST_TEST(events("account-alice").size() == 3u);
}

BOOST_FIXTURE_TEST_CASE(queries_and_rejections_are_held_until_what_they_saw_is_durable, account_world) {
  auto first = alice(deposit(500));
  auto query = alice(bank::GetBalance{});
  auto refused = alice(withdraw(9'999));
  BOOST_TEST(!query.answered());
  BOOST_TEST(!refused.answered());
  settle();
  BOOST_TEST(first.cents() == 1'500);
  BOOST_TEST(query.cents() == 1'500);
  auto failure = refused.failure();
  BOOST_TEST((failure.code() == entity_errc::rejected));
  BOOST_TEST(failure.message() == "insufficient funds");
  BOOST_TEST(failure.reason() == "rejected");
}

BOOST_FIXTURE_TEST_CASE(a_query_on_a_durable_state_is_answered_at_once, account_world) {
  BOOST_TEST(alice(bank::GetBalance{}).cents() == 1'000);
  BOOST_TEST(journal.submitted == 0u);
}

BOOST_FIXTURE_TEST_CASE(commands_are_pipelined_into_one_transaction, account_world) {
  std::vector<asked> requests;
  for (auto i = 0; i != 10; ++i)
    requests.push_back(alice(deposit(1)));
  BOOST_TEST(journal.submitted == 10u);
  auto before = journal.stats().transactions;
  write();
  run();
  BOOST_TEST(journal.stats().transactions == before + 1);
  for (auto i = 0; i != 10; ++i)
    BOOST_TEST(requests[i].cents() == 1'001 + i);
}

BOOST_FIXTURE_TEST_CASE(an_effect_without_reply_answers_a_request_with_an_empty_message, account_world) {
  auto request = ask(accounts, "bob", open_account());
  run();
  BOOST_TEST(!request.answered());
  settle();
  BOOST_TEST(request.answer().empty());
}

BOOST_FIXTURE_TEST_CASE(metadata_and_time_of_the_context_go_into_the_events, account_world) {
  command_context context;
  context.now = timestamp{42us};
  context.metadata.tenant = "acme";
  context.metadata.headers["k"] = "v";
  auto request = ask(accounts, "alice", context, deposit(1));
  settle();
  BOOST_TEST(request.cents() == 1'001);
  auto last = events("account-alice").back();
  BOOST_TEST((last.metadata == context.metadata));
  BOOST_TEST((last.occurred_at == context.now));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(conflicts)

BOOST_FIXTURE_TEST_CASE(a_lost_command_is_decided_again_and_the_caller_notices_nothing, account_world) {
  alice(bank::GetBalance{});
  submit("account-alice", version::exact(2), {withdrawn(900)});
  auto too_much = alice(withdraw(500));
  auto fits = alice(withdraw(100));
  auto query = alice(bank::GetBalance{});
  settle();
  BOOST_TEST((too_much.code() == entity_errc::rejected));
  BOOST_TEST(fits.cents() == 0);
  BOOST_TEST(query.cents() == 0);
  BOOST_TEST(events("account-alice").size() == 4u);
}

// A expects 2 and loses to a stranger's third event; B, decided on A, expects 3 and would pass by its number
// alone.
BOOST_FIXTURE_TEST_CASE(what_was_decided_on_a_lost_command_never_passes_by_its_version, account_world) {
  alice(bank::GetBalance{});
  submit("account-alice", version::exact(2), {withdrawn(1'000)});
  auto a = alice(deposit(700));
  auto b = alice(withdraw(1'700));
  write();
  BOOST_TEST(events("account-alice").size() == 3u);
  settle();
  BOOST_TEST(a.cents() == 700);
  BOOST_TEST((b.code() == entity_errc::rejected));
  auto all = events("account-alice");
  BOOST_REQUIRE(all.size() == 4u);
  BOOST_TEST(all[3].type == "bank.Deposited");
}

BOOST_FIXTURE_TEST_CASE(commands_before_the_lost_one_are_answered_with_success, account_world) {
  std::vector<asked> requests;
  for (auto i = 0; i != 3; ++i)
    requests.push_back(alice(deposit(1)));
  auto turn = 0;
  journal.fail_commit = [&](const commit&) -> std::optional<error> {
    if (++turn == 2)
      return make_error(journal_errc::conflict, "lost");
    return std::nullopt;
  };
  write();
  run();
  BOOST_TEST(requests[0].cents() == 1'001);
  BOOST_TEST(!requests[1].answered());
  auto later = alice(deposit(10));
  settle();
  BOOST_TEST(requests[1].cents() == 1'002);
  BOOST_TEST(requests[2].cents() == 1'003);
  BOOST_TEST(later.cents() == 1'013);
  BOOST_TEST(events("account-alice").size() == 6u);
}

BOOST_FIXTURE_TEST_CASE(who_loses_too_often_is_told, account_world) {
  journal.fail_commit = [](const commit&) { return make_error(journal_errc::conflict, "lost"); };
  auto request = alice(deposit(1));
  auto query = alice(bank::GetBalance{});
  settle();
  BOOST_TEST((request.code() == entity_errc::conflict));
  BOOST_TEST(query.cents() == 1'000);
  BOOST_TEST(journal.submitted == 1 + host_options{}.max_redecisions);
  journal.fail_commit = nullptr;
  auto next = alice(deposit(1));
  settle();
  BOOST_TEST(next.cents() == 1'001);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(journal_failures)

BOOST_FIXTURE_TEST_CASE(overloaded_is_said_before_anything_happened, account_world) {
  alice(bank::GetBalance{});
  journal.fail_reserve = [] { return make_error(journal_errc::overloaded, "the writer is behind"); };
  auto request = alice(deposit(1));
  BOOST_TEST((request.code() == entity_errc::overloaded));
  journal.fail_reserve = nullptr;
  BOOST_TEST(journal.submitted == 0u);
  BOOST_TEST(alice(bank::GetBalance{}).cents() == 1'000);
}

BOOST_FIXTURE_TEST_CASE(a_full_disk_fails_all_that_wait_and_nothing_happened, account_world) {
  auto full = true;
  journal.fail_commit = [&](const commit&) -> std::optional<error> {
    if (full)
      return make_error(journal_errc::disk_full, "no space left");
    return std::nullopt;
  };
  std::vector<asked> requests;
  for (auto i = 0; i != 40; ++i)
    requests.push_back(alice(deposit(1)));
  auto query = alice(bank::GetBalance{});
  settle();
  for (auto& request : requests) {
    BOOST_TEST((request.code() == entity_errc::not_persisted));
    BOOST_TEST(request.failure().message() == "no space left");
  }
  BOOST_TEST(query.cents() == 1'000);
  full = false;
  auto next = alice(deposit(1));
  settle();
  BOOST_TEST(next.cents() == 1'001);
}

BOOST_FIXTURE_TEST_CASE(a_commit_too_large_fails_alone, account_world) {
  journal.fail_commit = [](const commit& c) -> std::optional<error> {
    if (c.appends[0].events[0].payload == deposited(7).payload)
      return make_error(journal_errc::too_large, "too large");
    return std::nullopt;
  };
  auto before = alice(deposit(1));
  auto large = alice(deposit(7));
  auto after = alice(deposit(100));
  settle();
  BOOST_TEST(before.cents() == 1'001);
  BOOST_TEST((large.code() == entity_errc::not_persisted));
  BOOST_TEST(after.cents() == 1'101);
}

BOOST_AUTO_TEST_CASE(an_unknown_outcome_is_said_and_what_follows_sees_the_truth) {
  for (auto written : {false, true}) {
    account_world world;
    world.journal.written_nevertheless = written;
    world.journal.fail_commit = [turn = 0](const commit&) mutable -> std::optional<error> {
      if (++turn == 1)
        return make_error(journal_errc::outcome_unknown, "the disk went away");
      return std::nullopt;
    };
    auto first = world.alice(deposit(10));
    auto second = world.alice(deposit(1));
    world.settle();
    BOOST_TEST((first.code() == entity_errc::outcome_unknown));
    BOOST_TEST(second.cents() == (written ? 1'011 : 1'001));
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(deciders_that_throw)

BOOST_AUTO_TEST_CASE(a_throwing_decide_leaves_the_state_alone) {
  entity_world world;
  auto host = world.start<shaky>();
  auto one = world.ask(host, "a", deposit(1));
  auto bad = world.ask(host, "a", deposit(666));
  auto two = world.ask(host, "a", deposit(2));
  world.settle();
  BOOST_TEST(one.cents() == 1);
  BOOST_TEST((bad.code() == entity_errc::decider_failed));
  BOOST_TEST(bad.failure().message().find("decide cannot take 666") != std::string::npos);
  BOOST_TEST(two.cents() == 3);
  BOOST_TEST(world.events("shaky-a").size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_throwing_evolve_or_reply_never_reaches_the_journal_and_the_state_is_rebuilt) {
  for (auto cents : {13, 14}) {
    entity_world world;
    auto host = world.start<shaky>();
    auto one = world.ask(host, "a", deposit(1));
    auto bad = world.ask(host, "a", deposit(cents));
    auto two = world.ask(host, "a", deposit(2));
    world.run();
    BOOST_TEST(!bad.answered());
    world.settle();
    BOOST_TEST(one.cents() == 1);
    BOOST_TEST((bad.code() == entity_errc::decider_failed));
    BOOST_TEST(two.cents() == 3);
    BOOST_TEST(world.events("shaky-a").size() == 2u);
  }
}

BOOST_AUTO_TEST_CASE(an_evolve_that_throws_on_recovery_is_named_and_tried_again_with_back_off) {
  entity_world world;
  world.append("shaky-a", version::none(), {deposited(1), deposited(13)});
  auto host = world.start<shaky>({.backoff = 100ms});
  auto request = world.ask(host, "a", bank::GetBalance{});
  world.run();
  auto failure = request.failure();
  BOOST_TEST((failure.code() == entity_errc::recovery_failed));
  for (auto* word : {"shaky-a", "event 2", "position 2", "bank.Deposited", "evolve cannot take 13"})
    BOOST_TEST(failure.message().find(word) != std::string::npos, word << " in: " << failure.message());

  auto reads = 0;
  world.journal.fail_read = [&](const stream_cursor&) -> std::optional<error> {
    ++reads;
    return std::nullopt;
  };
  auto again = world.ask(host, "a", bank::GetBalance{});
  world.run();
  BOOST_TEST((again.code() == entity_errc::recovery_failed));
  BOOST_TEST(reads == 0);
  world.advance(101ms);
  auto later = world.ask(host, "a", bank::GetBalance{});
  world.run();
  BOOST_TEST((later.code() == entity_errc::recovery_failed));
  BOOST_TEST(reads > 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(recovery)

BOOST_AUTO_TEST_CASE(state_is_rebuilt_in_chunks_while_commands_wait_in_order) {
  entity_world world;
  std::vector<new_event> history{opened()};
  for (auto i = 0; i != 1'000; ++i)
    history.push_back(deposited(1));
  world.append("account-alice", version::none(), std::move(history));
  auto reads = 0;
  world.journal.fail_read = [&](const stream_cursor&) -> std::optional<error> {
    ++reads;
    return std::nullopt;
  };
  auto host = world.start<account>({.recovery_chunk = 10});
  auto first = world.ask(host, "alice", deposit(5));
  auto second = world.ask(host, "alice", withdraw(1));
  world.settle();
  BOOST_TEST(first.cents() == 1'005);
  BOOST_TEST(second.cents() == 1'004);
  BOOST_TEST(reads >= 100);
}

BOOST_AUTO_TEST_CASE(an_event_of_unknown_type_stops_the_entity_with_its_name) {
  entity_world world;
  world.append("account-alice", version::none(), {opened(), event_of_message(bank::Balance{})});
  auto host = world.start<account>();
  auto request = world.ask(host, "alice", bank::GetBalance{});
  world.run();
  BOOST_TEST((request.code() == entity_errc::recovery_failed));
  for (auto* word : {"account-alice", "event 2", "position 2", "bank.Balance", "unknown"})
    BOOST_TEST(request.failure().message().find(word) != std::string::npos, word);
}

BOOST_AUTO_TEST_CASE(a_payload_that_does_not_parse_stops_the_entity) {
  entity_world world;
  auto broken = deposited(1);
  broken.payload = "\xff\xff\xff";
  world.append("account-alice", version::none(), {opened(), broken});
  auto host = world.start<account>();
  auto request = world.ask(host, "alice", bank::GetBalance{});
  world.run();
  BOOST_TEST((request.code() == entity_errc::recovery_failed));
  BOOST_TEST(request.failure().message().find("does not parse") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_read_that_fails_is_passed_on_and_recovers_later) {
  entity_world world;
  world.append("account-alice", version::none(), {opened()});
  world.journal.fail_read = [](const stream_cursor&) {
    return make_error(journal_errc::corrupt, "position 1: wrong checksum");
  };
  auto host = world.start<account>();
  auto request = world.ask(host, "alice", deposit(1));
  world.settle();
  BOOST_TEST((request.code() == entity_errc::recovery_failed));
  BOOST_TEST(request.failure().message().find("wrong checksum") != std::string::npos);
  world.journal.fail_read = nullptr;
  world.advance(host_options{}.backoff + 1ms);
  auto again = world.ask(host, "alice", deposit(1));
  world.settle();
  BOOST_TEST(again.cents() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(commands)

BOOST_FIXTURE_TEST_CASE(a_command_that_the_decider_does_not_know_is_named, account_world) {
  auto request = alice(bank::Balance{});
  BOOST_TEST((request.code() == entity_errc::unknown_command));
  BOOST_TEST(request.failure().message().find("bank::Balance") != std::string::npos);
  BOOST_TEST(request.failure().message().find("account") != std::string::npos);
  auto text = ask_raw(accounts, caf::make_message(std::string{"alice"}, std::string{"deposit"}));
  run();
  BOOST_TEST((text.code() == entity_errc::unknown_command));
}

BOOST_FIXTURE_TEST_CASE(a_deadline_counts_when_the_command_is_taken_up, account_world) {
  command_context context;
  context.deadline = system().clock().now() + 10ms;
  auto in_time = ask(accounts, "alice", context, deposit(1));
  run();
  advance(20ms);
  auto late = ask(accounts, "alice", context, deposit(1));
  settle();
  BOOST_TEST(in_time.cents() == 1'001);
  BOOST_TEST((late.code() == entity_errc::deadline_exceeded));
}

BOOST_AUTO_TEST_CASE(an_effect_that_stops_passivates_the_entity_after_its_answer) {
  entity_world world;
  auto host = world.start<shy>();
  auto request = world.ask(host, "a", deposit(1));
  world.run();
  BOOST_TEST(world.stats(host).resident == 1u);
  world.settle();
  BOOST_TEST(request.cents() == 1);
  BOOST_TEST(world.stats(host).resident == 0u);
  auto again = world.ask(host, "a", deposit(1));
  world.settle();
  BOOST_TEST(again.cents() == 2);
}

BOOST_FIXTURE_TEST_CASE(a_plain_send_is_carried_out_and_never_answered, account_world) {
  auto answers = 0;
  auto sender = spawn([&](caf::event_based_actor* self) -> caf::behavior {
    self->set_default_handler([&](caf::scheduled_actor*, caf::message_view&) -> caf::result<caf::message> {
      ++answers;
      return caf::message{};
    });
    self->send(actor_of(accounts), std::string{"alice"}, deposit(1));
    self->send(actor_of(accounts), std::string{"alice"}, withdraw(9'999));
    self->send(actor_of(accounts), std::string{"*"}, deposit(1));
    return {[](int) {}};
  });
  settle();
  BOOST_TEST(answers == 0);
  BOOST_TEST(events("account-alice").size() == 3u);
  caf::anon_send_exit(sender, caf::exit_reason::user_shutdown);
}

BOOST_AUTO_TEST_SUITE_END()
