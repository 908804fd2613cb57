#pragma once

#include <eventcore/actors/internal/breaker_core.hpp>
#include <eventcore/actors/internal/caf_compat.hpp>

#include <map>
#include <optional>

namespace eventcore::internal {

/// Passes every message that it does not know itself on to the worker as a request, and the worker's answer back.
///
/// Time limits cost one delayed message at a time, for the call that began first: all calls have the same limit, so they end
/// in the order of their numbers.
class breaker_actor final : public caf::event_based_actor {
public:
  using time_point = breaker_core::time_point;

  /// Watches `worker`.
  breaker_actor(caf::actor_config& config, breaker_options options, caf::actor worker);
  /// Starts the worker, again and again.
  breaker_actor(caf::actor_config& config, breaker_options options, worker_factory make_worker);

  const char* name() const override { return "eventcore.breaker"; }

  caf::invoke_message_result consume(caf::mailbox_element& element) override;

protected:
  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  struct call {
    reply_address to;
    time_point limit;
  };
  using calls = std::map<breaker_core::permit, call>;

  time_point now() const { return clock().now(); }

  // -- calls
  void on_call(caf::mailbox_element& element);
  void on_answer(caf::mailbox_element& element);
  void refuse(caf::mailbox_element& element, const error& why);
  void answer(call& c, caf::message content);
  void answer_all(const error& why);
  void end_overdue(time_point now);
  void arm_sweep(time_point now);

  // -- the worker
  void start_worker();
  void on_worker_end(const std::string& why);
  bool worker_ending() const;

  std::shared_ptr<telemetry> telemetry_;
  breaker_core core_;
  caf::actor worker_;
  worker_factory make_worker_;
  calls calls_;
  bool sweeping_ = false;
  std::size_t restarts_in_a_row_ = 0;
  time_point started_at_{};
  std::optional<time_point> restart_at_; ///< the worker ended and will be started again
};

} // namespace eventcore::internal
