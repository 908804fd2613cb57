#pragma once

#include <eventcore/persistence/error.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace eventcore::internal {

/// Owns a file descriptor of a socket.
class socket_handle {
public:
  socket_handle() = default;
  explicit socket_handle(int fd) noexcept
      : fd_{fd} {}
  socket_handle(socket_handle&& other) noexcept
      : fd_{other.release()} {}
  socket_handle& operator=(socket_handle&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~socket_handle();

  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }
  explicit operator bool() const noexcept { return fd_ >= 0; }

private:
  int fd_ = -1;
};

/// The same socket once more. Empty: there are too many descriptors already.
socket_handle duplicate(int socket) noexcept;

/// How many bytes the connection takes at once; 0 if none, or if it is broken.
std::size_t send_some(const socket_handle& socket, const char* bytes, std::size_t size) noexcept;

/// Where a node is reached.
struct host_port {
  std::string host;
  std::uint16_t port = 0;

  /// `host:port`, `[v6]:port`. Error: `invalid_options`, naming the text.
  static result<host_port> parse(std::string_view text);
  std::string str() const;
};

struct listening_socket {
  socket_handle socket;
  std::uint16_t port = 0;
  bool loopback = false; ///< only this machine can reach it
};

/// Error: `invalid_options`, naming the address and what the system says.
result<listening_socket> listen_at(const host_port& where);

/// Blocks, at most `within` for each address of the host and as long as its name takes to resolve. Error: `unreachable`, naming the
/// address and what the system says.
result<socket_handle> connect_to(const host_port& where, std::chrono::milliseconds within);

} // namespace eventcore::internal
