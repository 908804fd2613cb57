// A service of order fulfilment that the network does not let through to any more, and later does again. Nobody's connection is
// closed: packets get lost. All happens in a network namespace of this test, for which it must be root and have `ip`.

#include "support/order_run.hpp"

#include <boost/test/unit_test.hpp>

#include <sched.h>

#include <iostream>

using namespace eventcore::test;
using namespace std::literals;

namespace {

bool shell(const std::string& commands) {
  return std::system(("set -e; " + commands).c_str()) == 0;
}

/// This thread, and what it starts from now on, is in a network of its own.
void enter_own_network() {
  // Rules come before the table of local addresses, so that some of them can be cut off.
  if (::unshare(CLONE_NEWNET) == 0 &&
      shell("ip link set lo up; ip rule add pref 100 lookup local; ip rule del pref 0"))
    return;
  std::cerr << "\n*** SKIPPED: no network namespace can be made here (root and ip of iproute2 are needed), "
               "so no service was "
               "cut off ***\n"
            << std::flush;
  std::_Exit(77);
}

std::string port_of(const order_run& run, const std::string& service) {
  const auto config = run.configuration_of(service);
  const auto begin = config.find("listen = \"127.0.0.1:") + "listen = \"127.0.0.1:"s.size();
  return config.substr(begin, config.find('"', begin) - begin);
}

} // namespace

BOOST_AUTO_TEST_CASE(the_books_are_the_same_when_a_service_was_cut_off) {
  enter_own_network();
  const temp_dir dir;
  const auto arguments = "--cluster --orders 1200 --fail payment=0.1"s;
  order_run calm{dir.path() / "calm", arguments};
  BOOST_TEST(calm.wait() == 0, calm.out() << calm.err());
  order_run cut{dir.path() / "cut", arguments};
  BOOST_REQUIRE(cut.says("payment up"));
  const auto port = port_of(cut, "payment");
  BOOST_REQUIRE(shell("ip rule add pref 10 ipproto tcp dport " + port +
                      " blackhole; ip rule add pref 11 ipproto tcp sport " + port + " blackhole"));
  BOOST_TEST(cut.says("payment unreachable"), cut.err());
  BOOST_REQUIRE(shell("ip rule del pref 10; ip rule del pref 11"));
  BOOST_TEST(cut.wait() == 0, cut.out() << cut.err());
  BOOST_TEST(cut.out().find("ok: 1200 orders") != std::string::npos, cut.out());
  BOOST_TEST(cut.audit() == calm.audit());
}
