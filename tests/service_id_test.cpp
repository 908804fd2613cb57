#include "support/journal_helpers.hpp"

#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/node.hpp>
#include <eventcore/runtime/service_id.hpp>

#include <cstdlib>

namespace eventcore::test {

namespace {

/// SERVICE_ID for as long as this lives.
class service_id_variable {
public:
  explicit service_id_variable(const char* value) {
    value != nullptr ? ::setenv("SERVICE_ID", value, 1) : ::unsetenv("SERVICE_ID");
  }
  ~service_id_variable() { ::unsetenv("SERVICE_ID"); }
};

} // namespace

/// spec 7
BOOST_AUTO_TEST_CASE(the_first_that_says_an_id_is_taken) {
  const service_id_variable unset{nullptr};
  BOOST_TEST(must(service_id_of("orders", "node")) == "orders");
  BOOST_TEST(must(service_id_of("", "node")) == "node");
  BOOST_TEST(must(service_id_of("")) == "service_id_test");
  const service_id_variable set{"billing"};
  BOOST_TEST(must(service_id_of("orders", "node")) == "orders");
  BOOST_TEST(must(service_id_of("", "node")) == "billing");
  const service_id_variable empty{""};
  BOOST_TEST(must(service_id_of("", "node")) == "node");
}

BOOST_AUTO_TEST_CASE(what_is_no_id_is_refused_with_its_source) {
  const service_id_variable unset{nullptr};
  for (const auto& wrong : {std::string{"unknown"}, std::string{"a*"}, std::string{"a\nb"},
                            std::string{"\xff"}, std::string(129, 'a')})
    check_contains(must_fail(service_id_of(wrong), journal_errc::invalid_argument), "the configuration");
  check_contains(must_fail(service_id_of("", "unknown"), journal_errc::invalid_argument), "the node's name");
  const service_id_variable set{"unknown"};
  check_contains(must_fail(service_id_of(""), journal_errc::invalid_argument), "SERVICE_ID");
}

BOOST_AUTO_TEST_CASE(a_node_knows_its_service) {
  const service_id_variable unset{nullptr};
  journal_options made_for;
  made_for.service = "orders";
  node of_journal{open_memory_journal(made_for)};
  BOOST_TEST(must(of_journal.service_id()) == "orders");

  node_options named;
  named.name = "left";
  node by_name{open_memory_journal(), named};
  BOOST_TEST(must(by_name.service_id()) == "left");
  BOOST_TEST(must(by_name.publish({})).service_id() == "left");

  named.journal.service = "unknown";
  node wrong{open_memory_journal(), named};
  must_fail(wrong.publish({}), journal_errc::invalid_argument);
}

} // namespace eventcore::test
