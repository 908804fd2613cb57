#pragma once

#include "supervisor.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace shop {

/// What is done to the processes of a run while it goes on, at equal shares of the orders that have ended: kill -9, SIGSTOP for some time,
/// or, if it is a rolling restart, one restart of all in order.
struct process_faults_options {
  std::uint32_t chaos = 0;        ///< processes killed or stopped
  std::uint32_t rolling = 0;      ///< restarts of all
  std::uint32_t longest_stop = 3; ///< seconds
  std::uint64_t seed = 1;
};

class process_faults {
public:
  struct counts {
    std::size_t kills = 0, stops = 0, restarts = 0, late_restarts = 0;
  };

  /// `is_back` waits until a process that was restarted takes calls.
  process_faults(supervisor& processes, const process_faults_options& options,
                 std::function<bool(const std::string& service)> is_back);
  ~process_faults();

  /// So many of all orders have ended.
  void progress(std::size_t ended, std::size_t all);

  /// Waits as long as order `number` of `all` would be placed a whole share before what is to be done then: orders are faster than
  /// restarts. A minute at most.
  void wait_for_turn(std::size_t number, std::size_t all);

  /// Waits until all that is due is done, and those that were stopped go on.
  counts finish();

private:
  void run(std::stop_token end);
  void do_one(std::uint32_t number);
  /// Lets those go on whose time is over, or all.
  void let_go_on(bool all);

  supervisor& processes_;
  const process_faults_options options_;
  const std::function<bool(const std::string&)> is_back_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  double share_ = 0;       ///< of the orders that have ended
  std::uint32_t done_ = 0; ///< of what is to be done
  counts counts_;
  std::multimap<std::chrono::steady_clock::time_point, std::string_view> stopped_; ///< by when they go on
  std::jthread thread_;
};

} // namespace shop
