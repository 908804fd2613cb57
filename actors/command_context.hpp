#pragma once

#include <eventcore/persistence/commit.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace eventcore {

/// What a command brings with it besides its content. A decider that wants it takes it as third argument of `decide`; it
/// reads time, tenant and user from here and from nowhere else.
struct command_context {
  /// The time of the command, by the caller's clock. The epoch (default) means: by the host's clock when it is taken up.
  timestamp now{};
  /// Makes a repeat harmless (spec 21): a command with the key of an earlier one is given the answer of that one, reply or
  /// rejection, also after a restart, and has no further effect; the answer is stored in the same commit as the events.
  /// A key is unique in its stream, UTF-8 of at most 255 bytes, and kept as `answer_options` say. Another command with a
  /// key that was used is answered `key_reused`. Empty: no key.
  std::string idempotency_key{};
  /// Goes into the metadata of the events.
  event_metadata metadata;
  /// A command that is taken up after this time (steady clock) is answered `deadline_exceeded` instead of decided.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  /// Moved in the command's own commit, which is made even if the command has no events or is rejected. One that does not stand
  /// where it is expected: the command is answered `conflict`, and nothing happened.
  std::vector<cursor_move> cursors{};
};

} // namespace eventcore
