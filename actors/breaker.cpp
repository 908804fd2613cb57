#include <eventcore/actors/breaker.hpp>

#include <eventcore/actors/internal/breaker_core.hpp>
#include <eventcore/actors/internal/error_categories.hpp>
#include <eventcore/persistence/errc.hpp>

#include <array>
#include <charconv>
#include <mutex>

namespace eventcore {

namespace {

class category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.breaker"; }

  std::string message(int value) const override {
    switch (static_cast<breaker_errc>(value)) {
    case breaker_errc::circuit_open:
      return "the circuit is open";
    case breaker_errc::timeout:
      return "no answer came in time";
    case breaker_errc::operation_failed:
      return "the operation failed";
    case breaker_errc::too_many_calls:
      return "too many calls are under way";
    case breaker_errc::worker_lost:
      return "the worker ended";
    case breaker_errc::gave_up:
      return "the worker ended too often";
    }
    return "unknown breaker error " + std::to_string(value);
  }
};

template <class Number>
std::optional<Number> parse(const std::string& text) {
  Number number{};
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return number;
}

} // namespace

// -- breaker_errc.hpp

const std::error_category& breaker_category() noexcept {
  static const category instance;
  return instance;
}

std::optional<std::chrono::milliseconds> retry_after(const error& e) {
  if (e.code().category() != breaker_category() || e.reason() != "retry_after_ms")
    return std::nullopt;
  auto count = parse<std::chrono::milliseconds::rep>(e.details());
  return count ? std::optional{std::chrono::milliseconds{*count}} : std::nullopt;
}

std::optional<std::error_code> cause_of(const error& e) {
  if (e.code() != breaker_errc::operation_failed)
    return std::nullopt;
  if (auto value = parse<int>(e.details())) {
    if (const auto* known = internal::find_error_category(e.reason()))
      return std::error_code{*value, *known->category};
    for (auto* known : {&std::generic_category(), &std::system_category()})
      if (e.reason() == known->name())
        return std::error_code{*value, *known};
  }
  return std::nullopt;
}

// -- breaker

bool counts_as_failure(const error& e) {
  static constexpr std::array answers{entity_errc::rejected,        entity_errc::invalid_id,
                                      entity_errc::unknown_command, entity_errc::conflict,
                                      entity_errc::key_reused,      entity_errc::invalid_command,
                                      entity_errc::not_owned};
  static constexpr std::array journal_answers{journal_errc::invalid_argument, journal_errc::invalid_stream_id,
                                              journal_errc::conflict, journal_errc::too_large,
                                              journal_errc::not_owned};
  auto is = [&](auto code) { return e.code() == code; };
  return std::ranges::none_of(answers, is) && std::ranges::none_of(journal_answers, is);
}

const char* to_string(breaker_state state) noexcept {
  switch (state) {
  case breaker_state::closed:
    return "closed";
  case breaker_state::open:
    return "open";
  case breaker_state::half_open:
    return "half-open";
  case breaker_state::gave_up:
    return "gave up";
  }
  return "unknown";
}

struct breaker::impl {
  std::function<clock::time_point()> now;
  std::mutex mutex;
  internal::breaker_core core;
};

breaker::breaker(breaker_options options, std::function<clock::time_point()> now)
    : impl_{new impl{now ? std::move(now) : clock::now,
                     {},
                     internal::breaker_core{std::move(options), &internal::breakers_without_node()}}} {}

result<breaker::permit> breaker::admit() const {
  auto now = impl_->now();
  std::lock_guard guard{impl_->mutex};
  auto p = impl_->core.admit(now);
  if (!p)
    return p.error();
  return permit{impl_, *p, now + impl_->core.options().call_limit};
}

breaker_stats breaker::stats() const {
  auto now = impl_->now();
  std::lock_guard guard{impl_->mutex};
  return impl_->core.stats(now);
}

breaker::permit::~permit() {
  if (owner_) {
    auto lost = make_error(breaker_errc::operation_failed, "the call ended without an outcome");
    settle(&lost);
  }
}

std::optional<error> breaker::permit::settle(const error* failure) {
  auto owner = std::exchange(owner_, nullptr);
  auto now = owner->now();
  std::lock_guard guard{owner->mutex};
  if (limit_ <= now)
    return owner->core.timed_out(number_, now);
  if (failure)
    return owner->core.failed(number_, *failure, now);
  owner->core.succeeded(number_, now);
  return std::nullopt;
}

} // namespace eventcore
