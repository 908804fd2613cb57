#pragma once

#include <eventcore/actors/breaker.hpp>
#include <eventcore/actors/saga_definition.hpp>

namespace caf {
class actor;
class actor_system;
} // namespace caf

namespace shop {

/// The payment gateway as the shop sees it: takes `TakePayment` and `CancelPayment` to the id of an order, calls the gateway over
/// HTTP, and answers with the `Payment` that the gateway's JSON describes. Errors: those of `start_http_client`, and
/// `unexpected_reply` for an answer that is no JSON or describes another payment: nobody knows then what the gateway did.
caf::actor start_payment_client(caf::actor_system& system, const eventcore::breaker_handle& gateway);

/// What its errors mean: a status 4xx is the gateway's no; what certainly never reached the gateway can be tried again; of all
/// else it is not known whether money was taken. A payment service of the cluster is understood as any other service.
eventcore::step_outcome outcome_of_payment(const eventcore::error& why);

} // namespace shop
