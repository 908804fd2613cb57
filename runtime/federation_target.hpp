#pragma once

#include <eventcore/actors/distributed_event.hpp>
#include <eventcore/persistence/event.hpp>
#include <eventcore/runtime/federation_errc.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace eventcore {

/// A form of an event type, which describes itself: who receives events of it needs no code of the service that wrote them.
struct event_form {
  std::string type;        ///< full name
  std::string descriptors; ///< a serialised google.protobuf.FileDescriptorSet, dependencies first
};

/// An event as it goes to a target. The form is the same object for all events of one form.
struct federated_event {
  DistributedEvent event;
  std::shared_ptr<const event_form> form;
};

/// Where events come from: a service, and the history of its journal, which is another one after a backup was restored.
struct federation_source {
  std::string service;
  uuid incarnation;
};

/// What goes to a target in one step. It takes all of it, or all up to some event, each event once.
struct federation_batch {
  federation_source source;
  /// Where the target must stand, as it said itself; else it takes nothing and answers where it stands.
  log_position after = 0;
  /// Where it stands when it has taken all: not before the last event's position. There may be no event.
  log_position up_to = 0;
  /// In the order of their positions, which are behind `after`.
  std::vector<federated_event> events;
  /// One event that comes late, from a dead-letter stream: the target takes it once, wherever it stands, and stays there.
  /// `after` and `up_to` mean nothing then.
  bool late = false;
};

/// How far a target came with a batch.
struct federation_answer {
  /// Where the target stands now: it has taken all events up to there, and they are durable. 0 if it cannot tell.
  log_position reached = 0;
  /// Why it did not take the whole batch. `refused`: it will never take the next event. Any other: it may later.
  std::optional<error> why;
};

/// The way to one service that receives events: the seam behind which the transport is. Each source's events are
/// sent by one hub at a time.
///
/// Thread-safe. The functions do not block: they answer through `done`, exactly once, on any thread, also before they return.
/// Batches of one source are taken in the order in which they were sent; several may be on their way.
class federation_target {
public:
  virtual ~federation_target() = default;

  /// Where the target stands: the position of the source up to which it has taken all that is meant for it; 0: at the start.
  /// Errors: `other_history`; any other means that it cannot be reached now.
  virtual void ask_position(const federation_source& source,
                            std::function<void(result<log_position>)> done) = 0;

  virtual void deliver(federation_batch batch, std::function<void(federation_answer)> done) = 0;
};

} // namespace eventcore
