// Services of other processes: every kind of call, and every way in which a peer can go wrong.

#include "support/cluster_process.hpp"

#include <eventcore/runtime/cluster_errc.hpp>
#include <eventcore/runtime/service_registry.hpp>

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace eventcore::test;

namespace {

bank::Deposit deposit(std::int64_t cents) {
  return make<bank::Deposit>([&](auto& c) { c.set_cents(cents); });
}

command_context with_key(std::string key) {
  command_context c;
  c.idempotency_key = std::move(key);
  return c;
}

template <class T>
std::string why(const result<T>& outcome) {
  return outcome ? "" : outcome.error().message();
}

/// A node in this process, and a service in another one.
struct two_nodes {
  temp_dir dir;
  std::uint16_t port = free_port();
  service_process bank{member_options(dir.path(), "bank", port)};
  std::optional<node> here;

  void start() {
    bank.start();
    here.emplace(*node::open(member_options(dir.path(), "shop", free_port(), {loopback(port)})));
    BOOST_REQUIRE(here->join());
  }
  void open_account(const std::string& id) {
    auto opened = here->service("bank").ask(id, std::make_unique<bank::Open>(), 10s);
    BOOST_REQUIRE_MESSAGE(opened, why(opened));
  }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(an_entity_of_another_process_answers, two_nodes) {
  start();
  auto bank = here->service("bank");
  open_account("alice");
  auto balance = bank.ask<bank::Balance>("alice", deposit(700), 10s);
  BOOST_REQUIRE_MESSAGE(balance, why(balance));
  BOOST_TEST(balance->cents() == 700);
  auto too_much =
      bank.ask<bank::Balance>("alice", make<bank::Withdraw>([](auto& c) { c.set_cents(1'000); }), 10s);
  BOOST_REQUIRE(!too_much);
  BOOST_TEST(too_much.error().code() == entity_errc::rejected);
  BOOST_TEST(too_much.error().message() == "insufficient funds");
  auto twice = bank.ask("alice", std::make_unique<bank::Open>(), 10s);
  BOOST_REQUIRE(!twice);
  BOOST_TEST(twice.error().reason() == "already_open");
  BOOST_TEST(twice.error().details() == "owner ");
}

BOOST_FIXTURE_TEST_CASE(an_exported_actor_answers, two_nodes) {
  start();
  auto echo = here->service("echo");
  auto answer = echo.ask<bank::Balance>(deposit(5), 10s);
  BOOST_REQUIRE_MESSAGE(answer, why(answer));
  BOOST_TEST(answer->cents() == 5);
  answer = echo.ask<bank::Balance>("any", deposit(6), 10s);
  BOOST_REQUIRE_MESSAGE(answer, why(answer));
  BOOST_TEST(answer->cents() == 6);
  auto refused = echo.ask<bank::Balance>(bank::Withdraw{}, 10s);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().code() == entity_errc::rejected);
  BOOST_TEST(refused.error().reason() == "poor");
}

BOOST_FIXTURE_TEST_CASE(a_command_on_two_streams_and_one_that_nobody_takes, two_nodes) {
  start();
  open_account("a");
  open_account("b");
  auto bank = here->service("bank");
  BOOST_REQUIRE(bank.ask<bank::Balance>("a", deposit(100), 10s));
  const auto transfer = make<bank::Transfer>([](auto& c) {
    c.set_from("a");
    c.set_to("b");
    c.set_cents(30);
  });
  auto left = bank.ask<bank::Balance>(transfer, 10s);
  BOOST_REQUIRE_MESSAGE(left, why(left));
  BOOST_TEST(left->cents() == 70);
  auto nobody = bank.ask<bank::Balance>("a", transfer, 10s);
  BOOST_REQUIRE(!nobody);
  BOOST_TEST(nobody.error().code() == entity_errc::unknown_command);
}

BOOST_FIXTURE_TEST_CASE(an_actor_that_never_answers_ends_in_doubt, two_nodes) {
  start();
  auto silent = here->service("echo").ask<bank::Balance>(bank::GetBalance{}, 200ms);
  BOOST_REQUIRE(!silent);
  BOOST_TEST(silent.error().code() == entity_errc::outcome_unknown);
  // The sweep answers those who do not keep the time themselves.
  command_context context;
  context.deadline = std::chrono::steady_clock::now() + 100ms;
  caf::scoped_actor self{here->system()};
  std::optional<error> why;
  self->request(actor_of(here->service("echo")), caf::infinite, context, bank::GetBalance{})
      .receive([](const bank::Balance&) {}, [&](const caf::error& e) { why = from_caf_error(e); });
  BOOST_REQUIRE(why);
  BOOST_TEST(why->code() == entity_errc::outcome_unknown);
  BOOST_TEST(here->service("echo").stats().in_flight == 0u);
}

BOOST_FIXTURE_TEST_CASE(a_key_takes_effect_once_over_kills_and_restarts, two_nodes) {
  start();
  open_account("alice");
  auto bank = here->service("bank");
  std::int64_t expected = 0;
  for (int i = 0; i != 10; ++i) {
    const auto key = "key " + std::to_string(i);
    std::optional<result<bank::Balance>> answer;
    std::thread caller{[&] { answer = bank.ask<bank::Balance>("alice", deposit(10), 20s, with_key(key)); }};
    this->bank.kill();
    this->bank.start();
    caller.join();
    BOOST_REQUIRE_MESSAGE(*answer, why(*answer));
    expected += 10;
    BOOST_TEST((*answer)->cents() == expected);
    auto again = bank.ask<bank::Balance>("alice", deposit(10), 20s, with_key(key));
    BOOST_REQUIRE_MESSAGE(again, why(again));
    BOOST_TEST(again->cents() == expected);
  }
}

BOOST_FIXTURE_TEST_CASE(a_service_that_is_killed_is_unreachable_until_it_is_back, two_nodes) {
  start();
  auto echo = here->service("echo");
  BOOST_REQUIRE(echo.ask<bank::Balance>(deposit(1), 10s));
  std::optional<result<bank::Balance>> lost;
  std::thread caller{[&] { lost = echo.ask<bank::Balance>(bank::GetBalance{}, 30s); }};
  BOOST_REQUIRE(eventually([&] { return echo.stats().in_flight == 1; }));
  bank.kill();
  caller.join();
  BOOST_REQUIRE(!*lost);
  BOOST_TEST(lost->error().code() == entity_errc::outcome_unknown);
  auto gone = echo.ask<bank::Balance>(deposit(1), 30s);
  BOOST_REQUIRE(!gone);
  BOOST_TEST(gone.error().code() == entity_errc::unreachable);
  auto members = here->members();
  BOOST_REQUIRE(members.size() == 1u);
  BOOST_TEST(to_string(members[0].state) == "unreachable");
  BOOST_TEST(members[0].node == "bank-node");
  bank.start();
  BOOST_REQUIRE(eventually([&] { return here->members()[0].state == member_state::connected; }));
  auto back = echo.ask<bank::Balance>(deposit(2), 10s);
  BOOST_REQUIRE_MESSAGE(back, why(back));
}

BOOST_FIXTURE_TEST_CASE(a_service_that_hangs_is_unreachable_after_a_silence, two_nodes) {
  start();
  auto echo = here->service("echo");
  BOOST_REQUIRE(echo.ask<bank::Balance>(deposit(1), 10s));
  bank.halt();
  const auto begin = std::chrono::steady_clock::now();
  auto hung = echo.ask<bank::Balance>(deposit(1), 30s);
  const auto took = std::chrono::steady_clock::now() - begin;
  BOOST_REQUIRE(!hung);
  BOOST_TEST(hung.error().code() == entity_errc::outcome_unknown);
  BOOST_TEST((took < 10s));
  bank.go_on();
  BOOST_REQUIRE(eventually([&] { return here->members()[0].state == member_state::connected; }));
  auto back = echo.ask<bank::Balance>(deposit(2), 10s);
  BOOST_REQUIRE_MESSAGE(back, why(back));
}

BOOST_FIXTURE_TEST_CASE(an_end_in_order_is_seen_as_a_longer_call, two_nodes) {
  start();
  auto echo = here->service("echo");
  BOOST_REQUIRE(echo.ask<bank::Balance>(deposit(1), 10s));
  std::atomic<bool> done = false;
  std::atomic<int> calls = 0;
  std::optional<error> failure;
  std::thread caller{[&] {
    while (!done && !failure) {
      if (auto answer = echo.ask<bank::Balance>(deposit(1), 10s); !answer)
        failure = answer.error();
      ++calls;
    }
  }};
  for (int i = 0; i != 3; ++i) {
    const int before = calls;
    eventually([&] { return calls > before + 100 || failure; });
    bank.end();
    bank.start();
  }
  done = true;
  caller.join();
  BOOST_TEST(!failure.has_value(), (failure ? failure->message() : ""));
}

BOOST_FIXTURE_TEST_CASE(what_is_too_large_is_refused_before_it_is_sent, two_nodes) {
  start();
  auto bank = here->service("bank");
  auto huge = bank.ask<bank::Balance>(
      "alice", make<bank::Open>([](auto& c) { c.set_owner(std::string(std::size_t{2} << 20, 'x')); }), 10s);
  BOOST_REQUIRE(!huge);
  BOOST_TEST(huge.error().code() == entity_errc::invalid_command);
  BOOST_TEST(huge.error().message().find("max_message") != std::string::npos);
  auto large = here->service("echo").ask<bank::Open>(
      make<bank::Open>([](auto& c) { c.set_owner(std::string(std::size_t{1'000'000}, 'x')); }), 10s);
  BOOST_REQUIRE_MESSAGE(large, why(large));
  BOOST_TEST(large->owner().size() == 1'000'000u);
}

BOOST_FIXTURE_TEST_CASE(more_calls_than_allowed_are_refused, two_nodes) {
  bank.start();
  auto options = member_options(dir.path(), "shop", free_port(), {loopback(port)});
  options.cluster->max_in_flight = 2;
  here.emplace(*node::open(options));
  BOOST_REQUIRE(here->join());
  auto echo = here->service("echo");
  BOOST_REQUIRE(echo.ask<bank::Balance>(deposit(1), 10s));
  std::vector<std::thread> callers;
  for (int i = 0; i != 2; ++i)
    callers.emplace_back([&] { (void)echo.ask<bank::Balance>(bank::GetBalance{}, 2s); });
  BOOST_REQUIRE(eventually([&] { return here->members()[0].in_flight == 2; }));
  auto refused = echo.ask<bank::Balance>(deposit(1), 10s);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().code() == entity_errc::overloaded);
  for (auto& caller : callers)
    caller.join();
}

BOOST_FIXTURE_TEST_CASE(the_same_interface_serves_what_runs_here, two_nodes) {
  start();
  here->host<account>();
  auto shop = here->service("shop");
  BOOST_TEST(shop.stats().local);
  BOOST_REQUIRE(shop.ask("bob", std::make_unique<bank::Open>(), 10s));
  auto answer = shop.ask<bank::Balance>("bob", deposit(3), 10s);
  BOOST_REQUIRE_MESSAGE(answer, why(answer));
  BOOST_TEST(answer->cents() == 3);
}

BOOST_FIXTURE_TEST_CASE(nodes_tell_each_other_of_those_they_know, two_nodes) {
  start();
  const auto known = here->registry().find("bank@bank-node");
  BOOST_REQUIRE(known);
  BOOST_TEST(eventually([&] { return here->registry().find("bank@bank-node")->has_value(); }));
  const auto info = **here->registry().find("bank@bank-node");
  BOOST_TEST(info.endpoints.at("cluster") == loopback(port));
  BOOST_TEST(std::ranges::count(info.capabilities, "bank.Deposit") == 1);
  // A third node is only told of one of them.
  node third = *node::open(member_options(dir.path(), "third", free_port(), {here->cluster_address()}));
  BOOST_REQUIRE(third.join());
  auto answer = third.service("echo").ask<bank::Balance>(deposit(4), 10s);
  BOOST_TEST(answer.has_value());
  // The one that it is told of learns of it, too.
  BOOST_TEST(eventually([&] { return here->members().size() == 2; }));
}
