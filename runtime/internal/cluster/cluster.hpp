#pragma once

#include <eventcore/persistence/event_source.hpp>
#include <eventcore/runtime/cluster_options.hpp>
#include <eventcore/runtime/discovery.hpp>
#include <eventcore/runtime/federation_target.hpp>
#include <eventcore/runtime/internal/cluster/cluster_env.hpp>
#include <eventcore/runtime/members.hpp>
#include <eventcore/runtime/service_registry.hpp>

#include <map>
#include <memory>
#include <mutex>

namespace eventcore::internal {

/// What a node has of its cluster, and who calls other services through it: a part of `node`. Thread-safe.
class cluster {
public:
  /// No options: the node is alone. `journal` and `system` outlive the cluster.
  cluster(caf::actor_system& system, eventcore::journal& journal, node_identity self,
          std::optional<cluster_options> options);
  ~cluster();

  local_services& local() noexcept { return *env_->local; }
  /// The peers are to hear what is new in `local`.
  void local_changed();
  void offer_events();
  void accept_events();

  service_handle service(const std::string& name);
  result<void> join();
  std::string address() const;
  std::vector<member_info> members() const;
  service_registry& registry();
  /// Why the node is not registered, or a service that it calls was not asked for, the last time.
  result<void> discovery_health() const;
  std::shared_ptr<event_source> remote_events(const std::string& name);
  std::shared_ptr<federation_target> events_to(const std::string& name);
  /// The first half of `leave`: peers hold what they would ask for from now on; what they wait for can still be answered.
  void announce_leave();
  void leave(std::chrono::nanoseconds within);

private:
  caf::actor broker() const;
  service_info self() const;
  void look_for_events(const std::string& service);

  const bool alone_;
  const std::shared_ptr<cluster_env> env_;
  std::shared_ptr<service_registry> outside_; ///< Consul, or what takes its place; empty: there is none
  std::optional<error> no_outside_{};         ///< the options of Consul are wrong
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<service_handle::impl>> services_;
  caf::actor broker_; ///< empty: not joined
  bool left_ = false;
  std::string address_;
  std::string advertised_; ///< where peers are told to connect to
  timestamp joined_at_{};
  std::unique_ptr<discovery> discovery_; ///< empty: not joined
};

} // namespace eventcore::internal
