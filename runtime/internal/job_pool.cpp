#include <eventcore/runtime/internal/job_pool.hpp>

#include <thread>
#include <utility>

#include <sys/prctl.h>

namespace eventcore::internal {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

/// How often a worker without work looks around.
constexpr auto look_interval = 50us;
/// Linux adds 50 us to short sleeps unless it is told that this matters.
constexpr unsigned long timer_slack_ns = 1'000;
/// So that two actors that talk with each other keep nobody else waiting.
constexpr std::size_t nexts_in_a_row = 7;

} // namespace

job_pool::job_pool(std::size_t workers, std::chrono::microseconds look_time)
    : size_{workers}
    , look_time_{look_time}
    , workers_{std::make_unique<worker_state[]>(workers)} {
  idle_.reserve(workers);
}

// -- putting

void job_pool::put(job* j) {
  if (listed_ > 0)
    if (auto* idle = claim())
      return call(*idle, j);
  auto& w = workers_[next_.fetch_add(1, std::memory_order_relaxed) % size_];
  {
    std::lock_guard lock{w.mutex};
    w.jobs.push_back(j);
  }
  // Somebody may have run out of work in between.
  if (listed_ > 0)
    if (auto* idle = claim())
      call(*idle, nullptr);
}

void job_pool::put_next(std::size_t worker, job* j) {
  auto& w = workers_[worker];
  {
    std::lock_guard lock{w.mutex};
    if (w.next)
      w.jobs.push_back(w.next);
    w.next = j;
    w.is_next_late = false;
  }
  call_help();
}

void job_pool::put_last(std::size_t worker, job* j) {
  auto& w = workers_[worker];
  {
    std::lock_guard lock{w.mutex};
    w.jobs.push_back(j);
  }
  call_help();
}

void job_pool::call_help() {
  if (looking_ == 0 && listed_ > 0)
    if (auto* idle = claim())
      call(*idle, nullptr);
}

void job_pool::call(worker_state& w, job* j) {
  {
    std::lock_guard lock{w.mutex};
    if (j)
      w.jobs.push_back(j);
    w.is_called = true;
  }
  w.called.notify_one();
}

// -- taking

job_pool::job* job_pool::take(std::size_t worker) {
  if (auto* j = take_own(workers_[worker]))
    return j;
  if (auto* j = steal(worker).taken)
    return j;
  auto* j = wait(worker);
  // It may have been the only one that was looking around.
  call_help();
  return j;
}

job_pool::job* job_pool::take_own(worker_state& w) {
  std::lock_guard lock{w.mutex};
  if (w.next && (w.jobs.empty() || w.nexts < nexts_in_a_row)) {
    ++w.nexts;
    return std::exchange(w.next, nullptr);
  }
  w.nexts = 0;
  return take_first(w);
}

job_pool::job* job_pool::take_first(worker_state& w) {
  if (w.jobs.empty())
    return nullptr;
  auto* j = w.jobs.front();
  w.jobs.pop_front();
  return j;
}

job_pool::loot job_pool::steal(std::size_t worker) {
  auto& victim = workers_[worker].victim;
  loot found;
  for (std::size_t i = 0; i != size_ && !found.taken; ++i) {
    victim = (victim + 1) % size_;
    if (victim == worker)
      continue;
    auto& w = workers_[victim];
    std::lock_guard lock{w.mutex};
    found.taken = take_first(w);
    if (found.taken || !w.next)
      continue;
    if (std::exchange(w.is_next_late, true))
      found.taken = std::exchange(w.next, nullptr);
    else
      found.more_soon = true;
  }
  return found;
}

job_pool::job* job_pool::wait(std::size_t worker) {
  static thread_local const bool is_punctual = ::prctl(PR_SET_TIMERSLACK, timer_slack_ns, 0, 0, 0) == 0;
  (void)is_punctual;
  auto& w = workers_[worker];
  look_around(w);
  auto until = clock::now() + look_time_;
  bool asleep = false;
  for (;;) {
    auto* j = take_own(w);
    const auto found = j ? loot{} : steal(worker);
    if (j || (j = found.taken)) {
      go_to_work(w);
      return j;
    }
    if (found.more_soon && asleep) {
      look_around(w);
      until = clock::now() + look_time_;
      asleep = false;
    } else if (!asleep && clock::now() >= until) {
      fall_asleep(w);
      asleep = true;
      continue;
    }
    std::unique_lock lock{w.mutex};
    const auto is_called = [&] { return w.is_called; };
    if (asleep)
      w.called.wait(lock, is_called);
    else
      w.called.wait_for(lock, look_interval, is_called);
    if (!std::exchange(w.is_called, false))
      continue;
    lock.unlock();
    // If others wait for this core, the one who called may be among them, with more to give.
    std::this_thread::yield();
    if ((j = take_own(w))) {
      go_to_work(w);
      return j;
    }
    look_around(w);
    until = clock::now() + look_time_;
    asleep = false;
  }
}

job_pool::job* job_pool::take_rest() {
  for (std::size_t i = 0; i != size_; ++i)
    if (auto* j = take_own(workers_[i]))
      return j;
  return nullptr;
}

// -- workers without work

job_pool::worker_state* job_pool::claim() {
  std::lock_guard lock{idle_mutex_};
  if (idle_.empty())
    return nullptr;
  auto* w = idle_.back();
  idle_.pop_back();
  --listed_;
  w->is_listed = false;
  if (!std::exchange(w->is_looking, true))
    ++looking_;
  return w;
}

void job_pool::look_around(worker_state& w) {
  std::lock_guard lock{idle_mutex_};
  if (!std::exchange(w.is_looking, true))
    ++looking_;
  if (!std::exchange(w.is_listed, true)) {
    idle_.push_back(&w);
    ++listed_;
  }
}

void job_pool::fall_asleep(worker_state& w) {
  std::lock_guard lock{idle_mutex_};
  if (w.is_listed && std::exchange(w.is_looking, false))
    --looking_;
}

void job_pool::go_to_work(worker_state& w) {
  std::lock_guard lock{idle_mutex_};
  if (std::exchange(w.is_looking, false))
    --looking_;
  if (std::exchange(w.is_listed, false)) {
    std::erase(idle_, &w);
    --listed_;
  }
}

} // namespace eventcore::internal
