#include <eventcore/runtime/internal/sockets.hpp>

#include <eventcore/actors/errc.hpp>
#include <eventcore/runtime/cluster_errc.hpp>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

namespace eventcore::internal {

namespace {

using address_list = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

std::string reason(int code) {
  return std::generic_category().message(code);
}

/// The list is empty after an error, which `why` tells.
address_list resolve(const host_port& where, int flags, std::string& why) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const auto code = ::getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &hints, &found);
  if (code != 0)
    why = code == EAI_SYSTEM ? reason(errno) : ::gai_strerror(code);
  return {code == 0 ? found : nullptr, [](addrinfo* list) {
            if (list)
              ::freeaddrinfo(list);
          }};
}

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET)
    return ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr) >> 24 == 127;
  return address->sa_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

/// 0 or an error's number.
int connect_one(int fd, const addrinfo& to, std::chrono::milliseconds within) {
  if (::connect(fd, to.ai_addr, to.ai_addrlen) == 0)
    return 0;
  if (errno != EINPROGRESS)
    return errno;
  const auto until = std::chrono::steady_clock::now() + within;
  pollfd wanted{fd, POLLOUT, 0};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    const auto n = left.count() > 0 ? ::poll(&wanted, 1, static_cast<int>(left.count())) : 0;
    if (n == 0)
      return ETIMEDOUT;
    if (n < 0 && errno != EINTR)
      return errno;
    if (n > 0)
      break;
  }
  int outcome = 0;
  socklen_t size = sizeof outcome;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &outcome, &size) == 0 ? outcome : errno;
}

} // namespace

socket_handle::~socket_handle() {
  if (fd_ >= 0)
    ::close(fd_);
}

socket_handle duplicate(int socket) noexcept {
  return socket_handle{::fcntl(socket, F_DUPFD_CLOEXEC, 0)};
}

std::size_t send_some(const socket_handle& socket, const char* bytes, std::size_t size) noexcept {
  const auto sent = ::send(socket.get(), bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

result<host_port> host_port::parse(std::string_view text) {
  host_port where;
  const auto colon = text.rfind(':');
  auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']'))
    host = host.substr(1, host.size() - 2);
  where.host = host;
  const auto digits = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), where.port);
  if (where.host.empty() || digits.empty() || failure != std::errc{} || end != digits.data() + digits.size())
    return make_error(cluster_errc::invalid_options,
                      "'" + std::string{text} + "' is no address of a node; write host:port");
  return where;
}

std::string host_port::str() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

result<listening_socket> listen_at(const host_port& where) {
  std::string why;
  const auto addresses = resolve(where, AI_PASSIVE, why);
  for (const auto* a = addresses.get(); a; a = a->ai_next) {
    listening_socket l;
    l.socket =
        socket_handle{::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol)};
    const int on = 1;
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    auto* any = reinterpret_cast<sockaddr*>(&bound);
    if (!l.socket || ::setsockopt(l.socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::bind(l.socket.get(), a->ai_addr, a->ai_addrlen) != 0 || ::listen(l.socket.get(), 128) != 0 ||
        ::getsockname(l.socket.get(), any, &size) != 0) {
      why = reason(errno);
      continue;
    }
    l.loopback = is_loopback(any);
    l.port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(any)->sin6_port
                                               : reinterpret_cast<sockaddr_in*>(any)->sin_port);
    return l;
  }
  return make_error(cluster_errc::invalid_options,
                    "the node cannot listen at " + where.str() + ": " + why + "; choose another address");
}

result<socket_handle> connect_to(const host_port& where, std::chrono::milliseconds within) {
  std::string why;
  const auto addresses = resolve(where, 0, why);
  for (const auto* a = addresses.get(); a; a = a->ai_next) {
    socket_handle s{::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol)};
    const auto code = s ? connect_one(s.get(), *a, within) : errno;
    if (code == 0)
      return s;
    why = reason(code);
  }
  return make_error(entity_errc::unreachable, where.str() + " cannot be reached: " + why);
}

} // namespace eventcore::internal
