#pragma once

#include <eventcore/persistence/journal.hpp>

#include <cstring>
#include <string>

/// What a subscription keeps in the journal besides its events.
namespace eventcore::internal {

/// The cursor's position: all up to there is handled.
inline std::string subscription_cursor_name(std::string_view name) {
  return "subscription/" + std::string{name};
}

/// A second cursor, whose position is no position: `history_of` the journal that the first one belongs to.
inline std::string subscription_history_name(std::string_view name) {
  return "subscription-history/" + std::string{name};
}

/// Of a dead letter whose handler answers with a command: the version, in the dead-letter stream, of the last wish to replay it
/// that was carried out.
inline std::string letter_cursor_name(std::string_view name, log_position position) {
  return "subscription-replay/" + std::string{name} + '/' + std::to_string(position);
}

/// Not 0.
inline log_position history_of(const journal_info& info) noexcept {
  log_position number = 0;
  std::memcpy(&number, info.incarnation.bytes.data(), sizeof(number));
  return number | 1;
}

inline result<stream_id> find_dead_letter_stream(std::string_view name) {
  return stream_id::of(dead_letter_category, name);
}

} // namespace eventcore::internal
