#pragma once

#include <eventcore/actors/command_context.hpp>
#include <eventcore/actors/fold_type.hpp>
#include <eventcore/persistence/commit.hpp>

#include <google/protobuf/message.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

namespace eventcore {

/// A decider's "no".
struct rejection {
  std::string code;    ///< for programs; `rejected` where the decider gave none
  std::string message; ///< for people
  std::string details; ///< free form
};

/// What deciding one command came to, with all types erased.
struct decision {
  /// In order, serialised. They are evolved into the state already.
  std::vector<new_event> events;
  /// Evaluated on the state after `events`. Null if the effect has no reply or is a rejection.
  std::unique_ptr<google::protobuf::Message> reply;
  std::optional<rejection> rejected;
  /// In the same commit as the events.
  std::vector<timer_change> timers;
  /// Passivate the entity once everything it decided is durable and answered.
  bool stop = false;
};

/// A decider as a table: what the entity actor runs, without knowing the decider's types. `decider<D>` makes it;
/// users need it only to write hosts or tools of their own.
struct entity_type : fold_type {
  struct command {
    const google::protobuf::Message* prototype;
    const std::type_info* cpp_type;
    /// Of the replies; null: effects of this command carry none (`effect<no_reply>`).
    const google::protobuf::Message* reply;
    /// Decides `command` (of exactly `cpp_type`) on `state`, evolves the events into `state`, then evaluates the reply.
    /// If it throws, `state` may have changed in part and must be rebuilt when `evolving` was set to true.
    decision (*decide)(void* state, const google::protobuf::Message& command, const command_context& context,
                       bool& evolving);
  };

  std::span<const command> commands;
};

/// The table of decider `D`, made once. Throws `std::logic_error` if its upcasters contradict each other (see `upcasters`).
template <class D>
const entity_type& entity_type_of();

} // namespace eventcore
