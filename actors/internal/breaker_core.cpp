#include <eventcore/actors/internal/breaker_core.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace eventcore::internal {

namespace {

using std::chrono::ceil;
using std::chrono::milliseconds;

breaker_options checked(breaker_options o) {
  o.trials = std::max<std::size_t>(o.trials, 1);
  o.max_concurrent = std::max<std::size_t>(o.max_concurrent, 1);
  // Longer times than a year would overflow when they are doubled or added to a clock.
  constexpr milliseconds longest = std::chrono::hours{24 * 365};
  for (auto* time : {&o.retry_after, &o.max_retry_after, &o.call_limit, &o.stable_after, &o.restart_after,
                     &o.max_restart_after})
    *time = std::clamp(*time, milliseconds{1}, longest);
  o.window = std::clamp(o.window, milliseconds{10}, longest);
  if (!o.is_failure)
    o.is_failure = counts_as_failure;
  return o;
}

} // namespace

error with_retry_after(error e, std::chrono::nanoseconds wait) {
  e.with_reason("retry_after_ms", std::to_string(ceil<milliseconds>(wait).count()));
  return e;
}

breaker_core::breaker_core(breaker_options options, metrics_list<breaker_metrics>* list)
    : options_{checked(std::move(options))}
    , circuit_{options_, std::random_device{}()} {
  if (!list)
    return;
  metrics_ = std::make_shared<breaker_metrics>();
  metrics_->name = options_.name;
  list->add(metrics_);
}

void breaker_core::publish() noexcept {
  if (!metrics_)
    return;
  metrics_->state.store(seen_, std::memory_order_relaxed);
  metrics_->under_way.set(stats_.under_way);
  metrics_->calls.set(stats_.calls);
  metrics_->failures.set(stats_.failures);
  metrics_->timeouts.set(stats_.timeouts);
  metrics_->refused.set(stats_.refused);
  metrics_->too_many.set(stats_.too_many);
  metrics_->opened.set(seen_opened_);
  metrics_->restarts.set(stats_.restarts);
}

result<breaker_core::permit> breaker_core::admit(time_point now) {
  if (seen_ == breaker_state::gave_up)
    return make_error(breaker_errc::gave_up, stats_.last_failure);
  if (stats_.under_way >= options_.max_concurrent && circuit_.state(now) != breaker_state::open) {
    ++stats_.too_many;
    publish();
    return make_error(breaker_errc::too_many_calls, "breaker " + options_.name + ": " +
                                                        std::to_string(stats_.under_way) +
                                                        " calls are under way already; try again later");
  }
  auto p = circuit_.admit(now);
  look(now);
  if (!p) {
    ++stats_.refused;
    publish();
    auto wait = circuit_.retry_after(now);
    return with_retry_after(
        make_error(breaker_errc::circuit_open, "breaker " + options_.name + " is " + to_string(seen_) +
                                                   "; try again in " +
                                                   std::to_string(ceil<milliseconds>(wait).count()) +
                                                   " ms; the last failure was: " + stats_.last_failure),
        wait);
  }
  ++stats_.calls;
  ++stats_.under_way;
  publish();
  return *p;
}

void breaker_core::succeeded(permit p, time_point now) {
  --stats_.under_way;
  ++stats_.successes;
  circuit_.succeeded(p, now);
  look(now);
}

std::optional<error> breaker_core::failed(permit p, const error& e, time_point now) {
  bool counts = true;
  try {
    counts = options_.is_failure(e);
  } catch (...) {
  }
  if (!counts) {
    succeeded(p, now);
    return std::nullopt;
  }
  --stats_.under_way;
  count_failure(e.message());
  circuit_.failed(p, now);
  look(now);
  error wrapped = make_error(breaker_errc::operation_failed,
                             "breaker " + options_.name + ": the operation failed: " + e.code().message() +
                                 ": " + e.message());
  wrapped.with_reason(e.code().category().name(), std::to_string(e.code().value()));
  return wrapped;
}

error breaker_core::timed_out(permit p, time_point now) {
  auto e = make_error(breaker_errc::timeout, "breaker " + options_.name + ": no answer came within " +
                                                 std::to_string(options_.call_limit.count()) + " ms");
  --stats_.under_way;
  ++stats_.timeouts;
  count_failure(e.message());
  circuit_.failed(p, now);
  look(now);
  return e;
}

error breaker_core::worker_ended(const std::string& why, time_point now) {
  auto e = make_error(breaker_errc::worker_lost, "breaker " + options_.name + ": its worker ended: " + why);
  spdlog::warn("{}; {} calls were under way", e.message(), stats_.under_way);
  ++stats_.worker_ends;
  stats_.failures += stats_.under_way;
  stats_.last_failure = e.message();
  stats_.under_way = 0;
  circuit_.failed(now);
  look(now);
  return e;
}

void breaker_core::give_up(const std::string& why) {
  seen_ = breaker_state::gave_up;
  stats_.last_failure = "breaker " + options_.name + " gave up: " + why;
  publish();
  spdlog::critical("{}", stats_.last_failure);
}

breaker_stats breaker_core::stats(time_point now) {
  look(now);
  auto s = stats_;
  s.name = options_.name;
  s.state = seen_;
  s.opened = circuit_.opened();
  if (seen_ == breaker_state::open)
    s.retry_after = ceil<milliseconds>(circuit_.retry_after(now));
  return s;
}

void breaker_core::count_failure(const std::string& message) {
  ++stats_.failures;
  stats_.last_failure = message;
}

void breaker_core::look(time_point now) {
  if (seen_ == breaker_state::gave_up)
    return publish();
  auto state = circuit_.state(now);
  if (auto opened = circuit_.opened(); opened != seen_opened_) {
    spdlog::warn("breaker {} is open: {}", options_.name, stats_.last_failure);
    seen_opened_ = opened;
    seen_ = breaker_state::open;
  }
  if (state != seen_)
    spdlog::info("breaker {} is {}", options_.name, to_string(state));
  seen_ = state;
  publish();
}

} // namespace eventcore::internal
