#pragma once

#include <eventcore/actors/breaker.hpp>
#include <eventcore/actors/command_context.hpp>
#include <eventcore/actors/errc.hpp>

#include <google/protobuf/message.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caf {
class actor;
} // namespace caf

namespace eventcore {

/// How it stands with a service that is called from here. Counters since its first use in this node.
struct service_stats {
  std::string service;
  bool local = false;             ///< it runs in this node
  std::vector<std::string> nodes; ///< connected nodes that run it, by name
  std::size_t in_flight = 0;      ///< sent and not answered
  std::size_t waiting = 0;        ///< because no node that runs it is connected
  std::uint64_t calls = 0;
  std::uint64_t repeated = 0; ///< sent once more with the same idempotency key after a connection was lost
  breaker_stats breaker;
};

/// A service by its name, wherever it runs: in this node, then commands go to its hosts, or in another one. What is called is
/// found anew whenever a connection was lost. Cheap to copy; empty when default made. Thread-safe. Must not be used after the
/// node's end.
///
/// Commands are taken by the entity hosts and multi-stream deciders of the service's node, by their type, and by actors that it
/// exports under a name. With an id they go to an entity or to such an actor, without one to a multi-stream decider or an actor.
///
/// Every call ends, at the command's deadline at the latest (`cluster_options::call_limit` where it has none):
///
/// | answer | |
/// |---|---|
/// | a reply, or an error of the service | as from a host in this process |
/// | `unreachable` | no node that runs the service was there within `cluster_options::patience`; nothing happened |
/// | `deadline_exceeded` | it could not be sent, or was not taken up, in time; nothing happened |
/// | `overloaded`, `circuit_open`, `invalid_command` (too large) | refused before it was sent; nothing happened |
/// | `outcome_unknown` | it was sent, and no answer came in time, or the connection was lost; repeat it with the same key |
///
/// A command with an idempotency key whose connection is lost is sent again, with the key, to the same journal when it can be
/// reached again before the deadline, so a restart of the service's node is only seen as a longer call.
class service_handle {
public:
  struct impl;

  service_handle() = default;
  explicit service_handle(std::shared_ptr<impl> content)
      : impl_{std::move(content)} {}

  explicit operator bool() const noexcept { return impl_ != nullptr; }

  /// For `actor_of`.
  impl& content() const noexcept { return *impl_; }

  const std::string& name() const noexcept;

  /// Sends `command` to entity `id` and waits for its answer for at most `within`: `payment.ask<Reserved>(id, Reserve{}, 2s)`.
  template <std::derived_from<google::protobuf::Message> Reply,
            std::derived_from<google::protobuf::Message> Command>
  result<Reply> ask(std::string_view id, Command command, std::chrono::nanoseconds within,
                    command_context context = {}) const {
    return typed<Reply>(ask(id, std::make_unique<Command>(std::move(command)), within, std::move(context)));
  }
  /// The same for what takes commands without an id.
  template <std::derived_from<google::protobuf::Message> Reply,
            std::derived_from<google::protobuf::Message> Command>
  result<Reply> ask(Command command, std::chrono::nanoseconds within, command_context context = {}) const {
    return typed<Reply>(ask(std::make_unique<Command>(std::move(command)), within, std::move(context)));
  }

  /// The same without types. Null: the effect has no reply.
  result<std::unique_ptr<google::protobuf::Message>> ask(std::string_view id,
                                                         std::unique_ptr<google::protobuf::Message> command,
                                                         std::chrono::nanoseconds within,
                                                         command_context context = {}) const;
  result<std::unique_ptr<google::protobuf::Message>> ask(std::unique_ptr<google::protobuf::Message> command,
                                                         std::chrono::nanoseconds within,
                                                         command_context context = {}) const;

  /// Sends `command` and forgets it. It may be lost; what it came to is nowhere said.
  void tell(std::string_view id, std::unique_ptr<google::protobuf::Message> command,
            command_context context = {}) const;

  service_stats stats() const;

private:
  template <class Reply>
  static result<Reply> typed(result<std::unique_ptr<google::protobuf::Message>> answer) {
    if (!answer)
      return answer.error();
    if (auto* reply = dynamic_cast<Reply*>(answer->get()))
      return std::move(*reply);
    return make_error(entity_errc::unexpected_reply, "the reply is of another type than was asked for");
  }

  std::shared_ptr<impl> impl_;
};

/// The service as a plain actor (`#include <eventcore/actors/caf.hpp>`): it takes `(id, Command)`, `(id, command_context, Command)`,
/// `(Command)` and `(command_context, Command)` as the service's own actors do, and answers as they do, or as said above. For sagas:
/// `node.add_participant("payment", actor_of(node.service("payment")))`.
caf::actor actor_of(const service_handle& service);

} // namespace eventcore
