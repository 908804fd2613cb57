#pragma once

#include <eventcore/persistence/journal.hpp>
#include <eventcore/runtime/cluster_options.hpp>
#include <eventcore/runtime/internal/cluster/local_services.hpp>
#include <eventcore/runtime/internal/cluster/remote_service.hpp>
#include <eventcore/runtime/service_registry.hpp>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace eventcore::internal {

class remote_source;
class remote_target;

/// Who this node is, to its peers.
struct node_identity {
  std::string node;
  std::string service;
  uuid journal;
  uuid incarnation;
  uuid instance = uuid::random(); ///< of this run of the process
};

/// What the cluster's broker and those who use it have in common. Thread-safe.
struct cluster_env {
  caf::actor_system& system;
  eventcore::journal& journal;
  const node_identity self;
  const cluster_options options;
  const std::shared_ptr<local_services> local;
  const std::shared_ptr<service_registry> registry; ///< of what the nodes tell each other
  std::atomic<bool> offers_events = false;
  std::atomic<bool> accepts_events = false;

  std::mutex mutex{};
  std::map<std::string, std::shared_ptr<remote_service>> services{}; ///< that are called from here
  std::map<std::string, std::shared_ptr<remote_source>> sources{};   ///< services whose events are read here
  std::map<std::string, std::shared_ptr<remote_target>> targets{};   ///< services that events are sent to
};

} // namespace eventcore::internal
