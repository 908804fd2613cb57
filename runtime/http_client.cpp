#include <eventcore/runtime/http_client.hpp>

#include <eventcore/runtime/internal/http/http_actor.hpp>

namespace eventcore {

bool is_definite(const error& e) {
  if (is_refusal(e))
    return true;
  const auto code = cause_of(e).value_or(e.code());
  if (code.category() == entity_category())
    return code != entity_errc::outcome_unknown && code != entity_errc::unexpected_reply;
  return code == http_errc::connection_failed || code == breaker_errc::circuit_open ||
         code == breaker_errc::too_many_calls || code == breaker_errc::gave_up ||
         (code == breaker_errc::worker_lost && retry_after(e));
}

result<breaker_handle> start_http_client(caf::actor_system& system, http_target_options options) {
  auto checked = internal::http_target::of(std::move(options));
  if (!checked)
    return checked.error();
  const auto target = std::make_shared<const internal::http_target>(*std::move(checked));
  auto breaker = target->options.breaker;
  breaker.name = target->options.name;
  // The client keeps the limits itself, and knows more when they are reached.
  breaker.call_limit = target->options.call_limit + std::chrono::seconds{1};
  breaker.max_concurrent = target->options.connections + target->options.max_waiting;
  if (!breaker.is_failure)
    breaker.is_failure = [](const error& e) {
      return (e.code().category() == http_category() && !is_refusal(e)) ||
             e.code() == entity_errc::outcome_unknown;
    };
  return start_breaker(system, std::move(breaker), [target](caf::actor_system& where) {
    return caf::actor{where.spawn<internal::http_actor>(target)};
  });
}

} // namespace eventcore
