#pragma once

#include "audit.hpp"
#include "order_view.hpp"

#include <eventcore/persistence/journal.hpp>

#include "shop.pb.h"

#include <vector>

namespace shop {

class analytics;

/// Prints what became of the orders, by the journals alone. Whether all of it is as it must be.
bool report(const audit& found, const std::vector<PlaceOrder>& orders, const std::vector<Units>& catalogue);

/// Prints what the view shows. Whether it is what the journals say.
bool report(const order_list& view, const audit& found);

/// Prints what the analytics service got of the events of the journal with the orders. Whether it is all of them, without
/// personal data.
bool report(analytics& analysts, eventcore::journal& of_orders, const std::vector<PlaceOrder>& orders);

} // namespace shop
