#pragma once

#include <eventcore/actors/internal/caf_compat.hpp>
#include <eventcore/actors/internal/telemetry.hpp>
#include <eventcore/runtime/internal/http/http_pool.hpp>

#include <map>

namespace eventcore::internal {

/// A pool to the actor: this job has its outcome.
struct http_finished {
  http_job_ptr job;
};

/// The actor to itself: look for calls whose time is over.
struct http_tick {};

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::http_finished)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::http_tick)

namespace eventcore::internal {

/// Takes calls to one target, has its pool make them, and answers each when it is finished or when its time is over: the worker
/// behind `start_http_client`. Its errors are `http_errc`, and `deadline_exceeded`, `overloaded`, `unknown_command`, `stopped`
/// and `outcome_unknown` as hosts have them. It ends by an exit message, or soon after nobody has its handle any more.
class http_actor final : public caf::event_based_actor {
public:
  http_actor(caf::actor_config& config, std::shared_ptr<const http_target> target);

  const char* name() const override { return "eventcore.http"; }

protected:
  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  using time_point = std::chrono::steady_clock::time_point;

  struct call {
    http_job_ptr job{};
    reply_address to{};
    std::unique_ptr<open_span> span{}; ///< if the caller's trace is recorded
  };

  void on_call(caf::mailbox_element& element);
  void on_tick();
  void arm();
  void answer(call& c, caf::message with);
  void answer(call& c, const error& why);
  /// The span of a call that has ended.
  void record(const call& c, const error* failure) const;

  std::shared_ptr<const http_target> target_;
  std::shared_ptr<const telemetry> telemetry_;
  http_pool pool_;
  std::map<std::pair<time_point, std::uint64_t>, call> calls_; ///< by deadline and id
  std::uint64_t last_id_ = 0;
  time_point armed_ = time_point::max(); ///< when the next tick comes
};

} // namespace eventcore::internal
