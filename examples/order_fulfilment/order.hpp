#pragma once

#include <eventcore/actors/decider.hpp>

#include "shop.pb.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace shop {

using eventcore::make;
using item_list = google::protobuf::RepeatedPtrField<Item>;

/// What the items cost in cents; nothing if a quantity is not above 0, a price is below 0 or the sum is no int64.
inline std::optional<std::int64_t> total_of(const item_list& items) {
  std::int64_t total = 0;
  for (auto& item : items) {
    std::int64_t cents = 0;
    if (item.quantity() <= 0 || item.cents() < 0 ||
        __builtin_mul_overflow(item.quantity(), item.cents(), &cents) ||
        __builtin_add_overflow(total, cents, &total))
      return std::nullopt;
  }
  return total;
}

/// An order. It can be cancelled before it is created: then it never is.
struct order : eventcore::decider<order> {
  static constexpr std::string_view category = "order";
  using commands = eventcore::commands<CreateOrder, CancelOrder>;
  using events = eventcore::events<OrderCreated, OrderCancelled>;
  using state = Order;

  static void evolve(state& s, const OrderCreated& e) {
    s.set_status(Order::CREATED);
    s.set_cents(e.cents());
  }
  static void evolve(state& s, const OrderCancelled&) { s.set_status(Order::CANCELLED); }

  static effect<Order> decide(const state& s, const CreateOrder& c) {
    if (s.status() == Order::CANCELLED)
      return reject("cancelled", "the order is cancelled");
    if (s.status() == Order::CREATED)
      return reject("exists", "there is an order of this id");
    if (c.items().empty())
      return reject("no_items", "the order has no items");
    if (c.address().empty())
      return reject("no_address", "the order has no address");
    auto total = total_of(c.items());
    if (!total)
      return reject("bad_amount", "a quantity is not above 0, a price is below 0, or the total is too large");
    return persist(make<OrderCreated>([&](auto& e) {
             *e.mutable_customer() = c.customer();
             *e.mutable_items() = c.items();
             e.set_address(c.address());
             e.set_cents(*total);
           }))
        .then_reply([](const state& after) { return after; });
  }
  static effect<Order> decide(const state& s, const CancelOrder&) {
    if (s.status() == Order::CANCELLED)
      return s;
    return persist(OrderCancelled{}).then_reply([](const state& after) { return after; });
  }
};

} // namespace shop
