#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/types.h>

namespace shop {

/// Runs processes of this program, and starts each again that ends before it is told to. They get SIGTERM when this process
/// ends, however it does. Thread-safe.
class supervisor {
public:
  struct counts {
    std::size_t killed = 0;   ///< ends by a signal
    std::size_t restarts = 0; ///< ends in order, with exit code 0
    std::size_t failures = 0; ///< with any other exit code
  };

  /// `failed` hears of a process that ended more than a few times in a row with an exit code that is not 0; nothing is done about it
  /// then.
  explicit supervisor(std::function<void(const std::string& what)> failed);
  /// Ends all processes, by SIGKILL if need be.
  ~supervisor();

  void start(std::string name, std::vector<std::string> arguments);

  /// Sends a signal to a process. Nothing happens while it is not there.
  void signal(std::string_view name, int number);

  /// Ends a process by SIGTERM, and waits for its successor. False: that takes too long.
  bool restart(std::string_view name, std::chrono::seconds within);

  /// Ends a process by SIGTERM for good. Its exit code, 128 + n if signal n ended it; -1 if it had to be killed.
  int stop(std::string_view name, std::chrono::seconds within);

  counts ends() const;

private:
  struct child {
    std::string name;
    std::vector<std::string> arguments;
    pid_t pid = -1;          ///< -1: it does not run
    std::size_t started = 0; ///< how often
    bool wanted = true;
    int exit_code = -1;
    std::jthread watcher{};
  };

  void watch(child& c);
  child& find(std::string_view name);

  const std::function<void(const std::string&)> failed_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  counts counts_;
  std::list<child> children_;
};

} // namespace shop
