// The services of order fulfilment as processes that find each other by a real Consul, at another port after each start.

#include "support/consul_agent.hpp"
#include "support/program.hpp"

#include <boost/test/unit_test.hpp>

using namespace eventcore::test;
using namespace std::literals;

namespace {

struct consul_run {
  consul_agent agent;
  temp_dir dir;

  program_result run(std::vector<std::string> more) const {
    more.insert(more.end(),
                {"--cluster", "--consul", agent.url(), "--journal", (dir.path() / "run").string()});
    return run_program("order_fulfilment", more, "export CONSUL_HTTP_TOKEN="s + consul_agent::token + "; ");
  }
  bool is_registered(const std::string& service) const {
    return agent.ask("GET", "/v1/health/service/" + service + "?passing=true").find("eventcore-0") !=
           std::string::npos;
  }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(orders_are_fulfilled_while_services_move_to_other_ports, consul_run) {
  const auto moved = run(
      {"--orders", "300", "--fail", "payment=0.1", "--rolling", "1", "--chaos", "5", "--longest-stop", "1"});
  BOOST_TEST(moved.exit_code == 0, moved.out << moved.err);
  BOOST_TEST(moved.printed("ok: 300 orders"), moved.out);
  BOOST_TEST(moved.printed("restarted in order 5;"), moved.out);
  for (const auto* service : {"order", "payment", "inventory", "shipping", "analytics"})
    BOOST_TEST(!is_registered(service), service << " has not withdrawn at its end");
}
