// The HTTP interface of a node and the checks behind it, asked by many at once, without the node.

#include "support/journal_helpers.hpp"

#include <eventcore/runtime/internal/observability/admin_server.hpp>
#include <eventcore/runtime/internal/observability/health_monitor.hpp>

#include <httplib.h>

#include <atomic>
#include <thread>

using namespace eventcore;
using namespace eventcore::internal;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

std::vector<std::thread> run_in_threads(int count, const std::function<void(int)>& work) {
  std::vector<std::thread> threads;
  for (int t = 0; t != count; ++t)
    threads.emplace_back([=] { work(t); });
  return threads;
}

void join_all(std::vector<std::thread> threads) {
  for (auto& thread : threads)
    thread.join();
}

} // namespace

BOOST_AUTO_TEST_CASE(pages_are_answered_to_many_at_once_and_connections_counted) {
  std::atomic<std::size_t> connections = 0;
  std::atomic<int> rendered = 0;
  std::atomic<int> answered = 0;
  health_monitor health;
  health.add("disk", [] { return std::nullopt; });
  {
    auto server = must(admin_server::open({.listen = "0", .threads = 4},
                                          {[&] {
                                             ++rendered;
                                             return std::to_string(connections);
                                           },
                                           [&] { return health.report(); }, [&] { return health.report(); }},
                                          connections));
    // Alone, so that the library's statics are there; ThreadSanitizer does not see what guards them.
    BOOST_REQUIRE(httplib::Client{"http://" + server->address()}.Get("/metrics"));
    while (connections > 0)
      std::this_thread::yield();
    join_all(run_in_threads(4, [&](int t) {
      httplib::Client client{"http://" + server->address()};
      for (int i = 0; i != 20; ++i) {
        const auto answer = client.Get(t % 2 == 0 ? "/metrics" : "/health/ready");
        if (answer && answer->status == 200)
          ++answered;
      }
    }));
  }
  BOOST_TEST(answered == 80);
  BOOST_TEST(rendered == 41);
  BOOST_TEST(connections == 0u);
}

BOOST_AUTO_TEST_CASE(the_end_comes_while_pages_are_asked_for) {
  for (int round = 0; round != 10; ++round) {
    std::atomic<std::size_t> connections = 0;
    std::atomic<int> rendered = 0;
    std::atomic<bool> ended = false;
    const auto page = [&] {
      ++rendered;
      return std::string(10'000, 'x');
    };
    const auto healthy = [] { return health_report{}; };
    auto server =
        must(admin_server::open({.listen = "0", .threads = 2}, {page, healthy, healthy}, connections));
    auto asking = run_in_threads(3, [&, url = "http://" + server->address()](int) {
      while (!ended)
        httplib::Client{url}.Get("/metrics");
    });
    while (rendered <= round)
      std::this_thread::yield();
    server.reset();
    const auto last = rendered.load();
    BOOST_TEST(connections == 0u);
    ended = true;
    join_all(std::move(asking));
    BOOST_TEST(rendered == last);
  }
}

BOOST_AUTO_TEST_CASE(checks_are_added_and_reported_by_many_threads) {
  health_monitor health;
  std::atomic<bool> ended = false;
  std::atomic<int> reports = 0;
  auto asking = run_in_threads(3, [&](int) {
    while (!ended) {
      for (auto& check : health.report().checks)
        if (check.problem)
          throw std::logic_error{*check.problem};
      ++reports;
    }
  });
  join_all(run_in_threads(3, [&](int t) {
    for (int i = 0; i != 20; ++i)
      health.add("check " + std::to_string((t + i) % 4), [] { return std::nullopt; });
  }));
  while (reports < 100)
    std::this_thread::yield();
  BOOST_TEST(health.report().checks.size() == 4u);
  health.stop();
  health.add("late", [] { return std::nullopt; });
  BOOST_TEST(health.report().checks.size() == 4u);
  ended = true;
  join_all(std::move(asking));
}
