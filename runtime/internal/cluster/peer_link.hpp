#pragma once

#include <eventcore/actors/breaker.hpp>
#include <eventcore/actors/internal/caf_compat.hpp>
#include <eventcore/runtime/internal/cluster/outbox.hpp>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace eventcore::internal {

class remote_service;

/// A call from its arrival to its end.
struct outgoing_call {
  using time_point = std::chrono::steady_clock::time_point;

  reply_address to; ///< empty: nobody waits
  std::optional<breaker::permit> permit{};
  time_point deadline{};
  const google::protobuf::Descriptor* type = nullptr;
  std::size_t hash = 0; ///< of the entity's id
  byte_buffer body{};   ///< see `write_command_body`
  bool keyed = false;   ///< may be sent again
  uuid sent_to{};       ///< journal of the node that it was sent to; nil: it was not sent
  std::shared_ptr<remote_service> service{};
};
using call_ptr = std::unique_ptr<outgoing_call>;

/// The calls on their way to one connected node. Thread-safe.
class peer_link {
public:
  using time_point = outgoing_call::time_point;

  struct limits {
    std::size_t in_flight;
    std::size_t waiting_bytes;
    std::size_t message; ///< of a command with its metadata, that both nodes allow
  };

  peer_link(std::string node, uuid journal, limits bounds, std::shared_ptr<outbox> out)
      : node_{std::move(node)}
      , journal_{journal}
      , limits_{bounds}
      , out_{std::move(out)} {}

  const std::string& node() const noexcept { return node_; }
  const uuid& journal() const noexcept { return journal_; }
  outbox& out() const noexcept { return *out_; }

  enum class sent : std::uint8_t { yes, full, too_large, closed };
  /// `yes`: it has taken the call. A call that nobody waits for ends with it.
  sent send(call_ptr& call, time_point now);

  /// The call that an answer names; null: it has ended.
  call_ptr take(std::uint64_t id);
  /// Takes the calls whose deadline has passed.
  std::vector<call_ptr> take_expired(time_point now);
  /// No more calls; takes all that are not answered.
  std::vector<call_ptr> close();

  std::size_t in_flight() const;

private:
  struct slot {
    call_ptr call{};
    std::uint32_t generation = 1;
  };
  struct route {
    const remote_service* service;
    const google::protobuf::Descriptor* type;
    friend bool operator==(const route&, const route&) = default;
  };
  struct route_hash {
    std::size_t operator()(const route& r) const noexcept {
      return std::hash<const void*>{}(r.service) * 31 + std::hash<const void*>{}(r.type);
    }
  };

  call_ptr free(std::size_t place);

  const std::string node_;
  const uuid journal_;
  const limits limits_;
  const std::shared_ptr<outbox> out_; ///< its lock guards all of this
  std::vector<slot> slots_;
  std::vector<std::uint32_t> free_;
  std::size_t in_flight_ = 0;
  std::size_t kept_bytes_ = 0;                                  ///< bodies of the calls in flight
  std::unordered_map<route, std::uint64_t, route_hash> routes_; ///< numbers that the peer knows
  time_point earliest_ = time_point::max();                     ///< no deadline is before it
  bool closed_ = false;
};

} // namespace eventcore::internal
