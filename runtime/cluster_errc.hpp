#pragma once

#include <eventcore/persistence/error.hpp>

#include <cstdint>

namespace eventcore {

/// What goes wrong between nodes, but for calls, whose errors are `entity_errc`. Values are stable (they travel between nodes); 0 is never used.
enum class cluster_errc : std::uint8_t {
  /// The options of the cluster are wrong, or the address cannot be had.
  invalid_options = 1,
  /// The node takes no part in a cluster.
  not_joined,
  /// A peer and this node do not belong together: the message says what differs.
  refused,
  /// The peer runs, but does not offer what was asked for.
  not_offered,
};

const std::error_category& cluster_category() noexcept;

inline std::error_code make_error_code(cluster_errc e) noexcept {
  return {static_cast<int>(e), cluster_category()};
}

inline error make_error(cluster_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

} // namespace eventcore

template <>
struct std::is_error_code_enum<eventcore::cluster_errc> : std::true_type {};
