#include "analytics.hpp"
#include "audit.hpp"
#include "faults.hpp"
#include "gateway.hpp"
#include "inventory.hpp"
#include "order_file.hpp"
#include "order_saga.hpp"
#include "order_view.hpp"
#include "payment_client.hpp"
#include "shipping.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/http_client.hpp>
#include <eventcore/runtime/node.hpp>

#include <CLI/CLI.hpp>
#include <caf/send.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <mutex>
#include <numeric>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <unistd.h>

namespace {

using namespace shop;
using namespace std::literals;

constexpr auto patience = 60s;
/// A saga with faults everywhere may be retried for so long.
constexpr auto longest_saga = 10min;
constexpr auto payment_limit = 1'000ms;

struct options {
  std::filesystem::path journal = ORDER_BUILD_DIR "/order-fulfilment-journal";
  std::filesystem::path orders = ORDER_SAMPLE_DIR "/orders.jsonl";
  std::filesystem::path catalogue = ORDER_SAMPLE_DIR "/catalogue.json";
  std::filesystem::path rules = ORDER_SAMPLE_DIR "/federation.json";
  std::size_t first = 100'000;
  std::size_t at_once = 32;
  std::uint64_t kill_at = 0;
  bool journal_given = false;
  bool resume = false;
  faults injected;
};

/// The node with everything that an order meets.
class shop_node {
public:
  shop_node(eventcore::node& node, const caf::actor& payments, const faults& which)
      : inventories{node.multi_stream<inventory>()} {
    const auto add = [&](std::string_view name, const std::string& participant, const caf::actor& actor) {
      node.add_participant(std::string{name}, which.any(participant)
                                                  ? start_faulty(node.system(), participant, actor, which)
                                                  : actor);
    };
    add(participants::orders, "order", actor_of(node.host<order>()));
    add(participants::inventory, "inventory", actor_of(inventories));
    add(participants::shipping, "shipping", actor_of(node.host<shipping>()));
    node.add_participant(std::string{participants::payment_gateway}, payments);
  }

  eventcore::multi_stream_host<inventory> inventories;
};

/// Counts and says how far a run is, twice a second and at its end.
class progress {
public:
  explicit progress(std::size_t all)
      : all_{all}
      , thread_{[this](std::stop_token end) { show(end); }} {}

  void started() { ++started_; }
  void ended(eventcore::saga_phase phase) {
    ++(phase == eventcore::saga_phase::completed     ? completed_
       : phase == eventcore::saga_phase::compensated ? compensated_
                                                     : stuck_);
  }

private:
  void show(std::stop_token end) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock guard{mutex};
    do {
      wake.wait_for(guard, end, 500ms, [] { return false; });
      const auto done = completed_ + compensated_ + stuck_;
      std::cerr << "  " << done << " of " << all_ << " orders have ended: " << completed_ << " completed, "
                << compensated_ << " compensated, " << stuck_ << " stuck; " << started_ - done << " under way"
                << std::endl;
    } while (!end.stop_requested());
  }

  std::size_t all_;
  std::atomic<std::size_t> started_{0};
  std::atomic<std::size_t> completed_{0};
  std::atomic<std::size_t> compensated_{0};
  std::atomic<std::size_t> stuck_{0};
  std::jthread thread_;
};

/// Starts the sagas of all orders and waits for their ends. What is started already goes on. The first failure, if any.
std::string fulfil(const eventcore::saga_host<order_saga>& sagas, const std::vector<PlaceOrder>& orders,
                   std::size_t at_once) {
  progress shown{orders.size()};
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::string failure;
  const auto fail = [&](const PlaceOrder& order, const eventcore::error& why) {
    std::lock_guard guard{mutex};
    if (failure.empty())
      failure = "order " + order.order_id() + ": " + why.message();
    next = orders.size();
  };
  std::vector<std::jthread> customers;
  for (std::size_t i = 0; i < std::min(at_once, orders.size()); ++i)
    customers.emplace_back([&] {
      for (std::size_t n; (n = next++) < orders.size();) {
        auto& order = orders[n];
        if (auto started = sagas.start(order.order_id(), order, patience); !started)
          return fail(order, started.error());
        shown.started();
        auto ended = sagas.finished(order.order_id(), longest_saga);
        if (!ended)
          return fail(order, ended.error());
        shown.ended(*ended);
      }
    });
  customers.clear();
  return failure;
}

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

/// Prints what became of the orders, by the journals alone. Whether all of it is as it must be.
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

/// Prints what the view shows. Whether it is what the journals say.
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

/// Prints what the analytics service got. Whether it is all events of orders, without personal data.
bool report(analytics& analysts, eventcore::journal& of_shop, const std::vector<PlaceOrder>& orders) {
  const auto sent = count_order_events(of_shop);
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

int complain(const std::string& what) {
  std::cerr << "order_fulfilment: " << what << '\n';
  return 1;
}

int run(const options& opts) {
  const auto catalogue = read_catalogue(opts.catalogue);
  const auto orders = read_orders(opts.orders, catalogue, opts.first);

  const bool there = std::filesystem::exists(opts.journal);
  if (opts.resume && !there)
    return complain(opts.journal.string() + ": there is no journal to go on with");
  if (!opts.resume && there) {
    if (opts.journal_given)
      return complain(opts.journal.string() +
                      ": there is a journal; go on with it by --resume, or name another");
    eventcore::lmdb_options as_it_is;
    as_it_is.create = false;
    if (const auto old = eventcore::open_lmdb_journal(opts.journal / "gateway", as_it_is);
        !old && old.error().code() == eventcore::journal_errc::locked)
      return complain(old.error().message() + "; name another one by --journal");
    std::filesystem::remove_all(opts.journal);
  }

  auto payments = gateway::open(opts.journal / "gateway", opts.injected, payment_limit + 500ms);
  if (!payments)
    return complain(payments.error().message());
  auto analysts = analytics::open(opts.journal / "analytics");
  if (!analysts)
    return complain(analysts.error().message());
  eventcore::node_options node_options;
  node_options.journal_dir = opts.journal / "shop";
  node_options.journal.service = "shop";
  for (auto category :
       {order::category, stock::category, reservation::category, shipping::category, order_saga::category})
    node_options.journal.categories.emplace_back(category);
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
  const shop_node parts{*node, start_payment_client(node->system(), *client), opts.injected};
  auto opened = parts.inventories.ask(make<ReceiveStock>([&](auto& c) {
                                        *c.mutable_units() = {catalogue.begin(), catalogue.end()};
                                      }),
                                      patience);
  if (!opened)
    return complain(opened.error().message());
  const auto sagas = node->saga<order_saga>();
  eventcore::projection_options view_options;
  view_options.sources = {eventcore::make_journal_source(node->journal()),
                          eventcore::make_journal_source((*payments)->journal())};
  const auto view = node->project<order_view>(view_options);
  if (!view)
    return complain(view.error().message());

  const auto hub = analysts->follow(*node, opts.rules);
  if (!hub)
    return complain(hub.error().message());

  std::cout << (opts.resume ? "going on with " : "beginning ") << orders.size() << " orders, journal "
            << opts.journal.string() << std::endl;
  std::optional<order_view_watch> watch{*view};
  if (auto failure = fulfil(sagas, orders, opts.at_once); !failure.empty())
    return complain(failure);
  watch.reset();
  auto found = audit_journals(node->journal(), (*payments)->journal());
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

} // namespace

int main(int argc, char** argv) {
  options opts;
  std::string fail, slow, lie, stick;
  CLI::App app{
      "Orders: a saga leads each through order, payment, inventory and shipping, and back if one of them "
      "fails.\n"
      "The payment gateway is called over HTTP. A run that was interrupted goes on with --resume and the "
      "same "
      "options.\n"
      "A share is a number from 0 to 1, for one participant (order, payment, inventory, shipping) or all:\n"
      "payment=0.2,shipping=0.1 or 0.1; --slow and --lie alone mean 0.1. The same orders meet the same "
      "faults in\n"
      "every run."};
  auto* journal =
      app.add_option("--journal", opts.journal, "Folder of the journals; the default one is made anew")
          ->capture_default_str();
  app.add_option("--orders", opts.orders, "File of orders, one JSON object a line")->capture_default_str();
  app.add_option("--catalogue", opts.catalogue, "File of the items, a JSON array")->capture_default_str();
  app.add_option("--first", opts.first, "Take only so many orders of the file")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000}));
  app.add_option("--at-once", opts.at_once, "Orders under way at one time")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1'000}))
      ->capture_default_str();
  auto* fail_option = app.add_option("--fail", fail, "Share of orders that a participant refuses");
  auto* slow_option =
      app.add_option("--slow", slow, "Share of orders that a participant answers too late, or never")
          ->expected(0, 1)
          ->default_str("0.1");
  auto* lie_option =
      app.add_option("--lie", lie, "Share of orders that a participant carries out and answers as failed")
          ->expected(0, 1)
          ->default_str("0.1");
  auto* stick_option = app.add_option(
      "--stick", stick,
      "Share of orders for which a participant refuses to undo what it did: the saga is stuck");
  app.add_option("--seed", opts.injected.seed, "Other numbers make other orders fail")->capture_default_str();
  app.add_option("--kill-at", opts.kill_at,
                 "Kill this process (SIGKILL) when shop and gateway have so many events")
      ->check(CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max()));
  app.add_flag("--resume", opts.resume, "Go on with the journal that is there");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  opts.journal_given = journal->count() > 0;
  for (auto& [option, text, rates] : {std::tuple{fail_option, &fail, &opts.injected.fail},
                                      {slow_option, &slow, &opts.injected.slow},
                                      {lie_option, &lie, &opts.injected.lie},
                                      {stick_option, &stick, &opts.injected.stick}})
    if (option->count() > 0)
      if (auto wrong = parse_rates(*text, *rates); !wrong.empty()) {
        std::cerr << "order_fulfilment: " << option->get_name() << ": " << wrong << '\n';
        return 2;
      }
  try {
    return run(opts);
  } catch (const bad_file& e) {
    return complain(e.what());
  }
}
