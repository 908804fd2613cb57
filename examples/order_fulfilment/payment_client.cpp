#include "payment_client.hpp"

#include "shop.pb.h"

#include <eventcore/actors/caf.hpp>
#include <eventcore/runtime/http_client.hpp>

#include <caf/all.hpp>
#include <nlohmann/json.hpp>

namespace shop {

namespace {

using eventcore::command_context;
using eventcore::HttpAnswer;
using eventcore::HttpCall;
using eventcore::make;
using nlohmann::json;

HttpCall post(const std::string& order, const TakePayment& c) {
  return make<HttpCall>([&](auto& call) {
    call.set_method(HttpCall::METHOD_POST);
    call.set_path("/payments");
    call.set_body(json{{"order_id", order}, {"customer_id", c.customer_id()}, {"cents", c.cents()}}.dump());
  });
}

HttpCall remove(const std::string& order) {
  return make<HttpCall>([&](auto& call) {
    call.set_method(HttpCall::METHOD_DELETE);
    call.set_path("/payments/" + order);
  });
}

/// The payment that an answer describes; NONE if it describes none.
Payment payment_in(const HttpAnswer& answer) {
  Payment payment;
  const auto body = json::parse(answer.body(), nullptr, false);
  if (!body.is_object() || !body.contains("status") || !body.contains("cents") ||
      !body["cents"].is_number_integer())
    return payment;
  payment.set_cents(body["cents"].get<std::int64_t>());
  if (body["status"] == "taken")
    payment.set_status(Payment::TAKEN);
  else if (body["status"] == "cancelled")
    payment.set_status(Payment::CANCELLED);
  return payment;
}

class payment_client : public caf::event_based_actor {
public:
  payment_client(caf::actor_config& config, caf::actor gateway)
      : caf::event_based_actor{config}
      , gateway_{std::move(gateway)} {}

protected:
  caf::behavior make_behavior() override {
    set_error_handler([](caf::scheduled_actor*, caf::error&) {});
    return {
        [this](const std::string& order, const command_context& context, const TakePayment& c) {
          return call(context, post(order, c), [cents = c.cents()](const HttpAnswer&, const Payment& p) {
            return p.status() == Payment::TAKEN && p.cents() == cents;
          });
        },
        [this](const std::string& order, const command_context& context, const CancelPayment&) {
          return call(context, remove(order), [](const HttpAnswer& answer, const Payment& p) {
            return answer.status() == 404 || p.status() == Payment::CANCELLED;
          });
        },
    };
  }

private:
  template <class Check>
  caf::result<caf::message> call(const command_context& context, HttpCall what, Check is_right) {
    auto promise = make_response_promise();
    request(gateway_, caf::infinite, context, std::move(what))
        .then(
            [promise, is_right](const HttpAnswer& answer) mutable {
              auto payment = payment_in(answer);
              if (is_right(answer, payment))
                promise.deliver(std::move(payment));
              else
                promise.deliver(eventcore::to_caf_error(eventcore::make_error(
                    eventcore::entity_errc::unexpected_reply,
                    "the payment gateway answered " + std::to_string(answer.status()) +
                        " with what does not describe this payment: " + answer.body().substr(0, 200))));
            },
            [promise](caf::error& why) mutable { promise.deliver(std::move(why)); });
    return promise;
  }

  caf::actor gateway_;
};

} // namespace

caf::actor start_payment_client(caf::actor_system& system, const eventcore::breaker_handle& gateway) {
  return system.spawn<payment_client>(actor_of(gateway));
}

eventcore::step_outcome outcome_of_payment(const eventcore::error& why) {
  using eventcore::step_outcome;
  if (eventcore::is_refusal(why))
    return step_outcome::refused;
  const auto outcome = eventcore::outcome_of(why); // of a service that is no HTTP gateway
  return outcome == step_outcome::in_doubt && eventcore::is_definite(why) ? step_outcome::nothing_happened
                                                                          : outcome;
}

} // namespace shop
