#pragma once

#include <eventcore/persistence/event.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

/// Writes and reads the values of the log: an XXH3-64 checksum (8 bytes, little endian) over the rest, then
/// one serialised `eventcore.format.Record` (record.proto). A record is written in two parts, so that all the
/// work that does not need the event's place is done by the thread that submits. Thread-safe.
namespace eventcore::internal {

/// Appends to `out` what the submitter knows of a record: its fields 1 to 7, 10 and 11.
void encode_body(std::string& out, const event_id& id, const stream_id& stream, const new_event& event,
                 const event_metadata& metadata, timestamp occurred_at, const saved_answer& answer = {});

/// The checksum, and the fields that `finish_record` adds at most: tag and varint of the version, tag and
/// fixed64 of the position.
constexpr std::size_t checksum_size = 8;
constexpr std::size_t max_suffix_size = 1 + 10 + 1 + 8;

/// Size of the log's value for a body of `body_size` bytes; `checksum_size + body_size + max_suffix_size` at
/// most.
std::size_t record_size(std::size_t body_size, stream_version version) noexcept;

/// Writes the log's value: checksum, `body`, version and position. `out` is exactly `record_size(body.size(),
/// version)` long.
void finish_record(std::span<char> out, std::string_view body, stream_version version,
                   log_position position) noexcept;

/// Where a record belongs. Points into the value that it was read from.
struct record_key {
  std::string_view stream;
  stream_version version = 0;
  std::string_view type;
};

/// Checks a log's value and reads its key without copying. Error: `corrupt`, naming the position, the check
/// that failed, and stream, version and type as far as they can be read.
result<record_key> peek_record(std::string_view value, log_position expected_position);

/// The stream that a damaged record says it belongs to, unchecked; empty if it cannot be read.
std::string_view guess_stream(std::string_view value) noexcept;

/// Checks a log's value and copies it to `out`, all of whose fields are overwritten and whose strings keep
/// their memory. Error: as `peek_record`; `out` is then unspecified.
result<void> decode_record(std::string_view value, log_position expected_position, recorded_event& out);

/// Copies a body that `encode_body` made to `out`, as `decode_record` does with the whole value. False: it is none.
bool decode_body(std::string_view body, stream_version version, log_position position, recorded_event& out);

} // namespace eventcore::internal
