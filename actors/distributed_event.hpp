#pragma once

#include <eventcore/actors/distributed_event.pb.h>
#include <eventcore/persistence/event.hpp>

#include <span>
#include <string>

namespace eventcore {

/// The published form of an event (spec 6). What a journal keeps with it for its own entities alone, the answer to a command,
/// is not published. Trace id and span id come from the metadata's trace context; they are empty if it is no W3C trace context.
DistributedEvent to_distributed(const recorded_event& e, const std::string& service_id,
                                std::span<const std::string> topics, timestamp published_at);

/// The event as its service's journal holds it, but for the answer: the inverse of `to_distributed`. Error:
/// `malformed_envelope` of publish_errc.hpp, naming the field: an id that is no UUIDv7, a stream id that is none, no event
/// type, no version, no position.
result<recorded_event> from_distributed(const DistributedEvent& e);

} // namespace eventcore
