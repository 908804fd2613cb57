#pragma once

#include <eventcore/actors/multi_stream.hpp>

#include "order.hpp"

#include <map>
#include <string>
#include <string_view>

namespace shop {

/// The units of a SKU that are left.
struct stock : eventcore::fold<stock> {
  static constexpr std::string_view category = "stock";
  using events = eventcore::events<StockReceived, UnitsReserved, UnitsReleased>;
  using state = Stock;

  static void evolve(state& s, const StockReceived& e) {
    s.set_known(true);
    s.set_quantity(s.quantity() + e.quantity());
  }
  static void evolve(state& s, const UnitsReserved& e) { s.set_quantity(s.quantity() - e.quantity()); }
  static void evolve(state& s, const UnitsReleased& e) { s.set_quantity(s.quantity() + e.quantity()); }
};

/// Whether an order's items are reserved.
struct reservation : eventcore::fold<reservation> {
  static constexpr std::string_view category = "reservation";
  using events = eventcore::events<ItemsReserved, ItemsReleased>;
  using state = Reservation;

  static void evolve(state& s, const ItemsReserved&) { s.set_status(Reservation::RESERVED); }
  static void evolve(state& s, const ItemsReleased&) { s.set_status(Reservation::RELEASED); }
};

/// Reserves all items of an order, or none. What is released before it is reserved never is.
struct inventory : eventcore::multi_stream_decider<inventory> {
  using commands = eventcore::commands<ReceiveStock, ReserveItems, ReleaseItems>;
  using streams = eventcore::folds<reservation, stock>;

  /// Units by SKU: an order may name a SKU twice. Sums that are no int64 become the largest one.
  static std::map<std::string, std::int64_t> units_of(const item_list& items) {
    std::map<std::string, std::int64_t> units;
    for (auto& item : items)
      if (auto& sum = units[item.sku()]; __builtin_add_overflow(sum, item.quantity(), &sum))
        sum = std::numeric_limits<std::int64_t>::max();
    return units;
  }

  static void declare(stream_set& s, const ReceiveStock& c) {
    for (auto& units : c.units())
      s.read<stock>(units.sku());
  }
  static void declare(stream_set& s, const ReserveItems& c) { declare_items(s, c); }
  static void declare(stream_set& s, const ReleaseItems& c) { declare_items(s, c); }

  /// The opening stock: a SKU that has been stocked before gets nothing.
  static effect<Stock> decide(const stream_states& s, const ReceiveStock& c) {
    eventcore::append_effect<inventory> received;
    for (auto& units : c.units())
      if (!s.get<stock>(units.sku()).known())
        received = std::move(received).append<stock>(
            units.sku(), make<StockReceived>([&](auto& e) { e.set_quantity(units.quantity()); }));
    return std::move(received).then_reply(make<Stock>([](auto& r) { r.set_known(true); }));
  }

  static effect<Reservation> decide(const stream_states& s, const ReserveItems& c) {
    switch (s.get<reservation>(c.order_id()).status()) {
    case Reservation::RELEASED:
      return reject("released", "the reservation is released");
    case Reservation::RESERVED:
      return reject("reserved", "the items are reserved already");
    default:
      break;
    }
    if (c.items().empty() || !total_of(c.items()))
      return reject("bad_amount", "there are no items, or one has a wrong quantity or price");
    auto reserved = append<reservation>(c.order_id(), ItemsReserved{});
    for (auto& [sku, quantity] : units_of(c.items())) {
      auto& held = s.get<stock>(sku);
      if (!held.known())
        return reject("unknown_item", "there is no item " + sku);
      if (held.quantity() < quantity)
        return reject("sold_out", "of item " + sku + " " + std::to_string(held.quantity()) + " are left, " +
                                      std::to_string(quantity) + " are wanted");
      reserved =
          std::move(reserved).append<stock>(sku, make<UnitsReserved>([&, quantity = quantity](auto& e) {
                                              e.set_order_id(c.order_id());
                                              e.set_quantity(quantity);
                                            }));
    }
    return std::move(reserved).then_reply(status(Reservation::RESERVED));
  }

  static effect<Reservation> decide(const stream_states& s, const ReleaseItems& c) {
    const auto before = s.get<reservation>(c.order_id()).status();
    if (before == Reservation::RELEASED)
      return status(Reservation::RELEASED);
    auto released = append<reservation>(c.order_id(), ItemsReleased{});
    if (before == Reservation::RESERVED)
      for (auto& [sku, quantity] : units_of(c.items()))
        released =
            std::move(released).append<stock>(sku, make<UnitsReleased>([&, quantity = quantity](auto& e) {
                                                e.set_order_id(c.order_id());
                                                e.set_quantity(quantity);
                                              }));
    return std::move(released).then_reply(status(Reservation::RELEASED));
  }

private:
  static void declare_items(stream_set& s, const auto& c) {
    s.read<reservation>(c.order_id());
    for (auto& [sku, quantity] : units_of(c.items()))
      s.read<stock>(sku);
  }
  static Reservation status(Reservation::Status status) {
    return make<Reservation>([&](auto& r) { r.set_status(status); });
  }
};

} // namespace shop
