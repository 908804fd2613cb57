#include "cluster_run.hpp"

#include "analytics.hpp"
#include "audit.hpp"
#include "books.hpp"
#include "checkout.hpp"
#include "customers.hpp"
#include "process_faults.hpp"
#include "remote_front.hpp"
#include "roles.hpp"
#include "supervisor.hpp"

#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/node.hpp>

#include <spdlog/spdlog.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>

namespace shop {

namespace {

using namespace std::literals;

constexpr auto patience = 60s;
constexpr std::string_view customers = "customers";

/// Ports of loopback that nobody gets by chance, for the processes of this run to listen at: they are bound here, and not listened at,
/// so that whoever asks for one of them by its number, as the processes do, can have it.
class reserved_ports {
public:
  explicit reserved_ports(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      sockets_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const int yes = 1; // as those set that will listen
      ::setsockopt(sockets_.back(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t size = sizeof address;
      auto* generic = reinterpret_cast<sockaddr*>(&address);
      if (::bind(sockets_.back(), generic, size) != 0 || ::getsockname(sockets_.back(), generic, &size) != 0)
        throw std::runtime_error{"there is no free port on 127.0.0.1"};
      numbers_.push_back(ntohs(address.sin_port));
    }
  }
  reserved_ports(const reserved_ports&) = delete;
  ~reserved_ports() {
    for (const auto socket : sockets_)
      ::close(socket);
  }

  std::uint16_t operator[](std::size_t index) const { return numbers_[index]; }
  std::size_t size() const { return numbers_.size(); }

private:
  std::vector<int> sockets_;
  std::vector<std::uint16_t> numbers_;
};

/// The nodes of the run and their configuration files.
class layout {
public:
  explicit layout(const options& opts)
      : opts_{opts}
      , ports_{2 * services::all.size() + 1} {
    auto& nodes = services::all;
    auto& ports = ports_;
    const auto listed = [&](std::size_t begin, std::size_t end) {
      std::string list;
      for (std::size_t i = begin; i < end; ++i)
        list += (i > begin ? ", \"127.0.0.1:" : "\"127.0.0.1:") + std::to_string(ports[i]) + '"';
      return list;
    };
    // By Consul they find each other at any port.
    const auto peers = opts.consul.empty() ? listed(0, nodes.size()) : "";
    for (std::size_t i = 0; i < nodes.size(); ++i)
      write(nodes[i], "127.0.0.1:" + std::to_string(opts.consul.empty() ? ports[i] : 0),
            ports[nodes.size() + i], peers);
    write(customers, "", ports[ports.size() - 1], peers);
    if (opts.admin)
      write_scrapes(listed(nodes.size(), ports.size()));
  }

  std::filesystem::path folder(std::string_view service) const { return opts_.journal / service; }
  std::filesystem::path configuration(std::string_view node) const {
    return opts_.journal / (std::string{node} + ".ini");
  }
  /// Of Prometheus, for all nodes; there with `--admin`.
  std::filesystem::path scrapes() const { return opts_.journal / "prometheus.yml"; }

private:
  void write(std::string_view node, const std::string& listen, std::uint16_t admin,
             const std::string& peers) const {
    std::filesystem::create_directories(opts_.journal);
    std::ofstream out{configuration(node)};
    using std::filesystem::perms; // it may hold a token
    std::filesystem::permissions(configuration(node), perms::owner_read | perms::owner_write);
    out << "[eventcore]\nname = \"" << node << "\"\nservice = \"" << node << "\"\njournal = " << folder(node)
        << "\nthreads = 2\nstop-within = 10s\n\n[eventcore.cluster]\nid = \"order_fulfilment\"\n";
    if (!listen.empty())
      out << "listen = \"" << listen << "\"\n";
    out << "peers = [" << peers << "]\nheartbeat = 250ms\nsilence = 2s\npatience = 10s\n";
    if (!opts_.consul.empty()) {
      out << "\n[eventcore.consul]\nurl = \"" << opts_.consul << "\"\ntime-to-live = 5s\n";
      if (const auto* token = std::getenv("CONSUL_HTTP_TOKEN"))
        out << "token = \"" << token << "\"\n";
    }
    if (!opts_.certificates.empty())
      for (auto [key, file] : {std::pair{"certificate", std::string{node} + ".pem"},
                               {"key", std::string{node} + ".key"},
                               {"ca", "ca.pem"}})
        out << (key == "certificate"sv ? "\n[eventcore.tls]\n" : "") << key << " = "
            << opts_.certificates / file << '\n';
    if (opts_.admin)
      out << "\n[eventcore.admin]\nlisten = \"127.0.0.1:" << admin << "\"\n";
    if (!out.flush())
      throw std::runtime_error{configuration(node).string() + ": cannot be written"};
  }

  void write_scrapes(const std::string& targets) const {
    std::ofstream out{scrapes()};
    out << "scrape_configs:\n- job_name: order_fulfilment\n  scrape_interval: 1s\n  static_configs:\n  - "
           "targets: ["
        << targets << "]\n";
    if (!out.flush())
      throw std::runtime_error{scrapes().string() + ": cannot be written"};
  }

  const options& opts_;
  const reserved_ports ports_;
};

std::vector<std::string> arguments_of(const options& opts, const layout& where, std::string_view service) {
  std::vector<std::string> all{opts.arguments.front(), "--service", std::string{service}, "--config-file",
                               where.configuration(service).string()};
  all.insert(all.end(), opts.arguments.begin() + 1, opts.arguments.end());
  all.insert(all.end(), {"--journal", where.folder(service).string()}); // the last one counts
  return all;
}

void show(const eventcore::node& node, const remote_front& front) {
  std::cerr << "    members:";
  for (auto& member : node.members())
    if (!member.service.empty())
      std::cerr << ' ' << member.service << ' '
                << (member.state == eventcore::member_state::connected ? "up" : to_string(member.state));
  std::cerr << "\n    order calls:";
  if (const auto status = front.status()) {
    for (auto& called : status->called())
      std::cerr << ' ' << called.service() << " (" << called.breaker() << ", " << called.in_flight()
                << " under way, " << called.repeated() << " repeated)";
    std::cerr << "; the view shows " << status->orders_shown() << ", " << status->view_lag()
              << " events behind; analytics is " << status->analytics_lag() << " behind" << std::endl;
  } else {
    std::cerr << " it does not answer: " << status.error().message() << std::endl;
  }
}

/// Waits until `done`, looking ten times a second.
bool wait_until(std::chrono::seconds within, auto done) {
  const auto end = std::chrono::steady_clock::now() + within;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::sleep_for(100ms);
  }
  return true;
}

std::uint64_t connects_to(const eventcore::node& node, const std::string& service) {
  for (auto& member : node.members())
    if (member.service == service && member.state == eventcore::member_state::connected)
      return member.connects;
  return 0;
}

int complain(const std::string& what) {
  std::cerr << "order_fulfilment: " << what << '\n';
  return 1;
}

/// The books of all services, from their journals.
int settle(const layout& where, const business& of) {
  std::map<std::string_view, std::unique_ptr<eventcore::journal>> journals;
  std::vector<eventcore::journal_reader*> audited;
  eventcore::lmdb_options as_it_is;
  as_it_is.create = false;
  for (auto service : services::all) {
    if (service == services::analytics)
      continue;
    auto opened = eventcore::open_lmdb_journal(where.folder(service), as_it_is);
    if (!opened)
      return complain(opened.error().message());
    audited.push_back(opened->get());
    journals.emplace(service, *std::move(opened));
  }
  auto found = audit_journals(audited);
  if (!found)
    return complain(found.error().message());
  auto& of_orders = *journals.at(services::order);
  eventcore::projection_options view_options;
  view_options.folder = where.folder(services::order) / "projections" / std::string{order_view::name};
  for (auto service : {services::order, services::payment, services::shipping})
    view_options.sources.push_back(
        eventcore::make_journal_source(*journals.at(service), std::string{service}));
  auto view = eventcore::open_projection<order_view>(std::move(view_options));
  if (!view)
    return complain(view.error().message());
  if (auto shown = view->catch_up(patience); !shown)
    return complain(shown.error().message());
  auto analysts = analytics::open(where.folder(services::analytics));
  if (!analysts)
    return complain(analysts.error().message());
  const bool view_is_right = report(*view, *found);
  const bool analytics_are_right = report(*analysts, of_orders, of.orders);
  return report(*found, of.orders, of.catalogue) && view_is_right && analytics_are_right ? 0 : 1;
}

} // namespace

int run_cluster(const options& opts) {
  spdlog::set_level(spdlog::level::err); // who comes and goes is shown otherwise
  const auto of = read_business(opts);
  const layout where{opts};
  auto node_options = eventcore::read_config_file(where.configuration(customers), opts.node);
  if (!node_options)
    return complain(node_options.error().message());
  eventcore::node node{eventcore::open_memory_journal(), *node_options};
  if (auto joined = node.join(); !joined)
    return complain(joined.error().message());
  // Consul knows services: the front is an actor of one, and the others are watched while they are restarted.
  for (auto service : services::all)
    (void)node.service(std::string{service});
  remote_front front{node.service(std::string{checkout_name}), opts.history};

  supervisor processes{[](const std::string& what) {
    std::cerr << "order_fulfilment: " << what << std::endl;
    std::quick_exit(1); // the others end with this process
  }};
  for (auto service : services::all)
    processes.start(std::string{service}, arguments_of(opts, where, service));
  std::cout << (opts.resume ? "going on with " : "beginning ") << of.orders.size() << " orders in "
            << services::all.size() << " processes, journals in " << opts.journal.string() << std::endl;
  if (opts.admin)
    std::cout << "to see them: prometheus --config.file=" << where.scrapes().string() << std::endl;

  process_faults faults{processes,
                        {opts.chaos, opts.rolling, opts.longest_stop, opts.injected.seed},
                        [&](const std::string& service) {
                          return wait_until(30s, [&] { return connects_to(node, service) > 0; });
                        }};
  const auto begun = std::chrono::steady_clock::now();
  std::atomic<std::size_t> placed{0};
  const auto failure = fulfil(
      {[&](const PlaceOrder& order) {
         faults.wait_for_turn(placed++, of.orders.size());
         return front.place(order);
       },
       [&](const std::string& order) { return front.await(order); }},
      of.orders, opts.at_once, [&](const run_counts& c) { faults.progress(c.ended(), c.all); },
      [&] { show(node, front); });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  const auto met = faults.finish();
  if (!failure.empty())
    return complain(failure);
  std::optional<std::uint64_t> look; // what was seen after all had ended counts
  const auto all_are_told = [&] {
    const auto status = front.status();
    if (!status)
      return false;
    if (!look)
      look = status->look();
    return (status->look() > *look + 1 || status->look() < *look) && status->view_lag() == 0 &&
           status->analytics_lag() == 0;
  };
  if (!wait_until(patience, all_are_told))
    return complain("the order view or analytics has not all events after " +
                    std::to_string(patience.count()) + " s");
  bool in_order = true;
  for (auto service : services::all)
    if (const auto code = processes.stop(service, 30s); code != 0) {
      std::cerr << "order_fulfilment: " << service << " ended with "
                << (code == -1 ? "SIGKILL: it took too long" : "exit code " + std::to_string(code)) << '\n';
      in_order = false;
    }
  const auto ends = processes.ends();
  std::cout << "processes\n  killed " << met.kills << ", stopped for a time " << met.stops
            << ", restarted in order " << met.restarts << "; "
            << static_cast<int>(static_cast<double>(of.orders.size()) / took.count()) << " orders a second\n";
  if (met.late_restarts > 0 || ends.failures > 0) {
    std::cout << "  WRONG: " << met.late_restarts << " came back too late, " << ends.failures
              << " ended with an error\n";
    in_order = false;
  }
  for (auto& [why, times] : front.repeated())
    std::cout << "  calls of customers repeated with their key, " << times << ": " << why << '\n';
  return settle(where, of) == 0 && in_order ? 0 : 1;
}

} // namespace shop
