#include <eventcore/actors/distributed_event.hpp>

#include <eventcore/actors/publish_errc.hpp>
#include <eventcore/actors/trace_context.hpp>

#include <algorithm>

namespace eventcore {

namespace {

error malformed(const char* field, const std::string& why) {
  return make_error(publish_errc::malformed_envelope, std::string{"the field "} + field +
                                                          " of a published event " + why +
                                                          "; its sender is no eventcore, or a faulty one");
}

} // namespace

DistributedEvent to_distributed(const recorded_event& e, const std::string& service_id,
                                std::span<const std::string> topics, timestamp published_at) {
  DistributedEvent to;
  to.set_event_id(e.id.bytes.data(), e.id.bytes.size());
  to.set_event_type(e.type);
  to.set_schema_version(e.schema_version);
  to.set_stream_id(e.stream);
  to.set_version(e.version);
  to.set_position(e.position);
  to.set_payload(e.payload);
  auto& metadata = *to.mutable_metadata();
  metadata.set_correlation_id(e.metadata.correlation_id);
  metadata.set_causation_id(e.metadata.causation_id);
  metadata.set_tenant(e.metadata.tenant);
  metadata.set_user(e.metadata.user);
  metadata.set_traceparent(e.metadata.traceparent);
  for (const auto& [name, value] : e.metadata.headers)
    (*metadata.mutable_headers())[name] = value;
  to.set_occurred_at_us(e.occurred_at.time_since_epoch().count());
  to.set_published_at_us(published_at.time_since_epoch().count());
  to.set_service_id(service_id);
  if (const auto trace = trace_context::parse(e.metadata.traceparent)) {
    to.set_trace_id(trace->trace_id());
    to.set_span_id(trace->span_id());
  }
  for (const auto& topic : topics)
    to.add_topics(topic);
  return to;
}

result<recorded_event> from_distributed(const DistributedEvent& e) {
  recorded_event to;
  if (e.event_id().size() != to.id.bytes.size())
    return malformed("event_id", "has " + std::to_string(e.event_id().size()) + " bytes instead of 16");
  std::ranges::copy(e.event_id(), to.id.bytes.begin());
  if (to.id.bytes[6] >> 4 != 7 || to.id.bytes[8] >> 6 != 2)
    return malformed("event_id", "holds " + to_string(to.id) + ", which is no UUIDv7");
  if (auto stream = stream_id::parse(e.stream_id()); !stream)
    return malformed("stream_id", "is wrong: " + stream.error().message());
  if (e.event_type().empty())
    return malformed("event_type", "is empty");
  if (e.version() == 0 || e.position() == 0)
    return malformed(e.version() == 0 ? "version" : "position", "is 0; these count from 1");
  to.type = e.event_type();
  to.schema_version = e.schema_version();
  to.stream = e.stream_id();
  to.version = e.version();
  to.position = e.position();
  to.payload = e.payload();
  to.metadata = {
      e.metadata().correlation_id(), e.metadata().causation_id(),
      e.metadata().tenant(),         e.metadata().user(),
      e.metadata().traceparent(),    {e.metadata().headers().begin(), e.metadata().headers().end()}};
  to.occurred_at = timestamp{std::chrono::microseconds{e.occurred_at_us()}};
  return to;
}

} // namespace eventcore
