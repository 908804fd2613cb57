#pragma once

#include <eventcore/runtime/registry_errc.hpp>
#include <eventcore/runtime/service_registry.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <mutex>

namespace eventcore {

/// A registry in this process. In a node of a cluster it holds what the nodes told each other: each connected peer is renewed when
/// it is sent a heartbeat, withdrawn when it says that it leaves, and expires when its connection is lost and not made again.
/// Errors: `invalid_registration` and `id_taken`.
class embedded_registry final : public service_registry {
public:
  using clock = std::chrono::steady_clock;

  /// What was not renewed for `time_to_live` has expired, by the clock `now` (empty: the system's).
  explicit embedded_registry(clock::duration time_to_live, std::function<clock::time_point()> now = {});

  result<void> enter(const service_info& instance) override;
  result<void> withdraw(std::string_view id) override;
  result<std::vector<service_info>> discover(std::string_view type) override;
  result<std::optional<service_info>> find(std::string_view id) override;

private:
  struct entry {
    service_info instance;
    clock::time_point expires;
  };

  const clock::duration time_to_live_;
  const std::function<clock::time_point()> now_;
  std::mutex mutex_;
  std::map<std::string, entry, std::less<>> entries_; ///< by id; what has expired goes with the next `enter`
};

} // namespace eventcore
