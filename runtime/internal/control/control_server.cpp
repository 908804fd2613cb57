#include <eventcore/runtime/internal/control/control_server.hpp>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace eventcore::internal {

namespace {

using nlohmann::json;
using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// How long no connection is taken after the system had no room for one.
constexpr auto pause_without_room = 100ms;

class descriptor {
public:
  explicit descriptor(int fd)
      : fd_{fd} {}
  descriptor(descriptor&& other) noexcept
      : fd_{std::exchange(other.fd_, -1)} {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() {
    if (fd_ >= 0)
      ::close(fd_);
  }
  int get() const noexcept { return fd_; }

private:
  int fd_;
};

json error_line(const std::string& reason, const std::string& message) {
  return {{"error", {{"reason", reason}, {"message", message}}}};
}

/// A request on its way to the handler and back.
struct job {
  std::string line;
  std::string answer; ///< empty until it has come
};

struct connection {
  descriptor socket;
  clock::time_point deadline{}; ///< to send a request or to take the answer
  std::string in{};
  std::string out{};
  std::shared_ptr<job> asked{}; ///< waits for the handler
  bool ending = false;          ///< when `out` is sent
};

error cannot_listen(const control_address& address, const char* what) {
  return make_error(control_errc::cannot_listen, address.path() + ": " + what + ": " + std::strerror(errno));
}

/// A socket in `address` that listens. Its mode is set before it has a name, so that there is no time at which others can open it.
result<descriptor> listen_at(const control_address& address) {
  descriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (socket.get() < 0)
    return cannot_listen(address, "cannot make a socket");
  const std::string name{control_socket};
  struct stat found {};
  if (::fstatat(address.folder(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0) {
    if (!S_ISSOCK(found.st_mode)) {
      errno = EEXIST;
      return cannot_listen(address, "what is there is no socket");
    }
    if (::unlinkat(address.folder(), name.c_str(), 0) != 0)
      return cannot_listen(address, "cannot remove the socket that was left behind");
  }
  if (::fchmod(socket.get(), S_IRUSR | S_IWUSR) != 0 ||
      ::bind(socket.get(), address.get(), control_address::size()) != 0 || ::listen(socket.get(), 64) != 0)
    return cannot_listen(address, "cannot listen");
  return socket;
}

} // namespace

struct control_server::impl {
  impl(control_address where, descriptor socket, descriptor bell, control_handlers named,
       control_limits bounds)
      : address{std::move(where)}
      , listener{std::move(socket)}
      , wakes{std::move(bell)}
      , handlers{std::move(named)}
      , limits{bounds} {
    limits.connections = std::max<std::size_t>(limits.connections, 1);
    talking = std::thread{[this] { talk(); }};
    handling = std::thread{[this] { handle_all(); }};
  }

  ~impl() {
    ::unlinkat(address.folder(), std::string{control_socket}.c_str(), 0);
    {
      std::lock_guard guard{mutex};
      stopping = true;
    }
    work.notify_all();
    wake();
    handling.join();
    talking.join();
  }

  void wake() const {
    constexpr std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wakes.get(), &one, sizeof(one));
  }

  // -- the handlers' thread

  void handle_all() {
    std::unique_lock guard{mutex};
    for (;;) {
      work.wait(guard, [&] { return stopping || !jobs.empty(); });
      if (stopping)
        return;
      const auto next = std::move(jobs.front());
      jobs.pop_front();
      guard.unlock();
      auto answer = to_control_line(handle(next->line));
      if (answer.size() > max_control_answer)
        answer = to_control_line(error_line("too_large", "the answer is too large"));
      guard.lock();
      next->answer = std::move(answer);
      wake();
    }
  }

  json handle(const std::string& line) const {
    const auto request = json::parse(line, nullptr, false);
    if (!request.is_object() || !request.contains("request") || !request["request"].is_string())
      return error_line("no_request", "a request is a line of JSON: {\"request\": NAME, ...}");
    const auto& name = request["request"].get_ref<const std::string&>();
    const auto found = handlers.find(name);
    if (found == handlers.end()) {
      std::string known;
      for (auto& [each, unused] : handlers)
        known += (known.empty() ? "" : ", ") + each;
      return error_line("unknown_request", "this node knows no request of this name, but " + known);
    }
    try {
      auto answer = found->second(request);
      if (answer)
        return {{"answer", *std::move(answer)}};
      return error_line(answer.error().reason(), answer.error().message());
    } catch (const json::exception& e) {
      return error_line("no_request", "the request " + name + " is not as it should be: " + e.what());
    } catch (const std::exception& e) {
      spdlog::error("the control request {} failed: {}", name, e.what());
      return error_line("failed", "the request " + name + " failed: " + e.what());
    }
  }

  // -- the thread of the connections

  void talk() {
    std::vector<pollfd> polled;
    auto accepts_from = clock::time_point::min();
    for (;;) {
      const auto now = clock::now();
      polled = {{wakes.get(), POLLIN, 0}, {now < accepts_from ? -1 : listener.get(), POLLIN, 0}};
      auto next = now < accepts_from ? accepts_from : clock::time_point::max();
      for (auto& c : connections) {
        polled.push_back({c.socket.get(),
                          static_cast<short>(c.asked         ? 0
                                             : c.out.empty() ? POLLIN
                                                             : POLLOUT),
                          0});
        if (!c.asked)
          next = std::min(next, c.deadline);
      }
      const auto wait = next == clock::time_point::max()
                            ? -1ms
                            : std::max(0ms, std::chrono::ceil<std::chrono::milliseconds>(next - now));
      ::poll(polled.data(), polled.size(), static_cast<int>(wait.count()));
      const auto then = clock::now();
      if (polled[0].revents != 0) {
        std::uint64_t count = 0;
        [[maybe_unused]] const auto size = ::read(wakes.get(), &count, sizeof(count));
        std::lock_guard guard{mutex};
        if (stopping)
          return;
      }
      auto i = polled.begin() + 2;
      for (auto c = connections.begin(); c != connections.end(); ++i) {
        const bool goes_on = i->revents != 0 ? serve(*c, i->revents)
                             : c->asked      ? take_answer(*c)
                                             : then < c->deadline;
        c = goes_on ? std::next(c) : end(c);
      }
      if (polled[1].revents != 0 && !accept_all())
        accepts_from = then + pause_without_room;
    }
  }

  /// False: the system has no room for more.
  bool accept_all() {
    for (;;) {
      descriptor socket{::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
      if (socket.get() < 0 && (errno == EINTR || errno == ECONNABORTED))
        continue;
      if (socket.get() < 0)
        return errno == EAGAIN;
      if (connections.size() >= limits.connections && !end_most_silent())
        continue;
      connections.push_back({.socket = std::move(socket)});
      auto& c = connections.back();
      say(c, to_control_line({{"control", control_version}, {"pid", ::getpid()}}));
      if (!send(c))
        end(std::prev(connections.end()));
    }
  }

  /// False: each waits for the handlers.
  bool end_most_silent() {
    auto oldest = connections.end();
    for (auto c = connections.begin(); c != connections.end(); ++c)
      if (!c->asked && (oldest == connections.end() || c->deadline < oldest->deadline))
        oldest = c;
    if (oldest == connections.end())
      return false;
    end(oldest);
    return true;
  }

  std::list<connection>::iterator end(std::list<connection>::iterator c) {
    if (c->asked) {
      std::lock_guard guard{mutex};
      std::erase(jobs, c->asked);
    }
    return connections.erase(c);
  }

  // Each of these returns whether the connection goes on.

  bool serve(connection& c, int events) {
    if ((events & (POLLHUP | POLLERR)) != 0)
      return false;
    return c.out.empty() ? receive(c) : send(c);
  }

  bool receive(connection& c) {
    std::array<char, 16'384> chunk;
    const auto size = ::recv(c.socket.get(), chunk.data(), chunk.size(), 0);
    if (size <= 0)
      return size < 0 && (errno == EAGAIN || errno == EINTR);
    c.in.append(chunk.data(), static_cast<std::size_t>(size));
    return take_request(c);
  }

  bool take_request(connection& c) {
    const auto line = c.in.find('\n');
    if (std::min(line, c.in.size()) > max_control_request) {
      say(c, to_control_line(error_line("too_large", "a request has at most " +
                                                         std::to_string(max_control_request) + " bytes")));
      c.ending = true;
      return send(c);
    }
    if (line == std::string::npos)
      return true;
    c.asked = std::make_shared<job>(job{c.in.substr(0, line), {}});
    c.in.erase(0, line + 1);
    {
      std::lock_guard guard{mutex};
      jobs.push_back(c.asked);
    }
    work.notify_one();
    return true;
  }

  bool take_answer(connection& c) {
    {
      std::lock_guard guard{mutex};
      if (c.asked->answer.empty())
        return true;
      say(c, std::move(c.asked->answer));
    }
    c.asked.reset();
    return send(c);
  }

  void say(connection& c, std::string line) {
    c.out = std::move(line);
    c.deadline = clock::now() + limits.patience;
  }

  bool send(connection& c) {
    const auto size = ::send(c.socket.get(), c.out.data(), c.out.size(), MSG_NOSIGNAL);
    if (size < 0)
      return errno == EAGAIN || errno == EINTR;
    c.out.erase(0, static_cast<std::size_t>(size));
    if (!c.out.empty())
      return true;
    if (c.ending)
      return false;
    c.deadline = clock::now() + limits.patience;
    return take_request(c); // may have come along with the one before
  }

  control_address address;
  descriptor listener;
  descriptor wakes;
  control_handlers handlers;
  control_limits limits;
  std::list<connection> connections; // of their thread alone

  std::mutex mutex; // of the following
  std::condition_variable work;
  std::deque<std::shared_ptr<job>> jobs;
  bool stopping = false;

  std::thread talking;
  std::thread handling;
};

result<std::unique_ptr<control_server>>
control_server::open(const std::filesystem::path& folder, control_handlers handlers, control_limits limits) {
  auto address = control_address::in(folder);
  if (!address)
    return address.error();
  auto listener = listen_at(*address);
  if (!listener)
    return listener.error();
  descriptor wakes{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  if (wakes.get() < 0)
    return cannot_listen(*address, "cannot make an event");
  return std::unique_ptr<control_server>{new control_server{std::make_unique<impl>(
      *std::move(address), *std::move(listener), std::move(wakes), std::move(handlers), limits)}};
}

control_server::control_server(std::unique_ptr<impl> content)
    : impl_{std::move(content)} {}

control_server::~control_server() = default;

} // namespace eventcore::internal
