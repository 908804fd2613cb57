#include "roles.hpp"

#include "inventory.hpp"
#include "order.hpp"
#include "payment.hpp"
#include "shipping.hpp"

#include <eventcore/actors/caf.hpp>

namespace shop {

using namespace std::literals;

std::vector<std::string> categories_of(std::string_view service) {
  std::vector<std::string_view> names;
  if (service == services::order)
    names = {order::category, order_saga::category};
  else if (service == services::payment)
    names = {payment::category};
  else if (service == services::inventory)
    names = {stock::category, reservation::category};
  else if (service == services::shipping)
    names = {shipping::category};
  else
    names = {order::category};
  return {names.begin(), names.end()};
}

caf::actor host_orders(eventcore::node& node) {
  return actor_of(node.host<order>());
}

caf::actor host_payments(eventcore::node& node) {
  return actor_of(node.host<payment>());
}

eventcore::result<caf::actor> host_inventory(eventcore::node& node, const std::vector<Units>& catalogue) {
  auto host = node.multi_stream<inventory>();
  auto opened = host.ask(make<ReceiveStock>([&](auto& c) {
                           *c.mutable_units() = {catalogue.begin(), catalogue.end()};
                         }),
                         60s);
  if (!opened)
    return opened.error();
  return actor_of(host);
}

caf::actor host_shipping(eventcore::node& node) {
  return actor_of(node.host<shipping>());
}

eventcore::saga_host<order_saga> lead_orders(eventcore::node& node, const participant_actors& to,
                                             const faults& injected, bool payments_meet_faults) {
  const auto add = [&](std::string_view name, std::string_view service, const caf::actor& actor,
                       bool faulty = true) {
    const std::string participant{service};
    node.add_participant(std::string{name}, faulty && injected.any(participant)
                                                ? start_faulty(node.system(), participant, actor, injected)
                                                : actor);
  };
  add(participants::orders, services::order, to.orders);
  add(participants::payment_gateway, services::payment, to.payments, payments_meet_faults);
  add(participants::inventory, services::inventory, to.inventory);
  add(participants::shipping, services::shipping, to.shipping);
  return node.saga<order_saga>();
}

eventcore::result<order_list> show_orders(eventcore::node& node,
                                          std::vector<std::shared_ptr<eventcore::event_source>> sources) {
  eventcore::projection_options options;
  std::erase(sources, nullptr);
  options.sources = std::move(sources);
  return node.project<order_view>(std::move(options));
}

eventcore::result<eventcore::federation_hub>
inform_analytics(eventcore::node& node, const std::filesystem::path& rules,
                 std::shared_ptr<eventcore::federation_target> analytics) {
  eventcore::publication content;
  content.map<OrderCreated, OrderCancelled>("orders").publish<order>();
  auto published = node.publish(std::move(content));
  if (!published)
    return published.error();
  const auto read = eventcore::federation_rules::read(rules);
  if (!read)
    return read.error();
  return eventcore::federation_hub::start(node, *std::move(published), *read,
                                          {{std::string{services::analytics}, std::move(analytics)}});
}

} // namespace shop
