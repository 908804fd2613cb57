#pragma once

#include <eventcore/actors/internal/caf_compat.hpp>

#include <chrono>

namespace eventcore::internal {

/// Far enough for "for ever", and not so far that adding it to a clock overflows.
std::chrono::nanoseconds bounded(std::chrono::nanoseconds within);

/// Sends `request` from a thread that is no actor and waits for the answer, at most `within`. Errors: the actor's, and
/// `outcome_unknown` when none came.
result<caf::message> ask_and_wait(caf::actor_system& system, const caf::actor& to, caf::message request,
                                  std::chrono::nanoseconds within);

/// The same for a command: null if the reply is empty. Errors also: `unexpected_reply`.
result<std::unique_ptr<google::protobuf::Message>> ask_command(caf::actor_system& system,
                                                               const caf::actor& to, caf::message command,
                                                               std::chrono::nanoseconds within);

} // namespace eventcore::internal
