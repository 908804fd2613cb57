#pragma once

#include <eventcore/persistence/error.hpp>

#include <cstdint>

namespace eventcore {

/// Why a subscription does not start or go on. Values are stable; 0 is never used.
enum class subscription_errc : std::uint8_t {
  /// An option breaks a documented bound.
  invalid_options = 1,
  /// A subscription of this name is running in this node.
  name_in_use,
  /// Its cursor stands behind the end of the journal, or of its source: that is older than the subscription.
  cursor_ahead,
  /// Its cursor is of another history of the journal, or of its source: a backup was restored since.
  other_history,
  /// A handler threw an exception. The message names stream, version, position and type.
  handler_failed,
  /// An event cannot be decoded: its payload does not parse, or is of a schema version that the program does not know.
  not_decodable,
  /// Somebody else moved the subscription's cursor: it runs twice.
  cursor_moved,
  /// The subscription has no such dead letter, or none at all.
  no_such_letter,
  /// Its cursor is one in the log of another service than it is to follow now.
  other_source,
  /// Its cursor cannot go back into another history before its dead letters are replayed or dropped.
  letters_open,
};

const std::error_category& subscription_category() noexcept;

inline std::error_code make_error_code(subscription_errc e) noexcept {
  return {static_cast<int>(e), subscription_category()};
}

inline error make_error(subscription_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

} // namespace eventcore

template <>
struct std::is_error_code_enum<eventcore::subscription_errc> : std::true_type {};
