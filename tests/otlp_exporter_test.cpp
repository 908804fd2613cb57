// The exporter of spans alone, recorded by many threads, and its end.

#include "support/journal_helpers.hpp"
#include "support/raw_server.hpp"
#include "support/slow_clock.hpp"

#include <eventcore/runtime/internal/observability/otlp_exporter.hpp>

#include <thread>

using namespace eventcore;
using namespace eventcore::internal;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

/// Reads requests one after the other, and answers each when `pause` is over.
auto answer_after(std::chrono::milliseconds pause) {
  return [pause](raw_server::peer& peer) {
    while (peer.read_request()) {
      if (peer.is_gone_within(static_cast<int>(pause.count())) ||
          !peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))
        return;
    }
  };
}

trace_options small_batches(const raw_server& collector) {
  trace_options options;
  options.endpoint = collector.url();
  options.batch = 4;
  options.interval = 1ms;
  return options;
}

span span_of(int number) {
  span s;
  s.name = "span " + std::to_string(number);
  return s;
}

} // namespace

BOOST_AUTO_TEST_CASE(spans_of_many_threads_are_sent_or_counted) {
  constexpr int each = 200;
  raw_server collector{answer_after(0ms)};
  auto options = small_batches(collector);
  options.max_waiting = 64;
  auto exporter = must(otlp_exporter::start(options, "till"));
  std::vector<std::thread> threads;
  for (int t = 0; t != 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i != each; ++i)
        exporter->record(span_of(i));
    });
  for (auto& thread : threads)
    thread.join();
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (exporter->exported() + exporter->dropped() < 4 * each && std::chrono::steady_clock::now() < give_up)
    std::this_thread::yield();
  BOOST_TEST(exporter->exported() + exporter->dropped() == 4u * each);
  BOOST_TEST(exporter->exported() > 0u);
}

BOOST_AUTO_TEST_CASE(the_end_sends_what_waits) {
  std::atomic<int> requests = 0;
  raw_server collector{[&](raw_server::peer& peer) {
    while (peer.read_request()) {
      ++requests;
      peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
  }};
  auto options = small_batches(collector);
  options.interval = 1h;
  auto exporter = must(otlp_exporter::start(options, "till"));
  for (int i = 0; i != 3; ++i)
    exporter->record(span_of(i));
  BOOST_TEST(requests == 0);
  exporter.reset();
  BOOST_TEST(requests == 1);
}

BOOST_AUTO_TEST_CASE(the_end_waits_a_second_for_all_that_waits_and_not_for_each_request) {
  raw_server slow{answer_after(200ms)};
  auto exporter = must(otlp_exporter::start(small_batches(slow), "till"));
  for (int i = 0; i != 200; ++i) // fifty requests, ten seconds
    exporter->record(span_of(i));
  slow_clock ending;
  exporter.reset();
  BOOST_TEST((ending.elapsed() < 4s));
}

BOOST_AUTO_TEST_CASE(a_collector_that_never_answers_is_not_waited_for) {
  raw_server silent{[](raw_server::peer& peer) { peer.wait_until_gone(); }};
  auto options = small_batches(silent);
  options.call_limit = 1h;
  auto exporter = must(otlp_exporter::start(options, "till"));
  for (int i = 0; i != 20; ++i)
    exporter->record(span_of(i));
  while (silent.accepted() == 0)
    std::this_thread::yield();
  slow_clock ending;
  exporter.reset();
  BOOST_TEST((ending.elapsed() < 4s));
}
