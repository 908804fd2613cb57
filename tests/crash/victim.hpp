#pragma once

#include "load.hpp"

#include <chrono>
#include <filesystem>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace crash {

/// A running `crash_writer` and what it promised.
class victim {
public:
  using environment = std::vector<std::pair<std::string, std::string>>;

  victim(const std::filesystem::path& journal, std::vector<std::string> args, const environment& extra = {});
  ~victim();
  victim(const victim&) = delete;

  /// Takes promises until its load begins. False if that does not happen for a minute, or if it ends before.
  bool wait_for_load();

  /// Takes promises for this time.
  void watch(std::chrono::microseconds time);

  /// kill -9, unless it is dead already.
  void kill();

  /// Takes promises until it ends. False if that does not happen for a minute.
  bool wait_for_end();

  /// Whether it ended by SIGKILL, and not by an error of its own. Takes what it promised last.
  bool was_killed();

  const std::vector<promise>& promises() const noexcept { return promises_; }

private:
  using clock = std::chrono::steady_clock;
  bool take(clock::time_point until);

  pid_t pid_ = -1;
  int pipe_ = -1;
  bool ended_ = false; // it says nothing any more
  std::string partly_;
  std::vector<promise> promises_;
};

} // namespace crash
