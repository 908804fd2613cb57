#include <eventcore/runtime/node.hpp>

#include <eventcore/actors/internal/host_actor.hpp>
#include <eventcore/actors/internal/multi_stream_actor.hpp>
#include <eventcore/actors/internal/start_sagas.hpp>
#include <eventcore/actors/internal/subscription_actor.hpp>
#include <eventcore/actors/internal/timer_actor.hpp>
#include <eventcore/runtime/internal/cluster/cluster.hpp>
#include <eventcore/runtime/internal/control/dead_letter_control.hpp>
#include <eventcore/runtime/internal/control/saga_control.hpp>
#include <eventcore/runtime/internal/end_signal.hpp>
#include <eventcore/runtime/internal/observability/node_view.hpp>
#include <eventcore/runtime/internal/scheduler.hpp>
#include <eventcore/runtime/service_id.hpp>

#include <caf/io/all.hpp>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <iostream>
#include <mutex>
#include <tuple>
#include <unordered_map>

namespace eventcore {

namespace {

using namespace std::chrono_literals;

class system_config : public caf::actor_system_config, public internal::telemetry_holder {
public:
  system_config(const node_options& options, std::shared_ptr<internal::telemetry> seen_by) {
    telemetry_holder::content = std::move(seen_by);
    if (options.threads > 0)
      set("scheduler.max-threads", options.threads);
    set("scheduler.max-throughput", std::max<std::size_t>(options.max_throughput, 1));
    internal::use_job_pool(*this);
    if (options.cluster)
      load<caf::io::middleman>();
  }
};

node_options options_of(int argc, char** argv) {
  const std::string program = argc > 0 ? argv[0] : "eventcore";
  const auto read = read_command_line({argv + std::min(argc, 1), argv + argc});
  if (!read) {
    std::cerr << program << ": " << read.error().message() << '\n';
    std::exit(2);
  }
  for (auto& argument : read->rest) {
    if (argument == "--help" || argument == "-h") {
      std::cout << "A node of eventcore: entities on a journal.\n\n" << node_options_help();
      std::exit(0);
    }
    std::cerr << program << ": there is no option " << argument << "; --help lists those that there are\n";
    std::exit(2);
  }
  return read->options;
}

} // namespace

struct node::impl {
  impl(std::unique_ptr<eventcore::journal> opened, const node_options& options)
      : journal{std::move(opened)}
      , relaxed{options.journal.durability == durability::relaxed}
      , service{options.journal.service}
      , name{options.name}
      , stop_within{options.stop_within}
      , view{options, identity().service}
      , config{options, view.telemetry()}
      , system{config}
      , cluster{std::make_unique<internal::cluster>(system, *journal, identity(), options.cluster)} {
    view.open(*journal, system, [this] { return projection_states(); });
    if (options.cluster)
      watch_cluster();
    if (!journal->info().folder.empty())
      open_control();
  }

  ~impl() {
    stop();
    view.close();
    directory->clear();
    cluster.reset();
  }

  internal::node_identity identity() const {
    internal::node_identity self;
    self.node = name.empty() ? program_invocation_short_name : name;
    const auto id = service_id_of(service.empty() ? journal->info().service : service, name);
    self.service = id ? *id : self.node;
    self.journal = journal->info().id;
    self.incarnation = journal->info().incarnation;
    return self;
  }

  void stop() {
    std::lock_guard one_at_a_time{stop_mutex}; // what has stopped answers so at once
    const auto end = std::chrono::steady_clock::now() + stop_within;
    view.stopping();
    control.reset();
    cluster->announce_leave();
    const auto started = [this] {
      std::lock_guard guard{mutex};
      return std::tuple{projections, sagas, saga_hosts, commands, hosts, timers};
    }();
    auto& [projections, sagas, saga_hosts, commands, hosts, timers] = started;
    for (auto& [type, projection] : projections)
      projection.stop();
    // Each of these uses those after it.
    stop("subscriptions", subscriptions->all(), end);
    stop("sagas", sagas, end);
    // What peers wait for needs the hosts; these need time, too.
    cluster->leave(std::max((end - std::chrono::steady_clock::now()) / 2, std::chrono::nanoseconds{0}));
    stop("the events of sagas", saga_hosts, end);
    stop("multi-stream commands", commands, end);
    stop("entities", hosts, end);
    if (timers)
      caf::anon_send_exit(timers, caf::exit_reason::user_shutdown);
  }

  template <class Handles>
  void stop(std::string_view what, const Handles& handles, std::chrono::steady_clock::time_point end) {
    std::vector<caf::actor> actors;
    for (auto& [key, handle] : handles)
      actors.push_back(actor_of(handle));
    const auto left = std::max(end - std::chrono::steady_clock::now(), std::chrono::nanoseconds{0});
    if (!internal::stop_actors(system, actors, left))
      spdlog::error("the node stops, and {} had not ended after {} ms: what they had in hand is answered "
                    "outcome_unknown, or done again when they are started again",
                    what, stop_within.count());
  }

  /// A node without a control socket is worth more than none.
  void open_control() {
    auto opened = internal::control_server::open(
        journal->info().folder,
        {{internal::operate_saga_request,
          internal::operate_sagas([this](auto category) { return find_sagas(category); })},
         {internal::replay_dead_letters_request, internal::replay_letters(*journal, subscriptions)},
         {internal::drop_dead_letters_request, internal::drop_letters(*journal)}});
    if (opened)
      control = *std::move(opened);
    else
      spdlog::error("operators cannot talk with this node: {}", opened.error().message());
  }

  /// One peer that is away is that one's trouble; a node that has none of them is alone.
  void watch_cluster() {
    view.add_check("discovery", [this]() -> std::optional<std::string> {
      const auto well = cluster->discovery_health();
      return well ? std::nullopt : std::optional{well.error().message()};
    });
    auto connections = std::make_shared<std::atomic<std::size_t>>(0);
    view.add_check("peers", [this, connections]() -> std::optional<std::string> {
      const auto peers = cluster->members();
      const auto connected =
          std::ranges::count(peers, member_state::connected, [](auto& peer) { return peer.state; });
      *connections = static_cast<std::size_t>(connected);
      if (peers.empty() || connected > 0)
        return std::nullopt;
      std::string why = "none of the other nodes is connected";
      for (auto& peer : peers)
        why += "; " + peer.address + ' ' + std::string{to_string(peer.state)} +
               (peer.last_error.empty() ? "" : ": " + peer.last_error);
      return why;
    });
    view.add_metric(
        {internal::connections_metric, internal::connections_help, {{"kind", "peers"}}, false, [connections] {
           return static_cast<double>(*connections);
         }});
  }

  std::vector<std::pair<std::string, projection_stats>> projection_states() {
    const auto started = [this] {
      std::lock_guard guard{mutex};
      return projections;
    }();
    std::vector<std::pair<std::string, projection_stats>> states;
    for (auto& [type, projection] : started)
      states.emplace_back(type->form.projection, projection.stats());
    return states;
  }

  saga_handle find_sagas(std::string_view category) {
    std::lock_guard guard{mutex};
    for (auto& [type, handle] : sagas)
      if (type->category == category)
        return handle;
    return {};
  }

  static const caf::actor& actor_of(const caf::actor& actor) { return actor; }
  template <class Handle>
  static caf::actor actor_of(const Handle& handle) {
    return eventcore::actor_of(handle);
  }

  // In this order: the actors end before the journal does.
  std::unique_ptr<eventcore::journal> journal;
  bool relaxed;
  std::string service;
  std::string name;
  std::chrono::milliseconds stop_within;
  internal::node_view view;
  system_config config;
  caf::actor_system system;
  std::unique_ptr<internal::cluster> cluster;
  std::mutex mutex;
  std::unordered_map<const entity_type*, host_handle> hosts;
  std::unordered_map<const multi_stream_type*, multi_stream_handle> commands;
  std::unordered_map<const saga_type*, saga_handle> sagas;
  std::unordered_map<const saga_type*, host_handle> saga_hosts;
  std::unordered_map<const projection_type*, projection_handle> projections;
  caf::actor timers;
  std::function<timestamp()> timer_time; ///< of the timers and of those who set them
  std::shared_ptr<internal::host_directory> directory = std::make_shared<internal::host_directory>();
  std::shared_ptr<internal::subscription_directory> subscriptions =
      std::make_shared<internal::subscription_directory>();
  std::unique_ptr<internal::control_server> control; // uses all of it
  std::mutex stop_mutex;
};

node::node(std::unique_ptr<impl> content) noexcept
    : impl_{std::move(content)} {}

node::node(int argc, char** argv) {
  auto options = options_of(argc, argv);
  auto journal = open_lmdb_journal(options.journal_dir, options.journal);
  if (!journal) {
    std::cerr << (argc > 0 ? argv[0] : "eventcore") << ": " << journal.error().message() << '\n';
    std::exit(1);
  }
  impl_ = std::make_unique<impl>(*std::move(journal), options);
}

result<node> node::open(node_options options) {
  auto journal = open_lmdb_journal(options.journal_dir, options.journal);
  if (!journal)
    return journal.error();
  return node{std::make_unique<impl>(*std::move(journal), options)};
}

node::node(std::unique_ptr<eventcore::journal> journal, node_options options)
    : impl_{std::make_unique<impl>(std::move(journal), options)} {}

node::node(node&&) noexcept = default;
node& node::operator=(node&&) noexcept = default;
node::~node() = default;

result<std::string> node::service_id() const {
  return service_id_of(impl_->service.empty() ? impl_->journal->info().service : impl_->service, impl_->name);
}

result<publisher> node::publish(publication content) const {
  auto id = service_id();
  return id ? publisher::create(std::move(content), *std::move(id)) : id.error();
}

// -- cluster

service_handle node::service(const std::string& name) {
  return impl_->cluster->service(name);
}

void node::export_actor(const std::string& name, const caf::actor& actor) {
  if (!impl_->cluster->local().add(name, actor))
    throw std::logic_error{"eventcore: this node exports a service named " + name + " already"};
  impl_->cluster->local_changed();
}

void node::offer_events() {
  impl_->cluster->offer_events();
}

void node::accept_events() {
  impl_->cluster->accept_events();
}

result<void> node::join() {
  return impl_->cluster->join();
}

std::string node::cluster_address() const {
  return impl_->cluster->address();
}

std::vector<member_info> node::members() const {
  return impl_->cluster->members();
}

service_registry& node::registry() {
  return impl_->cluster->registry();
}

std::shared_ptr<event_source> node::remote_events(const std::string& name) {
  return impl_->cluster->remote_events(name);
}

std::shared_ptr<federation_target> node::remote_target(const std::string& name) {
  return impl_->cluster->events_to(name);
}

void node::leave(std::chrono::nanoseconds within) {
  impl_->cluster->leave(within);
}

// -- the end

void node::stop() {
  impl_->stop();
}

void node::keep_signals() {
  internal::keep_end_signals();
}

int node::run_until_signal() {
  const auto signal = internal::wait_for_end_signal();
  stop();
  return signal;
}

// -- parts

void node::add_health_check(std::string name, health_check check) {
  impl_->view.add_check(std::move(name), std::move(check));
}

void node::add_gauge(std::string name, std::string help, std::map<std::string, std::string> labels,
                     std::function<double()> value) {
  impl_->view.add_metric({std::move(name), std::move(help), std::move(labels), false, std::move(value)});
}

health_report node::health() const {
  return impl_->view.ready();
}

std::string node::admin_address() const {
  return impl_->view.address();
}

journal& node::journal() noexcept {
  return *impl_->journal;
}

caf::actor_system& node::system() noexcept {
  return impl_->system;
}

host_handle node::start_host(const entity_type& type, const host_options& options) {
  std::lock_guard guard{impl_->mutex};
  auto& host = impl_->hosts[&type];
  if (!host) {
    auto adapted = options;
    adapted.check_head = options.check_head && !impl_->relaxed;
    host = internal::start_host(impl_->system, *impl_->journal, type, adapted);
    impl_->directory->add(type.category, actor_of(host));
    impl_->cluster->local().add(type, actor_of(host));
    impl_->cluster->local_changed();
  }
  return host;
}

multi_stream_handle node::start_multi_stream(const multi_stream_type& type,
                                             const multi_stream_options& options) {
  std::lock_guard guard{impl_->mutex};
  auto& commands = impl_->commands[&type];
  if (!commands) {
    commands = internal::start_multi_stream(impl_->system, *impl_->journal, type, impl_->directory, options);
    impl_->directory->add(type, actor_of(commands));
    impl_->cluster->local().add(type, actor_of(commands));
    impl_->cluster->local_changed();
  }
  return commands;
}

saga_handle node::start_sagas(const saga_type& type, const saga_options& options) {
  std::lock_guard guard{impl_->mutex};
  auto& sagas = impl_->sagas[&type];
  if (sagas)
    return sagas;
  if (!impl_->timers) {
    impl_->timer_time = internal::timer_time(*impl_->journal);
    impl_->timers = internal::start_timers(impl_->system, *impl_->journal, impl_->timer_time);
  }
  auto adapted = options;
  adapted.host.check_head = options.host.check_head && !impl_->relaxed;
  host_handle persistent_part;
  try {
    sagas = internal::start_sagas(impl_->system, *impl_->journal, type, impl_->directory, impl_->timers,
                                  adapted, persistent_part, impl_->timer_time);
  } catch (...) {
    impl_->sagas.erase(&type);
    throw;
  }
  impl_->saga_hosts[&type] = persistent_part;
  return sagas;
}

result<projection_handle> node::start_projection(const projection_type& type, projection_options options) {
  std::lock_guard guard{impl_->mutex};
  if (auto found = impl_->projections.find(&type); found != impl_->projections.end())
    return found->second;
  if (options.folder.empty()) {
    const auto& folder = impl_->journal->info().folder;
    if (folder.empty())
      return make_error(journal_errc::invalid_argument,
                        "projection " + type.form.projection +
                            ": the journal has no folder to put the view into; name one in the options");
    options.folder = std::filesystem::path{folder} / "projections" / type.form.projection;
  }
  if (options.sources.empty())
    options.sources.push_back(make_journal_source(*impl_->journal));
  auto opened = open_projection(type, std::move(options));
  if (opened)
    impl_->projections.emplace(&type, *opened);
  return opened;
}

void node::add_participant(const std::string& name, const caf::actor& to) {
  if (impl_->directory->find_participant(name))
    throw std::logic_error{"eventcore: there is a participant or a host named " + name + " already"};
  impl_->directory->add_participant(name, to);
}

void node::add_participant(const std::string& name, const multi_stream_handle& to) {
  add_participant(name, actor_of(to));
}

result<subscription> node::subscribe(subscriber_type type, const subscription_options& options) {
  return internal::start_subscription(impl_->system, *impl_->journal, std::move(type), options,
                                      impl_->directory, impl_->subscriptions);
}

} // namespace eventcore
