#pragma once

#include <eventcore/persistence/error.hpp>

#include <cstdint>
#include <system_error>

namespace eventcore {

/// What a projection can answer besides the errors of its view (`journal_errc`). Values are stable; 0 is never used.
enum class projection_errc : std::uint8_t {
  /// The view did not get there within the time. The message says where it is, and what holds it up if it stands.
  not_reached = 1,
  /// The view that serves has other tables than this program's projection, and the one with these is being built.
  not_ready,
  /// The projection has no source of this name.
  unknown_source,
  /// The projection, or its node, was stopped.
  stopped,
  /// `apply` threw, or the event does not decode. The message names source, stream, version, position and type. The view stands
  /// before the event, which is tried again with back-off.
  event_failed,
  /// The source has another history than the view was made of: another journal, one that was restored from a backup, or one
  /// that ends before the cursor. The view stands; rebuild the projection.
  source_changed,
  /// Two sources have one name, or there is none.
  invalid_sources,
};

const std::error_category& projection_category() noexcept;

inline std::error_code make_error_code(projection_errc e) noexcept {
  return {static_cast<int>(e), projection_category()};
}

inline error make_error(projection_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

} // namespace eventcore

template <>
struct std::is_error_code_enum<eventcore::projection_errc> : std::true_type {};
