#pragma once

#include <eventcore/persistence/error.hpp>
#include <eventcore/persistence/event.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore {

/// One instance of a service (spec 31).
struct service_info {
  std::string id;   ///< of the instance: `<type>@<name>`; the same after a restart
  std::string name; ///< of the node that runs it
  std::string type; ///< the service, by which it is found
  std::string version;
  std::map<std::string, std::string>
      endpoints;                         ///< `host:port` or URL by kind; `cluster` is where nodes connect to
  std::string health_check;              ///< URL; empty: there is none
  std::vector<std::string> capabilities; ///< types of the commands that it takes
  std::map<std::string, std::string> metadata; ///< `journal`, among others
  timestamp registered_at{};

  friend bool operator==(const service_info&, const service_info&) = default;
};

/// Who runs which service. A registration lives as long as it is renewed: the node does so until its end in order, when it
/// withdraws it, and after a crash it expires.
///
/// Thread-safe. The functions may wait for a server, and are not called where that would keep others waiting.
class service_registry {
public:
  virtual ~service_registry() = default;

  /// Registers the instance, or renews it, with what is said of it now. Its id is that of no other node.
  virtual result<void> enter(const service_info& instance) = 0;

  /// Withdraws it. It is no error if it is not there.
  virtual result<void> withdraw(std::string_view id) = 0;

  /// The instances of a service, in the order of their ids.
  virtual result<std::vector<service_info>> discover(std::string_view type) = 0;

  /// By id; nothing: it is not registered.
  virtual result<std::optional<service_info>> find(std::string_view id) = 0;
};

} // namespace eventcore
