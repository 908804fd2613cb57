#pragma once

#include <eventcore/persistence/error.hpp>

#include <cstdint>
#include <string>
#include <system_error>

namespace eventcore {

/// What a `service_registry` can answer besides success. Values are stable; 0 is never used.
enum class registry_errc : std::uint8_t {
  /// The registration is not as it must be (no name, say), or what is registered is none of ours. The message names the field.
  invalid_registration = 1,
  /// Another service lives under this id: its journal is another one. Give one of the nodes another name.
  id_taken,
  /// The registry cannot be reached, does not answer in time, or has an error of its own. It is not known whether a change took
  /// effect; it can be made again.
  unavailable,
  /// The registry says no: the token is wrong, say.
  refused,
  /// What the registry answers cannot be understood, or is larger than the bounds: something else may listen there.
  invalid_answer,
};

const std::error_category& registry_category() noexcept;

inline std::error_code make_error_code(registry_errc e) noexcept {
  return {static_cast<int>(e), registry_category()};
}

inline error make_error(registry_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

} // namespace eventcore

template <>
struct std::is_error_code_enum<eventcore::registry_errc> : std::true_type {};
