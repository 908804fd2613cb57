#pragma once

#include <eventcore/persistence/error.hpp>

#include <cstdint>
#include <string>
#include <system_error>

namespace eventcore {

/// What federation can answer besides success. Values are stable (they travel between nodes); 0 is never used.
enum class federation_errc : std::uint8_t {
  /// The rules are wrong. The message names each rule and field, and says what is allowed.
  invalid_rules = 1,
  /// No transformation is registered by this name.
  unknown_transformation,
  /// A rule names a target that is none.
  unknown_target,
  /// No rule takes events of this service, or its name is none.
  unknown_source,
  /// A transformation threw, or changed what identifies the event. The event is as it was.
  transformation_failed,
  /// The stream's name holds personal data, which no transformation may change. The event must not leave the service.
  personal_stream_id,
  /// The target will not take this event, however often it is asked. It has taken all that came before.
  refused,
  /// The target cannot be reached, or cannot take events now. It is asked again.
  unavailable,
  /// The target has events of this source that are unknown here: its journal was restored from a backup, or is another one.
  other_history,
  /// The file with the rules cannot be read.
  cannot_read_rules,
};

const std::error_category& federation_category() noexcept;

inline std::error_code make_error_code(federation_errc e) noexcept {
  return {static_cast<int>(e), federation_category()};
}

inline error make_error(federation_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

} // namespace eventcore

template <>
struct std::is_error_code_enum<eventcore::federation_errc> : std::true_type {};
