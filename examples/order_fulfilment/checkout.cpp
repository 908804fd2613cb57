#include "checkout.hpp"

#include <eventcore/actors/caf.hpp>

#include <caf/all.hpp>

namespace shop {

namespace {

using eventcore::command_context;
using eventcore::saga_phase;

/// Customers who wait are told so often that the order goes on; shorter than their calls may take.
constexpr std::chrono::seconds longest_wait{5};

OrderProgress::Phase to_message(saga_phase phase) {
  switch (phase) {
  case saga_phase::running:
    return OrderProgress::RUNNING;
  case saga_phase::compensating:
    return OrderProgress::COMPENSATING;
  case saga_phase::stuck:
    return OrderProgress::STUCK;
  case saga_phase::completed:
    return OrderProgress::COMPLETED;
  case saga_phase::compensated:
    return OrderProgress::COMPENSATED;
  case saga_phase::not_started:
    break;
  }
  return OrderProgress::UNKNOWN;
}

class checkout : public caf::event_based_actor {
public:
  checkout(caf::actor_config& config, caf::actor sagas, std::function<ShopStatus()> status)
      : caf::event_based_actor{config}
      , sagas_{std::move(sagas)}
      , status_{std::move(status)} {}

protected:
  caf::behavior make_behavior() override {
    set_error_handler([](caf::scheduled_actor*, caf::error&) {});
    return {
        [this](const std::string& id, const command_context& context, const PlaceOrder& order) {
          return pass_on(caf::infinite, id, context, order);
        },
        [this](const std::string& id, const command_context&, const AwaitOrder&) {
          return pass_on(longest_wait, eventcore::await_saga{id, clock().now() + longest_wait});
        },
        [this](const std::string&, const command_context&, const GetShopStatus&) { return status_(); },
    };
  }

private:
  /// No answer within `time` is one, too: the order has not ended.
  template <class Time, class... Content>
  caf::result<caf::message> pass_on(Time time, Content... content) {
    auto promise = make_response_promise();
    auto answer = [promise](saga_phase phase) mutable {
      promise.deliver(eventcore::make<OrderProgress>([&](auto& p) { p.set_phase(to_message(phase)); }));
    };
    request(sagas_, time, std::move(content)...).then(answer, [promise, answer](caf::error& why) mutable {
      if (why == caf::sec::request_timeout)
        answer(saga_phase::running);
      else
        promise.deliver(std::move(why));
    });
    return promise;
  }

  caf::actor sagas_;
  std::function<ShopStatus()> status_;
};

} // namespace

caf::actor start_checkout(caf::actor_system& system, const eventcore::saga_handle& sagas,
                          std::function<ShopStatus()> status) {
  return system.spawn<checkout>(actor_of(sagas), std::move(status));
}

saga_phase to_phase(OrderProgress::Phase phase) {
  switch (phase) {
  case OrderProgress::RUNNING:
    return saga_phase::running;
  case OrderProgress::COMPENSATING:
    return saga_phase::compensating;
  case OrderProgress::STUCK:
    return saga_phase::stuck;
  case OrderProgress::COMPLETED:
    return saga_phase::completed;
  case OrderProgress::COMPENSATED:
    return saga_phase::compensated;
  default:
    return saga_phase::not_started;
  }
}

} // namespace shop
