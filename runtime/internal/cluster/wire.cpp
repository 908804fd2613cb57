#include <eventcore/runtime/internal/cluster/wire.hpp>

#include <eventcore/actors/errc.hpp>
#include <eventcore/actors/internal/error_categories.hpp>

#include <cstring>

namespace eventcore::internal {

namespace {

/// Of a command's body: which of its parts are there.
enum part : std::uint8_t {
  has_id = 1,
  has_now = 2,
  has_key = 4,
  has_metadata = 8,
};

} // namespace

// -- wire_writer

void wire_writer::number(std::uint64_t value) {
  while (value >= 0x80) {
    byte(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  byte(static_cast<std::uint8_t>(value));
}

void wire_writer::text(std::string_view value) {
  number(value.size());
  raw(value);
}

// -- frame_writer

frame_writer::frame_writer(byte_buffer& to, frame_kind kind)
    : wire_writer{to}
    , buffer_{to}
    , begin_{to.size()} {
  to.resize(begin_ + 4);
  byte(static_cast<std::uint8_t>(kind));
}

frame_writer::~frame_writer() {
  const auto size = buffer_.size() - begin_ - 4;
  for (int i = 0; i != 4; ++i)
    buffer_[begin_ + i] = static_cast<char>(size >> (8 * i));
}

// -- wire_reader

std::string_view wire_reader::take(std::size_t size) {
  if (size > rest_.size()) {
    broken_ = true;
    rest_ = {};
    return {};
  }
  auto taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

std::uint8_t wire_reader::byte() {
  auto taken = take(1);
  return taken.empty() ? 0 : static_cast<std::uint8_t>(taken[0]);
}

std::uint64_t wire_reader::number() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto next = byte();
    value |= static_cast<std::uint64_t>(next & 0x7f) << shift;
    if (next < 0x80)
      return value;
  }
  broken_ = true;
  return 0;
}

std::string_view wire_reader::text() {
  const auto size = number();
  return take(size);
}

// -- parts of frames

void write_metadata(wire_writer& to, const event_metadata& m) {
  for (const auto* text : {&m.correlation_id, &m.causation_id, &m.tenant, &m.user, &m.traceparent})
    to.text(*text);
  to.number(m.headers.size());
  for (const auto& [name, value] : m.headers) {
    to.text(name);
    to.text(value);
  }
}

event_metadata read_metadata(wire_reader& from) {
  event_metadata m;
  for (auto* text : {&m.correlation_id, &m.causation_id, &m.tenant, &m.user, &m.traceparent})
    *text = from.text();
  for (auto count = from.number(); count > 0 && !from.broken(); --count) {
    auto name = from.text();
    m.headers.emplace(name, from.text());
  }
  return m;
}

void write_error(wire_writer& to, const error& e) {
  const bool travels = find_error_category(e.code().category()) != nullptr;
  to.text(travels ? e.code().category().name() : entity_category().name());
  to.number(static_cast<std::uint64_t>(travels ? e.code().value()
                                               : static_cast<int>(entity_errc::outcome_unknown)));
  to.text(e.message());
  to.text(e.reason());
  to.text(e.details());
}

error read_error(wire_reader& from) {
  const auto category = from.text();
  const auto value = from.number();
  std::string message{from.text()};
  std::string reason{from.text()};
  std::string details{from.text()};
  const auto* known = find_error_category(category);
  if (from.broken() || !known || value == 0 || value > 255)
    return make_error(entity_errc::outcome_unknown,
                      "the peer answered an error that this program does not know: " + message);
  error e{{static_cast<int>(value), *known->category}, std::move(message)};
  e.with_reason(std::move(reason), std::move(details));
  return e;
}

// -- commands

void write_command_body(wire_writer& to, const std::string* id, const command_context& context,
                        std::string_view payload) {
  static const event_metadata nothing;
  const bool with_metadata = context.metadata != nothing;
  to.byte(static_cast<std::uint8_t>((id ? has_id : 0) | (context.now != timestamp{} ? has_now : 0) |
                                    (context.idempotency_key.empty() ? 0 : has_key) |
                                    (with_metadata ? has_metadata : 0)));
  if (id)
    to.text(*id);
  if (context.now != timestamp{})
    to.number(static_cast<std::uint64_t>(context.now.time_since_epoch().count()));
  if (!context.idempotency_key.empty())
    to.text(context.idempotency_key);
  if (with_metadata)
    write_metadata(to, context.metadata);
  to.raw(payload);
}

std::optional<command_body> read_command_body(wire_reader& from) {
  command_body body;
  const auto parts = from.byte();
  if (parts & has_id)
    body.id = from.text();
  if (parts & has_now)
    body.context.now = timestamp{std::chrono::microseconds{static_cast<std::int64_t>(from.number())}};
  if (parts & has_key)
    body.context.idempotency_key = from.text();
  if (parts & has_metadata)
    body.context.metadata = read_metadata(from);
  body.payload = from.rest();
  if (from.broken())
    return std::nullopt;
  return body;
}

} // namespace eventcore::internal
