#pragma once

#include <eventcore/actors/caf.hpp>
#include <eventcore/actors/event_handler.hpp>
#include <eventcore/actors/subscription.hpp>

#include <memory>
#include <span>

namespace eventcore::internal {

/// A run of events for a worker.
struct worker_task {
  std::size_t lane = 0;
  std::uint64_t number = 0; ///< of the task
  std::span<const recorded_event* const> events;
  std::shared_ptr<const void> memory; ///< keeps `events` alive
  std::shared_ptr<handler_run> run;
};

/// Worker to its subscription: what came of a task.
struct worker_report {
  std::size_t lane = 0;
  std::uint64_t number = 0;
  handled outcome;
};

/// Worker to its subscription: its last message. It could make no handler, or its handler broke, or it was told to end.
struct worker_gone {
  std::size_t lane = 0;
  std::uint64_t worker = 0;
  std::string why;       ///< empty: it was told to end
  bool by_event = false; ///< an event broke its handler
};

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::worker_task)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::worker_report)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::worker_gone)

namespace eventcore::internal {

/// Runs a handler for a subscription: takes one task at a time and answers each with a report, or ends with `worker_gone`.
class handler_worker {
public:
  virtual ~handler_worker() = default;
  virtual void give(worker_task task) = 0;
  /// The worker sends `worker_gone` when its handler is destroyed.
  virtual void end() = 0;
};

struct worker_start {
  caf::actor_system& system;
  caf::actor owner; ///< the subscription
  std::size_t lane;
  std::uint64_t worker; ///< number of the worker, for `worker_gone`
  handler_factory make;
  std::string name; ///< of the subscription
};

/// The destructor leaves a worker that does not end to itself: what it does then is heard by nobody.
std::unique_ptr<handler_worker> start_worker(const worker_start& how, handler_place place);

} // namespace eventcore::internal
