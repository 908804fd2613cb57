#pragma once

#include <eventcore/actors/internal/caf_compat.hpp>
#include <eventcore/runtime/internal/cluster/outbox.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>

namespace eventcore::internal {

/// The calls of one connected node that are carried out here, and the way of their answers. Thread-safe.
class served_peer {
public:
  using time_point = std::chrono::steady_clock::time_point;

  struct limits {
    std::size_t in_flight;
    std::size_t message;
  };

  served_peer(limits bounds, std::shared_ptr<outbox> out)
      : limits_{bounds}
      , out_{std::move(out)} {}

  /// False: too many are under way, or there is one of this id.
  bool begin(std::uint64_t id, time_point deadline);
  /// What an actor answered. Answers to calls that are not under way are dropped.
  void answer(std::uint64_t id, const caf::message& content);
  void refuse(std::uint64_t id, const error& why);
  /// Forgets calls whose callers do not wait any more.
  void sweep(time_point now);
  std::size_t in_flight() const;

private:
  bool end(std::uint64_t id) { return under_way_.erase(id) > 0; }
  /// No other answer will join this one.
  bool is_idle() const { return under_way_.empty(); }

  const limits limits_;
  const std::shared_ptr<outbox> out_; ///< its lock guards all of this
  std::unordered_map<std::uint64_t, time_point> under_way_;
  std::unordered_map<const google::protobuf::Descriptor*, std::uint64_t>
      types_; ///< numbers that the peer knows
};

/// Who the serving actors answer to: passes their answers on in their own threads.
class responder final : public caf::monitorable_actor {
public:
  responder(caf::actor_config& config, std::shared_ptr<served_peer> to)
      : monitorable_actor{config}
      , to_{std::move(to)} {}

  const char* name() const override { return "eventcore.responder"; }
  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) override;

private:
  std::shared_ptr<served_peer> to_;
};

/// Of an answer's frame: what follows the call's id.
enum class answer_status : std::uint8_t { empty = 0, message = 1, failed = 2 };

} // namespace eventcore::internal
