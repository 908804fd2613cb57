#pragma once

#include <eventcore/actors/fold_type.hpp>

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

namespace eventcore::internal {

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

/// Lifts a stored event to its present schema version and hands it to its row. Nothing, or why that is impossible, as the end of
/// a sentence about the event. `last` is the place of the name that came last in `type.names`: the next one is often the same.
/// `function` is what messages call the user's function.
std::optional<std::string> apply_event(const fold_type& type, void* state, std::uint16_t& last,
                                       std::string_view name, std::uint32_t schema_version,
                                       std::string_view payload, const char* function);

} // namespace eventcore::internal
