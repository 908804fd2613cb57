#pragma once

#include <eventcore/actors/command_context.hpp>
#include <eventcore/persistence/error.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore::internal {

/// The form of bytes between nodes.
///
/// A connection begins with `wire_magic` in both directions. Then come frames: their length (4 bytes, little endian, without
/// itself), their kind, their content. Numbers are variable-length integers, 7 bits a byte, the lowest first; texts are their
/// length and bytes. The content of control frames is a Protobuf message of cluster.proto.
inline constexpr std::string_view wire_magic = "evc1";
inline constexpr std::uint32_t wire_protocol = 1;

/// What a frame may have besides the message that it carries.
inline constexpr std::size_t frame_overhead = std::size_t{64} << 10;

enum class frame_kind : std::uint8_t {
  hello =
      1, ///< NodeHello: who speaks; the first frame in both directions, later again when something changed
  refusal = 2, ///< NodeRefusal: the two do not belong together; the connection ends
  goodbye = 3, ///< the sender ends: it takes no more calls, but answers those it has
  ping = 4,    ///< a number; the journal's head, if it offers events; the pong brings all of it back
  pong = 5,
  command = 6,
  answer = 7,
  feed_open = 8,
  feed_credit = 9,
  feed_close = 10,
  feed_page = 11,
  feed_end = 12,
  position_question = 13,
  position_answer = 14,
  delivery = 15,
  delivery_answer = 16,
};

using byte_buffer = std::vector<char>;

/// Appends to a buffer.
class wire_writer {
public:
  explicit wire_writer(byte_buffer& to)
      : to_{to} {}

  void byte(std::uint8_t value) { to_.push_back(static_cast<char>(value)); }
  void number(std::uint64_t value);
  void text(std::string_view value);
  void raw(std::string_view value) { to_.insert(to_.end(), value.begin(), value.end()); }

private:
  byte_buffer& to_;
};

/// Writes one frame: the length is set when it dies.
class frame_writer : public wire_writer {
public:
  frame_writer(byte_buffer& to, frame_kind kind);
  frame_writer(const frame_writer&) = delete;
  ~frame_writer();

private:
  byte_buffer& buffer_;
  std::size_t begin_;
};

/// Reads what a `wire_writer` wrote. After a read beyond the end it is `broken`, and all that it gives is worth nothing.
class wire_reader {
public:
  explicit wire_reader(std::string_view from)
      : rest_{from} {}

  std::uint8_t byte();
  std::uint64_t number();
  std::string_view text();
  std::string_view bytes(std::size_t size) { return take(size); }
  std::string_view rest() const noexcept { return rest_; }
  bool broken() const noexcept { return broken_; }

private:
  std::string_view take(std::size_t size);

  std::string_view rest_;
  bool broken_ = false;
};

void write_metadata(wire_writer& to, const event_metadata& m);
event_metadata read_metadata(wire_reader& from);

void write_error(wire_writer& to, const error& e);
error read_error(wire_reader& from);

/// All of a command but its address and its deadline.
void write_command_body(wire_writer& to, const std::string* id, const command_context& context,
                        std::string_view payload);

struct command_body {
  std::optional<std::string> id;
  command_context context;
  std::string_view payload; ///< in what was read
};

/// Nothing: it is malformed.
std::optional<command_body> read_command_body(wire_reader& from);

} // namespace eventcore::internal
