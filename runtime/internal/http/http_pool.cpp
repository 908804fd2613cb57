#include <eventcore/runtime/internal/http/http_pool.hpp>

#include <spdlog/spdlog.h>

#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace eventcore::internal {

namespace {

constexpr auto longest_stop = std::chrono::seconds{1};

/// Signals are for the program's own threads; SIGPIPE would end the process when a target closes early.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

/// The pool that this thread belongs to.
thread_local const void* own_pool = nullptr;

} // namespace

struct http_pool::state {
  struct worker {
    explicit worker(const std::shared_ptr<const http_target>& target)
        : connection{target} {}

    http_connection connection;
    http_job_ptr job; ///< the one it is at
  };

  std::shared_ptr<const http_target> target;
  std::function<void(const http_job_ptr&)> finished;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<http_job_ptr> waiting;
  std::vector<worker*> workers; ///< null: it begins or ends
  std::size_t idle = 0;
  bool stopped = false;
};

http_pool::http_pool(std::shared_ptr<const http_target> target,
                     std::function<void(const http_job_ptr&)> finished)
    : state_{std::make_shared<state>()} {
  state_->target = std::move(target);
  state_->finished = std::move(finished);
}

void http_pool::submit(http_job_ptr job) {
  std::lock_guard guard{state_->mutex};
  if (state_->stopped)
    return;
  state_->waiting.push_back(std::move(job));
  if (state_->waiting.size() <= state_->idle ||
      state_->workers.size() == state_->target->options.connections) {
    state_->changed.notify_one();
    return;
  }
  try {
    std::thread{[s = state_] { run(s); }}.detach();
    state_->workers.push_back(nullptr);
  } catch (const std::system_error& e) {
    spdlog::error("{}: no thread for another connection: {}", state_->target->options.name, e.what());
  }
}

void http_pool::run(const std::shared_ptr<state>& s) {
  block_signals();
  own_pool = s.get();
  std::optional<state::worker> worker{std::in_place, s->target};
  auto& self = *worker;
  std::unique_lock guard{s->mutex};
  *std::find(s->workers.begin(), s->workers.end(), nullptr) = &self;
  while (!s->stopped) {
    if (s->waiting.empty()) {
      ++s->idle;
      s->changed.wait(guard);
      --s->idle;
      continue;
    }
    self.job = std::move(s->waiting.front());
    s->waiting.pop_front();
    self.connection.begin();
    guard.unlock();
    self.job->outcome = self.connection.call(*self.job);
    guard.lock();
    auto job = std::move(self.job);
    if (s->stopped)
      break;
    guard.unlock();
    s->finished(job);
    guard.lock();
  }
  // Not seen any more, but counted until it has let go of all that it had.
  *std::find(s->workers.begin(), s->workers.end(), &self) = nullptr;
  guard.unlock();
  worker.reset();
  guard.lock();
  s->workers.erase(std::find(s->workers.begin(), s->workers.end(), nullptr));
  s->changed.notify_all();
}

bool http_pool::cancel(const http_job_ptr& job) {
  std::lock_guard guard{state_->mutex};
  if (std::erase(state_->waiting, job) > 0)
    return true;
  for (auto* worker : state_->workers)
    if (worker && worker->job == job)
      worker->connection.break_off();
  return false;
}

std::deque<http_job_ptr> http_pool::stop() {
  std::unique_lock guard{state_->mutex};
  if (std::exchange(state_->stopped, true))
    return {};
  auto not_begun = std::exchange(state_->waiting, {});
  for (auto* worker : state_->workers)
    if (worker && worker->job)
      worker->connection.break_off();
  state_->changed.notify_all();
  const std::size_t remaining = own_pool == state_.get() ? 1 : 0;
  state_->changed.wait_for(guard, longest_stop, [&] { return state_->workers.size() <= remaining; });
  return not_begun;
}

} // namespace eventcore::internal
