#pragma once

#include <eventcore/actors/fold_type.hpp>

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

namespace eventcore::internal {

/// For messages: stream, version, position and type.
std::string describe(const recorded_event& event);

/// The row for events of this present or former name; null: there is none. `last` is the place of the name that was found
/// last: the next one is often the same.
const fold_type::event* find_event(const fold_type& type, std::string_view name, std::uint16_t& last);

/// Parses a stored event of the row's type, lifts it to the present schema version and evolves it. Nothing, or why it
/// cannot be read: a clause that goes on after the event's name. Throws what the row's `evolve` throws.
std::optional<std::string> evolve_stored(const fold_type& type, const fold_type::event& row, void* state,
                                         std::uint32_t schema_version, std::string_view payload);

/// Calls `f` and turns what it throws into text, as the end of a sentence about what made `what` throw.
template <class F>
std::optional<std::string> guarded(const char* what, F f) {
  try {
    return f();
  } catch (const std::exception& e) {
    return std::string{"made "} + what + " throw: " + e.what();
  } catch (...) {
    return std::string{"made "} + what + " throw something that is no std::exception";
  }
}

/// Both together, for those who must know every event. Throws nothing; `function` is what messages call the user's function.
std::optional<std::string> apply_event(const fold_type& type, void* state, std::uint16_t& last,
                                       std::string_view name, std::uint32_t schema_version,
                                       std::string_view payload, const char* function);

} // namespace eventcore::internal
