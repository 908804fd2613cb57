#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
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

/// How a node speaks with the other nodes of its cluster (spec L).
struct cluster_options {
  /// Nodes of another cluster refuse this one.
  std::string id = "eventcore";
  /// `host:port` to be reached at; port 0 takes a free one. Empty: the node takes no connections, and only calls.
  std::string listen{};
  /// `host:port` of other nodes, those of its own address included.
  std::vector<std::string> peers{};
  /// None: nothing is encrypted, and nobody's identity is checked.
  std::optional<tls_options> tls{};
  /// Allows to listen without TLS on an address that is not loopback.
  bool insecure = false;
  /// A peer that was silent for `silence` is unreachable; `heartbeat` is how often each says that it is there.
  std::chrono::milliseconds heartbeat{500};
  std::chrono::milliseconds silence{3'000};
  /// Of one command, answer or event in bytes; what is larger is refused before it is sent.
  std::size_t max_message = std::size_t{1} << 20;
  std::size_t max_connections = 256;
  /// Calls to one peer that are not answered yet; more are refused as `overloaded`.
  std::size_t max_in_flight = 8'192;
};

} // namespace eventcore
