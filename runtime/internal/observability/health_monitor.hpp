#pragma once

#include <eventcore/runtime/health.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace eventcore::internal {

/// Runs checks when somebody asks, on a thread of its own, at most every half second. Thread-safe.
class health_monitor {
public:
  health_monitor();
  ~health_monitor();

  /// Ends the thread, and forgets the checks. Later reports are the last one. Idempotent.
  void stop();

  /// A check of the same name is replaced.
  void add(std::string name, health_check check);

  /// What the checks came to, no longer ago than half a second. A check that has not returned within a second is reported
  /// by its name, with what is known of the others.
  health_report report();

private:
  struct entry {
    std::string name;
    health_check check;
  };
  using clock = std::chrono::steady_clock;

  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<entry> checks_;
  health_report last_;
  clock::time_point looked_at_{}; ///< when the run that made `last_` began
  clock::time_point began_{};     ///< the run under way, or the last one
  std::string running_;           ///< the check under way
  bool wanted_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace eventcore::internal
