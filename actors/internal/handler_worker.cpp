#include <eventcore/actors/internal/handler_worker.hpp>

#include <eventcore/actors/internal/telemetry.hpp>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace eventcore::internal {

namespace {

/// How long a worker on the scheduler keeps other actors waiting, about.
constexpr std::chrono::milliseconds time_slice{2};

/// What both kinds of workers do: nothing that a handler or its constructor throws leaves it.
class guarded_handler {
public:
  explicit guarded_handler(const worker_start& how)
      : make_{how.make}
      , subscription_{how.name}
      , telemetry_{telemetry_of(how.system)} {}

  /// Nothing: the handler is broken, and `gone` says why.
  std::optional<handled> handle(const worker_task& task, worker_gone& gone) {
    gone.by_event = false;
    task.run->subscription = subscription_;
    task.run->telemetry = telemetry_ && telemetry_->traces() ? telemetry_.get() : nullptr;
    try {
      if (!handler_ && !(handler_ = make_())) {
        gone.why = "no subscriber was made";
        return std::nullopt;
      }
      gone.by_event = true;
      return handler_->handle(task.events, *task.run);
    } catch (const std::exception& e) {
      gone.why = e.what();
    } catch (...) {
      gone.why = "something that is no std::exception was thrown";
    }
    if (!gone.by_event)
      gone.why = "making the subscriber failed: " + gone.why;
    return std::nullopt;
  }

  void reset() noexcept { handler_.reset(); }

private:
  handler_factory make_;
  const std::string subscription_;
  const std::shared_ptr<const telemetry> telemetry_;
  std::unique_ptr<event_handler> handler_;
};

// -- on the scheduler

struct end_worker {};

} // namespace

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::end_worker)

namespace eventcore::internal {

namespace {

class worker_actor final : public caf::event_based_actor {
public:
  worker_actor(caf::actor_config& config, const worker_start& how)
      : caf::event_based_actor{config}
      , owner_{how.owner}
      , gone_{how.lane, how.worker, "it was ended from outside"}
      , handler_{how} {}

  const char* name() const override { return "eventcore.handler"; }

protected:
  caf::behavior make_behavior() override {
    set_error_handler([](caf::scheduled_actor*, caf::error&) {});
    return {
        [this](worker_task& task) {
          task.run->begin(std::chrono::steady_clock::now() + time_slice);
          auto outcome = handler_.handle(task, gone_);
          if (!outcome)
            return quit();
          task.memory.reset(); // so that its owner can use it again
          send(owner_, worker_report{task.lane, task.number, *std::move(outcome)});
        },
        [this](end_worker) {
          gone_ = {gone_.lane, gone_.worker, {}};
          quit();
        },
    };
  }

  void on_exit() override {
    handler_.reset();
    send(std::exchange(owner_, nullptr), std::move(gone_));
  }

private:
  caf::actor owner_;
  worker_gone gone_;
  guarded_handler handler_;
};

class scheduled_worker final : public handler_worker {
public:
  explicit scheduled_worker(const worker_start& how)
      : actor_{how.system.spawn<worker_actor>(how)} {}
  ~scheduled_worker() override { caf::anon_send(actor_, end_worker{}); }

  void give(worker_task task) override { caf::anon_send(actor_, std::move(task)); }
  void end() override { caf::anon_send(actor_, end_worker{}); }

private:
  caf::actor actor_;
};

// -- on a thread of its own

class thread_worker final : public handler_worker {
public:
  explicit thread_worker(const worker_start& how)
      : shared_{std::make_shared<shared>(how)}
      , thread_{[s = shared_] { s->run(); }} {}

  ~thread_worker() override {
    end();
    if (shared_->leave_alone())
      thread_.detach();
    else
      thread_.join();
  }

  void give(worker_task task) override { shared_->give(std::move(task)); }
  void end() override { shared_->end(); }

private:
  /// What thread and subscription share, so that the one can outlive the other.
  class shared {
  public:
    explicit shared(const worker_start& how)
        : owner_{how.owner}
        , gone_{how.lane, how.worker, {}}
        , handler_{how} {}

    void give(worker_task task) {
      std::lock_guard lock{mutex_};
      task_ = std::move(task);
      work_.notify_one();
    }

    void end() {
      std::lock_guard lock{mutex_};
      ended_ = true;
      work_.notify_one();
    }

    /// From now on the thread touches no actor. True: it is not through yet.
    bool leave_alone() {
      std::lock_guard lock{mutex_};
      owner_ = nullptr;
      return !through_;
    }

    void run() {
      while (auto task = next()) {
        task->run->begin(std::nullopt);
        auto outcome = handler_.handle(*task, gone_);
        if (!outcome)
          break;
        task->memory.reset(); // so that its owner can use it again
        report({task->lane, task->number, *std::move(outcome)});
      }
      handler_.reset();
      std::lock_guard lock{mutex_};
      if (owner_)
        caf::anon_send(std::exchange(owner_, nullptr), std::move(gone_));
      through_ = true;
    }

  private:
    std::optional<worker_task> next() {
      std::unique_lock lock{mutex_};
      work_.wait(lock, [this] { return task_ || ended_; });
      return ended_ ? std::nullopt : std::exchange(task_, std::nullopt);
    }

    void report(worker_report r) {
      std::lock_guard lock{mutex_};
      if (owner_)
        caf::anon_send(owner_, std::move(r));
    }

    std::mutex mutex_;
    std::condition_variable work_;
    std::optional<worker_task> task_;
    bool ended_ = false;
    bool through_ = false;
    caf::actor owner_;
    worker_gone gone_;
    guarded_handler handler_;
  };

  std::shared_ptr<shared> shared_;
  std::thread thread_;
};

} // namespace

std::unique_ptr<handler_worker> start_worker(const worker_start& how, handler_place place) {
  if (place == handler_place::scheduler)
    return std::make_unique<scheduled_worker>(how);
  return std::make_unique<thread_worker>(how);
}

} // namespace eventcore::internal
