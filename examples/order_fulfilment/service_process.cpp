#include "service_process.hpp"

#include "checkout.hpp"
#include "roles.hpp"

#include <eventcore/actors/caf.hpp>

#include <caf/send.hpp>
#include <spdlog/spdlog.h>

#include <condition_variable>
#include <iostream>
#include <mutex>
#include <thread>

namespace shop {

namespace {

using namespace std::literals;

int complain(const options& opts, const eventcore::error& why) {
  std::cerr << "order_fulfilment (" << opts.service << "): " << why.message() << std::endl;
  return 1;
}

/// Says every five seconds what keeps this service from its work, for as long as it lasts. What is wrong with the others is for
/// the first process to show.
void watch_health(std::stop_token end, const eventcore::node& node, const std::string& service) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock guard{mutex};
  int looks = 0; // since the service is not well
  do {
    std::string problems;
    for (auto& check : node.health().checks) {
      if (check.problem && check.name == "running")
        return; // it shuts down
      if (check.problem && (check.name == "journal" || check.name == "disk_space"))
        problems += (problems.empty() ? "" : "; ") + check.name + ": " + *check.problem;
    }
    if (problems.empty() ? looks > 0 : looks % 5 == 0)
      std::cerr << "order_fulfilment (" + service +
                       "): " + (problems.empty() ? "ready again" : "not ready: " + problems) + '\n';
    looks = problems.empty() ? 0 : looks + 1;
  } while (!wake.wait_for(guard, end, 1s, [&] { return end.stop_requested(); }));
}

/// What the order service has besides the entities of orders, and how it stands with that.
class order_desk {
public:
  static eventcore::result<std::unique_ptr<order_desk>> open(eventcore::node& node, const options& opts) {
    auto desk = std::unique_ptr<order_desk>{new order_desk{node}};
    const auto sagas = lead_orders(node,
                                   {host_orders(node), actor_of(desk->called_[0]), actor_of(desk->called_[1]),
                                    actor_of(desk->called_[2])},
                                   opts.injected, true);
    auto view = show_orders(node, {eventcore::make_journal_source(node.journal()),
                                   node.remote_events(std::string{services::payment}),
                                   node.remote_events(std::string{services::shipping})});
    if (!view)
      return view.error();
    desk->view_ = *std::move(view);
    auto hub = inform_analytics(node, opts.rules, node.remote_target(std::string{services::analytics}));
    if (!hub)
      return hub.error();
    desk->hub_.emplace(*std::move(hub));
    desk->watch_ = std::jthread{[&d = *desk](std::stop_token end) { d.look(end); }};
    desk->checkout_ = start_checkout(node.system(), sagas, [&d = *desk] { return d.status(); });
    node.export_actor(std::string{checkout_name}, desk->checkout_);
    return desk;
  }

  /// After the node has stopped.
  ~order_desk() { caf::anon_send_exit(checkout_, caf::exit_reason::user_shutdown); }

private:
  explicit order_desk(eventcore::node& node)
      : node_{node}
      , called_{node.service(std::string{services::payment}), node.service(std::string{services::inventory}),
                node.service(std::string{services::shipping})} {}

  ShopStatus status() {
    std::lock_guard guard{mutex_};
    return status_;
  }

  /// Looks twice a second: asking view and hub takes longer than an actor may.
  void look(std::stop_token end) {
    std::condition_variable_any wake;
    std::unique_lock guard{mutex_};
    std::uint64_t look = 0;
    do {
      guard.unlock();
      auto now = look_once();
      now.set_look(++look);
      guard.lock();
      status_ = std::move(now);
    } while (!wake.wait_for(guard, end, 500ms, [&] { return end.stop_requested(); }));
  }

  ShopStatus look_once() const {
    ShopStatus now;
    for (auto& service : called_) {
      const auto stats = service.stats();
      auto& called = *now.add_called();
      called.set_service(stats.service);
      called.set_breaker(std::string{to_string(stats.breaker.state)});
      called.set_in_flight(stats.in_flight);
      called.set_waiting(stats.waiting);
      called.set_repeated(stats.repeated);
      called.set_opened(stats.breaker.opened);
    }
    if (const auto counts = count_orders(view_))
      now.set_orders_shown(counts->created);
    for (auto& source : view_.stats().live.sources)
      now.set_view_lag(now.view_lag() + source.lag());
    const auto head = node_.journal().head();
    const auto stats = hub_->stats(services::analytics, 1s);
    if (!head || !stats)
      now.set_analytics_lag(1);
    else if (!hub_->reached(services::analytics, *head, 100ms))
      now.set_analytics_lag(std::max<std::uint64_t>(*head - std::min(*head, stats->position), 1));
    return now;
  }

  eventcore::node& node_;
  const std::array<eventcore::service_handle, 3> called_;
  order_list view_;
  std::optional<eventcore::federation_hub> hub_;
  caf::actor checkout_;
  std::mutex mutex_;
  ShopStatus status_;
  std::jthread watch_; // ends before all else
};

} // namespace

int run_service(const options& opts) {
  spdlog::set_level(spdlog::level::critical); // who is lost and comes back is shown by the first process
  eventcore::node::keep_signals();
  auto node_options = opts.node;
  node_options.journal.service = opts.service;
  node_options.journal.categories = categories_of(opts.service);
  auto node = eventcore::node::open(node_options);
  if (!node)
    return complain(opts, node.error());
  std::unique_ptr<order_desk> desk;
  if (opts.service == services::order) {
    auto opened = order_desk::open(*node, opts);
    if (!opened)
      return complain(opts, opened.error());
    desk = *std::move(opened);
  } else if (opts.service == services::payment) {
    host_payments(*node);
    node->offer_events();
  } else if (opts.service == services::inventory) {
    if (auto hosted = host_inventory(*node, read_business(opts).catalogue); !hosted)
      return complain(opts, hosted.error());
  } else if (opts.service == services::shipping) {
    host_shipping(*node);
    node->offer_events();
  } else {
    node->accept_events();
  }
  if (auto joined = node->join(); !joined)
    return complain(opts, joined.error());
  {
    const std::jthread watch{[&](std::stop_token end) { watch_health(end, *node, opts.service); }};
    node->run_until_signal();
  }
  return 0;
}

} // namespace shop
