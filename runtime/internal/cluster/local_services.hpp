#pragma once

#include <eventcore/actors/entity_type.hpp>
#include <eventcore/actors/internal/caf_compat.hpp>
#include <eventcore/actors/multi_stream_type.hpp>

#include <atomic>
#include <map>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <typeindex>
#include <unordered_map>
#include <vector>

namespace eventcore::internal {

/// The prototype of the generated Protobuf class `type`; null: it is none. Thread-safe; asks once for each type.
const google::protobuf::Message* prototype_of(const std::type_info& type);

/// The prototype of the generated class of this full name; null: it is not linked into the program. Thread-safe.
const google::protobuf::Message* prototype_named(const std::string& type);

/// What the node offers to those who call a service by name, in this process or from others: its hosts and multi-stream deciders
/// by the commands that they take, under the service's name, and actors under names of their own. Thread-safe.
class local_services {
public:
  /// Who takes a command of a type. `to` is empty if nobody does.
  struct target {
    caf::actor to{};
    const google::protobuf::Message* prototype = nullptr;
  };

  explicit local_services(std::string service)
      : service_{std::move(service)} {}

  const std::string& service() const noexcept { return service_; }

  void add(const entity_type& type, const caf::actor& host);
  void add(const multi_stream_type& type, const caf::actor& commands);
  /// False: there is one of that name.
  bool add(const std::string& name, const caf::actor& actor);
  void clear();

  /// Whether `service` is one of those here.
  bool offers(std::string_view service) const;
  std::vector<std::string> names() const;
  /// Types of the commands that the service takes, by name, with their versions.
  std::map<std::string, std::uint32_t> commands() const;

  /// Changes with what is here, so that answers can be kept until then.
  std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }

  /// `with_id`: the command is for an entity, or for an actor.
  target find(std::string_view service, const std::string& type, bool with_id) const;

private:
  void add_command(const google::protobuf::Message& prototype, bool with_id, const caf::actor& to);

  const std::string service_;
  mutable std::shared_mutex mutex_;
  std::atomic<std::uint64_t> generation_ = 1;
  std::map<std::pair<std::string, bool>, target, std::less<>>
      commands_; ///< by type, and whether they have an id
  std::map<std::string, caf::actor, std::less<>> actors_;
};

} // namespace eventcore::internal
