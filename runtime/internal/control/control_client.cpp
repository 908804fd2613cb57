#include <eventcore/runtime/internal/control/control_client.hpp>

#include <nlohmann/json.hpp>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include <poll.h>
#include <unistd.h>

namespace eventcore::internal {

namespace {

using nlohmann::json;
using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// Between two attempts to connect.
constexpr auto pause = 10ms;

/// Waits for `events` until `deadline`. False: they did not come.
bool wait_for(int socket, short events, clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now());
    pollfd polled{socket, events, 0};
    const int ready = ::poll(&polled, 1, static_cast<int>(std::max(left, 0ms).count()));
    if (ready > 0)
      return true;
    if (ready == 0 || errno != EINTR)
      return false;
  }
}

void send_all(int socket, std::string_view bytes, clock::time_point deadline) {
  while (!bytes.empty()) {
    const auto size = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size >= 0)
      bytes.remove_prefix(static_cast<std::size_t>(size));
    else if (errno != EINTR && (errno != EAGAIN || !wait_for(socket, POLLOUT, deadline)))
      return;
  }
}

/// A member that is text; empty if there is none.
std::string text_in(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

enum class heard : std::uint8_t { line, end, nothing, garbage };

/// The other's next line as an object. It says no more than it is asked, so nothing stands behind a line's end.
heard read_line(int socket, json& value, clock::time_point deadline) {
  std::string line;
  std::array<char, 16'384> chunk;
  while (!line.ends_with('\n')) {
    if (line.size() > max_control_answer)
      return heard::garbage;
    if (!wait_for(socket, POLLIN, deadline))
      return heard::nothing;
    const auto size = ::recv(socket, chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (size <= 0)
      return heard::end;
    line.append(chunk.data(), static_cast<std::size_t>(size));
  }
  value = json::parse(line, nullptr, false);
  return value.is_object() ? heard::line : heard::garbage;
}

/// A connection that is taken at some time before `deadline`.
result<int> connect_to(const control_address& address, clock::time_point deadline) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket < 0)
    return make_error(control_errc::nobody_listens,
                      std::string{"cannot make a socket: "} + std::strerror(errno));
  while (::connect(socket, address.get(), control_address::size()) != 0) {
    const int code = errno;
    if ((code == EAGAIN || code == EINTR) && clock::now() < deadline) {
      std::this_thread::sleep_for(pause); // so many wait for it already
      continue;
    }
    ::close(socket);
    if (code == ENOENT || code == ECONNREFUSED)
      return make_error(control_errc::nobody_listens, "nobody listens on " + address.path());
    return make_error(code == EAGAIN ? control_errc::silent : control_errc::not_understood,
                      "cannot connect to " + address.path() + ": " + std::strerror(code));
  }
  return socket;
}

} // namespace

result<control_client> control_client::connect(const std::filesystem::path& folder,
                                               std::chrono::milliseconds within) {
  const auto deadline = clock::now() + within;
  auto address = control_address::in(folder);
  if (!address)
    return make_error(control_errc::nobody_listens, address.error().message());
  for (;;) {
    const auto socket = connect_to(*address, deadline);
    if (!socket)
      return socket.error();
    control_client client{*socket};
    json greeting;
    const auto came = read_line(*socket, greeting, deadline);
    if (came == heard::line && greeting.contains("control") && greeting["control"] == control_version) {
      if (auto pid = greeting.find("pid"); pid != greeting.end() && pid->is_number_integer())
        client.pid_ = pid->get<long>();
      return client;
    }
    if (came == heard::end && clock::now() < deadline) {
      std::this_thread::sleep_for(pause); // it is busy, or it has just ended
      continue;
    }
    if (came == heard::line || came == heard::garbage)
      return make_error(control_errc::not_understood,
                        "what listens on " + address->path() + " is no node of protocol version " +
                            std::to_string(control_version) + "; use the tool of the node's version");
    return make_error(control_errc::silent,
                      "the node that listens on " + address->path() + " did not say a word within " +
                          std::to_string(within.count()) +
                          " ms: it is stopped, or hangs. It was not asked for anything");
  }
}

control_client::control_client(control_client&& other) noexcept
    : socket_{std::exchange(other.socket_, -1)}
    , pid_{other.pid_} {}

control_client::~control_client() {
  if (socket_ >= 0)
    ::close(socket_);
}

result<json> control_client::ask(const json& request, std::chrono::milliseconds within) {
  const auto deadline = clock::now() + within;
  json said;
  const auto line = to_control_line(request);
  if (line.size() - 1 > max_control_request)
    return make_error(control_errc::refused, "the request is too large: it has " +
                                                 std::to_string(line.size() - 1) + " bytes, and may have " +
                                                 std::to_string(max_control_request));
  send_all(socket_, line, deadline); // if that fails, the node may have said why
  const auto came = read_line(socket_, said, deadline);
  if (came == heard::line && said.contains("answer"))
    return std::move(said["answer"]);
  if (came == heard::line && said.contains("error") && said["error"].is_object()) {
    auto& why = said["error"];
    auto refused = make_error(control_errc::refused, text_in(why, "message"));
    refused.with_reason(text_in(why, "reason"), {});
    return refused;
  }
  return make_error(control_errc::no_answer,
                    "process " + std::to_string(pid_) +
                        (came == heard::nothing
                             ? " did not answer within " + std::to_string(within.count()) + " ms"
                             : std::string{" ended the connection without an answer"}) +
                        "; it may do what it was asked for, so look before you ask again");
}

} // namespace eventcore::internal
