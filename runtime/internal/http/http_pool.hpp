#pragma once

#include <eventcore/runtime/internal/http/http_connection.hpp>

#include <deque>
#include <functional>

namespace eventcore::internal {

/// The connections to one target, each with a thread that makes one call at a time. Thread-safe.
class http_pool {
public:
  /// `finished` is called on the pool's threads, once for each job that has begun, but not for those that end after `stop`.
  http_pool(std::shared_ptr<const http_target> target, std::function<void(const http_job_ptr&)> finished);
  ~http_pool() { stop(); }

  void submit(http_job_ptr job);

  /// Takes the job back or breaks it off. True: it had not begun, and never will.
  bool cancel(const http_job_ptr& job);

  /// Breaks off what runs, returns what waits and never will begin, and ends the threads. One that does not end within a
  /// second (the system's resolver cannot be broken off) is left to itself; it touches nothing but memory of its own.
  std::deque<http_job_ptr> stop();

private:
  struct state;
  static void run(const std::shared_ptr<state>& s);

  std::shared_ptr<state> state_;
};

} // namespace eventcore::internal
