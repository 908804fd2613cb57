#pragma once

#include <eventcore/runtime/service_registry.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace eventcore {

/// How often a registry is asked. Steady-clock times.
struct discovery_options {
  /// Between renewals: a third of the registry's time to live, so that two may fail.
  std::chrono::milliseconds renew{5'000};
  /// Between questions for a service that is watched.
  std::chrono::milliseconds refresh{2'000};
  /// Pause after a failure, doubled each time up to `renew` and `refresh`.
  std::chrono::milliseconds retry{200};
};

/// What keeps a node in a registry, and what it knows of other services up to date: a thread that asks the registry, so that nobody
/// else waits for it. A registry that is down, away for a while or broken changes nothing of what is known: it is asked again and
/// again, `health` says so, and a registration that it forgot meanwhile is made anew. Thread-safe.
class discovery {
public:
  /// Called on the thread of discovery: the instances of a service after the first answer, and whenever they have changed. An
  /// instance that is missing may only have failed to renew its registration; one that is there may have gone.
  using listener = std::function<void(const std::string& type, const std::vector<service_info>& instances)>;

  discovery(std::shared_ptr<service_registry> registry, discovery_options options, listener on_change = {});

  /// As `withdraw`.
  ~discovery();

  /// Registers the instance soon, in place of what was announced before under the same id, and renews it from now on. Where
  /// `registered_at` is nothing, it is now.
  void announce(service_info self);

  /// Withdraws what was announced, and waits for the registry's answer, at most as long as the registry does. Where that fails,
  /// the registration expires.
  void withdraw();

  /// Asks for the instances of a service soon, and then again and again.
  void watch(const std::string& type);

  /// The instances of a service that is watched, in the order of their ids, as the last answer said.
  std::vector<service_info> known(const std::string& type) const;

  /// Whether the registration stands and all questions were answered the last time; else why not. Nothing announced or
  /// watched: success.
  result<void> health() const;

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace eventcore
