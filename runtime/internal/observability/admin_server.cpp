#include <eventcore/runtime/internal/observability/admin_server.hpp>

#include <eventcore/persistence/errc.hpp>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace eventcore::internal {

namespace {

constexpr int backlog = 1'024;
constexpr time_t receive_seconds = 2;
constexpr time_t send_seconds = 5;
constexpr std::size_t max_body = 4'096;

/// Threads for connections. When too many wait, it keeps the server from accepting more, so that the kernel holds them.
class bounded_pool final : public httplib::TaskQueue {
public:
  bounded_pool(std::size_t threads, std::size_t max_waiting, std::atomic<std::size_t>& connections)
      : max_waiting_{std::max<std::size_t>(max_waiting, 1)}
      , connections_{connections} {
    for (std::size_t i = 0; i != std::max<std::size_t>(threads, 1); ++i)
      threads_.emplace_back([this] { run(); });
  }

  void enqueue(std::function<void()> task) override {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [this] { return waiting_.size() < max_waiting_ || stopping_; });
    ++connections_;
    waiting_.push_back(std::move(task));
    lock.unlock();
    changed_.notify_all();
  }

  void shutdown() override {
    {
      std::lock_guard guard{mutex_};
      stopping_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_)
      thread.join();
  }

private:
  void run() {
    std::unique_lock lock{mutex_};
    for (;;) {
      changed_.wait(lock, [this] { return !waiting_.empty() || stopping_; });
      if (waiting_.empty())
        return;
      auto task = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      changed_.notify_all();
      task();
      --connections_;
      lock.lock();
    }
  }

  const std::size_t max_waiting_;
  std::atomic<std::size_t>& connections_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// The library has a backlog of 5 connections compiled in, which a crowd overruns.
class server final : public httplib::Server {
public:
  void widen_backlog() { ::listen(svr_sock_, backlog); }
};

struct address {
  std::string host;
  int port = 0;
};

std::optional<address> parse_address(const std::string& text) {
  const auto colon = text.rfind(':');
  address a;
  a.host = colon == std::string::npos || colon == 0 ? "127.0.0.1" : text.substr(0, colon);
  if (a.host.front() == '[' && a.host.back() == ']')
    a.host = a.host.substr(1, a.host.size() - 2);
  const auto* begin = text.data() + (colon == std::string::npos ? 0 : colon + 1);
  const auto* end = text.data() + text.size();
  const auto [last, problem] = std::from_chars(begin, end, a.port);
  if (problem != std::errc{} || last != end || a.port < 0 || a.port > 65'535)
    return std::nullopt;
  return a;
}

void answer_health(const health_report& report, httplib::Response& to) {
  auto checks = nlohmann::json::array();
  for (auto& check : report.checks) {
    nlohmann::json one{{"name", check.name}, {"ok", !check.problem}};
    if (check.problem)
      one["problem"] = *check.problem;
    checks.push_back(std::move(one));
  }
  const nlohmann::json body{{"ok", report.ok()}, {"checks", std::move(checks)}};
  to.status = report.ok() ? 200 : 503;
  to.set_content(body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n',
                 "application/json");
}

} // namespace

struct admin_server::impl {
  server http;
  pages content;
  std::string address;
  std::thread thread{};
};

admin_server::admin_server(std::unique_ptr<impl> content)
    : impl_{std::move(content)} {}

admin_server::~admin_server() {
  impl_->http.stop();
  impl_->thread.join();
}

const std::string& admin_server::address() const noexcept {
  return impl_->address;
}

result<std::unique_ptr<admin_server>> admin_server::open(const admin_options& options, pages content,
                                                         std::atomic<std::size_t>& connections) {
  const auto where = parse_address(options.listen);
  if (!where)
    return make_error(journal_errc::invalid_argument,
                      "admin.listen is host:port, or a port, which is then on the loopback address, not " +
                          options.listen);
  auto made = std::make_unique<impl>();
  made->content = std::move(content);
  auto& http = made->http;
  http.new_task_queue = [options, &connections] {
    return new bounded_pool{options.threads, options.max_waiting, connections};
  };
  http.set_keep_alive_max_count(1);
  http.set_keep_alive_timeout(receive_seconds);
  http.set_read_timeout(receive_seconds);
  http.set_write_timeout(send_seconds);
  http.set_payload_max_length(max_body);
  http.Get("/metrics", [&pages = made->content](const httplib::Request&, httplib::Response& to) {
    to.set_content(pages.metrics(), "text/plain; version=0.0.4; charset=utf-8");
  });
  http.Get("/health/live", [&pages = made->content](const httplib::Request&, httplib::Response& to) {
    answer_health(pages.live(), to);
  });
  http.Get("/health/ready", [&pages = made->content](const httplib::Request&, httplib::Response& to) {
    answer_health(pages.ready(), to);
  });
  // The library would let several processes share the port.
  http.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  auto port = where->port;
  if (port == 0)
    port = http.bind_to_any_port(where->host.c_str());
  else if (!http.bind_to_port(where->host.c_str(), port))
    port = -1;
  if (port < 0)
    return make_error(journal_errc::invalid_argument,
                      "admin.listen: nobody can listen at " + options.listen +
                          "; is the port taken, or the address not of this machine?");
  http.widen_backlog();
  made->address = (where->host.find(':') == std::string::npos ? where->host : '[' + where->host + ']') + ':' +
                  std::to_string(port);
  made->thread = std::thread{[&http] { http.listen_after_bind(); }};
  // Else a server that is stopped at once would not hear it.
  while (!http.is_running())
    std::this_thread::yield();
  return std::unique_ptr<admin_server>{new admin_server{std::move(made)}};
}

} // namespace eventcore::internal
