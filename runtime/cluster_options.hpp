#pragma once

#include <eventcore/runtime/consul_registry.hpp>
#include <eventcore/runtime/discovery.hpp>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace eventcore {

/// What a node shows to its peers and asks of them: each side proves by a certificate of `ca` that it belongs to the cluster.
/// Files in PEM.
struct tls_options {
  std::filesystem::path certificate;
  std::filesystem::path key;
  std::filesystem::path ca;
};

/// How a node speaks with the other nodes of its cluster (spec L). All times are steady-clock times.
struct cluster_options {
  /// Nodes of another cluster refuse this one.
  std::string id = "eventcore";
  /// `host:port` to be reached at; port 0 takes a free one. Empty: the node takes no connections, and only calls.
  std::string listen{};
  /// `host:port` at which others are told to reach this node; empty: `listen`. Needed where that is no address to connect to,
  /// such as 0.0.0.0.
  std::string advertise{};
  /// `host:port` of other nodes, those of its own address included. One is enough: nodes tell each other of those they know.
  std::vector<std::string> peers{};
  /// Consul, where the node is registered, and looks for the services that it calls, besides what its peers tell it: then no peers
  /// are needed. Nothing: the nodes only tell each other.
  std::optional<consul_options> consul{};
  /// Another registry for that, instead of Consul.
  std::shared_ptr<service_registry> registry{};
  /// How often Consul or the registry is asked. Consul's registrations are renewed within a third of their time to live in any case.
  discovery_options discovery{};
  /// Of the service that runs here, for the registry: see `service_info`. `cluster` and `journal` are added.
  std::string version = "1";
  std::map<std::string, std::string> endpoints{};
  std::string health_check{};
  std::map<std::string, std::string> metadata{};
  /// None: nothing is encrypted, and nobody's identity is checked.
  std::optional<tls_options> tls{};
  /// Allows to listen without TLS on an address that is not loopback.
  bool insecure = false;
  /// A peer that was silent for `silence` is unreachable; `heartbeat` is how often each says that it is there.
  std::chrono::milliseconds heartbeat{500};
  std::chrono::milliseconds silence{3'000};
  /// A service that was lost less than this ago may be restarting: calls wait for it so long, then they are answered
  /// `unreachable`.
  std::chrono::milliseconds patience{3'000};
  /// Of calls whose commands bring no deadline.
  std::chrono::milliseconds call_limit{30'000};
  /// Until a new connection has said who it is.
  std::chrono::milliseconds handshake_limit{5'000};
  /// Pause before a lost peer is connected again, doubled each time up to the maximum; up to a half is taken off at random.
  std::chrono::milliseconds reconnect{50};
  std::chrono::milliseconds max_reconnect{2'000};
  /// Of one command, answer or event in bytes; what is larger is refused before it is sent.
  std::size_t max_message = std::size_t{1} << 20;
  /// That others made to this node. Above it, the oldest one that has not said who it is makes place, or the new one is refused.
  std::size_t max_connections = 256;
  /// Calls to one peer that are not answered yet, and calls of one peer that are carried out here; more are refused as
  /// `overloaded`.
  std::size_t max_in_flight = 8'192;
  /// Bytes to one peer that wait to be sent; more are refused as `overloaded`.
  std::size_t max_waiting_bytes = std::size_t{64} << 20;
};

} // namespace eventcore
