#pragma once

#include <eventcore/actors/breaker.hpp>

#include <array>
#include <random>
#include <vector>

namespace eventcore::internal {

/// The states of a breaker, without a clock: time comes in with every call, and a time before the latest one is taken for the
/// latest one. Not thread-safe.
///
/// A permit that was given out before the last change of state changes nothing any more.
class circuit {
public:
  using time_point = std::chrono::steady_clock::time_point;
  /// Permits are numbered from 1 on.
  using permit = std::uint64_t;

  /// Takes thresholds and times from `options`, which must be valid and outlive the circuit.
  circuit(const breaker_options& options, std::uint32_t seed);

  /// Leave for one call, whose outcome is told by `succeeded` or `failed`, at most once. Nothing: the circuit is open, or
  /// half-open with all trials under way. A trial without an outcome after `call_limit` has failed.
  std::optional<permit> admit(time_point now);
  void succeeded(permit p, time_point now);
  void failed(permit p, time_point now);
  /// A failure outside of calls.
  void failed(time_point now);

  /// Never `gave_up`.
  breaker_state state(time_point now);
  /// Until a trial may be possible. 0 when calls pass.
  std::chrono::nanoseconds retry_after(time_point now);
  /// How often it opened.
  std::uint64_t opened() const noexcept { return opened_; }

private:
  struct trial {
    permit number;
    time_point limit;
  };
  struct share {
    std::int64_t tenth = -1; ///< which tenth of a window, counted from the clock's epoch
    std::size_t outcomes = 0;
    std::size_t failures = 0;
  };

  void move_on(time_point now);
  void count_failure();
  void count_outcome(bool failure);
  bool rate_exceeded() const;
  void change(breaker_state to);
  void open(time_point at);

  const breaker_options& options_;
  std::minstd_rand random_;
  breaker_state state_ = breaker_state::closed;
  time_point now_{};
  permit next_ = 1;
  permit first_ = 1; ///< of the present state; permits before it are void
  std::size_t failures_in_a_row_ = 0;
  std::array<share, 10> window_{};
  std::chrono::milliseconds pause_;
  time_point retry_at_{};
  std::vector<trial> trials_; ///< the oldest first
  std::uint64_t opened_ = 0;
};

} // namespace eventcore::internal
