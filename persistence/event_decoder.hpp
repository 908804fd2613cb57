#pragma once

#include <eventcore/persistence/journal.hpp>

#include <memory>

namespace google::protobuf {
class Descriptor;
class Message;
} // namespace google::protobuf

namespace eventcore {

/// Decodes events by the descriptors that their journal holds, without the program that wrote them. Where a
/// type was written in several forms, an event is decoded by the newest form that is not younger than the
/// event.
///
/// Not thread-safe.
class event_decoder {
public:
  /// Reads the journal's event types when they are needed, and again when events come that are younger than
  /// the last reading. `from` must outlive the decoder.
  explicit event_decoder(journal_reader& from);
  event_decoder(const event_decoder&) = delete;
  event_decoder& operator=(const event_decoder&) = delete;
  ~event_decoder();

  /// The payload of `e` as a message, which the caller may change; valid until the next call. Errors, naming
  /// stream, version, position and type: `corrupt` (the journal does not know the type, or the payload is no
  /// message of it), and those of reading the event types.
  result<google::protobuf::Message*> decode(const recorded_event& e);

  /// The type of which `decode` makes a message; it lives as long as the decoder. Errors: as `decode`, but for the payload.
  result<const google::protobuf::Descriptor*> type_of(const recorded_event& e);

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace eventcore
