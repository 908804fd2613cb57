// Breakers of functions and the counters of a node, which threads share.

#include "support/journal_helpers.hpp"

#include <eventcore/actors/internal/telemetry.hpp>

#include <atomic>
#include <thread>

using namespace eventcore;
using namespace std::literals;

BOOST_AUTO_TEST_CASE(threads_share_a_breaker) {
  constexpr std::uint64_t each = 2'000;
  breaker b{{.failures = 0, .max_concurrent = 3, .is_failure = [](const error&) { return true; }}};
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t != 8; ++t)
    threads.emplace_back([&] {
      for (std::uint64_t i = 0; i != each; ++i)
        (void)b.call([&]() -> result<int> {
          auto here = ++inside;
          for (auto seen = most.load(); seen < here && !most.compare_exchange_weak(seen, here);)
            ;
          std::this_thread::yield();
          --inside;
          if (i % 2 == 0)
            return make_error(journal_errc::io_error, "no route to host");
          return 1;
        });
    });
  for (auto& t : threads)
    t.join();
  auto s = b.stats();
  BOOST_TEST(most <= 3);
  BOOST_TEST(s.under_way == 0u);
  BOOST_TEST(s.calls + s.too_many == 8 * each);
  BOOST_TEST(s.successes + s.failures == s.calls);
}

BOOST_AUTO_TEST_CASE(what_threads_count_is_read_meanwhile) {
  constexpr std::uint64_t each = 2'000;
  const auto failure = make_error(entity_errc::rejected, "no");
  internal::command_metrics commands{"bank.Open"};
  internal::subscription_metrics events;
  internal::metrics_list<internal::breaker_metrics> breakers;
  recorded_event event;
  event.type = "bank.Opened";
  const std::array<const recorded_event*, 2> batch{&event, &event};
  std::atomic<bool> ended = false;
  std::thread reading{[&] {
    while (!ended) {
      (void)commands.read();
      (void)events.events_by_type();
      for (auto& one : breakers.all())
        (void)one->calls.get();
    }
  }};
  std::vector<std::thread> threads;
  for (int t = 0; t != 4; ++t)
    threads.emplace_back([&] {
      auto mine = std::make_shared<internal::breaker_metrics>();
      breakers.add(mine);
      for (std::uint64_t i = 0; i != each; ++i) {
        commands.count(1us, i % 2 == 0 ? &failure : nullptr);
        events.count(batch);
        mine->calls.add(1);
      }
    });
  for (auto& thread : threads)
    thread.join();
  ended = true;
  reading.join();
  const auto sum = commands.read();
  std::uint64_t all = 0;
  for (auto count : sum.by_duration)
    all += count;
  BOOST_TEST(all == 4 * each);
  BOOST_TEST(sum.errors[static_cast<std::size_t>(entity_errc::rejected)] == 2 * each);
  BOOST_TEST(events.events_by_type()["bank.Opened"] == 8 * each);
}
