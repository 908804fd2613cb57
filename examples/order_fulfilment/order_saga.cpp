#include "order_saga.hpp"

#include "order.hpp"
#include "payment_client.hpp"

namespace shop {

namespace {

using namespace std::literals;

TakePayment payment_of(const PlaceOrder& o) {
  return make<TakePayment>([&](auto& c) {
    c.set_customer_id(o.customer().id());
    c.set_cents(total_of(o.items()).value_or(0));
  });
}

eventcore::retry_policy at_least(eventcore::retry_policy policy) {
  if (order_saga::retries > 0)
    policy = {order_saga::retries, policy.backoff, 2s};
  return policy;
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
      .within(2s)
      .retry(at_least({}));
  saga.step("reserve_payment")
      .request_at(std::string{participants::payment_gateway},
                  [](const input& o) { return to(o.order_id(), payment_of(o)); })
      .replies<Payment>()
      .compensate_at(std::string{participants::payment_gateway},
                     [](const input& o) { return to(o.order_id(), CancelPayment{}); })
      .classify(outcome_of_payment)
      .within(3s)
      .retry(at_least(
          {.retries = 6, .backoff = 200ms, .max_backoff = 2s})); // longer than the breaker stays open
  saga.step("reserve_inventory")
      .request_at(std::string{participants::inventory}, items_of<ReserveItems>)
      .compensate_at(std::string{participants::inventory}, items_of<ReleaseItems>)
      .within(2s)
      .retry(at_least({}));
  saga.step("schedule_shipping")
      .request_at(std::string{participants::shipping},
                  [](const input& o) {
                    return to(o.order_id(),
                              make<ScheduleShipping>([&](auto& c) { c.set_address(o.address()); }));
                  })
      .compensate_at(std::string{participants::shipping},
                     [](const input& o) { return to(o.order_id(), CancelShipping{}); })
      .within(2s)
      .retry(at_least({}));
}

} // namespace shop
