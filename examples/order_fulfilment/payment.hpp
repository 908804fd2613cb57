#pragma once

#include <eventcore/actors/decider.hpp>

#include "shop.pb.h"

#include <string_view>

namespace shop {

/// The payment of an order, in the gateway's books. It can be cancelled before it is taken: then it never is.
struct payment : eventcore::decider<payment> {
  static constexpr std::string_view category = "payment";
  using commands = eventcore::commands<TakePayment, CancelPayment>;
  using events = eventcore::events<PaymentTaken, PaymentCancelled>;
  using state = Payment;

  static void evolve(state& s, const PaymentTaken& e) {
    s.set_status(Payment::TAKEN);
    s.set_cents(e.cents());
  }
  static void evolve(state& s, const PaymentCancelled&) { s.set_status(Payment::CANCELLED); }

  static effect<Payment> decide(const state& s, const TakePayment& c) {
    if (s.status() == Payment::CANCELLED)
      return reject("cancelled", "the payment is cancelled");
    if (s.status() == Payment::TAKEN)
      return reject("taken", "the payment is taken already");
    if (c.cents() < 0)
      return reject("bad_amount", "the amount is below 0");
    return persist(eventcore::make<PaymentTaken>([&](auto& e) {
             e.set_customer_id(c.customer_id());
             e.set_cents(c.cents());
           }))
        .then_reply([](const state& after) { return after; });
  }
  static effect<Payment> decide(const state& s, const CancelPayment&) {
    if (s.status() == Payment::CANCELLED)
      return s;
    return persist(eventcore::make<PaymentCancelled>([&](auto& e) { e.set_cents(s.cents()); }))
        .then_reply([](const state& after) { return after; });
  }
};

} // namespace shop
