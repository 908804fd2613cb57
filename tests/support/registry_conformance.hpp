#pragma once

#include <eventcore/runtime/service_registry.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace eventcore::test {

/// A process that has registered an instance, and renews it until its end.
class registered_process {
public:
  /// As `kill`.
  virtual ~registered_process() = default;
  /// Ends in order.
  virtual void stop() = 0;
  /// Ends as by `kill -9`.
  virtual void kill() = 0;
};

/// A registry of its own for one case.
class registry_world {
public:
  virtual ~registry_world() = default;
  virtual service_registry& registry() = 0;
  virtual std::chrono::milliseconds time_to_live() const = 0;
  /// Returns when the instance is registered.
  virtual std::unique_ptr<registered_process> start(const service_info& instance) = 0;
  /// A small part of the time to live.
  virtual void let_time_pass() = 0;
  virtual std::chrono::steady_clock::time_point now() const = 0;
};

/// Registers the conformance suite, which checks all that service_registry.hpp promises, for one back end: test suite `name`.
/// Call it while a test program's statics are initialised.
bool register_registry_conformance(const std::string& name,
                                   std::function<std::unique_ptr<registry_world>()> make_world);

/// `pay@<name>` with something in each field, of journal `journal`.
service_info payment_instance(const std::string& name = "p1", const std::string& journal = "j1");

} // namespace eventcore::test
