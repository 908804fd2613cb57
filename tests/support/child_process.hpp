#pragma once

#include "support/journal_helpers.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>

namespace eventcore::test {

/// One end of a conversation between a test and its child process, byte by byte.
class channel {
public:
  channel(int in, int out)
      : in_{in}
      , out_{out} {}

  void say(char word) const {
    if (::write(out_, &word, 1) != 1)
      throw std::runtime_error{"the other process is gone"};
  }

  /// The other's next word; 0 if it is gone or silent for too long.
  char hear() const {
    char word = 0;
    pollfd readable{in_, POLLIN, 0};
    const auto limit = std::chrono::milliseconds{patience}.count();
    if (::poll(&readable, 1, static_cast<int>(limit)) != 1 || ::read(in_, &word, 1) != 1)
      return 0;
    return word;
  }

private:
  int in_;
  int out_;
};

/// A forked child that runs `body(channel&)` and ends: with its result as exit code, 99 after an exception.
/// Killed on destruction if it still runs. Fork before this process has threads; the child must not use
/// Boost.Test.
class child_process {
public:
  template <class F>
  explicit child_process(F body) {
    if (::pipe(to_child_) != 0 || ::pipe(from_child_) != 0)
      throw std::runtime_error{"no pipe"};
    std::signal(SIGPIPE, SIG_IGN);
    pid_ = ::fork();
    if (pid_ < 0)
      throw std::runtime_error{"no fork"};
    if (pid_ == 0) {
      int code = 99;
      try {
        ::close(to_child_[1]);
        ::close(from_child_[0]);
        channel parent{to_child_[0], from_child_[1]};
        code = body(parent);
      } catch (const std::exception& e) {
        std::cerr << "child process: " << e.what() << '\n';
      }
      ::_exit(code);
    }
    ::close(std::exchange(to_child_[0], -1));
    ::close(std::exchange(from_child_[1], -1));
  }
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process() {
    kill();
    ::close(to_child_[1]);
    ::close(from_child_[0]);
  }

  pid_t pid() const noexcept { return pid_; }
  void say(char word) const { channel{from_child_[0], to_child_[1]}.say(word); }
  char hear() const { return channel{from_child_[0], to_child_[1]}.hear(); }

  /// Waits for its end; its exit code, -1 if a signal ended it.
  int wait() {
    int status = 0;
    if (!ended_ && ::waitpid(pid_, &status, 0) != pid_)
      return -1;
    ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  void kill() {
    if (!ended_) {
      ::kill(pid_, SIGKILL);
      wait();
    }
  }

private:
  pid_t pid_ = -1;
  bool ended_ = false;
  int to_child_[2];
  int from_child_[2];
};

} // namespace eventcore::test
