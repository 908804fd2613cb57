#pragma once

#include <eventcore/persistence/event_source.hpp>

#include <cstring>
#include <string>

/// What a subscription keeps in the journal besides its events.
namespace eventcore::internal {

/// The cursor's position: all up to there is handled.
inline std::string subscription_cursor_name(std::string_view name) {
  return "subscription/" + std::string{name};
}

/// A second cursor, whose position is no position: `history_of` the incarnation of the journal that the first one belongs to.
inline std::string subscription_history_name(std::string_view name) {
  return "subscription-history/" + std::string{name};
}

/// Of a dead letter whose handler answers with a command: the version, in the dead-letter stream, of the last wish to replay it
/// that was carried out.
inline std::string letter_cursor_name(std::string_view name, log_position position) {
  return "subscription-replay/" + std::string{name} + '/' + std::to_string(position);
}

/// Not 0.
inline log_position history_of(const uuid& incarnation) noexcept {
  log_position number = 0;
  std::memcpy(&number, incarnation.bytes.data(), sizeof(number));
  return number | 1;
}

/// For the dead-letter stream: whose log the cursor is a position in. Null: that of the journal itself.
new_event bound_to(const event_source* source, const event_source::history& history);

/// The name of the source that the subscription was bound to last; empty: the journal itself. Reads the whole dead-letter stream.
result<std::string> bound_source(journal_reader& journal, std::string_view name);

/// An event of another service that was parked, as its letter holds it.
struct parked_event {
  std::string source;
  recorded_event content;
};

/// Of the letter at `version` of the subscription's dead-letter stream. Error: `no_such_letter`; it holds no event.
result<parked_event> read_parked_event(journal_reader& journal, std::string_view name,
                                       stream_version version);

inline result<stream_id> find_dead_letter_stream(std::string_view name) {
  return stream_id::of(dead_letter_category, name);
}

} // namespace eventcore::internal
