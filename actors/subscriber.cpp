#include <eventcore/actors/subscriber.hpp>

#include <eventcore/actors/internal/stored_event.hpp>
#include <eventcore/actors/internal/telemetry.hpp>
#include <eventcore/actors/log_scope.hpp>
#include <eventcore/actors/subscription_errc.hpp>

#include <spdlog/spdlog.h>

namespace eventcore::internal {

handled subscriber_core::handle(std::span<const recorded_event* const> events, handler_run& run) {
  handled result;
  for (; result.done != events.size() && run.go_on(result.done); ++result.done) {
    const auto& event = *events[result.done];
    const auto* row = table_ ? find_event(*table_, event.type, last_event_) : nullptr;
    if (table_ && !row) {
      ++result.passed_over;
      if (spdlog::should_log(spdlog::level::debug)) {
        log_scope scope{event.stream, event.position, event.metadata.traceparent};
        spdlog::debug("{} is of no declared type, and is passed over", describe(event));
      }
      continue;
    }
    const auto span = run.telemetry ? run.telemetry->begin(event.metadata, false) : nullptr;
    std::optional<event_metadata> traced;
    if (span) {
      traced = event.metadata;
      traced->traceparent = span->context.str();
    }
    const event_context context{run.source,
                                event.stream,
                                event.version,
                                event.position,
                                event.id,
                                event.occurred_at,
                                traced ? *traced : event.metadata,
                                result.done == 0 ? run.attempt : 1,
                                run.from_dead_letters};
    handler_call call{object(), &context};
    log_scope scope{event.stream, event.position, context.metadata.traceparent};
    try {
      if (!row) {
        handle_stored(call, event);
      } else if (auto why = evolve_stored(*table_, *row, &call, event.schema_version, event.payload)) {
        result.failure = make_error(subscription_errc::not_decodable, describe(event) + ' ' + *why);
        result.hopeless = true;
      }
    } catch (const std::exception& e) {
      call.failure = make_error(subscription_errc::handler_failed, e.what());
    } catch (...) {
      call.failure =
          make_error(subscription_errc::handler_failed, "something that is no std::exception was thrown");
    }
    if (call.failure)
      result.failure =
          error{call.failure->code(), describe(event) + " made its handler fail: " + call.failure->message()};
    if (span)
      run.telemetry->end(*span, event, run, context.attempt, result.failure ? &*result.failure : nullptr);
    if (result.failure)
      return result;
    if (call.answer && call.answer->command) {
      result.answer = std::move(call.answer);
      if (span)
        result.answer->traceparent = span->context.str();
      return result;
    }
  }
  return result;
}

} // namespace eventcore::internal
