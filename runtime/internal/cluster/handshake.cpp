#include <eventcore/runtime/internal/cluster/handshake.hpp>

#include <eventcore/persistence/schema.hpp>
#include <eventcore/runtime/internal/cluster/wire.hpp>

#include <algorithm>
#include <cstring>

namespace eventcore::internal {

namespace {

std::string bytes_of(const uuid& id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
}

std::string text_of(const NodeHello& peer) {
  return "node " + peer.node() + (peer.address().empty() ? "" : " at " + peer.address());
}

/// A command that this program can make and the peer takes in another version.
std::optional<std::string> contract_difference(const NodeHello& peer) {
  for (const auto& command : peer.commands())
    if (const auto* known = prototype_named(command.type()))
      if (const auto here = schema_version_of(*known->GetDescriptor()); here != command.version())
        return text_of(peer) + " takes the command " + command.type() + " in version " +
               std::to_string(command.version()) + ", and this program knows version " +
               std::to_string(here) + "; upgrade the older one";
  return std::nullopt;
}

} // namespace

uuid uuid_of(const std::string& bytes) {
  uuid id;
  if (bytes.size() == id.bytes.size())
    std::memcpy(id.bytes.data(), bytes.data(), id.bytes.size());
  return id;
}

NodeHello make_hello(const cluster_env& env, const std::string& address) {
  NodeHello hello;
  hello.set_protocol(wire_protocol);
  hello.set_cluster(env.options.id);
  hello.set_node(env.self.node);
  hello.set_service(env.self.service);
  hello.set_version(env.options.version);
  hello.set_instance(bytes_of(env.self.instance));
  hello.set_journal(bytes_of(env.self.journal));
  hello.set_incarnation(bytes_of(env.self.incarnation));
  hello.set_address(address);
  for (auto& name : env.local->names())
    hello.add_offers(std::move(name));
  for (const auto& [type, version] : env.local->commands()) {
    auto& command = *hello.add_commands();
    command.set_type(type);
    command.set_version(version);
  }
  hello.set_offers_events(env.offers_events);
  hello.set_accepts_events(env.accepts_events);
  if (env.offers_events)
    if (const auto head = env.journal.head())
      hello.set_head(*head);
  hello.set_max_message(env.options.max_message);
  hello.mutable_endpoints()->insert(env.options.endpoints.begin(), env.options.endpoints.end());
  hello.mutable_metadata()->insert(env.options.metadata.begin(), env.options.metadata.end());
  hello.set_health_check(env.options.health_check);
  return hello;
}

std::optional<std::string> refusal_of(const cluster_env& env, const NodeHello& peer) {
  if (peer.protocol() != wire_protocol)
    return text_of(peer) + " speaks version " + std::to_string(peer.protocol()) +
           " of the protocol, and this node version " + std::to_string(wire_protocol) +
           "; upgrade the older one";
  if (peer.cluster() != env.options.id)
    return text_of(peer) + " belongs to the cluster '" + peer.cluster() + "', and this node, " +
           env.self.node + ", to '" + env.options.id + "'; correct the peers or the cluster's id";
  if (peer.node().empty() || peer.instance().size() != 16 || peer.journal().size() != 16)
    return "a peer does not say its name, process and journal";
  if (peer.instance() == bytes_of(env.self.instance))
    return "this is the node itself";
  if (peer.node() == env.self.node)
    return text_of(peer) + " has the name of this node; give each node a name of its own";
  if (peer.journal() == bytes_of(env.self.journal))
    return text_of(peer) + " has the journal of this node, " + env.self.node + ": " +
           to_string(env.self.journal) + "; a copied journal is not a node of its own";
  return contract_difference(peer);
}

std::optional<std::string> conflict_of(const NodeHello& newcomer, const NodeHello& other) {
  if (newcomer.instance() == other.instance())
    return std::nullopt;
  if (newcomer.node() == other.node())
    return text_of(newcomer) + " has the name of " + text_of(other) +
           ", which is connected; give each node a name of its own";
  if (newcomer.journal() == other.journal())
    return text_of(newcomer) + " has the journal of " + text_of(other) +
           ", which is connected: " + to_string(uuid_of(other.journal())) +
           "; a copied journal is not a node of its own";
  return std::nullopt;
}

service_info info_of(const NodeHello& peer) {
  service_info info;
  info.id = peer.service() + "@" + peer.node();
  info.name = peer.node();
  info.type = peer.service();
  info.version = peer.version();
  info.endpoints.insert(peer.endpoints().begin(), peer.endpoints().end());
  info.metadata.insert(peer.metadata().begin(), peer.metadata().end());
  info.health_check = peer.health_check();
  if (!peer.address().empty())
    info.endpoints["cluster"] = peer.address();
  for (const auto& command : peer.commands())
    info.capabilities.push_back(command.type());
  info.metadata["journal"] = to_string(uuid_of(peer.journal()));
  info.registered_at = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
  return info;
}

} // namespace eventcore::internal
