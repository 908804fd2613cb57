// A service of order fulfilment that the network does not let through to any more, and later does again. Nobody's connection is
// closed: packets get lost. All happens in a network namespace of this test, for which it must be root and have `ip`.

#include "support/program.hpp"

#include <boost/test/unit_test.hpp>

#include <sched.h>

#include <chrono>
#include <future>
#include <iostream>
#include <thread>

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

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream{file}.rdbuf();
  return std::move(text).str();
}

/// A run of the example beside this thread.
struct run_of_orders {
  std::filesystem::path dir;
  std::future<int> end = std::async(std::launch::async, [this] {
    return std::system(
        (EVENTCORE_BIN_DIR "/order_fulfilment --cluster --orders 1200 --fail payment=0.1 --journal '"s +
         (dir / "run").string() + "' >'" + (dir / "out").string() + "' 2>'" + (dir / "err").string() + "'")
            .c_str());
  });

  std::string out() const { return text_of(dir / "out"); }
  std::string err() const { return text_of(dir / "err"); }
  std::string audit() const {
    const auto all = out();
    return all.substr(std::min(all.find("audit"), all.size()));
  }

  /// Until it has said so; false: it ended before, or a minute passed.
  bool says(const std::string& what) {
    for (const auto limit = std::chrono::steady_clock::now() + 60s;
         std::chrono::steady_clock::now() < limit && end.wait_for(20ms) != std::future_status::ready;)
      if (err().find(what) != std::string::npos)
        return true;
    return false;
  }

  std::string port_of(const std::string& service) const {
    const auto config = text_of(dir / "run" / (service + ".ini"));
    const auto begin = config.find("listen = \"127.0.0.1:") + "listen = \"127.0.0.1:"s.size();
    return config.substr(begin, config.find('"', begin) - begin);
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(the_books_are_the_same_when_a_service_was_cut_off) {
  enter_own_network();
  const temp_dir dir;
  std::filesystem::create_directories(dir.path() / "calm");
  std::filesystem::create_directories(dir.path() / "cut");
  run_of_orders calm{dir.path() / "calm"};
  BOOST_TEST(calm.end.get() == 0, calm.out() << calm.err());
  run_of_orders cut{dir.path() / "cut"};
  BOOST_REQUIRE(cut.says("payment up"));
  const auto port = cut.port_of("payment");
  BOOST_REQUIRE(shell("ip rule add pref 10 ipproto tcp dport " + port +
                      " blackhole; ip rule add pref 11 ipproto tcp sport " + port + " blackhole"));
  BOOST_TEST(cut.says("payment unreachable"), cut.err());
  BOOST_REQUIRE(shell("ip rule del pref 10; ip rule del pref 11"));
  BOOST_TEST(cut.end.get() == 0, cut.out() << cut.err());
  BOOST_TEST(cut.out().find("ok: 1200 orders") != std::string::npos, cut.out());
  BOOST_TEST(cut.audit() == calm.audit());
}
