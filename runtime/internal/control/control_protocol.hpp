#pragma once

#include <eventcore/persistence/error.hpp>

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <sys/socket.h>
#include <sys/un.h>

/// How operators' tools talk with a running node: over a Unix socket in its journal's folder, in lines of JSON. A connection takes
/// any number of requests, one after the other:
///
///     node:   {"control":1,"pid":4711}             at once, so that a client knows that it is heard before it asks for anything
///     client: {"request":"sagas.operate","category":"order_saga","id":"o-17","action":"retry","why":"..."}
///     node:   {"answer":{"phase":"compensating"}}  or {"error":{"reason":"...","message":"..."}}
///
/// The writer's lock of the journal is held for as long as the socket listens. So there is one listener, and a socket that is
/// found by a node that has the lock is one that a killed process left behind.
namespace eventcore::internal {

inline constexpr int control_version = 1;
inline constexpr std::string_view control_socket = "control.sock";

/// Of a line, without its end.
inline constexpr std::size_t max_control_request = 64u << 10;
inline constexpr std::size_t max_control_answer = 1u << 20;

/// Handlers of requests answer within this time.
inline constexpr std::chrono::seconds control_handler_limit{5};

/// What the operator's side of a node can come to besides an answer.
enum class control_errc : std::uint8_t {
  /// There is no socket, or nobody listens: no node runs, or one that is just starting or ending. Nothing happened.
  nobody_listens = 1,
  /// The node said no. The message and the reason are its words.
  refused,
  /// The socket belongs to another user, or what listens speaks in another way. Nothing happened.
  not_understood,
  /// Connections are taken, and nothing is said: the node is stopped, or hangs. Nothing happened.
  silent,
  /// The request was sent, and no answer came. It may have been carried out.
  no_answer,
  /// The socket cannot be made.
  cannot_listen,
};

const std::error_category& control_category() noexcept;

inline std::error_code make_error_code(control_errc e) noexcept {
  return {static_cast<int>(e), control_category()};
}

inline error make_error(control_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

/// The address of a folder's socket, also if the folder's path is too long for one.
class control_address {
public:
  /// Error: `cannot_listen`.
  static result<control_address> in(const std::filesystem::path& folder);

  control_address(control_address&& other) noexcept;
  control_address& operator=(control_address&&) = delete;
  ~control_address();

  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&name_); }
  static constexpr socklen_t size() noexcept { return sizeof(sockaddr_un); }
  /// The open folder, for functions such as `unlinkat`.
  int folder() const noexcept { return folder_; }
  /// For messages.
  const std::string& path() const noexcept { return path_; }

private:
  control_address(int folder, std::string path);

  int folder_;
  std::string path_;
  sockaddr_un name_{};
};

/// A line of JSON with its end. Bytes that are not UTF-8 become U+FFFD.
std::string to_control_line(const nlohmann::json& value);

} // namespace eventcore::internal

template <>
struct std::is_error_code_enum<eventcore::internal::control_errc> : std::true_type {};
