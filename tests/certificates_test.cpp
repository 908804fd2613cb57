#include "support/temp_dir.hpp"

#include <boost/test/unit_test.hpp>

#include <string>

namespace {

struct folder : eventcore::test::temp_dir {
  /// Whether a command of the shell succeeds, run in the folder.
  bool does(const std::string& command) const {
    return std::system(("cd " + path().string() + " && " + command + " >log 2>&1").c_str()) == 0;
  }
  bool make(const std::string& args) const {
    return does(EVENTCORE_SOURCE_DIR "/runtime/make_certificates . " + args);
  }
  bool trusts(const std::string& authority, const std::string& name) const {
    return does("openssl verify -CAfile " + authority + ".pem " + name + ".pem");
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(certificates_test, folder)

BOOST_AUTO_TEST_CASE(certificates_of_nodes_are_trusted_and_those_of_strangers_and_expired_ones_are_not) {
  BOOST_REQUIRE(make("order payment"));
  BOOST_TEST(trusts("ca", "order"));
  BOOST_TEST(trusts("ca", "payment"));
  BOOST_TEST(!trusts("ca", "expired"));
  BOOST_TEST(does("openssl verify -no_check_time -CAfile ca.pem expired.pem"));
  BOOST_TEST(!trusts("ca", "stranger"));
  BOOST_TEST(trusts("stranger-ca", "stranger"));
  for (auto* host : {"-verify_hostname localhost", "-verify_ip 127.0.0.1", "-verify_ip ::1"})
    BOOST_TEST(does(std::string{"openssl verify "} + host + " -CAfile ca.pem order.pem"));
}

BOOST_AUTO_TEST_CASE(the_authority_that_is_there_is_taken_for_more_nodes) {
  BOOST_REQUIRE(make("first"));
  BOOST_REQUIRE(make("--expire-in 3600 second"));
  BOOST_TEST(trusts("ca", "first"));
  BOOST_TEST(trusts("ca", "second"));
  BOOST_TEST(does("openssl x509 -checkend 3000 -in second.pem"));
  BOOST_TEST(!does("openssl x509 -checkend 4000 -in second.pem"));
}

BOOST_AUTO_TEST_CASE(bad_usage_is_refused) {
  for (auto* args : {"--fast", "--expire-in soon", "../evil"})
    BOOST_TEST(!make(args));
}

BOOST_AUTO_TEST_SUITE_END()
