#include <eventcore/actors/internal/ask.hpp>
#include <eventcore/actors/internal/breaker_actor.hpp>

namespace eventcore {

struct breaker_handle::impl {
  caf::actor_system* system;
  caf::actor actor;
};

result<breaker_stats> breaker_handle::stats(std::chrono::nanoseconds within) const {
  auto answer = internal::ask_and_wait(*impl_->system, impl_->actor, caf::make_message(get_breaker_stats{}),
                                       internal::bounded(within));
  if (!answer)
    return answer.error();
  return answer->get_as<breaker_stats>(0);
}

caf::actor actor_of(const breaker_handle& breaker) {
  return breaker.content().actor;
}

breaker_handle start_breaker(caf::actor_system& system, breaker_options options, const caf::actor& worker) {
  return breaker_handle{std::make_shared<breaker_handle::impl>(
      &system, system.spawn<internal::breaker_actor>(std::move(options), worker))};
}

breaker_handle start_breaker(caf::actor_system& system, breaker_options options, worker_factory make_worker) {
  return breaker_handle{std::make_shared<breaker_handle::impl>(
      &system, system.spawn<internal::breaker_actor>(std::move(options), std::move(make_worker)))};
}

} // namespace eventcore
