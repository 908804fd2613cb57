#pragma once

#include <eventcore/persistence/error.hpp>

#include <cstdint>
#include <string>
#include <system_error>

namespace eventcore {

/// What publishing can answer besides success. Values are stable; 0 is never used.
enum class publish_errc : std::uint8_t {
  /// The event's type has no topic.
  unknown_event_type = 1,
  /// A topic's name breaks its rules: 1 to 255 bytes of UTF-8, no control characters, none of `* ? [ ]`.
  invalid_topic,
  /// What came is no published event.
  malformed_envelope,
  /// No published event has this topic. The message names those that there are.
  unknown_topic,
};

const std::error_category& publish_category() noexcept;

inline std::error_code make_error_code(publish_errc e) noexcept {
  return {static_cast<int>(e), publish_category()};
}

inline error make_error(publish_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

} // namespace eventcore

template <>
struct std::is_error_code_enum<eventcore::publish_errc> : std::true_type {};
