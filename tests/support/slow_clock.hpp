#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace eventcore::test {

/// A stopwatch that counts only the time in which threads of this process get their turns: what must happen within two seconds may
/// take longer on a machine that is overloaded, or stood still meanwhile. Runs from its construction.
class slow_clock {
public:
  std::chrono::milliseconds elapsed() const { return ticks_.load() * tick; }

private:
  static constexpr std::chrono::milliseconds tick{5};

  std::atomic<int> ticks_ = 0;
  std::jthread ticking_{[this](std::stop_token end) {
    for (; !end.stop_requested(); ++ticks_)
      std::this_thread::sleep_for(tick);
  }};
};

} // namespace eventcore::test
