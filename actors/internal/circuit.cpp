#include <eventcore/actors/internal/circuit.hpp>

#include <algorithm>

namespace eventcore::internal {

circuit::circuit(const breaker_options& options, std::uint32_t seed)
    : options_{options}
    , random_{seed}
    , pause_{options.retry_after} {}

std::optional<circuit::permit> circuit::admit(time_point now) {
  move_on(now);
  if (state_ == breaker_state::open)
    return std::nullopt;
  if (state_ == breaker_state::half_open) {
    if (trials_.size() >= options_.trials)
      return std::nullopt;
    trials_.push_back({next_, now_ + options_.call_limit});
  }
  return next_++;
}

void circuit::succeeded(permit p, time_point now) {
  move_on(now);
  if (p < first_)
    return;
  if (state_ == breaker_state::half_open) {
    pause_ = options_.retry_after;
    return change(breaker_state::closed);
  }
  failures_in_a_row_ = 0;
  count_outcome(false);
}

void circuit::failed(permit p, time_point now) {
  move_on(now);
  if (p >= first_)
    count_failure();
}

void circuit::failed(time_point now) {
  move_on(now);
  if (state_ != breaker_state::open)
    count_failure();
}

breaker_state circuit::state(time_point now) {
  move_on(now);
  return state_;
}

std::chrono::nanoseconds circuit::retry_after(time_point now) {
  move_on(now);
  if (state_ == breaker_state::open)
    return retry_at_ - now_;
  if (state_ == breaker_state::half_open && trials_.size() >= options_.trials)
    return trials_.front().limit - now_;
  return std::chrono::nanoseconds{0};
}

void circuit::move_on(time_point now) {
  now_ = std::max(now_, now);
  if (state_ == breaker_state::half_open && !trials_.empty() && trials_.front().limit <= now_)
    count_failure();
  if (state_ == breaker_state::open && retry_at_ <= now_)
    change(breaker_state::half_open);
}

void circuit::count_failure() {
  if (state_ == breaker_state::half_open) {
    pause_ = std::min(pause_ * 2, std::max(options_.max_retry_after, options_.retry_after));
    return open(trials_.empty() ? now_ : std::min(now_, trials_.front().limit));
  }
  ++failures_in_a_row_;
  count_outcome(true);
  if ((options_.failures > 0 && failures_in_a_row_ >= options_.failures) || rate_exceeded())
    open(now_);
}

void circuit::count_outcome(bool failure) {
  if (options_.failure_rate <= 0)
    return;
  auto tenth = now_.time_since_epoch() / (options_.window / static_cast<int>(window_.size()));
  auto& s = window_[static_cast<std::size_t>(tenth) % window_.size()];
  if (s.tenth != tenth)
    s = {tenth};
  ++s.outcomes;
  s.failures += failure;
}

bool circuit::rate_exceeded() const {
  if (options_.failure_rate <= 0)
    return false;
  auto now = now_.time_since_epoch() / (options_.window / static_cast<int>(window_.size()));
  std::size_t outcomes = 0;
  std::size_t failures = 0;
  for (const auto& s : window_)
    if (now - s.tenth < static_cast<std::int64_t>(window_.size())) {
      outcomes += s.outcomes;
      failures += s.failures;
    }
  return outcomes >= options_.min_calls &&
         static_cast<double>(failures) >= options_.failure_rate * static_cast<double>(outcomes);
}

void circuit::change(breaker_state to) {
  state_ = to;
  first_ = next_;
  failures_in_a_row_ = 0;
  window_ = {};
  trials_.clear();
}

void circuit::open(time_point at) {
  std::uniform_real_distribution<double> share{0, std::max(options_.jitter, 0.0)};
  std::chrono::duration<double, std::milli> extra{share(random_) * static_cast<double>(pause_.count())};
  change(breaker_state::open);
  ++opened_;
  retry_at_ = at + pause_ + std::chrono::duration_cast<std::chrono::nanoseconds>(extra);
}

} // namespace eventcore::internal
