#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace caf {
class resumable;
}

namespace eventcore::internal {

/// What the workers of a scheduler have to run: a queue for each of them, from which those without work steal.
///
/// A job from outside goes to a worker without work, if there is one, and wakes it. A job that a worker makes stays with it, where
/// it runs soonest; others steal it when that worker is busy for long. For this a worker without work looks around for a while, at
/// short intervals, before it sleeps for good; and as long as work is made somebody looks. Without work no processor time is used.
class job_pool {
public:
  using job = caf::resumable;

  /// For workers 0 to `workers - 1`, which look around for `look_time` before they sleep.
  explicit job_pool(std::size_t workers, std::chrono::microseconds look_time = std::chrono::milliseconds{5});

  /// From any thread.
  void put(job* j);
  /// From the thread of `worker`: the next one that it takes. The one that was to be the next goes behind all others.
  void put_next(std::size_t worker, job* j);
  /// From the thread of `worker`: behind all others.
  void put_last(std::size_t worker, job* j);

  /// For the thread of `worker`: waits until there is one. Of eight in a row, one is not one that was put next, if there is another.
  job* take(std::size_t worker);
  /// What is left when the workers have ended; null: nothing.
  job* take_rest();

private:
  struct alignas(64) worker_state {
    std::mutex mutex;
    std::deque<job*> jobs;
    job* next = nullptr;
    bool is_next_late = false; ///< somebody without work has seen it already
    std::size_t nexts = 0;     ///< taken in a row
    bool is_called = false;
    std::condition_variable called;
    std::size_t victim = 0; ///< the worker's own
    // Guarded by `idle_mutex_`.
    bool is_listed = false;  ///< among the idle ones: not called yet
    bool is_looking = false; ///< has no work, and is not asleep
  };

  struct loot {
    job* taken = nullptr;
    bool more_soon =
        false; ///< a job that its worker may still run at once, and if not, can be had at the next look
  };

  static job* take_own(worker_state& w);
  static job* take_first(worker_state& w);
  loot steal(std::size_t worker);
  job* wait(std::size_t worker);
  /// Takes a worker off the list of those without work, to call it. Null: all are busy.
  worker_state* claim();
  static void call(worker_state& w, job* j);
  void call_help();
  void look_around(worker_state& w);
  void fall_asleep(worker_state& w);
  void go_to_work(worker_state& w);

  const std::size_t size_;
  const std::chrono::microseconds look_time_;
  const std::unique_ptr<worker_state[]> workers_;
  std::atomic<std::size_t> next_{0};

  std::mutex idle_mutex_;
  std::vector<worker_state*> idle_; ///< the last one is called first
  // Changed under `idle_mutex_`. Whoever puts a job reads them afterwards; who runs out of work changes them and then looks once
  // more: so one of both sees the other.
  std::atomic<std::size_t> listed_{0};
  std::atomic<std::size_t> looking_{0};
};

} // namespace eventcore::internal
