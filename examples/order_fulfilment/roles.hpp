#pragma once

#include "faults.hpp"
#include "order_saga.hpp"
#include "order_view.hpp"

#include <eventcore/persistence/event_source.hpp>
#include <eventcore/runtime/federation_hub.hpp>
#include <eventcore/runtime/node.hpp>

#include <caf/actor.hpp>

#include "shop.pb.h"

#include <array>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

/// What the services of the shop consist of. In one process, one node has all roles but those of payment and analytics; in
/// several, each has a node of its own, and the sagas reach the others by the names of their services.
namespace shop {

namespace services {
inline constexpr std::string_view order = "order";
inline constexpr std::string_view payment = "payment";
inline constexpr std::string_view inventory = "inventory";
inline constexpr std::string_view shipping = "shipping";
inline constexpr std::string_view analytics = "analytics";
inline constexpr std::array all{order, payment, inventory, shipping, analytics};
} // namespace services

/// The categories of streams that a service owns.
std::vector<std::string> categories_of(std::string_view service);

// -- what a service hosts: each answers what takes its commands

caf::actor host_orders(eventcore::node& node);
caf::actor host_payments(eventcore::node& node);
/// With the catalogue's units in stock, unless they were received before. Error: they could not be.
eventcore::result<caf::actor> host_inventory(eventcore::node& node, const std::vector<Units>& catalogue);
caf::actor host_shipping(eventcore::node& node);

// -- what leads the orders

/// Those that take the sagas' requests, wherever they run.
struct participant_actors {
  caf::actor orders, payments, inventory, shipping;
};

/// Makes the participants known to the sagas, behind faults where there are any, and starts the sagas. `payments_meet_faults`: not
/// if the gateway does it itself.
eventcore::saga_host<order_saga> lead_orders(eventcore::node& node, const participant_actors& to,
                                             const faults& injected, bool payments_meet_faults);

/// The order view, of the events of these services.
eventcore::result<order_list> show_orders(eventcore::node& node,
                                          std::vector<std::shared_ptr<eventcore::event_source>> sources);

/// Sends the events of orders to the analytics service, by the rules of a file.
eventcore::result<eventcore::federation_hub>
inform_analytics(eventcore::node& node, const std::filesystem::path& rules,
                 std::shared_ptr<eventcore::federation_target> analytics);

} // namespace shop
