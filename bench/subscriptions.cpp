#include "alternation.hpp"
#include "bench.pb.h"
#include "latencies.hpp"
#include "scenario.hpp"

#include <eventcore/actors/subscriber.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/node.hpp>

#include <array>
#include <atomic>
#include <random>
#include <stdexcept>
#include <thread>

#include <ctime>

namespace bench {

namespace {

using namespace std::chrono_literals;
using eventcore::handler_place;
using eventcore::subscription;

constexpr std::size_t stream_count = 100'000;
constexpr std::size_t commit_events = 16;
constexpr std::size_t waiting_commits = 1'024;
constexpr auto patience = 600s;

template <class T>
T must(eventcore::result<T> r) {
  if (!r)
    throw std::runtime_error(r.error().message());
  return *std::move(r);
}

void must(const eventcore::result<void>& r) {
  if (!r)
    throw std::runtime_error(r.error().message());
}

double processor_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

eventcore::node open_node(const std::filesystem::path& dir) {
  eventcore::node_options options;
  options.journal_dir = dir;
  options.journal.max_pending_commits = waiting_commits;
  return must(eventcore::node::open(options));
}

/// Appends commits of sixteen events for as many of 100,000 streams, with exact versions and 200 bytes of payload each.
class appender {
public:
  explicit appender(eventcore::journal& journal)
      : journal_{journal}
      , versions_(stream_count) {
    Padded padded;
    padded.set_content(std::string(200, 'x'));
    payload_ = padded.SerializeAsString();
    for (std::size_t i = 0; i < stream_count; ++i)
      streams_.push_back(must(eventcore::stream_id::of("stream", std::to_string(i))));
    // All streams exist before the clock starts.
    for (std::size_t at = 0; at < stream_count;) {
      eventcore::commit c;
      for (std::size_t i = 0; i < 5'000; ++i)
        c.appends.push_back(next(at++));
      must(journal_.commit_and_wait(std::move(c)));
    }
  }

  /// False: the queue is full.
  bool submit() {
    auto credit = journal_.reserve(commit_events * (payload_.size() + 100));
    if (!credit)
      return false;
    eventcore::commit c;
    c.appends.reserve(commit_events);
    const auto at = random_();
    // A prime step: no stream twice in one commit.
    for (std::size_t i = 0; i < commit_events; ++i)
      c.appends.push_back(next((at + i * 7'919) % stream_count));
    journal_.submit(std::move(c), *std::move(credit), nullptr, 0);
    return true;
  }

  /// Keeps the queue full for this time. The events that were written by the end, per second.
  double run(steady::duration time) {
    const auto before = journal_.stats();
    const auto start = steady::now();
    while (steady::now() - start < time)
      if (!submit())
        std::this_thread::sleep_for(200us);
    const auto after = journal_.stats();
    const auto rate = static_cast<double>(after.events - before.events) / seconds_since(start);
    if (after.conflicts + after.failures > 0)
      throw std::runtime_error("commits failed");
    settle();
    return rate;
  }

  /// As many events a second.
  void run_at(double rate, steady::duration time) {
    const auto start = steady::now();
    std::uint64_t sent = 0;
    while (steady::now() - start < time) {
      const auto due = static_cast<std::uint64_t>(rate * seconds_since(start) / commit_events);
      while (sent < due && submit())
        ++sent;
      std::this_thread::sleep_for(200us);
    }
    settle();
  }

  void settle() {
    while (journal_.stats().pending_commits > 0)
      std::this_thread::sleep_for(1ms);
  }

private:
  eventcore::stream_append next(std::size_t at) {
    return {streams_[at],
            eventcore::expected_version::exact(versions_[at]++),
            {{Padded::descriptor(), payload_}}};
  }

  eventcore::journal& journal_;
  std::vector<eventcore::stream_id> streams_;
  std::vector<eventcore::stream_version> versions_;
  std::string payload_;
  std::minstd_rand random_{1};
};

/// When the newest positions were committed, by the steady clock.
struct commit_times {
  static constexpr std::size_t size = 1u << 20;
  std::vector<std::atomic<steady::rep>> at = std::vector<std::atomic<steady::rep>>(size);
  eventcore::log_position last = 0;

  void committed(eventcore::log_position head) {
    const auto now = steady::now().time_since_epoch().count();
    for (auto p = last + 1; p <= head; ++p)
      at[p % size].store(now, std::memory_order_relaxed);
    last = head;
  }
  steady::duration since(eventcore::log_position p) const {
    return steady::now().time_since_epoch() - steady::duration{at[p % size].load(std::memory_order_relaxed)};
  }
};

/// Reads each event, and measures some.
struct listener : eventcore::subscriber<listener> {
  using events = eventcore::events<Padded, Added>;

  explicit listener(const commit_times* t = nullptr, latencies* l = nullptr)
      : times{t}
      , delays{l} {}

  void handle(const Padded& e, const eventcore::event_context& x) {
    bytes += e.content().size();
    if (times != nullptr && x.position % 8 == 0)
      delays->add(times->since(x.position));
  }
  void handle(const Added& e) { bytes += static_cast<std::uint64_t>(e.amount()); }

  const commit_times* times;
  latencies* delays;
  std::uint64_t bytes = 0;
};

subscription follow(eventcore::node& node, const std::string& name, eventcore::start_from start,
                    const commit_times* times = nullptr, latencies* delays = nullptr) {
  return must(node.subscribe<listener>({.name = name, .start = start, .place = handler_place::scheduler},
                                       [=] { return std::make_unique<listener>(times, delays); }));
}

} // namespace

figure subscribe_live(run_context& context) {
  auto node = open_node(context.dir);
  auto& journal = node.journal();
  appender load{journal};
  const auto round = std::chrono::duration_cast<steady::duration>(context.round_length());
  int rounds = 0;
  /// Events per second, from the first one until all are written and the subscriber, if there is one, has them.
  const auto run = [&](bool followed) {
    const auto s = followed ? follow(node, "full " + std::to_string(++rounds), eventcore::start_from::now())
                            : subscription{};
    const auto first = must(journal.head());
    const auto start = steady::now();
    load.run(round);
    const auto head = must(journal.head());
    if (s)
      must(s.reached(head, patience));
    figure f;
    f.value = static_cast<double>(head - first) / seconds_since(start);
    if (s)
      must(s.stop(patience));
    return f;
  };
  auto f = alternate(
      context.rounds(), [&] { return run(true); }, [&] { return run(false); });

  // Half of what was appended a second with the subscriber; the times are noted before the subscriber hears of a commit.
  commit_times times;
  times.last = must(journal.head());
  auto noting = journal.follow_tail([&](auto to) { times.committed(to); });
  latencies delays;
  const auto s = follow(node, "half", eventcore::start_from::now(), &times, &delays);
  load.run_at(f.value / 2, std::chrono::duration_cast<steady::duration>(context.length()));
  must(s.reached(must(journal.head()), patience));
  must(s.stop(patience));
  f.p50_us = delays.percentile(0.50);
  f.p99_us = delays.percentile(0.99);
  f.note += "events/s to one subscriber while appending as fast as possible, until it has all, and appending "
            "without it; "
            "latency from commit to handler at half of the rate";
  return f;
}

figure subscribe_catch_up(run_context& context) {
  auto node = open_node(context.dir);
  const auto head = must(node.journal().head());
  const auto start = steady::now();
  auto s = follow(node, "catch up", eventcore::start_from::beginning());
  must(s.reached(head, patience));
  figure f;
  f.value = static_cast<double>(head) / seconds_since(start);
  if (const auto stats = must(s.stats(patience)); stats.handled != head)
    throw std::runtime_error("the subscriber did not hear all");
  f.note = "events/s from the beginning of the log, checksums verified, handled by type";
  return f;
}

figure subscribe_8(run_context& context) {
  auto node = open_node(context.dir);
  appender load{node.journal()};
  const auto time = std::chrono::duration_cast<steady::duration>(context.length()) / 3;
  /// Events, seconds and processor time of the rounds of one kind.
  struct sum {
    double events = 0;
    double seconds = 0;
    double processor = 0;
    double rate() const { return events / seconds; }
    double nanoseconds_each() const { return processor * 1e9 / events; }
  };
  const auto run = [&](sum& to) {
    const auto before = processor_seconds();
    const auto seconds = std::chrono::duration<double>{time}.count();
    to.events += load.run(time) * seconds;
    to.seconds += seconds;
    to.processor += processor_seconds() - before;
  };
  sum with;
  sum without;
  double behind = 0;
  for (int round = 0; round < 3; ++round) {
    run(without);
    std::vector<subscription> all;
    for (int i = 0; i < 8; ++i)
      all.push_back(
          follow(node, std::to_string(round) + '.' + std::to_string(i), eventcore::start_from::now()));
    run(with);
    const auto end = steady::now();
    const auto head = must(node.journal().head());
    for (auto& s : all)
      must(s.reached(head, patience));
    behind = std::max(behind, seconds_since(end));
    for (auto& s : all)
      must(s.stop(patience));
  }
  figure f;
  f.value = with.rate();
  char text[256];
  std::snprintf(
      text, sizeof(text),
      "events/s appended while eight subscribers follow; %.2f of the rate without them in the same run, %.0f "
      "instead of %.0f ns of processor time an event; the last one had all %.2f s after the end",
      with.rate() / without.rate(), with.nanoseconds_each(), without.nanoseconds_each(), behind);
  f.note = text;
  return f;
}

} // namespace bench
