#include <eventcore/runtime/internal/cluster/cluster.hpp>

#include <eventcore/actors/internal/ask.hpp>
#include <eventcore/runtime/cluster_errc.hpp>
#include <eventcore/runtime/embedded_registry.hpp>
#include <eventcore/runtime/http_client.hpp>
#include <eventcore/runtime/internal/cluster/cluster_broker.hpp>
#include <eventcore/runtime/internal/cluster/handshake.hpp>
#include <eventcore/runtime/internal/cluster/remote_source.hpp>
#include <eventcore/runtime/internal/cluster/remote_target.hpp>
#include <eventcore/runtime/internal/cluster/service_impl.hpp>
#include <eventcore/runtime/internal/cluster/tls.hpp>
#include <eventcore/runtime/internal/registration.hpp>

#include <set>

namespace eventcore::internal {

namespace {

using namespace std::chrono_literals;

/// For what the broker answers at once.
constexpr auto answer_limit = 5s;

error wrong(std::string why) {
  return make_error(cluster_errc::invalid_options, std::move(why));
}

/// Of peers in the embedded registry, which renew by heartbeats.
std::chrono::milliseconds time_to_live(const cluster_options& options) {
  return std::max(options.patience, 3 * options.heartbeat);
}

discovery_options pace(const cluster_options& options) {
  auto pace = options.discovery;
  if (options.registry)
    return pace;
  pace.renew =
      std::min(pace.renew, (options.consul ? options.consul->time_to_live : time_to_live(options)) / 3);
  return pace;
}

result<void> check(const cluster_options& options) {
  if (options.id.empty())
    return wrong("cluster_options::id is empty; give the cluster a name");
  if (options.heartbeat.count() <= 0 || options.silence < 2 * options.heartbeat)
    return wrong("cluster_options::silence must be at least twice the heartbeat, and this more than 0");
  if (options.max_message == 0 || options.max_message > (std::size_t{256} << 20))
    return wrong("cluster_options::max_message must be between 1 byte and 256 MiB");
  if (options.max_in_flight == 0 || options.max_in_flight > (std::size_t{1} << 24))
    return wrong("cluster_options::max_in_flight must be between 1 and 16,777,216");
  if (options.tls)
    if (auto usable = check_tls(*options.tls); !usable)
      return usable;
  for (const auto& peer : options.peers)
    if (auto where = host_port::parse(peer); !where)
      return where.error();
  return {};
}

} // namespace

cluster::cluster(caf::actor_system& system, eventcore::journal& journal, node_identity self,
                 std::optional<cluster_options> options)
    : alone_{!options}
    , env_{new cluster_env{
          system, journal, self, options.value_or(cluster_options{}),
          std::make_shared<local_services>(self.service),
          std::make_shared<embedded_registry>(time_to_live(options.value_or(cluster_options{})))}} {
  register_error_category(caf::atom("cluster"), cluster_category());
  register_error_category(caf::atom("federation"), federation_category());
  register_error_category(caf::atom("http"), http_category());
  outside_ = env_->options.registry;
  if (outside_ || !env_->options.consul)
    return;
  if (auto opened = open_consul_registry(*env_->options.consul))
    outside_ = *std::move(opened);
  else
    no_outside_ = opened.error();
}

cluster::~cluster() {
  leave(0s);
  env_->local->clear();
}

caf::actor cluster::broker() const {
  std::lock_guard lock{mutex_};
  return broker_;
}

service_info cluster::self() const {
  auto info = info_of(make_hello(*env_, advertised_));
  info.registered_at = joined_at_;
  return info;
}

void cluster::local_changed() {
  std::lock_guard lock{mutex_};
  if (!broker_)
    return;
  caf::anon_send(broker_, offers_changed{});
  if (!advertised_.empty())
    discovery_->announce(self());
}

void cluster::offer_events() {
  env_->offers_events = true;
  local_changed();
}

void cluster::accept_events() {
  env_->accepts_events = true;
  local_changed();
}

service_handle cluster::service(const std::string& name) {
  std::lock_guard lock{mutex_};
  auto& known = services_[name];
  if (known)
    return service_handle{known};
  auto service = std::make_shared<remote_service>(name, env_->local, env_->options);
  caf::actor_config config;
  auto& system = env_->system;
  auto proxy = caf::make_actor<service_proxy, caf::actor>(system.next_actor_id(), system.node(), &system,
                                                          config, service);
  known = std::make_shared<service_handle::impl>(service_handle::impl{&system, service, std::move(proxy)});
  if (alone_ || left_) {
    service->close(make_error(entity_errc::unreachable,
                              "service " + name + " is not in this node, which " +
                                  (left_ ? "has left its cluster" : "takes no part in a cluster")));
    return service_handle{known};
  }
  {
    std::lock_guard env_lock{env_->mutex};
    env_->services.emplace(name, service);
  }
  if (broker_) {
    service->begin(std::chrono::steady_clock::now());
    caf::anon_send(broker_, service_added{service});
    if (outside_)
      discovery_->watch(name);
  }
  return service_handle{known};
}

result<void> cluster::join() {
  if (alone_)
    return make_error(cluster_errc::not_joined,
                      "the options of this node name no cluster that it could join");
  const auto& options = env_->options;
  if (auto good = check(options); !good)
    return good;
  if (no_outside_)
    return wrong(no_outside_->message());
  std::lock_guard lock{mutex_};
  if (broker_ || left_)
    return wrong("the node has joined its cluster before");
  auto listener = std::make_shared<socket_handle>();
  if (!options.listen.empty()) {
    auto where = host_port::parse(options.listen);
    if (!where)
      return where.error();
    auto opened = listen_at(*where);
    if (!opened)
      return opened.error();
    if (!opened->loopback && !options.tls && !options.insecure)
      return wrong("the node would listen at " + where->str() +
                   ", which others than this machine can reach, without TLS; configure certificates, or say "
                   "`insecure` if the network is trusted");
    *listener = std::move(opened->socket);
    where->port = opened->port;
    if (options.advertise.empty() && (where->host == "0.0.0.0" || where->host == "::" || where->host == "*"))
      return wrong("others cannot connect to " + where->str() +
                   "; say by cluster_options::advertise where this node is reached");
    address_ = where->str();
  }
  advertised_ = options.advertise.empty() ? address_ : options.advertise;
  joined_at_ = std::chrono::floor<timestamp::duration>(std::chrono::system_clock::now());
  if (auto good = check_registration(self()); !good)
    return wrong(good.error().message());
  auto& backend = env_->system.middleman().backend();
  caf::actor_config config{&backend};
  broker_ =
      caf::actor{env_->system.spawn_impl<cluster_broker, caf::hidden>(config, env_, listener, advertised_)};
  discovery_ = std::make_unique<discovery>(
      outside_ ? outside_ : env_->registry, pace(options),
      [to = broker_](const std::string&, const std::vector<service_info>& instances) {
        addresses_found found;
        for (const auto& instance : instances)
          if (const auto at = instance.endpoints.find("cluster"); at != instance.endpoints.end())
            found.addresses.push_back(at->second);
        caf::anon_send(to, std::move(found));
      });
  if (!advertised_.empty())
    discovery_->announce(self());
  std::vector<std::shared_ptr<remote_service>> services;
  std::set<std::string> looked_for;
  {
    std::lock_guard env_lock{env_->mutex};
    for (const auto& [name, service] : env_->services) {
      services.push_back(service);
      looked_for.insert(name);
    }
    for (const auto& [name, source] : env_->sources)
      looked_for.insert(name);
    for (const auto& [name, target] : env_->targets)
      looked_for.insert(name);
  }
  for (const auto& service : services)
    service->begin(std::chrono::steady_clock::now());
  if (outside_)
    for (const auto& name : looked_for)
      discovery_->watch(name);
  return {};
}

std::string cluster::address() const {
  std::lock_guard lock{mutex_};
  return address_;
}

std::vector<member_info> cluster::members() const {
  const auto to = broker();
  if (!to)
    return {};
  const auto answer = ask_and_wait(env_->system, to, caf::make_message(get_members{}), answer_limit);
  if (!answer || !answer->match_elements<std::vector<member_info>>())
    return {};
  return answer->get_as<std::vector<member_info>>(0);
}

service_registry& cluster::registry() {
  return outside_ ? *outside_ : *env_->registry;
}

result<void> cluster::discovery_health() const {
  std::lock_guard lock{mutex_};
  return discovery_ ? discovery_->health() : result<void>{};
}

void cluster::look_for_events(const std::string& service) {
  std::lock_guard lock{mutex_};
  if (!broker_)
    return;
  caf::anon_send(broker_, event_ways_changed{});
  if (outside_)
    discovery_->watch(service);
}

std::shared_ptr<event_source> cluster::remote_events(const std::string& name) {
  std::shared_ptr<remote_source> source;
  {
    std::lock_guard lock{env_->mutex};
    auto& known = env_->sources[name];
    if (!known)
      known = std::make_shared<remote_source>(name);
    source = known;
  }
  look_for_events(name);
  return source;
}

std::shared_ptr<federation_target> cluster::events_to(const std::string& name) {
  std::shared_ptr<remote_target> target;
  {
    std::lock_guard lock{env_->mutex};
    auto& known = env_->targets[name];
    if (!known)
      known = std::make_shared<remote_target>(name, env_->options.max_message);
    target = known;
  }
  look_for_events(name);
  return target;
}

void cluster::announce_leave() {
  if (const auto to = broker())
    caf::anon_send(to, internal::announce_leave{});
}

void cluster::leave(std::chrono::nanoseconds within) {
  caf::actor to;
  std::unique_ptr<discovery> found;
  std::vector<std::shared_ptr<remote_service>> services;
  {
    std::lock_guard lock{mutex_};
    if (std::exchange(left_, true))
      return;
    to = std::exchange(broker_, {});
    found = std::move(discovery_);
    for (const auto& [name, handle] : services_)
      services.push_back(handle->service);
  }
  found.reset(); // withdraws the node, so that it is not looked for any more
  if (to) {
    const auto done = ask_and_wait(env_->system, to, caf::make_message(leave_cluster{}), bounded(within));
    if (!done)
      (void)ask_and_wait(env_->system, to, caf::make_message(end_cluster{}), answer_limit);
  }
  for (const auto& service : services)
    service->close(make_error(entity_errc::stopped, "this node is shutting down"));
}

} // namespace eventcore::internal
