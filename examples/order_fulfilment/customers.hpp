#pragma once

#include <eventcore/actors/saga_host.hpp>

#include "shop.pb.h"

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace shop {

/// How customers reach the shop. Both functions wait, and are called from many threads.
struct shop_front {
  std::function<eventcore::result<eventcore::saga_phase>(const PlaceOrder&)> place;
  /// The order's end.
  std::function<eventcore::result<eventcore::saga_phase>(const std::string& order)> await;
};

/// How far a run is.
struct run_counts {
  std::size_t all = 0, started = 0, completed = 0, compensated = 0, stuck = 0;

  std::size_t ended() const { return completed + compensated + stuck; }
};

/// Places all orders, `at_once` at a time, and waits for their ends. Calls `tell` when the counts have changed; it must not wait.
/// Says twice a second on standard error how far it is, and then calls `more_to_say`. What is started already goes on. The first failure,
/// if any.
std::string fulfil(const shop_front& shop, const std::vector<PlaceOrder>& orders, std::size_t at_once,
                   std::function<void(const run_counts&)> tell = {}, std::function<void()> more_to_say = {});

} // namespace shop
