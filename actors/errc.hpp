#pragma once

#include <eventcore/persistence/error.hpp>

#include <cstdint>

namespace eventcore {

/// What an entity can answer besides a reply. Values are stable (they travel between nodes); 0 is never used.
enum class entity_errc : std::uint8_t {
  /// The decider said no. `error::message`, `reason` and `details` are the decider's words. Nothing happened.
  rejected = 1,
  /// The id and the category make no stream id. Nothing happened.
  invalid_id,
  /// The decider has no `decide` for a command of this type. Nothing happened.
  unknown_command,
  /// Too much waits already, at the writer, at this entity or at its host. Nothing happened; try again later.
  overloaded,
  /// The command's deadline had passed when its turn came. Nothing happened.
  deadline_exceeded,
  /// `decide`, `evolve` or a reply's closure threw. Nothing happened.
  decider_failed,
  /// The entity cannot be rebuilt from its stream (damaged record, unknown event type, an `evolve` that throws). The message
  /// names stream, version, position and type. Nothing happened. It is tried again with back-off.
  recovery_failed,
  /// The journal refused the commit (disk full, too large, closed). Nothing happened.
  not_persisted,
  /// The entity lost against other writers of its stream too often. Nothing happened.
  conflict,
  /// It is not known whether the command took effect. Safe to repeat with the same idempotency key.
  outcome_unknown,
  /// The host or the node is shutting down. Nothing happened.
  stopped,
  /// The reply was of another type than the caller asked for: a mistake in the program.
  unexpected_reply,
  /// The idempotency key was used for another command before. Nothing happened; use a new key for each command.
  key_reused,
  /// The command breaks a documented bound (a key too long, a stream named twice, too many streams). Nothing happened.
  invalid_command,
  /// The stream's category belongs to another service (spec 1). Nothing happened.
  not_owned,
  /// It is for another node, and no node that takes it can be reached. Nothing was sent, so nothing happened; try again later.
  unreachable,
};

const std::error_category& entity_category() noexcept;

inline std::error_code make_error_code(entity_errc e) noexcept {
  return {static_cast<int>(e), entity_category()};
}

inline error make_error(entity_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

} // namespace eventcore

template <>
struct std::is_error_code_enum<eventcore::entity_errc> : std::true_type {};
