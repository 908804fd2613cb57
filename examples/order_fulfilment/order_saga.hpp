#pragma once

#include <eventcore/actors/saga.hpp>

#include "shop.pb.h"

#include <cstdint>
#include <string_view>

namespace shop {

/// Where the saga's requests go. It does not know what stands behind a name: entities, a multi-stream decider, a service that
/// speaks HTTP.
namespace participants {
inline constexpr std::string_view orders = "orders";
inline constexpr std::string_view payment_gateway = "payment_gateway";
inline constexpr std::string_view inventory = "inventory";
inline constexpr std::string_view shipping = "shipping";
} // namespace participants

/// The way of an order through four services, and back if one of them fails. The saga's id is the order's.
struct order_saga : eventcore::saga<order_saga> {
  static constexpr std::string_view category = "order_saga";
  using input = PlaceOrder;

  /// How often a step is tried again before the order is compensated; 0: a few times. To be set before the sagas are started: where
  /// services are other processes, they may be away for longer.
  static inline std::uint32_t retries = 0;

  static void define(definition<input>& saga);
};

} // namespace shop
