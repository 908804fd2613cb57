#include "support/entity_world.hpp"

#include <boost/test/unit_test.hpp>

#include <random>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

using version = expected_version;

asked open_and_deposit(entity_world& world, const host<account>& host, const std::string& id,
                       std::int64_t cents) {
  world.ask(host, id, open_account());
  return world.ask(host, id, deposit(cents));
}

/// An account whose entity leaves after every deposit.
struct fleeting : decider<fleeting> {
  static constexpr std::string_view category = "fleeting";
  using commands = eventcore::commands<bank::Deposit>;
  using events = eventcore::events<bank::Opened, bank::Deposited>;
  struct state {
    std::int64_t cents = 0;
  };
  static void evolve(state&, const bank::Opened&) {}
  static void evolve(state& s, const bank::Deposited& e) { s.cents += e.cents(); }
  static effect<bank::Balance> decide(const state&, const bank::Deposit& c) {
    return persist(make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); }))
        .then_stop()
        .then_reply(
            [](const state& s) { return make<bank::Balance>([&](auto& b) { b.set_cents(s.cents); }); });
  }
};

/// Commands keep coming for a few ids while entities leave and return all the time and are held now and then; actors run one
/// job at a time in between. Returns how often entities left.
template <class D>
std::uint64_t deposit_while_entities_leave(const host_options& options) {
  std::mt19937 random{4711};
  std::uint64_t passivations = 0;
  for (auto round = 0; round != 20; ++round) {
    entity_world world;
    auto host = world.start<D>(options);
    std::vector<std::vector<asked>> requests(4);
    std::vector<asked> holds;
    for (std::size_t i = 0; i != requests.size(); ++i)
      world.append(std::string{D::category} + '-' + std::to_string(i), version::none(), {opened()});
    for (auto step = 0; step != 600; ++step) {
      auto dice = random() % 32;
      auto i = random() % requests.size();
      if (dice < 4)
        requests[i].push_back(world.ask(host, std::to_string(i), deposit(1)));
      else if (dice < 8)
        world.write();
      else if (dice < 12)
        world.scheduler().advance_time(1ms);
      else if (dice < 13)
        holds.push_back(world.ask_raw(
            host, caf::make_message(internal::hold_stream{std::to_string(i), holds.size() + 1, 2ms})));
      else if (dice < 14 && !holds.empty())
        world.ask_raw(host, caf::make_message(internal::release_stream{std::to_string(i), holds.size()}));
      else
        world.run_one(random());
    }
    for (auto end = 0; end != 200; ++end) {
      world.settle();
      world.scheduler().advance_time(1ms);
    }
    world.settle();
    for (auto& hold : holds)
      BOOST_TEST(hold.answered());
    for (auto& stream : requests) {
      std::vector<std::int64_t> balances;
      for (auto& request : stream) {
        BOOST_REQUIRE(request.answered());
        // Bounds may refuse a command, but whatever else is answered is right and in order.
        if (request.answer().template match_elements<bank::Balance>())
          balances.push_back(request.cents());
        else
          BOOST_TEST((request.code() == entity_errc::overloaded));
      }
      for (std::size_t n = 0; n != balances.size(); ++n)
        BOOST_TEST(balances[n] == static_cast<std::int64_t>(n + 1));
    }
    passivations += world.stats(host).passivations;
  }
  return passivations;
}

} // namespace

BOOST_AUTO_TEST_SUITE(what_a_host_takes)

// spec 4: what may stand in a stream id
BOOST_AUTO_TEST_CASE(an_id_that_makes_no_stream_id_is_refused) {
  entity_world world;
  auto host = world.start<account>();
  for (const auto& id : {std::string{"a*"}, std::string{"["}, std::string{"a\nb"}, std::string(300, 'x')}) {
    auto request = world.ask(host, id, bank::GetBalance{});
    world.run();
    BOOST_TEST((request.code() == entity_errc::invalid_id));
  }
  BOOST_TEST(world.stats(host).resident == 0u);
}

BOOST_AUTO_TEST_CASE(an_empty_message_is_answered_with_an_error_and_harms_nobody) {
  entity_world world;
  auto host = world.start<account>();
  auto request = world.ask_raw(host, caf::message{});
  world.run();
  BOOST_TEST((request.code() == entity_errc::unknown_command));
  BOOST_TEST(request.failure().message().find("empty") != std::string::npos);
  auto next = open_and_deposit(world, host, "alice", 1);
  world.settle();
  BOOST_TEST(next.cents() == 1);
}

BOOST_AUTO_TEST_CASE(messages_of_another_form_are_answered_with_their_types) {
  entity_world world;
  auto host = world.start<account>();
  for (const auto& content :
       {caf::make_message(42), caf::make_message(deposit(1)), caf::make_message(std::string{"alice"}),
        caf::make_message(42, deposit(1)), caf::make_message(std::string{"alice"}, 42, deposit(1))}) {
    auto request = world.ask_raw(host, content);
    world.run();
    BOOST_TEST((request.code() == entity_errc::unknown_command));
  }
}

BOOST_AUTO_TEST_CASE(commands_made_without_static_types_arrive_typed) {
  entity_world world;
  auto host = world.start<account>();
  auto opening =
      world.ask_raw(host, internal::make_command_message("alice", {}, std::make_unique<bank::Open>()));
  auto request = world.ask_raw(
      host, internal::make_command_message("alice", {}, std::make_unique<bank::Deposit>(deposit(7))));
  world.settle();
  BOOST_TEST(request.cents() == 7);
}

BOOST_AUTO_TEST_CASE(a_requester_never_learns_the_entitys_handle) {
  entity_world world;
  auto host = world.start<account>();
  caf::actor_addr sender;
  world.spawn([&](caf::event_based_actor* self) -> caf::behavior {
    self->request(actor_of(host), caf::infinite, std::string{"alice"}, bank::GetBalance{})
        .then([&, self](const bank::Balance&) {
          sender = caf::actor_cast<caf::actor_addr>(self->current_sender());
        });
    return {};
  });
  world.settle();
  BOOST_TEST((sender == actor_of(host).address()));
}

BOOST_AUTO_TEST_CASE(typed_requests_from_actors_get_typed_replies_and_errors) {
  entity_world world;
  auto host = world.start<account>();
  world.append("account-alice", version::none(), {opened()});
  std::vector<std::string> log;
  world.spawn([&](caf::event_based_actor* self) -> caf::behavior {
    auto note = [&](const bank::Balance& b) { log.push_back(std::to_string(b.cents())); };
    auto fail = [&](const error& e) { log.push_back(e.message()); };
    request(self, host, "alice", deposit(5), caf::infinite).then(note, fail);
    request(self, host, "alice", withdraw(6), 1s).then(note, fail);
    return {};
  });
  world.settle();
  BOOST_REQUIRE(log.size() == 2u);
  BOOST_TEST(log[0] == "5");
  BOOST_TEST(log[1] == "insufficient funds");
}

BOOST_AUTO_TEST_CASE(a_request_that_times_out_in_flight_is_outcome_unknown) {
  entity_world world;
  auto host = world.start<account>();
  world.append("account-alice", version::none(), {opened()});
  std::optional<std::error_code> code;
  world.spawn([&](caf::event_based_actor* self) -> caf::behavior {
    request(self, host, "alice", deposit(5), 1s)
        .then([](const bank::Balance&) {}, [&](const error& e) { code = e.code(); });
    return {};
  });
  world.run();
  world.advance(2s);
  BOOST_REQUIRE(code);
  BOOST_TEST((*code == entity_errc::outcome_unknown));
}

BOOST_AUTO_TEST_CASE(errors_survive_the_way_through_caf) {
  auto e = make_error(entity_errc::rejected, "no");
  e.with_reason("limit", "12 of 10");
  auto back = from_caf_error(to_caf_error(e));
  BOOST_TEST((back.code() == entity_errc::rejected));
  BOOST_TEST(back.message() == "no");
  BOOST_TEST(back.reason() == "limit");
  BOOST_TEST(back.details() == "12 of 10");
  auto full = from_caf_error(to_caf_error(make_error(journal_errc::disk_full, "full")));
  BOOST_TEST((full.code() == journal_errc::disk_full));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(bounds)

BOOST_AUTO_TEST_CASE(more_commands_than_may_wait_at_an_entity_are_refused) {
  entity_world world;
  world.append("account-alice", version::none(), {opened()});
  auto host = world.start<account>({.max_waiting = 3});
  std::vector<asked> requests;
  for (auto i = 0; i != 5; ++i)
    requests.push_back(world.ask(host, "alice", deposit(1)));
  world.settle();
  for (auto i = 0; i != 3; ++i)
    BOOST_TEST(requests[i].cents() == i + 1);
  for (auto i = 3; i != 5; ++i)
    BOOST_TEST((requests[i].code() == entity_errc::overloaded));
  auto next = world.ask(host, "alice", deposit(1));
  world.settle();
  BOOST_TEST(next.cents() == 4);
}

BOOST_AUTO_TEST_CASE(entities_wait_for_a_permit_to_recover) {
  entity_world world;
  std::vector<asked> requests;
  auto host = world.start<account>({.max_recoveries = 2, .recovery_chunk = 1});
  for (auto i = 0; i != 10; ++i) {
    auto id = std::to_string(i);
    std::vector<new_event> history{opened()};
    history.insert(history.end(), 20, deposited(i));
    world.append("account-" + id, version::none(), std::move(history));
    requests.push_back(world.ask(host, id, bank::GetBalance{}));
  }
  std::set<std::string> reading;
  std::size_t most = 0;
  world.journal.fail_read = [&](const stream_cursor& where) -> std::optional<error> {
    reading.insert(where.stream.str());
    most = std::max(most, reading.size());
    if (where.next == 22)
      reading.erase(where.stream.str());
    return std::nullopt;
  };
  world.run_in_turns();
  for (auto i = 0; i != 10; ++i)
    BOOST_TEST(requests[i].cents() == 20 * i);
  BOOST_TEST(most == 2u);
  BOOST_TEST(world.stats(host).recovering == 0u);
}

BOOST_AUTO_TEST_CASE(idle_entities_are_passivated_and_come_back_with_their_state) {
  entity_world world;
  auto host = world.start<account>({.idle_time = 100ms});
  auto alice = open_and_deposit(world, host, "alice", 5);
  world.settle();
  for (auto i = 0; i != 3; ++i)
    world.advance(25ms);
  auto bob = open_and_deposit(world, host, "bob", 6);
  world.settle();
  for (auto i = 0; i != 3; ++i)
    world.advance(25ms);
  BOOST_TEST(world.stats(host).resident == 1u);
  for (auto i = 0; i != 4; ++i)
    world.advance(25ms);
  BOOST_TEST(world.stats(host).resident == 0u);
  BOOST_TEST(world.stats(host).passivations == 2u);
  auto again = world.ask(host, "alice", bank::GetBalance{});
  world.settle();
  BOOST_TEST(again.cents() == 5);
}

BOOST_AUTO_TEST_CASE(an_entity_with_commits_in_flight_is_not_passivated) {
  entity_world world;
  auto host = world.start<account>({.idle_time = 100ms});
  world.append("account-alice", version::none(), {opened()});
  auto request = world.ask(host, "alice", deposit(5));
  for (auto i = 0; i != 20; ++i)
    world.advance(25ms);
  BOOST_TEST(world.stats(host).resident == 1u);
  world.settle();
  BOOST_TEST(request.cents() == 5);
}

BOOST_AUTO_TEST_CASE(the_entity_used_least_recently_makes_room) {
  entity_world world;
  auto host = world.start<account>({.max_resident = 2});
  for (auto* id : {"a", "b", "a", "c"}) {
    world.ask(host, id, bank::GetBalance{});
    world.settle();
  }
  BOOST_TEST(world.stats(host).resident == 2u);
  auto reads = std::set<std::string>{};
  world.journal.fail_read = [&](const stream_cursor& where) -> std::optional<error> {
    reads.insert(where.stream.str());
    return std::nullopt;
  };
  world.ask(host, "a", bank::GetBalance{});
  world.ask(host, "c", bank::GetBalance{});
  world.settle();
  BOOST_TEST(reads.empty());
  world.ask(host, "b", bank::GetBalance{});
  world.settle();
  BOOST_TEST(reads.size() == 1u);
}

BOOST_AUTO_TEST_CASE(new_ids_are_refused_when_twice_the_limit_is_at_work) {
  entity_world world;
  auto host = world.start<account>({.max_resident = 2});
  std::vector<asked> requests;
  for (auto i = 0; i != 5; ++i) {
    world.ask(host, std::to_string(i), open_account());
    requests.push_back(world.ask(host, std::to_string(i), deposit(1)));
    world.run();
  }
  BOOST_TEST((requests[4].code() == entity_errc::overloaded));
  world.settle();
  for (auto i = 0; i != 4; ++i)
    BOOST_TEST(requests[i].cents() == 1);
}

BOOST_AUTO_TEST_CASE(no_command_is_lost_or_overtaken_while_entities_leave) {
  BOOST_TEST(deposit_while_entities_leave<account>({.idle_time = 4ms, .max_resident = 2}) > 100u);
}

BOOST_AUTO_TEST_CASE(no_command_is_lost_or_overtaken_while_entities_leave_by_themselves) {
  BOOST_TEST(deposit_while_entities_leave<fleeting>({}) > 100u);
}

BOOST_AUTO_TEST_CASE(an_actor_that_is_used_again_knows_nothing_of_the_stream_before) {
  entity_world world;
  auto host = world.start<fleeting>();
  for (auto i = 1; i != 6; ++i) {
    auto one = world.ask(host, std::to_string(i), deposit(i));
    world.settle();
    BOOST_TEST(one.cents() == i);
    BOOST_TEST(world.stats(host).resident == 0u);
  }
  auto again = world.ask(host, "3", deposit(10));
  world.settle();
  BOOST_TEST(again.cents() == 13);
  BOOST_TEST(world.stats(host).activations == 6u);
  BOOST_TEST(world.stats(host).passivations == 6u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_end)

BOOST_AUTO_TEST_CASE(an_orderly_stop_answers_everything) {
  entity_world world;
  world.append("account-alice", version::none(), {opened()});
  auto host = world.start<account>({.max_recoveries = 1, .recovery_chunk = 1});
  auto in_flight = world.ask(host, "alice", deposit(5));
  world.run();
  world.append("account-bob", version::none(), {opened(), deposited(1), deposited(1)});
  auto waiting = world.ask(host, "bob", deposit(5));
  auto stopped = world.ask_raw(host, caf::make_message(internal::stop_host{}));
  auto late = world.ask(host, "alice", deposit(5));
  world.run();
  BOOST_TEST((waiting.code() == entity_errc::stopped));
  BOOST_TEST((late.code() == entity_errc::stopped));
  BOOST_TEST(!in_flight.answered());
  BOOST_TEST(!stopped.answered());
  world.settle();
  BOOST_TEST(in_flight.cents() == 5);
  BOOST_TEST(stopped.answered());
  auto after = world.ask(host, "alice", deposit(5));
  world.run();
  BOOST_TEST((after.code() == entity_errc::stopped));
}

BOOST_AUTO_TEST_CASE(a_stop_at_once_leaves_the_outcome_of_commits_in_flight_open) {
  entity_world world;
  world.append("account-alice", version::none(), {opened()});
  auto host = world.start<account>();
  auto in_flight = world.ask(host, "alice", deposit(5));
  world.run();
  auto stopped = world.ask_raw(host, caf::make_message(internal::stop_host{true}));
  world.run();
  BOOST_TEST((in_flight.code() == entity_errc::outcome_unknown));
  BOOST_TEST(stopped.answered());
  world.settle();
}

BOOST_AUTO_TEST_CASE(commands_that_lost_a_conflict_during_a_stop_are_answered_stopped) {
  entity_world world;
  world.append("account-alice", version::none(), {opened()});
  auto host = world.start<account>();
  world.ask(host, "alice", bank::GetBalance{});
  world.run();
  world.submit("account-alice", version::exact(1), {deposited(1)});
  auto request = world.ask(host, "alice", deposit(5));
  world.run();
  caf::anon_send_exit(actor_of(host), caf::exit_reason::user_shutdown);
  world.settle();
  BOOST_TEST((request.code() == entity_errc::stopped));
  BOOST_TEST(world.events("account-alice").size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_host_that_is_started_again_rebuilds_its_entities) {
  entity_world world;
  {
    auto host = world.start<account>();
    open_and_deposit(world, host, "alice", 5);
    world.settle();
    caf::anon_send_exit(actor_of(host), caf::exit_reason::user_shutdown);
    world.settle();
  }
  auto host = world.start<account>();
  auto request = world.ask(host, "alice", bank::GetBalance{});
  world.run();
  BOOST_TEST(request.cents() == 5);
}

BOOST_AUTO_TEST_SUITE_END()
