// Wall clocks that jump, and certificates that expire while nodes are connected. The clock of this process can be set: what it is
// linked with asks the functions below, not those of the C library.

#include "support/cluster_process.hpp"

#include <boost/test/unit_test.hpp>

#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <ctime>

namespace {

std::atomic<std::int64_t> seconds_ahead{0};

} // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* to) noexcept {
  const auto failed = ::syscall(SYS_clock_gettime, clock, to);
  if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    to->tv_sec += seconds_ahead.load();
  return static_cast<int>(failed);
}

time_t time(time_t* to) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (to != nullptr)
    *to = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(timeval* to, void*) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  to->tv_sec = now.tv_sec;
  to->tv_usec = now.tv_nsec / 1'000;
  return 0;
}
}

using namespace eventcore;
using namespace eventcore::test;

namespace {

using steady = std::chrono::steady_clock;

/// Of this process alone.
void step_clock(std::chrono::seconds by) {
  const auto before = std::chrono::system_clock::now();
  seconds_ahead += by.count();
  const auto stepped = std::chrono::system_clock::now() - before;
  BOOST_REQUIRE((stepped > by - 60s && stepped < by + 60s));
}

struct real_clock_afterwards {
  ~real_clock_afterwards() { seconds_ahead = 0; }
};

member_info only_member(const node& n) {
  const auto all = n.members();
  BOOST_REQUIRE(all.size() == 1);
  return all[0];
}

} // namespace

BOOST_AUTO_TEST_CASE(steps_of_an_hour_change_neither_calls_nor_deadlines_nor_connections) {
  const real_clock_afterwards restore;
  temp_dir dir;
  const auto bank_port = free_port();
  const auto shop_port = free_port();
  service_process bank{member_options(dir.path(), "bank", bank_port, {loopback(shop_port)})};
  bank.start();
  auto shop = must(node::open(member_options(dir.path(), "shop", shop_port, {loopback(bank_port)})));
  must_pass(shop.join());
  auto service = shop.service("echo");
  const auto call = [&] {
    return service.ask<bank::Balance>(make<bank::Deposit>([](auto& c) { c.set_cents(1); }), patience);
  };
  must_pass(call());
  for (const auto step : {1h, -2h, 1h}) {
    std::atomic<bool> answered = false;
    std::optional<error> why;
    steady::duration took{};
    // Under way while the clock jumps, and longer so than a silent peer is waited for.
    constexpr auto deadline = 1'500ms;
    std::thread waiting{[&] {
      const auto begin = steady::now();
      auto answer = service.ask(std::make_unique<bank::GetBalance>(), deadline);
      took = steady::now() - begin;
      if (!answer)
        why = answer.error();
      answered = true;
    }};
    BOOST_TEST(eventually([&] { return only_member(shop).in_flight == 1; }));
    step_clock(step);
    BOOST_TEST(call().has_value());
    BOOST_TEST(!answered);
    waiting.join();
    BOOST_REQUIRE(why);
    BOOST_TEST((why->code() == entity_errc::outcome_unknown), why->message());
    BOOST_TEST((took >= deadline && took < deadline + 10s));
    BOOST_TEST(only_member(shop).connects == 1u);
    BOOST_TEST((only_member(shop).state == member_state::connected));
  }
  // Connecting anew goes by the steady clock, too.
  step_clock(1h);
  bank.kill();
  step_clock(-2h);
  bank.start();
  BOOST_TEST(call().has_value());
}

BOOST_AUTO_TEST_CASE(a_certificate_that_expires_while_connected_ends_the_connection) {
  const real_clock_afterwards restore;
  temp_dir dir;
  const auto certify = [&](const std::string& args) {
    BOOST_REQUIRE(std::system((EVENTCORE_SOURCE_DIR "/runtime/make_certificates " + dir.path().string() +
                               ' ' + args + " >" + (dir.path() / "log").string() + " 2>&1")
                                  .c_str()) == 0);
  };
  certify("one");
  certify("--expire-in 3600 two");
  const auto start = [&](const std::string& name, std::vector<std::string> peers) {
    auto options = member_options(dir.path(), name, 0, std::move(peers));
    options.cluster->patience = 500ms;
    options.cluster->tls =
        tls_options{dir.path() / (name + ".pem"), dir.path() / (name + ".key"), dir.path() / "ca.pem"};
    auto n = must(node::open(options));
    n.export_actor(name + "-echo", n.system().spawn(echo));
    must_pass(n.join());
    return n;
  };
  auto one = start("one", {});
  auto two = start("two", {one.cluster_address()});
  const auto call = [](node& n, const std::string& whom) {
    return n.service(whom).ask<bank::Balance>(make<bank::Deposit>([](auto& c) { c.set_cents(1); }), patience);
  };
  must_pass(call(two, "one-echo"));
  must_pass(call(one, "two-echo"));
  step_clock(30min);
  must_pass(call(two, "one-echo"));
  BOOST_TEST(only_member(one).connects == 1u);

  step_clock(31min);
  for (auto* n : {&one, &two}) {
    BOOST_TEST(eventually([&] { return only_member(*n).state == member_state::unreachable; }));
    BOOST_TEST(
        eventually([&] { return only_member(*n).last_error.find("certificate") != std::string::npos; }));
    BOOST_TEST(only_member(*n).connects == 1u);
  }
  const auto refused = call(one, "two-echo");
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code() == entity_errc::unreachable), refused.error().message());

  // A renewed one needs no restart.
  certify("two");
  BOOST_TEST(eventually([&] { return call(one, "two-echo") && call(two, "one-echo"); }));
}
