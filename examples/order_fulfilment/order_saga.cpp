#include "order_saga.hpp"

#include "order.hpp"

#include <eventcore/runtime/http_client.hpp>

#include <nlohmann/json.hpp>

namespace shop {

namespace {

using namespace std::literals;
using eventcore::HttpCall;
using eventcore::step_outcome;

/// What an error of the payment gateway means: a status 4xx is its no; what certainly never reached it can be tried again;
/// of all else it is not known whether money was taken.
step_outcome outcome_of_payment(const eventcore::error& why) {
  if (eventcore::is_refusal(why))
    return step_outcome::refused;
  return eventcore::is_definite(why) ? step_outcome::nothing_happened : eventcore::outcome_of(why);
}

HttpCall take_payment(const PlaceOrder& o) {
  return make<HttpCall>([&](auto& call) {
    call.set_method(HttpCall::METHOD_POST);
    call.set_path("/payments");
    call.set_body(nlohmann::json{{"order_id", o.order_id()},
                                 {"customer_id", o.customer().id()},
                                 {"cents", total_of(o.items()).value_or(0)}}
                      .dump());
  });
}

HttpCall cancel_payment(const PlaceOrder& o) {
  return make<HttpCall>([&](auto& call) {
    call.set_method(HttpCall::METHOD_DELETE);
    call.set_path("/payments/" + o.order_id());
  });
}

template <class Command>
Command items_of(const PlaceOrder& o) {
  return make<Command>([&](auto& c) {
    c.set_order_id(o.order_id());
    *c.mutable_items() = o.items();
  });
}

} // namespace

void order_saga::define(definition<input>& saga) {
  using eventcore::to;
  saga.step("create_order")
      .request_at(std::string{participants::orders},
                  [](const input& o) {
                    return to(o.order_id(), make<CreateOrder>([&](auto& c) {
                                *c.mutable_customer() = o.customer();
                                *c.mutable_items() = o.items();
                                c.set_address(o.address());
                              }));
                  })
      .compensate_at(std::string{participants::orders},
                     [](const input& o) { return to(o.order_id(), CancelOrder{}); })
      .within(2s);
  saga.step("reserve_payment")
      .request_at(std::string{participants::payment_gateway}, take_payment)
      .compensate_at(std::string{participants::payment_gateway}, cancel_payment)
      .classify(outcome_of_payment)
      .within(3s)
      .retry({.retries = 6, .backoff = 200ms, .max_backoff = 2s}); // longer than the breaker stays open
  saga.step("reserve_inventory")
      .request_at(std::string{participants::inventory}, items_of<ReserveItems>)
      .compensate_at(std::string{participants::inventory}, items_of<ReleaseItems>)
      .within(2s);
  saga.step("schedule_shipping")
      .request_at(std::string{participants::shipping},
                  [](const input& o) {
                    return to(o.order_id(),
                              make<ScheduleShipping>([&](auto& c) { c.set_address(o.address()); }));
                  })
      .compensate_at(std::string{participants::shipping},
                     [](const input& o) { return to(o.order_id(), CancelShipping{}); })
      .within(2s);
}

} // namespace shop
