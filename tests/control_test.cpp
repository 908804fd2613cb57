// The control socket of a node: the server alone, with handlers of the test, and its client.

#include "support/child_process.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/runtime/internal/control/control_client.hpp>
#include <eventcore/runtime/internal/control/control_server.hpp>

#include <nlohmann/json.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <fstream>
#include <functional>
#include <future>
#include <thread>

#include <sys/resource.h>
#include <sys/stat.h>

using namespace eventcore;
using namespace eventcore::internal;
using namespace eventcore::test;
using namespace std::literals;
using nlohmann::json;

namespace {

/// The error of a result that must have failed with `code`.
template <class T>
error must_fail(const result<T>& r, control_errc code) {
  BOOST_REQUIRE(!r.has_value());
  BOOST_TEST_REQUIRE((r.error().code() == make_error_code(code)), r.error().message());
  BOOST_TEST(!r.error().message().empty());
  return r.error();
}

json request(const std::string& name, const std::string& text = {}) {
  return {{"request", name}, {"text", text}};
}

/// What `echo` answered.
std::string text_of(const json& answer) {
  BOOST_TEST_REQUIRE(answer.contains("text"), answer.dump());
  return answer["text"].get<std::string>();
}

std::string echo(control_client& client, const std::string& text) {
  return text_of(must(client.ask(request("echo", text), patience)));
}

/// Why a line refuses; empty if it does not.
std::string reason(const json& line) {
  return line.is_object() && line.contains("error") ? line["error"]["reason"].get<std::string>() : "";
}

/// A connection without manners, in whole bytes.
class raw_client {
public:
  explicit raw_client(const std::filesystem::path& folder)
      : socket_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    auto address = must(control_address::in(folder));
    while (::connect(socket_, address.get(), control_address::size()) != 0)
      if (errno != EINTR)
        throw std::runtime_error{"cannot connect to " + address.path() + ": " + std::strerror(errno)};
  }
  raw_client(raw_client&& other) noexcept
      : socket_{std::exchange(other.socket_, -1)} {}
  raw_client& operator=(raw_client&&) = delete;
  ~raw_client() { close(); }

  int socket() const noexcept { return socket_; }

  void close() {
    if (socket_ >= 0)
      ::close(std::exchange(socket_, -1));
  }

  /// False when the other side is gone.
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const auto size = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (size <= 0)
        return false;
      bytes.remove_prefix(static_cast<std::size_t>(size));
    }
    return true;
  }

  /// The next line as JSON; discarded if the other side ends before, or is silent for too long.
  json hear() {
    while (text_.find('\n') == std::string::npos)
      if (!read())
        return {json::value_t::discarded};
    const auto end = text_.find('\n');
    auto line = json::parse(text_.substr(0, end), nullptr, false);
    text_.erase(0, end + 1);
    return line;
  }

  /// Whether the other side ends the connection and says nothing more.
  bool ends() {
    const auto before = text_.size();
    while (read())
      if (text_.size() != before)
        return false;
    return ended_;
  }

private:
  bool read() {
    pollfd readable{socket_, POLLIN, 0};
    if (::poll(&readable, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) != 1)
      return false;
    std::array<char, 16'384> chunk;
    const auto size = ::recv(socket_, chunk.data(), chunk.size(), 0);
    ended_ = size <= 0;
    if (size > 0)
      text_.append(chunk.data(), static_cast<std::size_t>(size));
    return !ended_;
  }

  int socket_;
  std::string text_;
  bool ended_ = false;
};

/// A server with a few requests, in a folder of its own.
struct served {
  temp_dir dir;
  std::atomic<int> held = 0;
  std::promise<void> release;
  std::unique_ptr<control_server> server;

  explicit served(control_limits limits = {})
      : server{open(dir.path(), limits)} {}

  std::unique_ptr<control_server> open(const std::filesystem::path& folder, control_limits limits = {}) {
    return must(control_server::open(
        folder,
        {{"echo",
          [](const json& request) -> result<json> {
            return json{{"text", request.at("text").get<std::string>()}};
          }},
         {"refuse",
          [](const json&) -> result<json> {
            return make_error(control_errc::refused, "not today").with_reason("closed", {});
          }},
         {"throw", [](const json&) -> result<json> { throw std::runtime_error{"broken"}; }},
         {"long",
          [](const json&) -> result<json> {
            return json{{"text", std::string(900'000, 'x')}};
          }},
         {"too_long",
          [](const json&) -> result<json> {
            return json{{"text", std::string(2'000'000, 'x')}};
          }},
         {"hold",
          [this](const json&) -> result<json> {
            if (++held == 1)
              release.get_future().wait();
            return json::object();
          }}},
        limits));
  }

  control_client client() const { return must(control_client::connect(dir.path(), patience)); }

  /// A connection that was greeted.
  raw_client raw() const {
    raw_client c{dir.path()};
    BOOST_TEST_REQUIRE(c.hear().contains("control"));
    return c;
  }

  /// A client is served, if not the first one that comes, since this machine can be slower than the limits of the test.
  void check_alive() const {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (;;) {
      auto answer = client().ask(request("echo", "ok"), patience);
      if (answer)
        return;
      BOOST_TEST_REQUIRE((std::chrono::steady_clock::now() < deadline), answer.error().message());
    }
  }
};

/// A listener on `folder`'s socket that takes connections as `script` says.
class impostor {
public:
  impostor(const std::filesystem::path& folder, std::function<void(int)> script)
      : socket_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    auto address = must(control_address::in(folder));
    if (::bind(socket_, address.get(), control_address::size()) != 0 || ::listen(socket_, 8) != 0)
      throw std::runtime_error{"cannot listen"};
    thread_ = std::thread{[this, script = std::move(script)] {
      for (int c; (c = ::accept(socket_, nullptr, nullptr)) >= 0; ::close(c))
        script(c);
    }};
  }
  ~impostor() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
  }

private:
  int socket_;
  std::thread thread_;
};

void say(int socket, std::string_view text) {
  [[maybe_unused]] const auto sent = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
}
void wait_for_end(int socket) {
  pollfd end{socket, POLLRDHUP, 0};
  ::poll(&end, 1, -1);
}

} // namespace

// -- requests

BOOST_AUTO_TEST_CASE(requests_are_answered_one_after_the_other) {
  served s;
  auto client = s.client();
  BOOST_TEST(client.pid() == ::getpid());
  for (auto* text : {"a", "", "\xC3\xA4\n\"\\"})
    BOOST_TEST(echo(client, text) == text);
  BOOST_TEST(text_of(must(client.ask(request("long"), patience))).size() == 900'000u);
  BOOST_TEST(echo(client, std::string(60'000, 'x')).size() == 60'000u);
}

BOOST_AUTO_TEST_CASE(requests_that_fail_say_why_and_the_next_one_is_served) {
  served s;
  auto client = s.client();
  const auto fails = [&](const json& asked, std::string_view part) {
    const auto why = must_fail(client.ask(asked, patience), control_errc::refused);
    BOOST_TEST(why.message().find(part) != std::string::npos, why.message());
    return why.reason();
  };
  BOOST_TEST(fails(request("refuse"), "not today") == "closed");
  BOOST_TEST(fails(request("throw"), "broken") == "failed");
  BOOST_TEST(fails(request("too_long"), "too large") == "too_large");
  BOOST_TEST(fails(request("nonsense"), "echo, hold") == "unknown_request");
  BOOST_TEST(fails({{"request", "echo"}}, "text") == "no_request");
  BOOST_TEST(fails({{"request", "echo"}, {"text", 7}}, "type must be string") == "no_request");
  BOOST_TEST(fails({{"request", 7}}, "a line of JSON") == "no_request");
  BOOST_TEST(fails(json::object(), "a line of JSON") == "no_request");
  BOOST_TEST(fails(request("echo", std::string(70'000, 'x')), "too large").empty());
  BOOST_TEST(echo(client, "ok") == "ok");
}

BOOST_AUTO_TEST_CASE(requests_that_come_together_are_served_in_turn) {
  served s;
  auto raw = s.raw();
  std::string all;
  for (auto i = 0; i != 100; ++i)
    all += to_control_line(request("echo", std::to_string(i)));
  BOOST_TEST(raw.send(all));
  for (auto i = 0; i != 100; ++i)
    BOOST_TEST_REQUIRE(text_of(raw.hear()["answer"]) == std::to_string(i));
}

// -- bad clients

BOOST_AUTO_TEST_CASE(garbage_is_answered_with_an_error) {
  served s;
  auto raw = s.raw();
  for (std::string garbage :
       {"", "GET / HTTP/1.1\r", "{", "[]", "null", "\xFF\xFE\x00\x01", "{\"request\":\"echo\xFF\"}"}) {
    BOOST_TEST(raw.send(garbage + '\n'));
    BOOST_TEST(reason(raw.hear()) == "no_request");
  }
  BOOST_TEST(raw.send(std::string(60'000, '[') + '\n'));
  BOOST_TEST(reason(raw.hear()) == "no_request");
  s.check_alive();
}

BOOST_AUTO_TEST_CASE(an_oversized_request_ends_its_connection) {
  served s;
  for (const auto* end : {"", "\n"}) {
    auto raw = s.raw();
    raw.send(std::string(10'000'000, 'x') + end);
    BOOST_TEST(reason(raw.hear()) == "too_large");
    BOOST_TEST(raw.ends());
  }
  s.check_alive();
}

BOOST_AUTO_TEST_CASE(a_client_that_says_nothing_or_half_a_request_is_ended) {
  served s{{.patience = 200ms}};
  auto silent = s.raw();
  auto half = s.raw();
  half.send("{\"request\":");
  BOOST_TEST(silent.ends());
  BOOST_TEST(half.ends());
  auto slow = s.raw();
  pollfd gone{slow.socket(), 0, 0};
  while (slow.send("x") && ::poll(&gone, 1, 1) == 0) // bytes that come in time do not move the limit
    ;
  s.check_alive();
}

BOOST_AUTO_TEST_CASE(a_client_that_does_not_take_its_answers_is_ended) {
  served s{{.patience = 200ms}};
  auto raw = s.raw();
  std::string all;
  for (auto i = 0; i != 10; ++i)
    all += to_control_line(request("long"));
  raw.send(all);
  for (pollfd gone{raw.socket(), 0, 0}; (gone.revents & POLLHUP) == 0;)
    BOOST_TEST_REQUIRE(::poll(&gone, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) == 1);
  s.check_alive();
}

BOOST_AUTO_TEST_CASE(a_thousand_silent_connections_keep_nobody_out) {
  served s{{.connections = 8, .patience = patience}};
  std::vector<raw_client> crowd;
  for (auto i = 0; i != 1'000; ++i)
    crowd.emplace_back(s.dir.path());
  s.check_alive();
  auto raw = s.raw();
  for (auto i = 0; i != 992; ++i)
    BOOST_TEST_REQUIRE(crowd[static_cast<std::size_t>(i)].hear().is_object());
  BOOST_TEST(crowd.front().ends());
  BOOST_TEST(raw.send(to_control_line(request("echo", "ok"))));
  BOOST_TEST(text_of(raw.hear()["answer"]) == "ok");
}

BOOST_AUTO_TEST_CASE(a_handler_that_takes_its_time_keeps_no_connection_from_being_taken) {
  served s{{.connections = 3}};
  auto holds = s.raw();
  BOOST_TEST(holds.send(to_control_line(request("hold"))));
  while (s.held == 0)
    std::this_thread::yield();
  auto waits = s.raw();
  BOOST_TEST(waits.send(to_control_line(request("hold"))));
  auto leaves = s.raw();
  BOOST_TEST(leaves.send(to_control_line(request("hold"))));
  auto others = std::vector<raw_client>{};
  leaves.close(); // and what it asked for is not done
  for (auto i = 0; i != 3; ++i)
    others.push_back(s.raw());
  s.release.set_value();
  BOOST_TEST(holds.hear().contains("answer"));
  BOOST_TEST(waits.hear().contains("answer"));
  BOOST_TEST(s.held == 2);
  s.check_alive();
}

BOOST_AUTO_TEST_CASE(what_waits_for_the_handlers_is_not_ended_for_others) {
  served s{{.connections = 1}};
  auto holds = s.raw();
  BOOST_TEST(holds.send(to_control_line(request("hold"))));
  while (s.held == 0)
    std::this_thread::yield();
  raw_client turned_away{s.dir.path()};
  BOOST_TEST(turned_away.ends());
  auto later =
      std::async(std::launch::async, [&] { return control_client::connect(s.dir.path(), patience); });
  s.release.set_value();
  BOOST_TEST(holds.hear().contains("answer"));
  holds.close();
  auto client = must(later.get());
  BOOST_TEST(echo(client, "ok") == "ok");
}

BOOST_AUTO_TEST_CASE(a_process_that_may_not_open_more_files_serves_when_there_is_room) {
  temp_dir dir;
  child_process poor{[&](channel& parent) {
    const auto server = *control_server::open(dir.path(), {});
    rlimit few{};
    few.rlim_cur = few.rlim_max = static_cast<rlim_t>(::dup(0)) + 4;
    ::setrlimit(RLIMIT_NOFILE, &few);
    parent.say('r');
    return parent.hear() == 'e' ? 0 : 1;
  }};
  BOOST_TEST_REQUIRE(poor.hear() == 'r');
  {
    std::vector<raw_client> crowd;
    for (auto i = 0; i != 20; ++i)
      crowd.emplace_back(dir.path());
    BOOST_TEST(crowd.front().hear().contains("control"));
  }
  BOOST_TEST(must(control_client::connect(dir.path(), patience)).pid() == poor.pid());
  poor.say('e');
  BOOST_TEST(poor.wait() == 0);
}

// -- the socket's file

BOOST_AUTO_TEST_CASE(only_the_user_can_open_the_socket_and_it_is_gone_at_the_end) {
  const auto before = ::umask(0);
  served s;
  ::umask(before);
  const auto file = s.dir.path() / control_socket;
  struct stat found {};
  BOOST_TEST_REQUIRE(::stat(file.c_str(), &found) == 0);
  BOOST_TEST(S_ISSOCK(found.st_mode));
  BOOST_TEST((found.st_mode & 0777) == 0600u);
  s.server.reset();
  BOOST_TEST(!std::filesystem::exists(std::filesystem::symlink_status(file)));
  must_fail(control_client::connect(s.dir.path(), patience), control_errc::nobody_listens);
}

BOOST_AUTO_TEST_CASE(a_socket_that_a_killed_process_left_behind_is_replaced) {
  temp_dir dir;
  child_process killed{[&](channel& parent) {
    const auto server = *control_server::open(dir.path(), {});
    parent.say('r');
    return parent.hear() == 0 ? 0 : 1;
  }};
  BOOST_TEST_REQUIRE(killed.hear() == 'r');
  BOOST_TEST(must(control_client::connect(dir.path(), patience)).pid() == killed.pid());
  killed.kill();
  BOOST_TEST(std::filesystem::is_socket(dir.path() / control_socket));
  must_fail(control_client::connect(dir.path(), patience), control_errc::nobody_listens);
  const auto server = must(control_server::open(dir.path(), {}));
  BOOST_TEST(must(control_client::connect(dir.path(), patience)).pid() == ::getpid());
}

BOOST_AUTO_TEST_CASE(a_file_of_the_sockets_name_is_left_alone) {
  temp_dir dir;
  std::ofstream{dir.path() / control_socket} << "mine";
  const auto why = must_fail(control_server::open(dir.path(), {}), control_errc::cannot_listen);
  BOOST_TEST(why.message().find("no socket") != std::string::npos, why.message());
  BOOST_TEST(std::filesystem::file_size(dir.path() / control_socket) == 4u);
}

BOOST_AUTO_TEST_CASE(a_folder_with_a_long_path_has_its_socket) {
  served s;
  const auto deep = s.dir.path() / std::string(200, 'a') / std::string(200, 'b');
  std::filesystem::create_directories(deep);
  const auto server = s.open(deep);
  BOOST_TEST(std::filesystem::is_socket(deep / control_socket));
  auto client = must(control_client::connect(deep, patience));
  BOOST_TEST(echo(client, "deep") == "deep");
}

BOOST_AUTO_TEST_CASE(a_folder_that_is_not_there_is_an_error) {
  temp_dir dir;
  must_fail(control_server::open(dir.path() / "none", {}), control_errc::cannot_listen);
  must_fail(control_client::connect(dir.path() / "none", patience), control_errc::nobody_listens);
  must_fail(control_client::connect(dir.path(), patience), control_errc::nobody_listens);
}

// -- the client

BOOST_AUTO_TEST_CASE(what_listens_and_is_no_node_is_named_within_the_time_limit) {
  const auto connect_to = [](std::function<void(int)> script, control_errc expected) {
    temp_dir dir;
    impostor other{dir.path(), std::move(script)};
    return must_fail(control_client::connect(dir.path(), 300ms), expected).message();
  };
  connect_to([](int c) { say(c, "220 smtp\r\n"); }, control_errc::not_understood);
  connect_to([](int c) { say(c, "{\"control\":2}\n"); }, control_errc::not_understood);
  connect_to([](int c) { say(c, "[1]\n"); }, control_errc::not_understood);
  connect_to([](int c) { say(c, std::string(3'000'000, 'x')); }, control_errc::not_understood);
  const auto why = connect_to([](int c) { wait_for_end(c); }, control_errc::silent);
  BOOST_TEST(why.find("300 ms") != std::string::npos, why);
  connect_to([](int) {}, control_errc::silent);
}

BOOST_AUTO_TEST_CASE(an_answer_that_does_not_come_leaves_it_open_what_happened) {
  for (const std::string answer : {"", "{\"answer\"", "nonsense\n", "{}\n"}) {
    temp_dir dir;
    impostor other{dir.path(), [&](int c) {
                     say(c, "{\"control\":1,\"pid\":\"?\"}\n");
                     char byte;
                     while (::recv(c, &byte, 1, 0) == 1 && byte != '\n')
                       ;
                     say(c, answer);
                     if (answer.empty())
                       wait_for_end(c);
                   }};
    auto client = must(control_client::connect(dir.path(), patience));
    must_fail(client.ask(request("echo"), 300ms), control_errc::no_answer);
  }
}
