#pragma once

#include <eventcore/actors/saga_host.hpp>

#include "shop.pb.h"

#include <functional>
#include <string_view>

namespace caf {
class actor;
class actor_system;
} // namespace caf

namespace shop {

/// The name under which the order service offers its checkout to customers in other processes.
inline constexpr std::string_view checkout_name = "checkout";

/// Takes `PlaceOrder` (starts the order's saga) and `AwaitOrder` (answers at the order's end, or after five seconds), both to the order's id and answered with
/// `OrderProgress`, and `GetShopStatus`, which `status` answers in the actor's thread.
caf::actor start_checkout(caf::actor_system& system, const eventcore::saga_handle& sagas,
                          std::function<ShopStatus()> status);

eventcore::saga_phase to_phase(OrderProgress::Phase phase);

} // namespace shop
