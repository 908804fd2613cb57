#include "support/journal_helpers.hpp"

#include <eventcore/persistence/internal/record_codec.hpp>

#include "record.pb.h"

#include <rapidcheck.h>
#include <xxhash.h>

#include <cstring>

namespace eventcore::test {

namespace {

using internal::decode_record;
using internal::peek_record;

/// What goes into one record.
struct content {
  event_id id;
  stream_id stream = sid("order-1");
  new_event event = happened(7, "seven");
  event_metadata metadata;
  timestamp occurred_at;
  stream_version version = 1;
  log_position position = 1;
  saved_answer answer;
};

std::string encode(const content& c) {
  std::string body;
  internal::encode_body(body, c.id, c.stream, c.event, c.metadata, c.occurred_at, c.answer);
  std::string value(internal::record_size(body.size(), c.version), '?');
  internal::finish_record(value, body, c.version, c.position);
  return value;
}

/// A log value around any bytes, with the right checksum.
std::string seal(std::string_view message) {
  const auto checksum = XXH3_64bits(message.data(), message.size());
  std::string value(internal::checksum_size, '\0');
  for (std::size_t i = 0; i < value.size(); ++i)
    value[i] = static_cast<char>(checksum >> (8 * i));
  value += message;
  return value;
}

std::string corrupt(std::string_view value, log_position position) {
  recorded_event out;
  const auto message = must_fail(decode_record(value, position, out), journal_errc::corrupt);
  BOOST_TEST(must_fail(peek_record(value, position), journal_errc::corrupt) == message);
  check_contains(message, "position " + std::to_string(position));
  return message;
}

rc::Gen<event_metadata> any_metadata() {
  return rc::gen::build<event_metadata>(
      rc::gen::set(&event_metadata::correlation_id), rc::gen::set(&event_metadata::causation_id),
      rc::gen::set(&event_metadata::tenant), rc::gen::set(&event_metadata::user),
      rc::gen::set(&event_metadata::traceparent), rc::gen::set(&event_metadata::headers));
}

content any_content() {
  content c;
  c.id.bytes = *rc::gen::arbitrary<std::array<std::uint8_t, 16>>();
  c.stream = sid(*rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange('a', 'z'))));
  c.event = *rc::gen::arbitrary<bool>() ? happened(1) : other();
  c.event.payload = *rc::gen::arbitrary<std::string>();
  c.event.schema_version = *rc::gen::inRange(1u, 1'000u);
  if (*rc::gen::arbitrary<bool>())
    c.metadata = *any_metadata();
  c.occurred_at = timestamp{std::chrono::microseconds{*rc::gen::arbitrary<std::int64_t>()}};
  if (*rc::gen::arbitrary<bool>())
    c.answer = {*rc::gen::arbitrary<std::string>(), *rc::gen::arbitrary<std::string>()};
  c.version = *rc::gen::inRange<stream_version>(1, ~stream_version{0});
  c.position = *rc::gen::inRange<log_position>(1, ~log_position{0});
  return c;
}

} // namespace

BOOST_AUTO_TEST_CASE(every_record_round_trips) {
  // One event for all runs: what an earlier record left in it must not show.
  recorded_event out;
  BOOST_TEST(rc::check("every record round trips", [&] {
    const auto c = any_content();
    const auto value = encode(c);
    auto decoded = decode_record(value, c.position, out);
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(out.position == c.position);
    RC_ASSERT(out.stream == c.stream.str());
    RC_ASSERT(out.version == c.version);
    RC_ASSERT(out.id == c.id);
    RC_ASSERT(out.type == c.event.type->full_name());
    RC_ASSERT(out.schema_version == c.event.schema_version);
    RC_ASSERT(out.occurred_at == c.occurred_at);
    RC_ASSERT(out.payload == c.event.payload);
    RC_ASSERT(out.metadata == c.metadata);
    RC_ASSERT(out.answer.key == c.answer.key);
    RC_ASSERT(out.answer.content == c.answer.content);

    auto key = peek_record(value, c.position);
    RC_ASSERT(key.has_value());
    RC_ASSERT(key->stream == c.stream.str());
    RC_ASSERT(key->version == c.version);
    RC_ASSERT(key->type == c.event.type->full_name());
    RC_ASSERT(key->stream.data() > value.data());
    RC_ASSERT(key->stream.data() < value.data() + value.size());
  }));
}

/// What is written by hand is what record.proto says.
BOOST_AUTO_TEST_CASE(a_record_is_a_protobuf_message) {
  content c;
  c.id.bytes[15] = 9;
  c.event.schema_version = 300;
  c.metadata = {"correlation", "causation", "tenant", "user", "trace", {{"a", "1"}, {"b", ""}, {"", "2"}}};
  c.occurred_at = timestamp{std::chrono::microseconds{-5}};
  c.version = 1'000;
  c.position = 77;
  const auto value = encode(c);
  format::Record record;
  BOOST_TEST_REQUIRE(record.ParseFromString(value.substr(internal::checksum_size)));
  BOOST_TEST(record.event_id() == std::string(reinterpret_cast<const char*>(c.id.bytes.data()), 16));
  BOOST_TEST(record.stream() == "order-1");
  BOOST_TEST(record.type() == "eventcore.test.Happened");
  BOOST_TEST(record.schema_version() == 300u);
  BOOST_TEST(record.occurred_at_us() == -5);
  BOOST_TEST(record.metadata().correlation_id() == "correlation");
  BOOST_TEST(record.metadata().causation_id() == "causation");
  BOOST_TEST(record.metadata().tenant() == "tenant");
  BOOST_TEST(record.metadata().user() == "user");
  BOOST_TEST(record.metadata().traceparent() == "trace");
  BOOST_TEST(record.metadata().headers_size() == 3);
  BOOST_TEST(record.metadata().headers().at("a") == "1");
  BOOST_TEST(record.metadata().headers().at("") == "2");
  BOOST_TEST(record.payload() == c.event.payload);
  BOOST_TEST(record.version() == 1'000u);
  BOOST_TEST(record.position() == 77u);
  BOOST_TEST(format::Record::GetReflection()->GetUnknownFields(record).empty());

  // And what any Protobuf writer makes of it is read, with fields of later formats passed over.
  auto* later = format::Record::GetReflection()->MutableUnknownFields(&record);
  later->AddLengthDelimited(20, "later");
  later->AddVarint(21, 300);
  later->AddFixed32(22, 1);
  later->AddFixed64(23, 1);
  format::Metadata::GetReflection()
      ->MutableUnknownFields(record.mutable_metadata())
      ->AddLengthDelimited(30, "later");
  recorded_event out;
  BOOST_TEST_REQUIRE(decode_record(seal(record.SerializeAsString()), 77, out).has_value());
  BOOST_TEST((out.metadata == c.metadata));
  BOOST_TEST(out.version == 1'000u);
}

BOOST_AUTO_TEST_CASE(the_usual_is_left_out) {
  content c;
  format::Record record;
  BOOST_TEST_REQUIRE(record.ParseFromString(encode(c).substr(internal::checksum_size)));
  BOOST_TEST(record.schema_version() == 0u);
  BOOST_TEST(!record.has_metadata());
  recorded_event out;
  BOOST_TEST_REQUIRE(decode_record(encode(c), 1, out).has_value());
  BOOST_TEST(out.schema_version == 1u);
}

BOOST_AUTO_TEST_CASE(several_bodies_stand_behind_each_other) {
  content first;
  content second;
  second.event = other();
  std::string bodies;
  internal::encode_body(bodies, first.id, first.stream, first.event, first.metadata, first.occurred_at);
  const auto end_of_first = bodies.size();
  internal::encode_body(bodies, second.id, second.stream, second.event, second.metadata, second.occurred_at);
  std::string value(internal::record_size(bodies.size() - end_of_first, 2), '?');
  internal::finish_record(value, std::string_view{bodies}.substr(end_of_first), 2, 10);
  recorded_event out;
  BOOST_TEST_REQUIRE(decode_record(value, 10, out).has_value());
  BOOST_TEST(out.type == "eventcore.test.Other");
}

BOOST_AUTO_TEST_CASE(every_flipped_bit_is_found) {
  content c;
  c.metadata.user = "somebody";
  c.version = 300;
  c.position = 12'345;
  auto value = encode(c);
  recorded_event out;
  for (std::size_t byte = 0; byte < value.size(); ++byte)
    for (int bit = 0; bit < 8; ++bit) {
      value[byte] = static_cast<char>(value[byte] ^ (1 << bit));
      BOOST_TEST_REQUIRE(!decode_record(value, c.position, out).has_value());
      BOOST_TEST_REQUIRE(!peek_record(value, c.position).has_value());
      value[byte] = static_cast<char>(value[byte] ^ (1 << bit));
    }
  BOOST_TEST(decode_record(value, c.position, out).has_value());
}

BOOST_AUTO_TEST_CASE(every_changed_byte_is_found) {
  BOOST_TEST(rc::check("every changed byte is found", [] {
    const auto c = any_content();
    auto value = encode(c);
    const auto at = *rc::gen::inRange<std::size_t>(0, value.size());
    value[at] = static_cast<char>(value[at] ^ *rc::gen::inRange(1, 256));
    recorded_event out;
    auto decoded = decode_record(value, c.position, out);
    RC_ASSERT(!decoded.has_value());
    RC_ASSERT(decoded.error().code() == make_error_code(journal_errc::corrupt));
  }));
}

BOOST_AUTO_TEST_CASE(every_cut_is_found) {
  const auto value = encode({});
  for (std::size_t size = 0; size < value.size(); ++size)
    corrupt(std::string_view{value}.substr(0, size), 1);
  corrupt(value + '\0', 1);
}

/// Any bytes under a right checksum are decoded, or refused in order; never read beyond their end.
BOOST_AUTO_TEST_CASE(any_bytes_do_no_harm) {
  BOOST_TEST(rc::check("any bytes do no harm", [](const std::string& bytes) {
    recorded_event out;
    auto decoded = decode_record(seal(bytes), 1, out);
    RC_ASSERT(!decoded.has_value());
    // Behind a good start, too.
    (void)decode_record(seal(encode({}).substr(internal::checksum_size) + bytes), 1, out);
  }));
}

BOOST_AUTO_TEST_CASE(an_error_names_what_can_be_read) {
  content c;
  c.version = 42;
  c.position = 7;
  auto value = encode(c);
  value[0] = static_cast<char>(value[0] ^ 1);
  auto message = corrupt(value, 7);
  check_contains(message, "order-1");
  check_contains(message, "version 42");
  check_contains(message, "eventcore.test.Happened");
  check_contains(message, "checksum");

  message = corrupt(encode(c), 8);
  check_contains(message, "belongs to position 7");
  check_contains(message, "order-1");

  check_contains(corrupt("", 3), "too short");
  check_contains(corrupt("1234567", 3), "too short");
  check_contains(corrupt(seal("\x0F"), 3), "not a record");
  check_contains(corrupt(seal("\x12\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), 3), "not a record");

  format::Record record;
  record.set_event_id(std::string(15, 'i'));
  record.set_stream("order-\x1B");
  record.set_type("t");
  record.set_version(1);
  record.set_position(3);
  message = corrupt(seal(record.SerializeAsString()), 3);
  check_contains(message, "not a record");
  check_contains(message, "order-\\x1B");
}

} // namespace eventcore::test
