#pragma once

#include "audit.hpp"

#include <eventcore/actors/projection_host.hpp>

#include "order_view.pb.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

namespace shop {

/// All orders, by the events of three services: order and shipping, in the shop's journal, and payment, in the gateway's. An
/// update that comes before the order is created waits for it, so the view does not depend on which journal is faster.
struct order_view : eventcore::projection<order_view> {
  static constexpr std::string_view name = "order_view";
  static constexpr std::uint32_t version = 1;

  /// By the order's id.
  struct orders : eventcore::view<std::string, OrderLine> {
    static constexpr std::string_view name = "orders";
  };
  /// What is known of orders that are not created yet.
  struct early : eventcore::view<std::string, OrderLine> {
    static constexpr std::string_view name = "early";
  };
  using views = eventcore::views<orders, early>;
  using events = eventcore::events<OrderCreated, PaymentTaken, ShippingScheduled>;
  using context = eventcore::event_context;

  static void apply(views& v, const OrderCreated& e, const context& c) {
    const std::string id{c.key()};
    if (v.get<orders>(id))
      return;
    auto line = v.get<early>(id).value_or(OrderLine{});
    v.erase<early>(id);
    line.set_customer_id(e.customer().id());
    line.set_customer_name(e.customer().name());
    line.set_cents(e.cents());
    touch(line, c);
    v.put<orders>(id, line);
  }
  static void apply(views& v, const PaymentTaken&, const context& c) {
    update(v, c, [](OrderLine& line) { line.set_payment(OrderLine::COMPLETED); });
  }
  static void apply(views& v, const ShippingScheduled&, const context& c) {
    update(v, c, [](OrderLine& line) { line.set_shipping(OrderLine::DISPATCHED); });
  }

private:
  template <class F>
  static void update(views& v, const context& c, F change) {
    const std::string id{c.key()};
    auto created = v.get<orders>(id);
    auto line = created ? *created : v.get<early>(id).value_or(OrderLine{});
    change(line);
    touch(line, c);
    if (created)
      v.put<orders>(id, line);
    else
      v.put<early>(id, line);
  }
  static void touch(OrderLine& line, const context& c) {
    line.set_updated_at_us(
        std::max<std::int64_t>(line.updated_at_us(), c.occurred_at.time_since_epoch().count()));
  }
};

using order_list = eventcore::projection_host<order_view>;

/// What the view shows in sum.
struct order_counts {
  std::size_t created = 0;
  std::size_t paid = 0;
  std::size_t dispatched = 0;
};
eventcore::result<order_counts> count_orders(const order_list& view);

/// The orders of which the view does not show what the journals say, and what it shows besides.
eventcore::result<std::vector<std::string>> differences(const order_list& view, const audit& journals);

/// Says on standard error what the view shows and how far it is behind, once a second.
class order_view_watch {
public:
  explicit order_view_watch(order_list view);

private:
  std::jthread thread_;
};

} // namespace shop
