#include "single_process.hpp"

#include "analytics.hpp"
#include "audit.hpp"
#include "books.hpp"
#include "customers.hpp"
#include "gateway.hpp"
#include "payment_client.hpp"
#include "roles.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/runtime/http_client.hpp>
#include <eventcore/runtime/journal_target.hpp>
#include <eventcore/runtime/node.hpp>

#include <caf/send.hpp>

#include <atomic>
#include <csignal>
#include <iostream>
#include <optional>

#include <unistd.h>

namespace shop {

namespace {

using namespace std::literals;

constexpr auto patience = 60s;
/// A saga with faults everywhere may be retried for so long.
constexpr auto longest_saga = 10min;
constexpr auto payment_limit = 1'000ms;

/// Kills this process when the two journals have so many events.
class killer {
public:
  killer(std::uint64_t events, eventcore::journal& shop, eventcore::journal& gateway)
      : events_{events}
      , shop_head_{head_of(shop)}
      , gateway_head_{head_of(gateway)}
      , of_shop_{follow(shop, shop_head_)}
      , of_gateway_{follow(gateway, gateway_head_)} {}

private:
  static eventcore::log_position head_of(eventcore::journal& journal) {
    const auto head = journal.head();
    return head ? *head : 0;
  }
  eventcore::tail_subscription follow(eventcore::journal& journal,
                                      std::atomic<eventcore::log_position>& head) {
    return journal.follow_tail([&](eventcore::log_position now) {
      head = now;
      if (shop_head_ + gateway_head_ >= events_)
        ::kill(::getpid(), SIGKILL);
    });
  }

  std::uint64_t events_;
  std::atomic<eventcore::log_position> shop_head_, gateway_head_;
  eventcore::tail_subscription of_shop_, of_gateway_;
};

int complain(const std::string& what) {
  std::cerr << "order_fulfilment: " << what << '\n';
  return 1;
}

} // namespace

int run_single_process(const options& opts) {
  const auto [catalogue, orders] = read_business(opts);
  auto payments = gateway::open(opts.journal / "gateway", opts.injected, payment_limit + 500ms);
  if (!payments)
    return complain(payments.error().message());
  auto analysts = analytics::open(opts.journal / "analytics");
  if (!analysts)
    return complain(analysts.error().message());
  auto node_options = opts.node;
  node_options.journal_dir = opts.journal / "shop";
  node_options.journal.service = "shop";
  for (auto service : {services::order, services::inventory, services::shipping})
    for (auto& category : categories_of(service))
      node_options.journal.categories.push_back(category);
  auto node = eventcore::node::open(node_options);
  if (!node)
    return complain(node.error().message());

  std::optional<killer> kill;
  if (opts.kill_at > 0)
    kill.emplace(opts.kill_at, node->journal(), (*payments)->journal());

  eventcore::http_target_options target;
  target.name = "payment gateway";
  target.url = (*payments)->url();
  target.call_limit = payment_limit;
  auto client = eventcore::start_http_client(node->system(), target);
  if (!client)
    return complain(client.error().message());
  const auto stocked = host_inventory(*node, catalogue);
  if (!stocked)
    return complain(stocked.error().message());
  const auto sagas = lead_orders(
      *node,
      {host_orders(*node), start_payment_client(node->system(), *client), *stocked, host_shipping(*node)},
      opts.injected, false);
  const auto view = show_orders(*node, {eventcore::make_journal_source(node->journal()),
                                        eventcore::make_journal_source((*payments)->journal())});
  if (!view)
    return complain(view.error().message());
  const auto hub = inform_analytics(*node, opts.rules, eventcore::make_journal_target(analysts->journal()));
  if (!hub)
    return complain(hub.error().message());

  std::cout << (opts.resume ? "going on with " : "beginning ") << orders.size() << " orders, journal "
            << opts.journal.string() << std::endl;
  std::optional<order_view_watch> watch{*view};
  const shop_front front{
      [&](const PlaceOrder& order) { return sagas.start(order.order_id(), order, patience); },
      [&](const std::string& order) { return sagas.finished(order, longest_saga); }};
  if (auto failure = fulfil(front, orders, opts.at_once); !failure.empty())
    return complain(failure);
  watch.reset();
  const std::array<eventcore::journal_reader*, 2> journals{&node->journal(), &(*payments)->journal()};
  auto found = audit_journals(journals);
  if (!found)
    return complain(found.error().message());
  caf::anon_send_exit(actor_of(*client), caf::exit_reason::user_shutdown);
  if (auto shown = view->catch_up(patience); !shown)
    return complain(shown.error().message());
  const auto head = node->journal().head();
  if (!head)
    return complain(head.error().message());
  if (auto there = hub->reached("analytics", *head, patience); !there)
    return complain(there.error().message());
  const bool view_is_right = report(*view, *found);
  const bool analytics_are_right = report(*analysts, node->journal(), orders);
  return report(*found, orders, catalogue) && view_is_right && analytics_are_right ? 0 : 1;
}

} // namespace shop
