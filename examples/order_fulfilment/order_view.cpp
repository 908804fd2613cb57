#include "order_view.hpp"

#include <condition_variable>
#include <iostream>
#include <mutex>
#include <set>

namespace shop {

namespace {

using namespace std::literals;

/// Calls `take(id, line)` for each order of the view.
template <class F>
eventcore::result<void> for_each_order(const order_list& view, F take) {
  auto next = eventcore::key_range<std::string>::all();
  for (;;) {
    auto page = view.list<order_view::orders>(next);
    if (!page)
      return page.error();
    if (page->empty())
      return {};
    for (auto& [id, line] : *page)
      take(id, line);
  }
}

} // namespace

eventcore::result<order_counts> count_orders(const order_list& view) {
  order_counts counts;
  auto read = for_each_order(view, [&](const std::string&, const OrderLine& line) {
    ++counts.created;
    counts.paid += line.payment() == OrderLine::COMPLETED;
    counts.dispatched += line.shipping() == OrderLine::DISPATCHED;
  });
  if (!read)
    return read.error();
  return counts;
}

eventcore::result<std::vector<std::string>> differences(const order_list& view, const audit& journals) {
  std::vector<std::string> found;
  std::set<std::string> shown;
  auto read = for_each_order(view, [&](const std::string& id, const OrderLine& line) {
    shown.insert(id);
    const auto trail = journals.orders.find(id);
    if (trail == journals.orders.end() || trail->second.count("OrderCreated") == 0)
      found.push_back(id + " is shown and was not created");
    else if ((line.payment() == OrderLine::COMPLETED) != (trail->second.count("PaymentTaken") > 0))
      found.push_back(id + " is shown with another payment");
    else if ((line.shipping() == OrderLine::DISPATCHED) != (trail->second.count("ShippingScheduled") > 0))
      found.push_back(id + " is shown with another shipment");
  });
  if (!read)
    return read.error();
  for (auto& [id, trail] : journals.orders)
    if (trail.count("OrderCreated") > 0 && !shown.contains(id))
      found.push_back(id + " was created and is not shown");
  return found;
}

order_view_watch::order_view_watch(order_list view)
    : thread_{[view = std::move(view)](std::stop_token end) {
      std::mutex mutex;
      std::condition_variable_any wake;
      std::unique_lock guard{mutex};
      while (!wake.wait_for(guard, end, 1s, [] { return false; }) && !end.stop_requested()) {
        const auto counts = count_orders(view);
        if (!counts)
          continue;
        std::uint64_t lag = 0;
        for (auto& source : view.stats().live.sources)
          lag += source.lag();
        std::cerr << "  the view shows " << counts->created << " orders, " << counts->paid << " paid, "
                  << counts->dispatched << " dispatched; it is " << lag << " events behind" << std::endl;
      }
    }} {}

} // namespace shop
