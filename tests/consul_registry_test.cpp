#include "support/child_process.hpp"
#include "support/consul_agent.hpp"
#include "support/registry_conformance.hpp"

#include <eventcore/runtime/consul_registry.hpp>
#include <eventcore/runtime/discovery.hpp>

#include <nlohmann/json.hpp>

#include <thread>

using namespace std::chrono_literals;
using nlohmann::json;

namespace eventcore::test {

namespace {

constexpr std::chrono::milliseconds time_to_live = 3s;

consul_options options_of(const consul_agent& agent) {
  return {.url = agent.url(), .token = consul_agent::token, .time_to_live = time_to_live, .call_limit = 20s};
}

std::unique_ptr<service_registry> registry_of(consul_options options) {
  auto opened = open_consul_registry(std::move(options));
  if (!opened)
    throw std::runtime_error{opened.error().message()};
  return *std::move(opened);
}

/// Fast enough for `time_to_live`.
constexpr discovery_options often{.renew = 300ms, .refresh = 100ms, .retry = 50ms};

template <class Holds>
bool soon(Holds holds) {
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > give_up)
      return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

class consul_process final : public registered_process {
public:
  consul_process(const consul_options& options, const service_info& instance)
      : process_{[&](channel& parent) {
        const std::shared_ptr registry = registry_of(options);
        discovery announcer{registry, often};
        announcer.announce(instance);
        const auto is_registered = [&] {
          auto found = registry->find(instance.id);
          return found && *found == instance;
        };
        if (!soon(is_registered))
          return 1;
        parent.say('r');
        parent.hear();
        return 0;
      }} {
    BOOST_TEST_REQUIRE(process_.hear() == 'r');
  }
  void stop() override {
    process_.say('s');
    BOOST_TEST(process_.wait() == 0);
  }
  void kill() override { process_.kill(); }

private:
  child_process process_;
};

class consul_world final : public registry_world {
public:
  service_registry& registry() override { return *registry_; }
  std::chrono::milliseconds time_to_live() const override { return test::time_to_live; }
  std::chrono::steady_clock::time_point now() const override { return std::chrono::steady_clock::now(); }
  std::unique_ptr<registered_process> start(const service_info& instance) override {
    return std::make_unique<consul_process>(options_of(agent_), instance);
  }
  void let_time_pass() override { std::this_thread::sleep_for(20ms); }

private:
  consul_agent agent_;
  std::unique_ptr<service_registry> registry_ = registry_of(options_of(agent_));
};

[[maybe_unused]] const bool registered =
    register_registry_conformance("consul_registry", [] { return std::make_unique<consul_world>(); });

// -- what only Consul has

bool says(const error& e, std::string_view text) {
  return e.message().find(text) != std::string::npos;
}

/// Registers with Consul what eventcore would not.
void register_raw(const consul_agent& agent, const std::string& id, const json& meta) {
  agent.ask("PUT", "/v1/agent/service/register", json{{"ID", id}, {"Name", "pay"}, {"Meta", meta}}.dump());
}

BOOST_AUTO_TEST_CASE(a_wrong_token_is_refused) {
  consul_agent agent;
  auto options = options_of(agent);
  options.token = "5d5b5b5e-0000-4000-8000-00000000dead";
  const auto stranger = registry_of(options);
  const auto instance = payment_instance();
  const auto entered = stranger->enter(instance);
  const auto found = stranger->find(instance.id);
  const auto listed = stranger->discover("pay");
  const auto withdrawn = stranger->withdraw(instance.id);
  BOOST_TEST_REQUIRE((!entered && !found && !listed && !withdrawn));
  for (const auto& e : {entered.error(), found.error(), listed.error(), withdrawn.error()}) {
    BOOST_TEST(e.code() == registry_errc::refused);
    BOOST_TEST(says(e, agent.url()), e.message());
    BOOST_TEST(says(e, "403"), e.message());
    BOOST_TEST(says(e, "ACL not found"), e.message());
    BOOST_TEST(says(e, "check the token"), e.message());
    BOOST_TEST(!says(e, options.token), e.message());
  }
}

BOOST_AUTO_TEST_CASE(a_token_that_may_not_register_is_refused) {
  consul_agent agent;
  auto options = options_of(agent);
  options.token = "";
  const auto entered = registry_of(options)->enter(payment_instance());
  BOOST_TEST_REQUIRE(!entered);
  BOOST_TEST(entered.error().code() == registry_errc::refused);
  BOOST_TEST(says(entered.error(), "Missing service:write on pay"), entered.error().message());
}

BOOST_AUTO_TEST_CASE(what_others_registered_is_passed_over) {
  consul_agent agent;
  const auto registry = registry_of(options_of(agent));
  register_raw(agent, "pay-1", {{"owner", "somebody"}});
  register_raw(agent, "pay-2", json::object());
  must_pass(registry->enter(payment_instance()));
  BOOST_TEST(soon([&] { return must(registry->discover("pay")).size() == 1; }));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_understood_is_left_out_and_named) {
  consul_agent agent;
  const auto registry = registry_of(options_of(agent));
  const std::pair<std::string, std::string> broken[] = {
      {R"({"id":"pay@b1","name":"b1","type":"pay","colour":"red"})", "not known: 'colour'"},
      {R"({"id":"pay@b2","type":"pay"})", "no name"},
      {R"({"id":"pay@b3","name":"b3","type":"pay","endpoints":[1]})", "wrong 'endpoints'"},
      {R"({"id":"pay@other","name":"other","type":"pay"})", "says of itself that it is 'pay@other'"},
      {R"({"id":"pay@b5",)", "no JSON object"},
      {"", "no JSON object"},
  };
  for (std::size_t i = 0; i != std::size(broken); ++i)
    register_raw(agent, "pay@b" + std::to_string(i + 1), {{"eventcore-0", broken[i].first}});
  must_pass(registry->enter(payment_instance()));
  BOOST_TEST(soon([&] { return must(registry->discover("pay")).size() == 1; }));
  for (std::size_t i = 0; i != std::size(broken); ++i) {
    const auto found = registry->find("pay@b" + std::to_string(i + 1));
    BOOST_TEST_REQUIRE(!found);
    BOOST_TEST(found.error().code() == registry_errc::invalid_registration);
    BOOST_TEST(says(found.error(), broken[i].second), found.error().message());
  }
  // Its rightful owner makes it good.
  must_pass(registry->enter(payment_instance("b1")));
  BOOST_TEST(soon([&] { return must(registry->discover("pay")).size() == 2; }));
}

BOOST_AUTO_TEST_CASE(consul_knows_where_the_service_is) {
  consul_agent agent;
  const auto registry = registry_of(options_of(agent));
  auto instance = payment_instance();
  for (auto [endpoint, address, port] : {std::tuple{"10.1.2.3:4711", "10.1.2.3", 4711},
                                         {"[::1]:80", "::1", 80},
                                         {"nowhere", "", 0},
                                         {"a:123456", "", 0}}) {
    instance.endpoints["cluster"] = endpoint;
    must_pass(registry->enter(instance));
    const auto service = json::parse(agent.ask("GET", "/v1/agent/service/pay@p1"));
    BOOST_TEST(service.at("Address") == address);
    BOOST_TEST(service.at("Port") == port);
  }
}

BOOST_AUTO_TEST_CASE(consul_that_goes_away_and_returns_is_told_again) {
  consul_agent agent;
  auto options = options_of(agent);
  options.call_limit = 2s;
  const std::shared_ptr registry = registry_of(options);
  const auto mine = payment_instance("mine");
  discovery found{registry, often};
  found.watch("pay");
  found.announce(mine);
  BOOST_TEST(soon([&] { return found.known("pay") == std::vector{mine}; }));
  must_pass(found.health());

  agent.kill();
  BOOST_TEST(soon([&] { return !found.health(); }));
  BOOST_TEST(found.health().error().code() == registry_errc::unavailable);
  BOOST_TEST(says(found.health().error(), agent.url()), found.health().error().message());
  BOOST_TEST((found.known("pay") == std::vector{mine}));

  agent.restart(); // and has forgotten everything
  BOOST_TEST(soon([&] { return found.health() && found.known("pay") == std::vector{mine}; }));
  found.withdraw();
  BOOST_TEST(!must(registry->find(mine.id)).has_value());
}

BOOST_AUTO_TEST_CASE(consul_may_be_down_at_the_start) {
  consul_agent agent;
  agent.kill();
  const std::shared_ptr registry = registry_of(options_of(agent));
  discovery found{registry, often};
  found.watch("pay");
  found.announce(payment_instance());
  BOOST_TEST(soon([&] { return !found.health(); }));
  BOOST_TEST(found.known("pay").empty());
  agent.restart();
  BOOST_TEST(soon([&] { return found.health() && found.known("pay").size() == 1; }));
}

} // namespace

} // namespace eventcore::test
