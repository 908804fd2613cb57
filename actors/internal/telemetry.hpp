#pragma once

#include <eventcore/actors/breaker.hpp>
#include <eventcore/actors/command_context.hpp>
#include <eventcore/actors/errc.hpp>
#include <eventcore/actors/event_handler.hpp>
#include <eventcore/actors/saga_host.hpp>
#include <eventcore/actors/span.hpp>
#include <eventcore/actors/subscription.hpp>

#include <google/protobuf/message.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace caf {
class actor_system;
} // namespace caf

namespace eventcore::internal {

// What the parts of a node count while they work, for others to read when they like. Counting takes no lock and looks nothing
// up; all reads are thread-safe, of values that were true a moment ago.

/// Written by one thread at a time.
class gauge {
public:
  void set(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  void add(std::uint64_t by) noexcept { set(get() + by); }
  void subtract(std::uint64_t by) noexcept { set(get() - by); }
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
  std::atomic<std::uint64_t> value_{0};
};

/// The outcomes of one type of command. Counted by many threads at once, each in a stripe of cache lines of its own.
class command_metrics {
public:
  static constexpr std::array bounds{0.000'25, 0.000'5, 0.001, 0.002'5, 0.005, 0.01, 0.025,
                                     0.05,     0.1,     0.25,  0.5,     1.0,   2.5,  10.0};
  /// Values of `entity_errc`; 0 takes those of other categories.
  static constexpr std::size_t error_kinds = 32;

  explicit command_metrics(std::string command_type)
      : type{std::move(command_type)} {}

  void count(std::chrono::nanoseconds took, const error* failure) noexcept;

  struct totals {
    std::array<std::uint64_t, bounds.size() + 1> by_duration{};
    double seconds = 0;
    std::array<std::uint64_t, error_kinds> errors{};
  };
  totals read() const noexcept;

  const std::string type;

private:
  static constexpr std::size_t stripes = 8;
  struct alignas(64) stripe {
    std::array<std::atomic<std::uint64_t>, bounds.size() + 1> by_duration{};
    std::atomic<std::uint64_t> nanoseconds{0};
    std::array<std::atomic<std::uint64_t>, error_kinds> errors{};
  };
  std::array<stripe, stripes> stripes_{};
};

/// A row for each type that somebody takes, and behind them one for what he does not take.
class command_table {
public:
  void add(std::string type) { rows_.push_back(std::make_unique<command_metrics>(std::move(type))); }
  command_metrics& operator[](std::size_t row) const noexcept { return *rows_[row]; }
  const auto& rows() const noexcept { return rows_; }

private:
  std::vector<std::unique_ptr<command_metrics>> rows_;
};

struct host_metrics {
  std::string category;
  command_table commands;
  gauge resident, recovering, activations, passivations;
};

struct multi_stream_metrics {
  std::string name;
  command_table commands;
  gauge under_way, conflicts, retries, holds;
};

struct saga_metrics {
  std::string category;
  std::array<gauge, 6> by_phase; ///< unfinished ones, by `saga_phase`
  gauge started, completed, compensated, requests;
};

struct subscription_metrics {
  std::string name;
  std::string source; ///< the service whose log it follows; empty: the node's own journal
  std::atomic<subscription_state> state{subscription_state::catching_up};
  std::atomic<bool> stalled{false};
  gauge position, passed_over, retries, skipped, parked, restarts;
  // Of a source, which cannot be looked at from here:
  gauge head;
  gauge behind_since; ///< microseconds since the epoch; 0: it is not behind, as far as is known
  std::atomic<bool> cut_off{false};

  /// Of handled events, in a row; they need not be of one type.
  void count(std::span<const recorded_event* const> events);
  std::map<std::string, std::uint64_t> events_by_type() const;

private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> by_type_;
};

struct breaker_metrics {
  std::string name;
  std::atomic<breaker_state> state{breaker_state::closed};
  gauge under_way, calls, failures, timeouts, refused, too_many, opened, restarts;
};

/// What is there of one kind; what has ended is there no more. Thread-safe.
template <class T>
class metrics_list {
public:
  void add(const std::shared_ptr<T>& one) {
    std::lock_guard guard{mutex_};
    std::erase_if(all_, [](auto& other) { return other.expired(); });
    all_.push_back(one);
  }
  std::vector<std::shared_ptr<const T>> all() const {
    std::lock_guard guard{mutex_};
    std::vector<std::shared_ptr<const T>> found;
    for (auto& weak : all_)
      if (auto one = weak.lock())
        found.push_back(std::move(one));
    return found;
  }

private:
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<T>> all_;
};

/// Breakers in front of functions belong to no node; these are all of the process.
metrics_list<breaker_metrics>& breakers_without_node();

/// A command, or an event at its handler, that is being traced.
struct open_span {
  trace_context context;
  std::uint64_t parent = 0;
  std::chrono::system_clock::time_point begin;
  std::size_t events = 0; ///< that the command wrote
};

/// What the parts of a node are seen through.
class telemetry {
public:
  struct options {
    std::string service;
    bool metrics = true;
    /// Where spans go; null: nothing is traced, and trace contexts are passed on as they come.
    std::shared_ptr<span_sink> spans;
    /// The share of the traces beginning here that are recorded, 0 to 1.
    double sample = 1;
  };

  explicit telemetry(options o);

  const std::string& service() const noexcept { return service_; }
  bool counts() const noexcept { return metrics_; }

  /// Whether a command is traced. It is if its context's trace is recorded. A command that brings no trace begins one,
  /// by the sampling ratio, unless something caused it: then it was decided there that the trace is not recorded.
  std::unique_ptr<open_span> begin(const event_metadata& metadata, bool may_begin_trace) const;
  /// Records `execute_command_<type>` (spec 39).
  void end(const open_span& s, const std::string& command_type, std::string_view stream,
           const error* failure) const;
  /// Records `handle_event_<type>`: one try of a subscription's handler. `run` is the one that the event is part of.
  void end(const open_span& s, const recorded_event& event, const handler_run& run, std::uint32_t attempt,
           const error* failure) const;
  void record(span s) const noexcept { spans_->record(std::move(s)); }
  bool traces() const noexcept { return spans_ != nullptr; }

  metrics_list<host_metrics> hosts;
  metrics_list<multi_stream_metrics> multi_stream;
  metrics_list<saga_metrics> sagas;
  metrics_list<subscription_metrics> subscriptions;
  metrics_list<breaker_metrics> breakers;

private:
  const std::string service_;
  const bool metrics_;
  const std::shared_ptr<span_sink> spans_;
  const std::uint64_t sample_below_;
};

/// Part of an actor system's configuration: its actors find the node's telemetry by it.
class telemetry_holder {
public:
  virtual ~telemetry_holder() = default;
  std::shared_ptr<telemetry> content;
};

/// Null: the system's configuration is no `telemetry_holder`, or holds none.
std::shared_ptr<telemetry> telemetry_of(caf::actor_system& system);

} // namespace eventcore::internal
