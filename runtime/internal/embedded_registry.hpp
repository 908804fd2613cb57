#pragma once

#include <eventcore/runtime/service_registry.hpp>

#include <mutex>

namespace eventcore::internal {

/// The registry of what the nodes told each other: the cluster's broker enters and withdraws the peers.
class embedded_registry final : public service_registry {
public:
  result<void> enter(const service_info& instance) override {
    std::lock_guard lock{mutex_};
    instances_[instance.id] = instance;
    return {};
  }

  result<void> withdraw(std::string_view id) override {
    std::lock_guard lock{mutex_};
    if (const auto found = instances_.find(id); found != instances_.end())
      instances_.erase(found);
    return {};
  }

  result<std::vector<service_info>> discover(std::string_view type) override {
    std::lock_guard lock{mutex_};
    std::vector<service_info> found;
    for (const auto& [id, instance] : instances_)
      if (instance.type == type)
        found.push_back(instance);
    return found;
  }

  result<std::optional<service_info>> find(std::string_view id) override {
    std::lock_guard lock{mutex_};
    const auto found = instances_.find(id);
    return found == instances_.end() ? std::nullopt : std::optional{found->second};
  }

private:
  std::mutex mutex_;
  std::map<std::string, service_info, std::less<>> instances_;
};

} // namespace eventcore::internal
