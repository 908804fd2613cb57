#pragma once

#include <eventcore/actors/internal/circuit.hpp>
#include <eventcore/actors/internal/telemetry.hpp>

namespace eventcore::internal {

/// What all breakers have in common: the circuit, the bound of concurrent calls, the classification of errors, counters, log
/// lines, and the words of the errors. Not thread-safe.
class breaker_core {
public:
  using time_point = circuit::time_point;
  using permit = circuit::permit;

  /// It is to be seen in `list`, if there is one.
  explicit breaker_core(breaker_options options, metrics_list<breaker_metrics>* list = nullptr);
  breaker_core(const breaker_core&) = delete;
  breaker_core& operator=(const breaker_core&) = delete;

  const breaker_options& options() const noexcept { return options_; }

  /// Each permit is followed by exactly one of the three calls below. Errors: `circuit_open`, `too_many_calls`.
  result<permit> admit(time_point now);
  void succeeded(permit p, time_point now);
  /// Whether `e` counts. What the caller is to get instead of it, or nothing: `e` itself.
  std::optional<error> failed(permit p, const error& e, time_point now);
  /// What the caller is to get.
  error timed_out(permit p, time_point now);

  /// The worker ended: all calls under way are over, and this is one failure. What their callers are to get.
  error worker_ended(const std::string& why, time_point now);
  /// For good: `state` is `gave_up` from now on, and `admit` refuses. The report for callers.
  void give_up(const std::string& why);

  breaker_stats stats(time_point now);
  void count_restart() noexcept { ++stats_.restarts; }

private:
  error describe_failure(const error& e) const;
  void count_failure(const std::string& message);
  /// Logs changes of state that nobody saw yet.
  void look(time_point now);
  void publish() noexcept;

  breaker_options options_;
  circuit circuit_;
  breaker_state seen_ = breaker_state::closed;
  std::uint64_t seen_opened_ = 0;
  breaker_stats stats_;
  std::shared_ptr<breaker_metrics> metrics_;
};

/// With `wait`, rounded up to milliseconds, where `retry_after` finds it.
error with_retry_after(error e, std::chrono::nanoseconds wait);

} // namespace eventcore::internal
