#pragma once

#include <eventcore/runtime/internal/cluster/cluster_env.hpp>

#include <eventcore/runtime/internal/cluster/cluster.pb.h>

#include <optional>
#include <string>

namespace eventcore::internal {

/// What this node says of itself.
NodeHello make_hello(const cluster_env& env, const std::string& address);

/// Why this node and the one that said `peer` do not belong together; nothing: they do.
std::optional<std::string> refusal_of(const cluster_env& env, const NodeHello& peer);

/// Why `newcomer` cannot be a member beside `other`, which is connected; nothing: it can, or is the same process.
std::optional<std::string> conflict_of(const NodeHello& newcomer, const NodeHello& other);

/// For the registry.
service_info info_of(const NodeHello& peer);

uuid uuid_of(const std::string& bytes);

} // namespace eventcore::internal
