#pragma once

#include <eventcore/persistence/event_source.hpp>
#include <eventcore/runtime/cluster_options.hpp>
#include <eventcore/runtime/federation_target.hpp>
#include <eventcore/runtime/internal/local_services.hpp>
#include <eventcore/runtime/internal/remote_service.hpp>
#include <eventcore/runtime/members.hpp>
#include <eventcore/runtime/service_registry.hpp>

#include <map>
#include <memory>
#include <mutex>

namespace eventcore::internal {

/// Who this node is, to its peers.
struct node_identity {
  std::string node;
  std::string service;
  uuid journal;
  uuid incarnation;
  uuid instance = uuid::random(); ///< of this run of the process
};

/// What a node has of its cluster, and who calls other services through it: a part of `node`. Thread-safe.
class cluster {
public:
  /// No options: the node is alone. `journal` and `system` outlive the cluster.
  cluster(caf::actor_system& system, eventcore::journal& journal, node_identity self,
          std::optional<cluster_options> options);
  ~cluster();

  local_services& local() noexcept { return *local_; }
  /// The peers are to hear what is new in `local`.
  void local_changed();
  void offer_events();
  void accept_events();

  service_handle service(const std::string& name);
  result<void> join();
  std::string address() const;
  std::vector<member_info> members() const;
  service_registry& registry();
  std::shared_ptr<event_source> remote_events(const std::string& name);
  std::shared_ptr<federation_target> remote_target(const std::string& name);
  void leave(std::chrono::nanoseconds within);

private:
  struct state;
  caf::actor_system& system_;
  eventcore::journal& journal_;
  const node_identity self_;
  const std::optional<cluster_options> options_;
  const std::shared_ptr<local_services> local_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<service_handle::impl>> services_;
};

} // namespace eventcore::internal
