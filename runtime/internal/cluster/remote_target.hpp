#pragma once

#include <eventcore/runtime/federation_target.hpp>
#include <eventcore/runtime/internal/cluster/outbox.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace eventcore::internal {

/// A service of another node that events are sent to. What is on its way when the connection is lost is answered `unavailable`: the
/// hub asks then where the target stands. Thread-safe.
class remote_target final : public federation_target {
public:
  explicit remote_target(std::string name, std::size_t max_message)
      : name_{std::move(name)}
      , max_message_{max_message} {}

  void ask_position(const federation_source& source, std::function<void(result<log_position>)> done) override;
  void deliver(federation_batch batch, std::function<void(federation_answer)> done) override;

  // -- for the broker
  /// `accepts`: it does so.
  void connected(std::shared_ptr<outbox> to, bool accepts);
  void lost(const outbox& to, const std::string& why);
  void on_position(wire_reader content);
  void on_delivered(wire_reader content);

private:
  error unavailable() const;
  /// Is not connected from now on, and answers all that waits, without the lock.
  void give_up(const std::string& why, std::unique_lock<std::mutex>& lock);

  const std::string name_;
  const std::size_t max_message_;
  std::mutex mutex_;
  std::shared_ptr<outbox> out_; ///< null: not connected
  bool accepts_ = true;
  std::string why_ = "no node that runs it was found yet";
  std::uint64_t last_request_ = 0;
  std::unordered_map<std::uint64_t, std::function<void(result<log_position>)>> questions_;
  std::unordered_map<std::uint64_t, std::function<void(federation_answer)>> deliveries_;
  std::map<std::shared_ptr<const event_form>, std::uint32_t> forms_; ///< numbers that the peer knows
};

} // namespace eventcore::internal
