#pragma once

#include <eventcore/actors/distributed_event.hpp>
#include <eventcore/persistence/error.hpp>

#include <functional>
#include <memory>

namespace google::protobuf {
class Message;
} // namespace google::protobuf

namespace eventcore {

/// A published event on its way to one target, as transformations see and change it: a copy, whose original stays as it is.
///
/// Not thread-safe.
class event_draft {
public:
  /// Gives the payload as a message that the draft may change, and that lives as long as the draft.
  using decoder = std::function<result<google::protobuf::Message*>()>;

  /// `decode` is called when the payload is asked for first, once.
  event_draft(DistributedEvent event, decoder decode);
  /// For tests of transformations: a draft with this payload.
  event_draft(DistributedEvent event, std::unique_ptr<google::protobuf::Message> payload);
  event_draft(event_draft&&) noexcept;
  event_draft& operator=(event_draft&&) noexcept;
  ~event_draft();

  /// All but the payload, which is not kept here. What a transformation may change: event type, schema version, metadata, trace,
  /// topics and times. What identifies the event (event id, stream id, version, position, service id) must stay. Another event
  /// type is another name of the payload's type in the same package, or in the same message around it.
  DistributedEvent& event() noexcept { return event_; }
  const DistributedEvent& event() const noexcept { return event_; }

  /// The payload, decoded by the journal's own descriptors or replaced. Error: `corrupt`, if it cannot be decoded.
  result<const google::protobuf::Message*> payload();
  /// The same, to be changed.
  result<google::protobuf::Message*> change_payload();
  /// Puts another message in the payload's place, and its type in the event type's. The type must live as long as the process, as
  /// generated ones do.
  void replace_payload(std::unique_ptr<google::protobuf::Message> payload);

  /// The payload, if it was changed or replaced; else null, and the original's bytes stand as they are.
  const google::protobuf::Message* changed_payload() const noexcept { return changed_ ? payload_ : nullptr; }

private:
  DistributedEvent event_;
  decoder decode_;
  std::unique_ptr<google::protobuf::Message> owned_;
  google::protobuf::Message* payload_ = nullptr;
  bool changed_ = false;
};

} // namespace eventcore
