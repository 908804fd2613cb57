#include <eventcore/runtime/internal/cluster.hpp>

#include <eventcore/runtime/cluster_errc.hpp>
#include <eventcore/runtime/internal/service_impl.hpp>

namespace eventcore::internal {

cluster::cluster(caf::actor_system& system, eventcore::journal& journal, node_identity self,
                 std::optional<cluster_options> options)
    : system_{system}
    , journal_{journal}
    , self_{std::move(self)}
    , options_{std::move(options)}
    , local_{std::make_shared<local_services>(self_.service)} {
  register_error_category(caf::atom("cluster"), cluster_category());
}

cluster::~cluster() = default;

void cluster::local_changed() {}
void cluster::offer_events() {}
void cluster::accept_events() {}

service_handle cluster::service(const std::string& name) {
  std::lock_guard lock{mutex_};
  auto& known = services_[name];
  if (!known) {
    auto service = std::make_shared<remote_service>(name, local_, options_.value_or(cluster_options{}));
    if (!options_)
      service->close(
          make_error(entity_errc::unreachable,
                     "service " + name + " is not in this node, which takes no part in a cluster"));
    caf::actor_config config;
    auto proxy = caf::make_actor<service_proxy, caf::actor>(system_.next_actor_id(), system_.node(), &system_,
                                                            config, service);
    known = std::make_shared<service_handle::impl>(
        service_handle::impl{&system_, std::move(service), std::move(proxy)});
  }
  return service_handle{known};
}

result<void> cluster::join() {
  return make_error(cluster_errc::not_joined, "this node takes no part in a cluster: its options name none");
}

std::string cluster::address() const {
  return {};
}

std::vector<member_info> cluster::members() const {
  return {};
}

service_registry& cluster::registry() {
  std::abort();
}

std::shared_ptr<event_source> cluster::remote_events(const std::string&) {
  return {};
}

std::shared_ptr<federation_target> cluster::remote_target(const std::string&) {
  return {};
}

void cluster::leave(std::chrono::nanoseconds) {}

} // namespace eventcore::internal
