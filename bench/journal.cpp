#include "bench.pb.h"
#include "latencies.hpp"
#include "scenario.hpp"

#include <eventcore/persistence/lmdb_journal.hpp>

#include <csignal>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

namespace bench {

namespace {

constexpr std::size_t stream_count = 100'000;
constexpr std::size_t payload_bytes = 200;
constexpr std::size_t waiting = 16'384; // events, at most, that are submitted and not answered

std::unique_ptr<eventcore::journal> open_or_throw(const std::filesystem::path& dir,
                                                  std::size_t max_pending_commits = waiting) {
  eventcore::lmdb_options options;
  options.max_pending_commits = max_pending_commits;
  auto journal = eventcore::open_lmdb_journal(dir, options);
  if (!journal)
    throw std::runtime_error(journal.error().message());
  return *std::move(journal);
}

/// Counts answers and keeps their times.
class counting_listener final : public eventcore::commit_listener {
public:
  explicit counting_listener(std::size_t tickets)
      : sent_(tickets) {}

  std::vector<steady::time_point>& sent() { return sent_; }

  void on_commit(std::uint64_t ticket,
                 const eventcore::result<eventcore::committed>& outcome) noexcept override {
    times_.add(steady::now() - sent_[ticket % sent_.size()]);
    ++(outcome ? done_ : failed_);
  }

  latencies& times() { return times_; }
  std::uint64_t done() const { return done_; }
  std::uint64_t failed() const { return failed_; }

private:
  std::vector<steady::time_point> sent_;
  latencies times_;
  std::atomic<std::uint64_t> done_{0};
  std::atomic<std::uint64_t> failed_{0};
};

/// Appends to streams at random, in commits of `events` events for as many streams and of `timers` timers, and keeps the
/// queue full. Measures events; the journal's own figures are left in `context` where there are no timers.
figure append(run_context& context, std::size_t events, std::size_t timers = 0) {
  auto journal = open_or_throw(context.dir, waiting / events);
  std::vector<eventcore::stream_id> streams;
  for (std::size_t i = 0; i < stream_count; ++i)
    streams.push_back(*eventcore::stream_id::of("stream", std::to_string(i)));
  std::vector<eventcore::stream_version> versions(stream_count);
  const std::string payload(payload_bytes, 'x');
  auto append_to = [&](std::size_t at) {
    return eventcore::stream_append{
        streams[at], eventcore::expected_version::exact(versions[at]++), {{Padded::descriptor(), payload}}};
  };
  // All streams exist before the clock starts.
  for (std::size_t at = 0; at < stream_count;) {
    eventcore::commit c;
    for (std::size_t i = 0; i < 5'000; ++i)
      c.appends.push_back(append_to(at++));
    if (auto done = journal->commit_and_wait(std::move(c)); !done)
      throw std::runtime_error(done.error().message());
  }
  auto before = journal->stats();
  auto listener = std::make_shared<counting_listener>(2 * waiting);
  std::minstd_rand random{1};
  auto start = steady::now();
  auto end = start + std::chrono::duration_cast<steady::duration>(context.length());
  std::uint64_t submitted = 0;
  while (steady::now() < end) {
    auto credit = journal->reserve(events * (payload_bytes + 100));
    if (!credit) {
      std::this_thread::sleep_for(std::chrono::microseconds{200});
      continue;
    }
    eventcore::commit c;
    c.appends.reserve(events);
    auto at = random();
    // A prime step: no stream twice in one commit.
    for (std::size_t i = 0; i < events; ++i)
      c.appends.push_back(append_to((at + i * 7'919) % stream_count));
    for (std::size_t i = 0; i < timers; ++i)
      c.timers.push_back({"bench/" + std::to_string(submitted * timers + i),
                          {},
                          eventcore::timestamp{std::chrono::hours{1'000'000}} +
                              std::chrono::microseconds{random() % 1'800'000'000u}});
    listener->sent()[submitted % (2 * waiting)] = steady::now();
    journal->submit(std::move(c), *std::move(credit), listener, submitted);
    ++submitted;
  }
  while (listener->done() + listener->failed() < submitted)
    std::this_thread::sleep_for(std::chrono::microseconds{100});
  auto seconds = seconds_since(start);
  auto after = journal->stats();
  auto written = after.events - before.events;
  const auto batch_events = std::max<std::uint64_t>(1, written / (after.transactions - before.transactions));
  if (timers == 0) {
    context.batch_events = batch_events;
    context.record_bytes =
        (after.event_bytes - before.event_bytes) / std::max<std::uint64_t>(1, written) + 20;
  }
  figure f;
  f.value = static_cast<double>(written) / seconds;
  f.p50_us = listener->times().percentile(0.50);
  f.p99_us = listener->times().percentile(0.99);
  if (listener->failed() > 0)
    f.note = std::to_string(listener->failed()) + " commits FAILED; ";
  f.note += "events/s; fsync; commits of " + std::to_string(events) +
            " events for as many streams, exact versions, 100,000 streams at random, 200-byte payloads, "
            "queue full; " +
            std::to_string(batch_events) + " events a transaction";
  if (timers > 0)
    f.note += "; as many timers, due at random within half an hour";
  return f;
}

} // namespace

figure journal_append_single(run_context& context) {
  return append(context, 1);
}

figure journal_append(run_context& context) {
  return append(context, 16);
}

figure timers_set(run_context& context) {
  return append(context, 16, 16);
}

void write_million_events_and_die(const std::filesystem::path& dir) {
  {
    auto journal = open_or_throw(dir);
    Added added;
    added.set_amount(1);
    auto payload = added.SerializeAsString();
    eventcore::stream_version version = 0;
    while (version < 1'000'000) {
      eventcore::commit c;
      c.appends.push_back(
          {*eventcore::stream_id::of("counter", "one"), eventcore::expected_version::exact(version), {}});
      for (int i = 0; i < 5'000; ++i, ++version)
        c.appends.back().events.push_back({Added::descriptor(), payload});
      if (auto done = journal->commit_and_wait(std::move(c)); !done)
        throw std::runtime_error(done.error().message());
    }
    ::kill(::getpid(), SIGKILL);
  }
  std::abort();
}

figure open_journal(run_context& context) {
  auto child = ::fork();
  if (child == 0) {
    ::execl("/proc/self/exe", "eventcore-bench", "--write-million-events", context.dir.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
    throw std::runtime_error("the process that writes the journal ended by itself");
  auto start = steady::now();
  auto journal = open_or_throw(context.dir);
  auto seconds = seconds_since(start);
  if (auto head = journal->head(); !head || *head != 1'000'000)
    throw std::runtime_error("the journal does not hold what was written");
  figure f;
  f.value = seconds;
  f.unit = "seconds";
  f.note = "1,000,000 events, after kill -9 of its writer";
  return f;
}

} // namespace bench
