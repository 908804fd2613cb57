#pragma once

#include <eventcore/actors/upcasters.hpp>
#include <eventcore/persistence/event.hpp>

#include <google/protobuf/message.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eventcore {

/// How the events of a category's streams become a state, with all types erased. `fold<F>` and `decider<D>` make it.
///
/// The functions may throw whatever the user's functions throw. Tables and what they point to live for ever.
struct fold_type {
  struct event {
    const google::protobuf::Message* prototype;
    /// Parses `payload`, which is of the present schema version, and evolves it into `state`. False: it does not parse.
    bool (*replay)(void* state, std::string_view payload);
    /// Evolves an event of exactly the prototype's class into `state`.
    void (*evolve)(void* state, const google::protobuf::Message& event);
    std::uint32_t schema_version = 1;
  };

  /// How states are saved. Without `save` they are not.
  struct snapshot_form {
    std::string type;          ///< full name of the Protobuf message
    std::uint32_t version = 1; ///< the user's version of the state's meaning
    std::string (*save)(const void* state) = nullptr;
    /// Makes `state` what was saved. False: `saved` does not parse.
    bool (*load)(void* state, std::string_view saved) = nullptr;
  };

  std::string_view category;
  std::span<const event> events; ///< sorted by full type name
  void* (*new_state)() = nullptr;
  void* (*copy_state)(const void* state) = nullptr; ///< null: the state cannot be copied
  void (*delete_state)(void* state) noexcept = nullptr;
  snapshot_form snapshot;
  upcasters lifts;
  /// Present and former names of the events with their places in `events`, sorted by name.
  std::vector<std::pair<std::string, std::uint16_t>> names;
};

} // namespace eventcore
