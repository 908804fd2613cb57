#include "cluster_run.hpp"
#include "options.hpp"
#include "order_file.hpp"
#include "order_saga.hpp"
#include "roles.hpp"
#include "service_process.hpp"
#include "single_process.hpp"

#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <limits>
#include <thread>

namespace shop {

namespace {

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string::npos;
}

} // namespace

business read_business(const options& opts) {
  const bool made = is_number(opts.orders);
  auto catalogue = read_catalogue(opts.catalogue);
  auto orders = read_orders(made ? options{}.orders : opts.orders, catalogue, made ? 100'000 : opts.first);
  if (made) {
    const auto count = std::max<std::size_t>(std::stoul(opts.orders), 1);
    const auto times = (count + orders.size() - 1) / orders.size();
    for (auto& units : catalogue)
      units.set_quantity(units.quantity() * static_cast<std::int64_t>(times));
    orders = make_orders(orders, count);
    orders.resize(std::min(orders.size(), opts.first));
  }
  return {std::move(catalogue), std::move(orders)};
}

} // namespace shop

namespace {

using namespace shop;

int complain(const std::string& what) {
  std::cerr << "order_fulfilment: " << what << '\n';
  return 1;
}

/// Who has one of the journals, and does not end within some seconds, as the processes of a run do whose first one was
/// killed. Empty: nobody.
std::string holder_of(const std::filesystem::path& folder) {
  eventcore::lmdb_options as_it_is;
  as_it_is.create = false;
  std::vector<std::string_view> names{services::all.begin(), services::all.end()};
  names.push_back("gateway");
  for (const auto name : names)
    for (int tries = 0;; ++tries) {
      const auto old = eventcore::open_lmdb_journal(folder / name, as_it_is);
      if (old || old.error().code() != eventcore::journal_errc::locked)
        break;
      if (tries == 30)
        return old.error().message();
      std::this_thread::sleep_for(std::chrono::milliseconds{100});
    }
  return {};
}

/// Whether anything is there but the configuration files that the start of a cluster writes.
bool holds_journals(const std::filesystem::path& folder) {
  return std::ranges::any_of(std::filesystem::directory_iterator{folder}, [](auto& entry) {
    return entry.path().extension() != ".ini" && entry.path().filename() != "prometheus.yml";
  });
}

/// Sees to it that the folder of the journals is there if it is to be gone on with, and empty if not.
int prepare_journals(const options& opts) {
  const bool is_folder = std::filesystem::is_directory(opts.journal);
  if (!is_folder && std::filesystem::exists(opts.journal))
    return complain(opts.journal.string() + " is no folder");
  const bool there = is_folder && holds_journals(opts.journal);
  if (opts.resume && !there)
    return complain(opts.journal.string() + ": there is no journal to go on with");
  if (!there)
    return 0;
  if (!opts.resume && opts.journal_given)
    return complain(opts.journal.string() +
                    ": there are journals already; go on with them by --resume, or name another folder");
  // Before anything is removed, or the other run's configuration files are written anew.
  if (const auto holder = holder_of(opts.journal); !holder.empty())
    return complain(holder + "; name another one by --journal");
  if (!opts.resume)
    std::filesystem::remove_all(opts.journal);
  return 0;
}

int run(const options& opts) {
  if (!opts.service.empty())
    return run_service(opts);
  read_business(opts);
  if (const auto code = prepare_journals(opts); code != 0)
    return code;
  return opts.cluster ? run_cluster(opts) : run_single_process(opts);
}

} // namespace

int main(int argc, char** argv) {
  options opts;
  opts.arguments.assign(argv, argv + argc);
  // What is not of the node is the example's own.
  auto read = eventcore::read_command_line({argv + 1, argv + argc});
  if (!read) {
    std::cerr << "order_fulfilment: " << read.error().message() << '\n';
    return 2;
  }
  auto& [node_options, arguments] = *read;
  opts.node = node_options;
  std::uint32_t retries = 0;
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
      "every run.",
      "order_fulfilment"};
  app.footer("--journal DIR is the folder of the journals; the default one, " + opts.journal.string() +
             ", is made anew.\nOptions of nodes:\n\n" + eventcore::node_options_help());
  app.add_option("--orders", opts.orders,
                 "File of orders, one JSON object a line; or a number of orders to make of the sample")
      ->capture_default_str();
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
  auto* cluster =
      app.add_flag("--cluster", opts.cluster,
                   "Run the services as processes of their own, which are started again when they end");
  app.add_option("--chaos", opts.chaos,
                 "Kill (SIGKILL) or stop (SIGSTOP) so many processes, at random, during the run")
      ->needs(cluster);
  app.add_option("--longest-stop", opts.longest_stop, "Seconds that --chaos stops a process for, at most")
      ->check(CLI::Range(1, 600))
      ->capture_default_str()
      ->needs(cluster);
  app.add_option("--rolling", opts.rolling,
                 "Restart all processes in order (SIGTERM) so many times during the run")
      ->needs(cluster);
  app.add_option(
         "--retries", retries,
         "How often a step is tried again before the order is compensated (default: 3; with --cluster 60)")
      ->check(CLI::Range(1, 1'000));
  app.add_option("--certificates", opts.certificates,
                 "Folder made by runtime/make_certificates DIR order payment inventory shipping analytics "
                 "customers: the processes speak TLS")
      ->check(CLI::ExistingDirectory)
      ->needs(cluster);
  app.add_option("--consul", opts.consul,
                 "URL of a Consul agent, by which the processes find each other, at other ports after each "
                 "start; the environment variable CONSUL_HTTP_TOKEN is the token")
      ->needs(cluster);
  app.add_flag("--admin", opts.admin,
               "Metrics and health of each process over HTTP on loopback, and a configuration of Prometheus "
               "beside the journals")
      ->needs(cluster);
  app.add_option("--history", opts.history, "File for a line of JSON on each call of a customer")
      ->needs(cluster);
  try {
    std::ranges::reverse(arguments); // as CLI11 wants them
    app.parse(arguments);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  opts.service = opts.node.journal.service;
  if (!opts.service.empty() && std::ranges::find(services::all, opts.service) == services::all.end()) {
    std::cerr << "order_fulfilment: --service " << opts.service << ": there is no such service\n";
    return 2;
  }
  opts.journal_given = opts.node.journal_dir != eventcore::node_options{}.journal_dir;
  if (opts.journal_given)
    opts.journal = opts.node.journal_dir;
  else if (opts.cluster)
    opts.journal = ORDER_BUILD_DIR "/order-fulfilment-cluster";
  if (opts.cluster && opts.kill_at > 0) {
    std::cerr << "order_fulfilment: --kill-at is for a run in one process; with --cluster there is --chaos\n";
    return 2;
  }
  order_saga::retries = retries > 0 ? retries : opts.cluster ? 60 : 0;
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
  } catch (const std::exception& e) { // of a file, or a folder that cannot be made
    return complain(e.what());
  }
}
