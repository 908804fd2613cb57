#pragma once

#include <eventcore/runtime/registry_errc.hpp>
#include <eventcore/runtime/service_registry.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace eventcore {

/// Where Consul is, and the bounds of talking with it.
struct consul_options {
  /// Of the agent on this machine: `http://host[:port][/prefix]` or `https://...`.
  std::string url = "http://127.0.0.1:8500";
  /// Needs `service:write` for the node's own service, and `service:read` and `node:read` for those that it looks for: where a token
  /// may not read, Consul answers as if there were nothing. Empty: none is sent.
  std::string token{};
  /// File of the certificates (PEM) that vouch for an https agent; empty: those of the system.
  std::string ca_file{};
  /// A registration that was not renewed for so long has expired. At least 100 ms; renew it three times as often.
  std::chrono::milliseconds time_to_live{15'000};
  /// Of one question to Consul. Registering asks four at most, else one.
  std::chrono::milliseconds call_limit{2'000};
  std::chrono::milliseconds connect_limit{1'000};
  /// Of one answer.
  std::size_t max_answer_bytes = std::size_t{4} << 20;
};

/// A registry in Consul (its HTTP API; tested with 1.8.7): a service of the type as name, with a TTL check, and the registration
/// as JSON in its metadata. Consul is asked by the functions only, so it may be down when the registry is opened, come and go.
///
/// - Under one id there can be one registration on each agent; the one that was registered last counts.
/// - `enter` refuses an id under which another journal's service lives. Two that come at the same moment both pass, and one of
///   them is refused when it renews.
/// - Instances of the type that eventcore did not register are passed over. One that cannot be understood is logged and left out
///   by `discover`; `find` answers it with `invalid_registration`.
/// - Consul removes a registration a minute after it has expired; it is not found from its expiry on.
///
/// Errors of the functions: `registry_errc`; each names Consul's address and what it said. Error of this one: `refused` if an
/// option is not as it should be.
result<std::unique_ptr<service_registry>> open_consul_registry(consul_options options);

} // namespace eventcore
