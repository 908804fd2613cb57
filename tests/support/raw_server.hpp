#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace eventcore::test {

/// A server on loopback that answers every connection as a function says, byte by byte if it likes.
class raw_server {
public:
  /// One connection, in a thread of its own.
  class peer {
  public:
    explicit peer(int socket)
        : socket_{socket} {}

    /// False when the other side is gone.
    bool send(const std::string& bytes) {
      for (std::size_t sent = 0; sent != bytes.size();) {
        auto n = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
        if (n <= 0)
          return false;
        sent += static_cast<std::size_t>(n);
      }
      return true;
    }

    /// Reads up to the end of a request's head. False when there is none.
    bool read_head() {
      head_.clear();
      for (char c = 0; !head_.ends_with("\r\n\r\n"); head_ += c)
        if (::recv(socket_, &c, 1, 0) <= 0)
          return false;
      return true;
    }

    /// The same, and its body.
    bool read_request() {
      if (!read_head())
        return false;
      constexpr std::string_view field = "\r\nContent-Length: ";
      const auto at = head_.find(field);
      std::string body(at == head_.npos ? 0 : std::stoul(head_.substr(at + field.size())), '\0');
      return body.empty() ||
             ::recv(socket_, body.data(), body.size(), MSG_WAITALL) == static_cast<ssize_t>(body.size());
    }

    /// Returns when the other side is gone, at most after `milliseconds`.
    bool is_gone_within(int milliseconds) {
      pollfd end{socket_, POLLRDHUP, 0};
      return ::poll(&end, 1, milliseconds) > 0;
    }
    void wait_until_gone() { is_gone_within(-1); }

  private:
    int socket_;
    std::string head_;
  };

  explicit raw_server(std::function<void(peer&)> script)
      : script_{std::move(script)}
      , listener_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, any, size) != 0 || ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, any, &size) != 0)
      throw std::runtime_error{"no server on loopback"};
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread{[this] { accept_all(); }};
  }

  /// Ends all connections.
  ~raw_server() {
    ::shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    for (auto& connection : connections_) {
      ::shutdown(connection.socket, SHUT_RDWR);
      connection.thread.join();
      ::close(connection.socket);
    }
    ::close(listener_);
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int port() const { return port_; }
  std::size_t accepted() const { return accepted_; }

private:
  struct connection {
    int socket;
    std::thread thread;
  };

  void accept_all() {
    for (int socket; (socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; ++accepted_)
      connections_.push_back({socket, std::thread{[this, socket] {
                                peer p{socket};
                                script_(p);
                                ::shutdown(socket, SHUT_RDWR);
                              }}});
  }

  std::function<void(peer&)> script_;
  int listener_;
  int port_ = 0;
  std::thread accepting_;
  std::list<connection> connections_;
  std::atomic<std::size_t> accepted_{0};
};

} // namespace eventcore::test
