#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/internal/record_codec.hpp>
#include <eventcore/persistence/internal/utf8.hpp>

#include "record.pb.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <xxhash.h>

#include <algorithm>
#include <cassert>

// The wire format is written and read by hand: three times as fast as the generated classes, which have
// strings of their own to fill. Field numbers come from the generated classes.

namespace eventcore::internal {

namespace {

using format::Metadata;
using format::Record;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using wire = google::protobuf::internal::WireFormatLite;

static_assert(sizeof(XXH64_hash_t) == checksum_size);

constexpr std::uint32_t bytes_tag(int field) {
  return wire::MakeTag(field, wire::WIRETYPE_LENGTH_DELIMITED);
}

constexpr std::uint32_t event_id_tag = bytes_tag(Record::kEventIdFieldNumber);
constexpr std::uint32_t stream_tag = bytes_tag(Record::kStreamFieldNumber);
constexpr std::uint32_t type_tag = bytes_tag(Record::kTypeFieldNumber);
constexpr std::uint32_t schema_version_tag =
    wire::MakeTag(Record::kSchemaVersionFieldNumber, wire::WIRETYPE_VARINT);
constexpr std::uint32_t occurred_at_tag =
    wire::MakeTag(Record::kOccurredAtUsFieldNumber, wire::WIRETYPE_FIXED64);
constexpr std::uint32_t metadata_tag = bytes_tag(Record::kMetadataFieldNumber);
constexpr std::uint32_t payload_tag = bytes_tag(Record::kPayloadFieldNumber);
constexpr std::uint32_t answer_key_tag = bytes_tag(Record::kAnswerKeyFieldNumber);
constexpr std::uint32_t answer_tag = bytes_tag(Record::kAnswerFieldNumber);
constexpr std::uint32_t version_tag = wire::MakeTag(Record::kVersionFieldNumber, wire::WIRETYPE_VARINT);
constexpr std::uint32_t position_tag = wire::MakeTag(Record::kPositionFieldNumber, wire::WIRETYPE_FIXED64);

constexpr std::uint32_t correlation_id_tag = bytes_tag(Metadata::kCorrelationIdFieldNumber);
constexpr std::uint32_t causation_id_tag = bytes_tag(Metadata::kCausationIdFieldNumber);
constexpr std::uint32_t tenant_tag = bytes_tag(Metadata::kTenantFieldNumber);
constexpr std::uint32_t user_tag = bytes_tag(Metadata::kUserFieldNumber);
constexpr std::uint32_t traceparent_tag = bytes_tag(Metadata::kTraceparentFieldNumber);
constexpr std::uint32_t header_tag = bytes_tag(Metadata::kHeadersFieldNumber);
// A map's entry is a message with these two fields.
constexpr std::uint32_t key_tag = bytes_tag(1);
constexpr std::uint32_t value_tag = bytes_tag(2);

// -- writing --------------------------------------------------------------------------------------

char* put_varint(char* at, std::uint64_t value) noexcept {
  auto* end = CodedOutputStream::WriteVarint64ToArray(value, reinterpret_cast<std::uint8_t*>(at));
  return reinterpret_cast<char*>(end);
}

char* put_fixed(char* at, std::uint64_t value) noexcept {
  auto* end = CodedOutputStream::WriteLittleEndian64ToArray(value, reinterpret_cast<std::uint8_t*>(at));
  return reinterpret_cast<char*>(end);
}

/// All tags of this format are one byte long.
char* put_tag(char* at, std::uint32_t tag) noexcept {
  *at = static_cast<char>(tag);
  return at + 1;
}

char* put_bytes(char* at, std::uint32_t tag, std::string_view content) noexcept {
  at = put_varint(put_tag(at, tag), content.size());
  return std::copy(content.begin(), content.end(), at);
}

std::size_t bytes_size(std::size_t content) noexcept {
  return 1 + CodedOutputStream::VarintSize64(content) + content;
}

/// A field that is left out when it is empty.
std::size_t optional_size(std::string_view content) noexcept {
  return content.empty() ? 0 : bytes_size(content.size());
}

char* put_optional(char* at, std::uint32_t tag, std::string_view content) noexcept {
  return content.empty() ? at : put_bytes(at, tag, content);
}

std::size_t metadata_size(const event_metadata& m) noexcept {
  std::size_t size = optional_size(m.correlation_id) + optional_size(m.causation_id) +
                     optional_size(m.tenant) + optional_size(m.user) + optional_size(m.traceparent);
  for (const auto& [key, value] : m.headers)
    size += bytes_size(bytes_size(key.size()) + bytes_size(value.size()));
  return size;
}

char* put_metadata(char* at, const event_metadata& m) noexcept {
  at = put_optional(at, correlation_id_tag, m.correlation_id);
  at = put_optional(at, causation_id_tag, m.causation_id);
  at = put_optional(at, tenant_tag, m.tenant);
  at = put_optional(at, user_tag, m.user);
  at = put_optional(at, traceparent_tag, m.traceparent);
  for (const auto& [key, value] : m.headers) {
    at = put_varint(put_tag(at, header_tag), bytes_size(key.size()) + bytes_size(value.size()));
    at = put_bytes(at, key_tag, key);
    at = put_bytes(at, value_tag, value);
  }
  return at;
}

// -- reading --------------------------------------------------------------------------------------

std::uint64_t get_fixed(const char* at) noexcept {
  std::uint64_t value;
  CodedInputStream::ReadLittleEndian64FromArray(reinterpret_cast<const std::uint8_t*>(at), &value);
  return value;
}

/// Takes the fields of one message from the front, in whatever order they come.
class field_reader {
public:
  explicit field_reader(std::string_view message) noexcept
      : rest_{message} {}

  /// Reads the next field. False: the end, or what follows is no field.
  bool next() noexcept {
    std::uint64_t tag;
    if (!get_varint(tag) || tag > std::uint32_t(-1))
      return false;
    tag_ = static_cast<std::uint32_t>(tag);
    switch (wire::GetTagWireType(tag_)) {
    case wire::WIRETYPE_VARINT:
      return get_varint(number_);
    case wire::WIRETYPE_FIXED64:
      if (!get_bytes(8))
        return false;
      number_ = get_fixed(bytes_.data());
      return true;
    case wire::WIRETYPE_FIXED32:
      return get_bytes(4);
    case wire::WIRETYPE_LENGTH_DELIMITED: {
      std::uint64_t size;
      return get_varint(size) && get_bytes(size);
    }
    default:
      return false;
    }
  }

  /// Whether all was read.
  bool at_end() const noexcept { return rest_.empty(); }

  // -- the field read last --
  std::uint32_t tag() const noexcept { return tag_; }
  std::string_view bytes() const noexcept { return bytes_; }
  std::uint64_t number() const noexcept { return number_; }

private:
  bool get_varint(std::uint64_t& value) noexcept {
    value = 0;
    for (std::size_t i = 0; i < rest_.size() && i < 10; ++i) {
      const auto byte = static_cast<unsigned char>(rest_[i]);
      value |= std::uint64_t{byte & 0x7Fu} << (7 * i);
      if (byte < 0x80) {
        rest_.remove_prefix(i + 1);
        return true;
      }
    }
    return false;
  }

  bool get_bytes(std::uint64_t size) noexcept {
    if (size > rest_.size())
      return false;
    bytes_ = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  std::string_view rest_;
  std::uint32_t tag_ = 0;
  std::string_view bytes_;
  std::uint64_t number_ = 0;
};

/// A record's fields, pointing into the value.
struct record_view {
  std::string_view event_id;
  std::string_view stream;
  std::string_view type;
  std::uint32_t schema_version = 0;
  std::uint64_t occurred_at_us = 0;
  std::string_view metadata;
  std::string_view payload;
  std::string_view answer_key;
  std::string_view answer;
  stream_version version = 0;
  log_position position = 0;
};

/// Fills `out` with as many fields as can be read. False: `message` is no Record.
bool parse(std::string_view message, record_view& out) noexcept {
  field_reader field{message};
  while (field.next()) {
    switch (field.tag()) {
    case event_id_tag:
      out.event_id = field.bytes();
      break;
    case stream_tag:
      out.stream = field.bytes();
      break;
    case type_tag:
      out.type = field.bytes();
      break;
    case schema_version_tag:
      out.schema_version = static_cast<std::uint32_t>(field.number());
      break;
    case occurred_at_tag:
      out.occurred_at_us = field.number();
      break;
    case metadata_tag:
      out.metadata = field.bytes();
      break;
    case payload_tag:
      out.payload = field.bytes();
      break;
    case answer_key_tag:
      out.answer_key = field.bytes();
      break;
    case answer_tag:
      out.answer = field.bytes();
      break;
    case version_tag:
      out.version = field.number();
      break;
    case position_tag:
      out.position = field.number();
      break;
    }
  }
  return field.at_end() && out.event_id.size() == sizeof(event_id::bytes) && !out.stream.empty() &&
         !out.type.empty();
}

bool parse_header(std::string_view message, std::map<std::string, std::string>& out) {
  std::string_view key;
  std::string_view value;
  field_reader field{message};
  while (field.next()) {
    if (field.tag() == key_tag)
      key = field.bytes();
    else if (field.tag() == value_tag)
      value = field.bytes();
  }
  out.insert_or_assign(std::string{key}, std::string{value});
  return field.at_end();
}

/// Overwrites `out`. False: `message` is no Metadata.
bool parse_metadata(std::string_view message, event_metadata& out) {
  out.correlation_id.clear();
  out.causation_id.clear();
  out.tenant.clear();
  out.user.clear();
  out.traceparent.clear();
  out.headers.clear();
  field_reader field{message};
  while (field.next()) {
    switch (field.tag()) {
    case correlation_id_tag:
      out.correlation_id = field.bytes();
      break;
    case causation_id_tag:
      out.causation_id = field.bytes();
      break;
    case tenant_tag:
      out.tenant = field.bytes();
      break;
    case user_tag:
      out.user = field.bytes();
      break;
    case traceparent_tag:
      out.traceparent = field.bytes();
      break;
    case header_tag:
      if (!parse_header(field.bytes(), out.headers))
        return false;
      break;
    }
  }
  return field.at_end();
}

error corrupt(log_position position, const record_view& record, std::string_view failed_check) {
  std::string what;
  auto add = [&what](const std::string& part) { what += (what.empty() ? " (" : ", ") + part; };
  if (!record.stream.empty())
    add("stream " + quoted(record.stream));
  if (record.version != 0)
    add("version " + std::to_string(record.version));
  if (!record.type.empty())
    add("type " + quoted(record.type));
  if (!what.empty())
    what += ')';
  return make_error(journal_errc::corrupt, "the record at position " + std::to_string(position) + what +
                                               " is damaged: " + std::string{failed_check} +
                                               "; restore the journal from a backup");
}

/// The checks that every read of a record makes.
result<void> verify(std::string_view value, log_position expected_position, record_view& out) {
  if (value.size() <= checksum_size)
    return corrupt(expected_position, {}, "it is too short, only " + std::to_string(value.size()) + " bytes");
  const auto message = value.substr(checksum_size);
  const bool is_record = parse(message, out) && out.version != 0;
  if (get_fixed(value.data()) != XXH3_64bits(message.data(), message.size()))
    return corrupt(expected_position, out, "its checksum does not match its content");
  if (!is_record)
    return corrupt(expected_position, out, "its content is not a record");
  if (out.position != expected_position)
    return corrupt(expected_position, out, "it belongs to position " + std::to_string(out.position));
  return {};
}

/// Overwrites `out`. False: the metadata cannot be read.
bool copy(const record_view& record, recorded_event& out) {
  out.position = record.position;
  out.stream = record.stream;
  out.version = record.version;
  std::copy(record.event_id.begin(), record.event_id.end(), out.id.bytes.begin());
  out.type = record.type;
  out.schema_version = std::max(record.schema_version, 1u);
  out.occurred_at = timestamp{std::chrono::microseconds{static_cast<std::int64_t>(record.occurred_at_us)}};
  out.payload = record.payload;
  out.answer.key = record.answer_key;
  out.answer.content = record.answer;
  return parse_metadata(record.metadata, out.metadata);
}

} // namespace

void encode_body(std::string& out, const event_id& id, const stream_id& stream, const new_event& event,
                 const event_metadata& metadata, timestamp occurred_at, const saved_answer& answer) {
  const std::string_view id_bytes{reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
  const std::string& type = event.type->full_name();
  const auto occurred_at_us = static_cast<std::uint64_t>(occurred_at.time_since_epoch().count());
  const auto meta_size = metadata_size(metadata);
  const bool says_schema_version = event.schema_version > 1;

  const auto start = out.size();
  out.resize(start + bytes_size(id_bytes.size()) + bytes_size(stream.str().size()) + bytes_size(type.size()) +
             (says_schema_version ? 1 + CodedOutputStream::VarintSize32(event.schema_version) : 0) + 1 +
             sizeof(occurred_at_us) + (meta_size > 0 ? bytes_size(meta_size) : 0) +
             optional_size(event.payload) + optional_size(answer.key) + optional_size(answer.content));
  char* at = out.data() + start;
  at = put_bytes(at, event_id_tag, id_bytes);
  at = put_bytes(at, stream_tag, stream.str());
  at = put_bytes(at, type_tag, type);
  if (says_schema_version)
    at = put_varint(put_tag(at, schema_version_tag), event.schema_version);
  at = put_fixed(put_tag(at, occurred_at_tag), occurred_at_us);
  if (meta_size > 0)
    at = put_metadata(put_varint(put_tag(at, metadata_tag), meta_size), metadata);
  at = put_optional(at, payload_tag, event.payload);
  at = put_optional(at, answer_key_tag, answer.key);
  at = put_optional(at, answer_tag, answer.content);
  assert(at == out.data() + out.size());
}

std::size_t record_size(std::size_t body_size, stream_version version) noexcept {
  return checksum_size + body_size + 1 + CodedOutputStream::VarintSize64(version) + 1 + sizeof(log_position);
}

void finish_record(std::span<char> out, std::string_view body, stream_version version,
                   log_position position) noexcept {
  assert(out.size() == record_size(body.size(), version));
  char* const content = out.data() + checksum_size;
  char* at = std::copy(body.begin(), body.end(), content);
  at = put_varint(put_tag(at, version_tag), version);
  at = put_fixed(put_tag(at, position_tag), position);
  put_fixed(out.data(), XXH3_64bits(content, static_cast<std::size_t>(at - content)));
}

result<record_key> peek_record(std::string_view value, log_position expected_position) {
  record_view record;
  if (auto ok = verify(value, expected_position, record); !ok)
    return ok.error();
  return record_key{record.stream, record.version, record.type};
}

std::string_view guess_stream(std::string_view value) noexcept {
  record_view record;
  if (value.size() > checksum_size)
    parse(value.substr(checksum_size), record);
  return record.stream;
}

result<void> decode_record(std::string_view value, log_position expected_position, recorded_event& out) {
  record_view record;
  if (auto ok = verify(value, expected_position, record); !ok)
    return ok;
  if (!copy(record, out))
    return corrupt(expected_position, record, "its metadata cannot be read");
  return {};
}

bool decode_body(std::string_view body, stream_version version, log_position position, recorded_event& out) {
  record_view record;
  if (!parse(body, record))
    return false;
  record.version = version;
  record.position = position;
  return copy(record, out);
}

} // namespace eventcore::internal
