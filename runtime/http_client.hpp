#pragma once

#include <eventcore/actors/breaker.hpp>
#include <eventcore/runtime/http.pb.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace caf {
class actor_system;
} // namespace caf

namespace eventcore {

/// What a call over HTTP can come to besides an answer. Values are stable (they travel between nodes); 0 is never used.
enum class http_errc : std::uint8_t {
  /// The target answered with a status outside 2xx (404 to a DELETE is no error). `error::reason` is the status in decimal
  /// digits, `error::details` the body: UTF-8, cut at `max_error_bytes`, empty if it could not be read. Redirects are not
  /// followed, so they come as this, too.
  request_failed = 1,
  /// The call's time limit passed after it had begun. It is not known whether it took effect.
  timeout,
  /// The target cannot be resolved or reached, or is not who it should be (TLS). Nothing was sent.
  connection_failed,
  /// What came is no HTTP answer, broke off, or is larger than the bounds. It is not known whether the call took effect.
  invalid_answer,
  /// The call itself breaks a rule: no method, a path with spaces, a header with a line break. Nothing was sent.
  invalid_request,
};

const std::error_category& http_category() noexcept;

inline std::error_code make_error_code(http_errc e) noexcept {
  return {static_cast<int>(e), http_category()};
}

inline error make_error(http_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

/// Whether the target said no to this call for good, so that repeating it is pointless: a status 4xx (but 408, 425 and 429),
/// or a call that breaks a rule.
bool is_refusal(const error& e);

/// Whether it is certain that the call had no effect: it was refused, or never reached the target, be it because of the breaker.
/// Otherwise it is not known (a time-out, a status 5xx, an answer that broke off): repeat the call with the same idempotency
/// key, or undo it.
bool is_definite(const error& e);

/// One service that is called over HTTP, and the bounds of its calls.
struct http_target_options {
  /// For messages and logs; empty: the URL.
  std::string name{};
  /// `http://host[:port][/prefix]` or `https://...`; the prefix goes before the path of every call.
  std::string url{};
  /// Sent with every call that has no header of that name; the place for `Authorization`.
  std::map<std::string, std::string> headers{};
  /// File of the certificates (PEM) that vouch for an https target; empty: those of the system.
  std::string ca_file{};
  /// Of a whole call: waiting, connecting, sending and receiving. A command's deadline shortens it.
  std::chrono::milliseconds call_limit{5'000};
  /// Of connecting to one of the target's addresses.
  std::chrono::milliseconds connect_limit{2'000};
  /// Connections, each with a thread of its own; they are made when they are needed, and kept.
  std::size_t connections = 8;
  /// Calls that may wait for a connection. More are answered `breaker_errc::too_many_calls`.
  std::size_t max_waiting = 256;
  /// Of an answer's body, unpacked. Its head may have 64 KiB, and 8 KiB a line.
  std::size_t max_answer_bytes = std::size_t{1} << 20;
  /// Of the body that `request_failed` carries.
  std::size_t max_error_bytes = std::size_t{4} << 10;
  /// What opens the target's breaker, and for how long. Its name, `call_limit` and `max_concurrent` follow from the above.
  breaker_options breaker{};
};

/// Starts what calls one target: an actor behind a breaker. The breaker's actor (`actor_of` of `<eventcore/actors/caf.hpp>`)
/// takes `(HttpCall)`, `(command_context, HttpCall)`, and `(id, HttpCall)` or `(id, command_context, HttpCall)` as hosts take
/// commands (the id is ignored), and answers with an `HttpAnswer` or an error, when the call's time limit passes at the latest:
///
/// - `http_errc` for refusals (see `is_refusal`), as it is;
/// - `breaker_errc::operation_failed` for any other `http_errc`: `cause_of` has its code, the message its words with status and
///   body. These count for the breaker;
/// - `entity_errc::deadline_exceeded` for a call that did not get its turn in time;
/// - the breaker's own errors.
///
/// The context's idempotency key becomes the header `Idempotency-Key`, its trace context `traceparent`. The client repeats no
/// call. Calls run on threads of the target's own, never on those of the scheduler.
///
/// Errors: `http_errc::invalid_request` if the URL, a header or a bound is not as it should be.
result<breaker_handle> start_http_client(caf::actor_system& system, http_target_options options);

} // namespace eventcore

template <>
struct std::is_error_code_enum<eventcore::http_errc> : std::true_type {};
