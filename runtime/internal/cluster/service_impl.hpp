#pragma once

#include <eventcore/runtime/internal/cluster/remote_service.hpp>

namespace eventcore {

struct service_handle::impl {
  caf::actor_system* system;
  std::shared_ptr<internal::remote_service> service;
  caf::actor proxy;
};

} // namespace eventcore
