#pragma once

#include <eventcore/persistence/error.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>

namespace eventcore {

/// What a breaker answers where the operation behind it gave no answer. Values are stable (they travel between nodes); 0 is
/// never used.
enum class breaker_errc : std::uint8_t {
  /// Too much failed before, so the operation was not run. `retry_after` says when the next trial is.
  circuit_open = 1,
  /// No answer came within the call's time limit. It is not known whether the operation took effect.
  timeout,
  /// The operation's own error, wrapped: `cause_of` has its code, the message its words.
  operation_failed,
  /// As many calls as allowed are under way. The operation was not run; try again later.
  too_many_calls,
  /// The worker ended before it answered (it is not known whether the operation took effect), or it is not there yet (the
  /// operation was not run, and `retry_after` says when the worker is started again).
  worker_lost,
  /// The worker ended too often, so it is not started again. The operation was not run. The message is the report.
  gave_up,
};

const std::error_category& breaker_category() noexcept;

inline std::error_code make_error_code(breaker_errc e) noexcept {
  return {static_cast<int>(e), breaker_category()};
}

inline error make_error(breaker_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

/// The time to wait that a breaker's error names, rounded up to milliseconds. Nothing: it names none.
std::optional<std::chrono::milliseconds> retry_after(const error& e);

/// The code of the error that `operation_failed` wraps. Nothing: `e` is another error.
std::optional<std::error_code> cause_of(const error& e);

} // namespace eventcore

template <>
struct std::is_error_code_enum<eventcore::breaker_errc> : std::true_type {};
