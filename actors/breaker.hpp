#pragma once

#include <eventcore/actors/breaker_errc.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

/// Breakers stand in front of what may fail: another service, a device, an actor of somebody else. While too much fails they
/// refuse calls at once, and look with single trials whether it works again.
///
/// In front of a function, from any thread:
///
///     eventcore::breaker payments{{.name = "payments"}};
///     eventcore::result<receipt> paid = payments.call([&] { return pay(order); });
///
/// In front of an actor: `start_breaker` of `<eventcore/actors/caf.hpp>`.
namespace eventcore {

/// What counts as a failure when nothing else is said: every error but the answers of somebody who works: `rejected`,
/// `invalid_id`, `unknown_command`, `conflict`, `key_reused`, `invalid_command` and `not_owned` of `entity_errc`, and
/// `invalid_argument`, `invalid_stream_id`, `conflict`, `too_large` and `not_owned` of `journal_errc`.
bool counts_as_failure(const error& e);

/// Bounds and thresholds of a breaker. All times are steady-clock times. Where a value must be at least 1 and is less, 1 is
/// taken.
struct breaker_options {
  /// For messages, logs and metrics.
  std::string name{};
  /// So many failures in a row open it; a success begins the count anew. 0: they do not.
  std::size_t failures = 5;
  /// Such a share of failures among the outcomes within `window` (which moves on by tenths) opens it, from `min_calls`
  /// outcomes on. 0: no share does.
  double failure_rate = 0;
  std::chrono::milliseconds window{10'000};
  std::size_t min_calls = 10;
  /// From the opening until the next trial; doubled by each trial that fails, up to `max_retry_after`.
  std::chrono::milliseconds retry_after{1'000};
  std::chrono::milliseconds max_retry_after{60'000};
  /// Up to this share of it is added at random.
  double jitter = 0.1;
  /// At one time while half-open; at least 1.
  std::size_t trials = 1;
  /// The time limit of a call, at least 1 ms. A call without an answer by then has failed.
  std::chrono::milliseconds call_limit{5'000};
  /// Calls under way at one time, at least 1. More are answered `too_many_calls`; none waits.
  std::size_t max_concurrent = 64;
  /// For workers that the breaker starts: how often in a row an ended worker is started again. A worker that lived for
  /// `stable_after` begins the count anew.
  std::size_t max_restarts = 10;
  std::chrono::milliseconds stable_after{60'000};
  /// Pause before a worker is started again, doubled each time in a row, up to `max_restart_after`.
  std::chrono::milliseconds restart_after{100};
  std::chrono::milliseconds max_restart_after{30'000};
  /// Whether an operation's error counts as failure. Errors that do not are passed on as they are and count as success.
  /// Empty: `counts_as_failure`. An exception of it counts as failure. Called one at a time, and must not
  /// call the breaker.
  std::function<bool(const error&)> is_failure{};
};

enum class breaker_state : std::uint8_t {
  closed,    ///< calls pass
  open,      ///< calls are refused until the retry time is over
  half_open, ///< trials pass
  gave_up,   ///< the worker is not started again; calls are refused for good
};

/// "closed", "open", "half-open" or "gave up".
const char* to_string(breaker_state state) noexcept;

/// State, and counters since the start.
struct breaker_stats {
  std::string name;
  breaker_state state = breaker_state::closed;
  std::chrono::milliseconds retry_after{0}; ///< until the next trial; 0 unless open
  std::size_t under_way = 0;                ///< calls
  std::uint64_t calls = 0;                  ///< passed to the operation
  std::uint64_t successes = 0;              ///< of these, ended well or with an answer that is no failure
  std::uint64_t failures = 0; ///< of these, ended with a failure, time-outs and lost workers included
  std::uint64_t timeouts = 0; ///< of the failures
  std::uint64_t refused = 0;  ///< answered `circuit_open`
  std::uint64_t too_many = 0; ///< answered `too_many_calls`
  std::uint64_t opened = 0;   ///< changes to `open`
  std::uint64_t worker_ends = 0;
  std::uint64_t restarts = 0; ///< of the worker
  std::string last_failure;   ///< the message of the failure that came last, or of the report of `gave_up`
};

/// A breaker in front of functions. Copies share the breaker. Thread-safe.
class breaker {
  struct impl;

public:
  using clock = std::chrono::steady_clock;

  /// `now` is for tests; empty: the steady clock. It must be thread-safe.
  explicit breaker(breaker_options options, std::function<clock::time_point()> now = {});

  /// The leave for one call, which ends with `finish`. One that dies before (an exception) has failed. Movable to another
  /// thread; may outlive the breaker.
  class permit {
  public:
    permit(permit&& other) noexcept = default;
    permit& operator=(permit&& other) = delete;
    ~permit();

    /// Reports the outcome, once, and returns what the caller is to get: the outcome itself if it is a value or an error that
    /// does not count, else `operation_failed`; `timeout` for whatever comes after the time limit.
    template <class T>
    result<T> finish(result<T> outcome) {
      if (auto instead = settle(outcome ? nullptr : &outcome.error()))
        return *std::move(instead);
      return outcome;
    }

  private:
    friend class breaker;
    permit(std::shared_ptr<impl> owner, std::uint64_t number, clock::time_point limit)
        : owner_{std::move(owner)}
        , number_{number}
        , limit_{limit} {}

    std::optional<error> settle(const error* failure);

    std::shared_ptr<impl> owner_; ///< empty: finished
    std::uint64_t number_;
    clock::time_point limit_;
  };

  /// For operations that end later or on another thread. Errors: `circuit_open`, `too_many_calls`.
  result<permit> admit() const;

  /// Runs `f`, which returns a `result<T>`, unless the breaker refuses: see `admit` and `permit::finish`. `f` is never
  /// interrupted: it must bring a time limit of its own.
  template <class F>
  std::invoke_result_t<F> call(F&& f) const {
    auto leave = admit();
    if (!leave)
      return leave.error();
    return leave->finish(std::invoke(std::forward<F>(f)));
  }

  breaker_stats stats() const;

private:
  std::shared_ptr<impl> impl_;
};

/// A handle of a breaker in front of an actor. Cheap to copy; empty when default made. Thread-safe. Must not be used after the
/// actor system's end. The breaker lives until it gets an exit message or nobody refers to it any more.
class breaker_handle {
public:
  struct impl;

  breaker_handle() = default;
  explicit breaker_handle(std::shared_ptr<impl> content)
      : impl_{std::move(content)} {}

  explicit operator bool() const noexcept { return impl_ != nullptr; }

  /// For `eventcore/actors/caf.hpp`.
  impl& content() const noexcept { return *impl_; }

  /// Waits for the answer, at most `within`.
  result<breaker_stats> stats(std::chrono::nanoseconds within) const;

private:
  std::shared_ptr<impl> impl_;
};

} // namespace eventcore
