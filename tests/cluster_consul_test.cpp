// Nodes that find each other by a real Consul instead of by seeds, and what a node says of itself in both registries.

#include "support/cluster_process.hpp"
#include "support/consul_agent.hpp"

#include <eventcore/runtime/consul_registry.hpp>

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace eventcore::test;

namespace {

template <class T>
std::string why(const result<T>& outcome) {
  return outcome ? "" : outcome.error().message();
}

consul_options consul_of(const consul_agent& agent) {
  return {.url = agent.url(), .token = consul_agent::token, .time_to_live = 3s, .call_limit = 2s};
}

std::unique_ptr<service_registry> registry_of(const consul_agent& agent) {
  auto opened = open_consul_registry(consul_of(agent));
  BOOST_REQUIRE_MESSAGE(opened, why(opened));
  return *std::move(opened);
}

/// What the node's health says of discovery; empty: all is well.
std::string problem_of(const node& n) {
  for (const auto& check : n.health().checks)
    if (check.name == "discovery")
      return check.problem.value_or("");
  return "there is no such check";
}

/// Of a node without seeds.
node_options options_of(const consul_agent& agent, const std::filesystem::path& dir,
                        const std::string& service, std::uint16_t port) {
  auto options = member_options(dir, service, port);
  options.cluster->consul = consul_of(agent);
  options.cluster->discovery = {.renew = 500ms, .refresh = 100ms, .retry = 50ms};
  options.cluster->patience = 5s;
  options.cluster->endpoints["http"] = "http://localhost/" + service;
  options.cluster->health_check = "http://localhost/health/ready";
  options.cluster->metadata["rack"] = "\"7\"\n\u00fc";
  return options;
}

struct bank_and_shop {
  consul_agent agent;
  temp_dir dir;
  std::uint16_t port = free_port();
  service_process bank{options_of(agent, dir.path(), "bank", port), [](node& n) { n.offer_events(); }};
  /// The same service at another address.
  service_process moved_bank{options_of(agent, dir.path(), "bank", free_port())};
  std::optional<node> shop;

  void join() {
    shop.emplace(*node::open(options_of(agent, dir.path(), "shop", free_port())));
    const auto joined = shop->join();
    BOOST_REQUIRE_MESSAGE(joined, why(joined));
  }
  result<bank::Balance> deposit(const std::string& key, std::chrono::nanoseconds within = 20s) {
    command_context context;
    context.idempotency_key = key;
    return shop->service("bank").ask<bank::Balance>(
        "alice", make<bank::Deposit>([](auto& c) { c.set_cents(10); }), within, context);
  }
  void open_account() {
    auto opened = shop->service("bank").ask("alice", std::make_unique<bank::Open>(), 20s);
    BOOST_REQUIRE_MESSAGE(opened, why(opened));
  }
  void check_deposits(int from, int to) {
    for (int i = from; i <= to; ++i) {
      const auto balance = deposit("key " + std::to_string(i));
      BOOST_REQUIRE_MESSAGE(balance, why(balance));
      BOOST_TEST(balance->cents() == 10 * i);
    }
  }
  bool is_registered(const std::string& id) {
    auto found = registry_of(agent)->find(id);
    return found && found->has_value();
  }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(a_service_is_found_without_seeds_and_leaves_in_order, bank_and_shop) {
  bank.start();
  join();
  open_account();
  check_deposits(1, 3);
  BOOST_TEST(eventually([&] { return is_registered("shop@shop-node") && problem_of(*shop).empty(); }));
  const auto info = shop->registry().find("bank@bank-node");
  BOOST_REQUIRE_MESSAGE(info, why(info));
  BOOST_REQUIRE(info->has_value());
  const auto& known = **info;
  BOOST_TEST(known.endpoints.at("cluster") == loopback(port));
  BOOST_TEST(known.endpoints.at("http") == "http://localhost/bank");
  BOOST_TEST(known.health_check == "http://localhost/health/ready");
  BOOST_TEST(known.metadata.at("rack") == "\"7\"\n\u00fc");
  BOOST_TEST(known.metadata.contains("journal"));
  BOOST_TEST(std::ranges::count(known.capabilities, "bank.Deposit") == 1);
  bank.end();
  BOOST_TEST(!is_registered("bank@bank-node"));
  shop.reset();
  BOOST_TEST(!is_registered("shop@shop-node"));
}

BOOST_FIXTURE_TEST_CASE(a_service_that_starts_later_is_found, bank_and_shop) {
  join();
  const auto nobody = deposit("early", 100ms);
  BOOST_TEST(!nobody);
  bank.start();
  open_account();
  check_deposits(1, 1);
}

BOOST_FIXTURE_TEST_CASE(a_service_whose_events_are_followed_is_found, bank_and_shop) {
  bank.start();
  join();
  const auto events = shop->remote_events("bank");
  BOOST_TEST(eventually([&] { return events->current_history().has_value(); }));
}

BOOST_FIXTURE_TEST_CASE(a_killed_service_expires, bank_and_shop) {
  bank.start();
  join();
  open_account();
  bank.kill();
  BOOST_TEST(eventually([&] { return !is_registered("bank@bank-node"); }));
}

BOOST_FIXTURE_TEST_CASE(a_service_moves_to_another_port_while_calls_run, bank_and_shop) {
  bank.start();
  join();
  open_account();
  std::optional<result<bank::Balance>> answer;
  for (int round = 0, done = 0; round != 4; ++round) {
    auto& from = round % 2 == 0 ? bank : moved_bank;
    auto& to = round % 2 == 0 ? moved_bank : bank;
    std::thread caller{[&] {
      for (int i = 0; i != 20; ++i, ++done)
        if (answer = deposit("key " + std::to_string(done + 1), 60s); !*answer)
          return;
    }};
    round < 2 ? from.kill() : from.end();
    to.start();
    caller.join();
    BOOST_REQUIRE_MESSAGE(*answer, why(*answer));
    BOOST_TEST((*answer)->cents() == 10 * done);
  }
}

BOOST_FIXTURE_TEST_CASE(calls_go_on_while_consul_is_away, bank_and_shop) {
  bank.start();
  join();
  open_account();
  BOOST_TEST(eventually([&] { return problem_of(*shop).empty(); }));
  agent.kill();
  BOOST_TEST(eventually([&] { return !problem_of(*shop).empty(); }));
  BOOST_TEST(problem_of(*shop).find(agent.url()) != std::string::npos);
  check_deposits(1, 3);
  // What is known suffices for a restart, too.
  bank.kill();
  bank.start();
  check_deposits(4, 6);
  agent.restart();
  BOOST_TEST(eventually([&] {
    return problem_of(*shop).empty() && is_registered("bank@bank-node") && is_registered("shop@shop-node");
  }));
  check_deposits(7, 9);
}

BOOST_FIXTURE_TEST_CASE(consul_may_be_down_when_the_nodes_start, bank_and_shop) {
  agent.kill();
  bank.start();
  join();
  BOOST_TEST(eventually([&] { return !problem_of(*shop).empty(); }));
  agent.restart();
  open_account();
  BOOST_TEST(eventually([&] { return problem_of(*shop).empty(); }));
}

BOOST_FIXTURE_TEST_CASE(an_address_where_nobody_listens_does_no_harm, bank_and_shop) {
  service_info gone;
  gone.id = "bank@gone";
  gone.name = "gone";
  gone.type = "bank";
  gone.endpoints["cluster"] = loopback(free_port());
  BOOST_REQUIRE(registry_of(agent)->enter(gone));
  gone.id = "bank@nonsense";
  gone.name = "nonsense";
  gone.endpoints["cluster"] = "no address";
  BOOST_REQUIRE(registry_of(agent)->enter(gone));
  join();
  BOOST_TEST(!deposit("early", 100ms));
  BOOST_TEST(eventually([&] { return shop->members().size() == 2; }));
  bank.start();
  open_account();
  check_deposits(1, 2);
}

BOOST_FIXTURE_TEST_CASE(a_second_service_of_one_id_is_told_so, bank_and_shop) {
  bank.start();
  join();
  open_account();
  temp_dir elsewhere;
  auto second = *node::open(options_of(agent, elsewhere.path(), "bank", free_port()));
  BOOST_REQUIRE(second.join());
  BOOST_TEST(eventually([&] { return !problem_of(second).empty(); }));
  BOOST_TEST(problem_of(second).find("another service, of another journal") != std::string::npos);
  check_deposits(1, 2);
}

BOOST_AUTO_TEST_CASE(a_node_that_cannot_be_registered_does_not_join) {
  temp_dir dir;
  auto options = member_options(dir.path(), "bank", free_port());
  options.cluster->metadata["broken"] = "\xff";
  auto n = *node::open(options);
  const auto joined = n.join();
  BOOST_REQUIRE(!joined);
  BOOST_TEST(joined.error().message().find("metadata") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(wrong_options_of_consul_are_refused) {
  temp_dir dir;
  auto options = member_options(dir.path(), "bank", free_port());
  options.cluster->consul = consul_options{.url = "consul:8500"};
  auto n = *node::open(options);
  const auto joined = n.join();
  BOOST_REQUIRE(!joined);
  BOOST_TEST(joined.error().message().find("consul:8500") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(without_consul_nodes_tell_each_other) {
  temp_dir dir;
  const auto port = free_port();
  service_process bank{member_options(dir.path(), "bank", port)};
  bank.start();
  auto shop = *node::open(member_options(dir.path(), "shop", free_port(), {loopback(port)}));
  BOOST_REQUIRE(shop.join());
  const auto is_there = [&](const std::string& id) { return (*shop.registry().find(id)).has_value(); };
  BOOST_TEST(eventually([&] { return is_there("bank@bank-node") && is_there("shop@shop-node"); }));
  const auto known = **shop.registry().find("bank@bank-node");
  // Longer than its time to live; it is renewed.
  const auto end = std::chrono::steady_clock::now() + 4s;
  while (std::chrono::steady_clock::now() < end) {
    BOOST_TEST_REQUIRE((is_there("bank@bank-node") && is_there("shop@shop-node")));
    std::this_thread::sleep_for(50ms);
  }
  BOOST_TEST((**shop.registry().find("bank@bank-node") == known));
  bank.kill();
  BOOST_TEST(eventually([&] { return !is_there("bank@bank-node"); }));
  bank.start();
  BOOST_TEST(eventually([&] { return is_there("bank@bank-node"); }));
  bank.end();
  BOOST_TEST(eventually([&] { return !is_there("bank@bank-node"); }));
}
