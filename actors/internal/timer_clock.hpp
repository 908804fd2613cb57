#pragma once

#include <eventcore/persistence/event.hpp>

#include <algorithm>
#include <functional>
#include <mutex>

namespace eventcore::internal {

/// Civil time by which timers fire, whatever is done to the wall clock: it never goes back, goes on with the steady clock
/// while the wall clock stands behind it, and jumps forward with the wall clock. Thread-safe.
class timer_clock {
public:
  using steady = std::chrono::steady_clock;

  /// Starts no earlier than `floor`.
  explicit timer_clock(timestamp floor = {}, std::function<timestamp()> wall = wall_now,
                       std::function<steady::time_point()> steady_now = steady::now)
      : wall_{std::move(wall)}
      , steady_{std::move(steady_now)}
      , at_{steady_()}
      , now_{floor} {}

  timestamp now() {
    std::lock_guard lock{mutex_};
    // Whole microseconds are taken from the steady clock, so that no rest is lost however often this is called.
    const auto passed = std::chrono::floor<std::chrono::microseconds>(steady_() - at_);
    at_ += passed;
    return now_ = std::max(now_ + passed, wall_());
  }

private:
  static timestamp wall_now() {
    return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
  }

  std::mutex mutex_;
  std::function<timestamp()> wall_;
  std::function<steady::time_point()> steady_;
  steady::time_point at_;
  timestamp now_;
};

} // namespace eventcore::internal
