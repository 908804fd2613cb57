#pragma once

#include <eventcore/actors/decider.hpp>

#include "shop.pb.h"

#include <string_view>

namespace shop {

/// The shipment of an order. It can be cancelled before it is scheduled: then it never is.
struct shipping : eventcore::decider<shipping> {
  static constexpr std::string_view category = "shipment";
  using commands = eventcore::commands<ScheduleShipping, CancelShipping>;
  using events = eventcore::events<ShippingScheduled, ShippingCancelled>;
  using state = Shipment;

  static void evolve(state& s, const ShippingScheduled&) { s.set_status(Shipment::SCHEDULED); }
  static void evolve(state& s, const ShippingCancelled&) { s.set_status(Shipment::CANCELLED); }

  static effect<Shipment> decide(const state& s, const ScheduleShipping& c) {
    if (s.status() == Shipment::CANCELLED)
      return reject("cancelled", "the shipment is cancelled");
    if (s.status() == Shipment::SCHEDULED)
      return reject("scheduled", "the shipment is scheduled already");
    if (c.address().empty())
      return reject("no_address", "there is no address to ship to");
    return persist(eventcore::make<ShippingScheduled>([&](auto& e) { e.set_address(c.address()); }))
        .then_reply([](const state& after) { return after; });
  }
  static effect<Shipment> decide(const state& s, const CancelShipping&) {
    if (s.status() == Shipment::CANCELLED)
      return s;
    return persist(ShippingCancelled{}).then_reply([](const state& after) { return after; });
  }
};

} // namespace shop
