#include "books.hpp"

#include "analytics.hpp"
#include "inventory.hpp"
#include "order.hpp"

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <set>
#include <sstream>

namespace shop {

namespace {

void line(std::string_view what, const auto& value) {
  std::cout << "  " << std::left << std::setw(48) << what << std::right << std::setw(14) << value << '\n';
}

bool check(std::string_view what, std::int64_t found, std::int64_t expected) {
  std::cout << "  " << std::left << std::setw(48) << what << std::right << std::setw(14) << found;
  if (found != expected)
    std::cout << "   WRONG: expected " << expected;
  std::cout << '\n';
  return found == expected;
}

std::string milliseconds(std::vector<std::chrono::microseconds> times, double share) {
  if (times.empty())
    return "-";
  const auto at = times.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(times.size() - 1));
  std::ranges::nth_element(times, at);
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << static_cast<double>(at->count()) / 1'000 << " ms";
  return text.str();
}

} // namespace

bool report(const audit& found, const std::vector<PlaceOrder>& orders, const std::vector<Units>& catalogue) {
  using outcome = order_trail::outcome;
  std::size_t completed = 0, compensated = 0, stuck = 0, wrong = 0;
  std::map<std::string, std::size_t> by_step;
  std::vector<std::chrono::microseconds> times;
  std::map<std::string, std::int64_t> sold;
  std::int64_t earned = 0;
  std::set<std::string> known;
  for (auto& order : orders) {
    known.insert(order.order_id());
    const auto i = found.orders.find(order.order_id());
    const auto trail = i == found.orders.end() ? order_trail{} : i->second;
    if (auto why = fault_in(order, trail); !why.empty()) {
      ++wrong;
      std::cerr << "order " << order.order_id() << ": " << why << '\n';
    }
    stuck += trail.ended == outcome::stuck;
    if (trail.ended == outcome::compensated) {
      ++compensated;
      ++by_step[trail.failed_step];
    }
    if (trail.ended == outcome::completed) {
      ++completed;
      earned += total_of(order.items()).value_or(0);
      for (auto& [sku, quantity] : inventory::units_of(order.items()))
        sold[sku] += quantity;
    }
    if (trail.ends > 0)
      times.push_back(trail.took());
  }
  for (auto& [id, trail] : found.orders)
    if (!known.contains(id)) {
      ++wrong;
      std::cerr << "order " << id << ": it is in the journal, and not among the orders\n";
    }
  std::cout << "orders\n";
  line("completed", completed);
  line("compensated", compensated);
  for (auto& [step, count] : by_step)
    line("  because of " + step, count);
  line("stuck", stuck);
  line("from start to end, median", milliseconds(times, 0.5));
  line("from start to end, 99th percentile", milliseconds(times, 0.99));

  std::int64_t units = 0, left = 0, gone = 0, miscounted = 0;
  for (auto& item : catalogue) {
    const auto of = [&](const std::map<std::string, std::int64_t>& by_sku) {
      const auto i = by_sku.find(item.sku());
      return i == by_sku.end() ? 0 : i->second;
    };
    units += item.quantity();
    left += of(found.left);
    gone += of(sold);
    miscounted += of(found.received) != item.quantity() || of(found.left) + of(sold) != item.quantity();
  }
  std::cout << "audit\n";
  bool good = check("units in the catalogue", left + gone, units);
  line("  of these left", left);
  line("  of these in completed orders", gone);
  good = check("items whose units do not add up", miscounted, 0) && good;
  good = check("cents that the payment gateway holds", found.taken, earned) && good;
  good = check("orders with a wrong end", static_cast<std::int64_t>(wrong), 0) && good;
  if (good)
    std::cout << "ok: " << orders.size() << " orders, " << completed << " completed, " << compensated
              << " compensated, every cent and every unit accounted for\n";
  else
    std::cout << "FAILED: the books do not balance\n";
  return good;
}

bool report(const order_list& view, const audit& found) {
  const auto counts = count_orders(view);
  const auto wrong = differences(view, found);
  if (!counts || !wrong) {
    std::cerr << "the order view: " << (counts ? wrong.error() : counts.error()).message() << '\n';
    return false;
  }
  for (auto& what : *wrong)
    std::cerr << "order view: " << what << '\n';
  std::cout << "view\n";
  line("orders", counts->created);
  line("  with a payment", counts->paid);
  line("  dispatched", counts->dispatched);
  return check("orders that differ from the journals", static_cast<std::int64_t>(wrong->size()), 0);
}

bool report(analytics& analysts, eventcore::journal& of_orders, const std::vector<PlaceOrder>& orders) {
  const auto sent = count_order_events(of_orders);
  const auto there = count_order_events(analysts.journal());
  const auto personal = analysts.count_personal_data(orders);
  if (!sent || !there || !personal) {
    std::cerr << "analytics: " << (!sent ? sent : !there ? there : personal).error().message() << '\n';
    return false;
  }
  std::cout << "analytics\n";
  const bool all =
      check("events of orders", static_cast<std::int64_t>(*there), static_cast<std::int64_t>(*sent));
  return check("names and addresses in its files", static_cast<std::int64_t>(*personal), 0) && all;
}

} // namespace shop
