#pragma once

#include <eventcore/persistence/journal.hpp>

namespace eventcore::internal {

constexpr std::size_t max_snapshot_type_size = 255;
constexpr std::size_t max_snapshot_state_size = 16u << 20;

/// Whether `s` is one that every backend takes.
inline bool keeps_bounds(const snapshot& s) noexcept {
  return !s.type.empty() && s.type.size() <= max_snapshot_type_size &&
         s.state.size() <= max_snapshot_state_size;
}

} // namespace eventcore::internal
