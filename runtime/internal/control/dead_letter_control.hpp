#pragma once

#include <eventcore/actors/internal/subscription_names.hpp>
#include <eventcore/persistence/journal.hpp>
#include <eventcore/runtime/internal/control/control_server.hpp>

namespace eventcore::internal {

/// The names of the requests that carry out an operator's decisions about dead letters: `subscription`, text, and `position`, a
/// number, without which all its letters are meant. The answer is the number of `letters`. Errors: those of
/// `want_dead_letters_replayed`.
inline constexpr auto replay_dead_letters_request = "dead_letters.replay";
inline constexpr auto drop_dead_letters_request = "dead_letters.drop";

/// `journal` and the directory's actors outlive the handlers. A subscription that runs is told at once.
control_handler replay_letters(journal& journal, std::shared_ptr<const subscription_directory> running);
control_handler drop_letters(journal& journal);

} // namespace eventcore::internal
