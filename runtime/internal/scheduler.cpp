#include <eventcore/runtime/internal/scheduler.hpp>

#include <eventcore/runtime/internal/job_pool.hpp>

#include <caf/all.hpp>
#include <caf/policy/unprofiled.hpp>
#include <caf/scheduler/coordinator.hpp>

#include <optional>
#include <set>

namespace eventcore::internal {

namespace {

/// What CAF asks of a scheduler, passed on to the pool.
class pooled : public caf::policy::unprofiled {
public:
  struct coordinator_data {
    explicit coordinator_data(caf::scheduler::abstract_coordinator*) {}
    std::optional<job_pool> pool; ///< once the number of workers is known
  };

  struct worker_data {
    explicit worker_data(caf::scheduler::coordinator<pooled>* coordinator) {
      if (auto& pool = coordinator->data().pool; !pool) // by the first one
        pool.emplace(coordinator->num_workers());
    }
  };

  template <class Coordinator>
  void central_enqueue(Coordinator* self, caf::resumable* job) {
    d(self).pool->put(job);
  }
  template <class Worker>
  void external_enqueue(Worker* self, caf::resumable* job) {
    central_enqueue(self->parent(), job);
  }
  template <class Worker>
  void internal_enqueue(Worker* self, caf::resumable* job) {
    d(self->parent()).pool->put_next(self->id(), job);
  }
  template <class Worker>
  void resume_job_later(Worker* self, caf::resumable* job) {
    d(self->parent()).pool->put_last(self->id(), job);
  }
  template <class Worker>
  caf::resumable* dequeue(Worker* self) {
    return d(self->parent()).pool->take(self->id());
  }
  template <class Worker, class F>
  void foreach_resumable(Worker*, F) {}
  template <class Coordinator, class F>
  void foreach_central_resumable(Coordinator* self, F f) {
    while (auto* job = d(self).pool->take_rest())
      f(job);
  }
};

} // namespace

void use_job_pool(caf::actor_system_config& config) {
  config.load<caf::scheduler::coordinator<pooled>>();
}

} // namespace eventcore::internal
