#include "support/certificate.hpp"
#include "support/raw_server.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/internal/ask.hpp>
#include <eventcore/runtime/http_client.hpp>
#include <eventcore/runtime/internal/http/http_actor.hpp>

#include <httplib.h>

#include <boost/test/unit_test.hpp>

#include <future>

using namespace eventcore;
using namespace std::chrono_literals;
using steady_clock = std::chrono::steady_clock;

namespace {

constexpr auto patience = 60s;
/// Of calls that shall run out of time.
constexpr auto short_limit = 150ms;
/// What a call may take beyond its limit on a busy machine; a call without a limit would take for ever.
constexpr auto grace = 10s;

struct outcome {
  result<HttpAnswer> answer;
  steady_clock::duration took;

  std::string why() const { return answer ? "" : answer.error().message(); }
  bool is(std::error_code code) const { return !answer && answer.error().code() == code; }
};

HttpCall call_of(HttpCall::Method method, std::string path, std::string body = {}) {
  HttpCall call;
  call.set_method(method);
  call.set_path(std::move(path));
  call.set_body(std::move(body));
  return call;
}

/// The client of one target without its breaker.
caf::actor start_worker(caf::actor_system& system, http_target_options options) {
  auto target = internal::http_target::of(std::move(options));
  BOOST_REQUIRE_MESSAGE(target, (target ? "" : target.error().message()));
  return caf::actor{
      system.spawn<internal::http_actor>(std::make_shared<const internal::http_target>(*target))};
}

/// An actor system and a client in it.
struct world {
  explicit world(http_target_options options)
      : client{start_worker(system, std::move(options))} {}
  explicit world(const std::string& url)
      : world{options_of(url)} {}
  ~world() { caf::anon_send_exit(client, caf::exit_reason::user_shutdown); }

  static http_target_options options_of(const std::string& url) {
    http_target_options options;
    options.name = "target";
    options.url = url;
    options.call_limit = patience;
    return options;
  }

  outcome ask(caf::message message) {
    const auto begin = steady_clock::now();
    auto answer = internal::ask_and_wait(system, client, std::move(message), patience);
    const auto took = steady_clock::now() - begin;
    if (!answer)
      return {answer.error(), took};
    auto reply = internal::take_reply(*answer);
    auto* typed = dynamic_cast<HttpAnswer*>(reply.get());
    BOOST_REQUIRE(typed);
    return {*typed, took};
  }

  outcome ask(HttpCall call) { return ask(caf::make_message(std::move(call))); }
  outcome get(std::string path) { return ask(call_of(HttpCall::METHOD_GET, std::move(path))); }

  caf::actor_system_config config;
  caf::actor_system system{config};
  caf::actor client;
};

/// A real server on loopback.
class http_server {
public:
  explicit http_server(const std::function<void(httplib::Server&)>& routes) {
    routes(server_);
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread{[this] { server_.listen_after_bind(); }};
  }
  ~http_server() {
    while (!server_.is_running())
      std::this_thread::yield();
    server_.stop();
    thread_.join();
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

private:
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

/// What a server that sends `bytes` to every call, and then nothing more, makes of a GET.
outcome get_from(std::string bytes, const std::function<void(http_target_options&)>& change = {}) {
  test::raw_server server{[&](auto& peer) {
    if (peer.read_head() && peer.send(bytes))
      peer.wait_until_gone();
  }};
  auto options = world::options_of(server.url());
  if (change)
    change(options);
  return world{options}.get("/");
}

void limit_time(http_target_options& options) {
  options.call_limit = short_limit;
}

/// A port of loopback on which nobody listens.
std::string deserted_url() {
  return test::raw_server{[](auto&) {}}.url();
}

} // namespace

// -- what goes out and comes back

BOOST_AUTO_TEST_CASE(a_call_arrives_with_its_headers_and_is_answered) {
  std::promise<httplib::Request> arrived;
  http_server server{[&](auto& s) {
    s.Post("/v1/orders", [&](const httplib::Request& request, httplib::Response& response) {
      arrived.set_value(request);
      response.status = 201;
      response.set_header("Location", "/v1/orders/7");
      response.set_content(R"({"id":7})", "application/json");
    });
  }};
  auto options = world::options_of(server.url() + "/v1/");
  options.headers["Authorization"] = "Bearer abc";
  world w{options};
  command_context context;
  context.idempotency_key = "saga-1/reserve";
  context.metadata.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  auto call = call_of(HttpCall::METHOD_POST, "/orders?dry=a+b%20c", R"({"total":5})");
  (*call.mutable_headers())["X-Shop"] = "north";
  auto got = w.ask(caf::make_message(std::string{"any id"}, context, call));
  BOOST_REQUIRE_MESSAGE(got.answer, got.why());
  BOOST_TEST(got.answer->status() == 201);
  BOOST_TEST(got.answer->body() == R"({"id":7})");
  BOOST_TEST(got.answer->headers().at("location") == "/v1/orders/7");
  auto request = arrived.get_future().get();
  BOOST_TEST(request.target == "/v1/orders?dry=a+b%20c");
  BOOST_TEST(request.body == R"({"total":5})");
  BOOST_TEST(request.get_header_value("Content-Type") == "application/json");
  BOOST_TEST(request.get_header_value("Idempotency-Key") == context.idempotency_key);
  BOOST_TEST(request.get_header_value("traceparent") == context.metadata.traceparent);
  BOOST_TEST(request.get_header_value("Authorization") == "Bearer abc");
  BOOST_TEST(request.get_header_value("X-Shop") == "north");
}

BOOST_AUTO_TEST_CASE(calls_are_taken_in_every_form_of_a_command) {
  http_server server{[](auto& s) {
    s.Put("/", [](const httplib::Request&, httplib::Response& response) { response.status = 204; });
  }};
  world w{server.url()};
  const auto call = call_of(HttpCall::METHOD_PUT, "/", "{}");
  for (auto message : {caf::make_message(call), caf::make_message(command_context{}, call),
                       caf::make_message(std::string{"id"}, call),
                       caf::make_message(std::string{"id"}, command_context{}, call)}) {
    auto got = w.ask(message);
    BOOST_REQUIRE_MESSAGE(got.answer, got.why());
    BOOST_TEST(got.answer->status() == 204);
    BOOST_TEST(got.answer->body() == "");
  }
  BOOST_TEST(w.ask(caf::make_message(HttpAnswer{})).is(entity_errc::unknown_command));
  BOOST_TEST(w.ask(caf::message{}).is(entity_errc::unknown_command));
}

BOOST_AUTO_TEST_CASE(a_connection_is_kept_for_the_next_call_and_made_anew_when_it_was_closed) {
  test::raw_server server{[](auto& peer) {
    for (int i = 0; i != 3 && peer.read_head(); ++i)
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  }};
  auto options = world::options_of(server.url());
  options.connections = 1;
  world w{options};
  for (int i = 0; i != 3; ++i)
    BOOST_REQUIRE(w.get("/").answer);
  BOOST_TEST(server.accepted() == 1u);
  // The server's closing may be noticed only by the next call, which then is not repeated.
  outcome last{HttpAnswer{}, {}};
  do
    last = w.get("/");
  while (last.is(http_errc::invalid_answer));
  BOOST_REQUIRE_MESSAGE(last.answer, last.why());
  BOOST_TEST(server.accepted() == 2u);
}

BOOST_AUTO_TEST_CASE(what_follows_an_answer_is_not_taken_for_the_next_one) {
  test::raw_server server{[](auto& peer) {
    if (peer.read_head())
      peer.send(
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    peer.wait_until_gone();
  }};
  auto options = world::options_of(server.url());
  options.connections = 1;
  world w{options};
  for (int i = 0; i != 2; ++i) {
    auto got = w.get("/");
    BOOST_REQUIRE_MESSAGE(got.answer, got.why());
    BOOST_TEST(got.answer->body() == "ok");
  }
}

// -- answers that are no success

BOOST_AUTO_TEST_CASE(a_status_outside_2xx_is_an_error_with_status_and_body) {
  http_server server{[](auto& s) {
    s.Post(R"(/(\d+))", [](const httplib::Request& request, httplib::Response& response) {
      response.status = std::stoi(request.matches[1]);
      response.set_content(R"({"why":"no stock"})", "application/json");
    });
  }};
  world w{server.url()};
  struct {
    std::string status;
    bool refusal;
  } cases[] = {{"400", true},  {"404", true},  {"409", true},  {"422", true},  {"408", false}, {"425", false},
               {"429", false}, {"500", false}, {"503", false}, {"304", false}, {"302", false}};
  for (const auto& c : cases) {
    auto got = w.ask(call_of(HttpCall::METHOD_POST, "/" + c.status, "{}"));
    BOOST_REQUIRE(got.is(http_errc::request_failed));
    BOOST_TEST(got.answer.error().reason() == c.status);
    BOOST_TEST(got.answer.error().details() == R"({"why":"no stock"})");
    BOOST_TEST(is_refusal(got.answer.error()) == c.refusal, c.status);
    BOOST_TEST(is_definite(got.answer.error()) == c.refusal, c.status);
  }
}

BOOST_AUTO_TEST_CASE(what_is_not_there_counts_as_deleted) {
  http_server server{[](auto& s) {
    s.Delete(R"(/(\d+))", [](const httplib::Request& request, httplib::Response& response) {
      response.status = std::stoi(request.matches[1]);
    });
  }};
  world w{server.url()};
  auto gone = w.ask(call_of(HttpCall::METHOD_DELETE, "/404"));
  BOOST_REQUIRE_MESSAGE(gone.answer, gone.why());
  BOOST_TEST(gone.answer->status() == 404);
  BOOST_TEST(w.ask(call_of(HttpCall::METHOD_DELETE, "/409")).is(http_errc::request_failed));
}

BOOST_AUTO_TEST_CASE(the_body_of_an_error_is_cut_between_characters) {
  std::string body = "a"; // so that a character of two bytes lies across the bound
  for (int i = 0; i != 50'000; ++i)
    body += "\xc3\xa9";
  auto got = get_from("HTTP/1.1 500 Oh\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body,
                      [](auto& options) { options.max_error_bytes = 100; });
  BOOST_REQUIRE(got.is(http_errc::request_failed));
  BOOST_TEST(got.answer.error().details() == body.substr(0, 99));
}

BOOST_AUTO_TEST_CASE(a_body_that_cannot_be_read_is_empty_text) {
  const std::string latin1 = "Content-Length: 4\r\n\r\nna\xefve"; // four of its five bytes
  auto got = get_from("HTTP/1.1 200 OK\r\n" + latin1);
  BOOST_REQUIRE_MESSAGE(got.answer, got.why());
  BOOST_TEST(got.answer->body() == "");
  const std::string no_gzip = "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd";
  got = get_from("HTTP/1.1 409 No\r\n" + no_gzip);
  BOOST_REQUIRE(got.is(http_errc::request_failed));
  BOOST_TEST(got.answer.error().reason() == "409");
  BOOST_TEST(got.answer.error().details() == "");
}

BOOST_AUTO_TEST_CASE(redirects_are_not_followed) {
  std::atomic<int> calls{0};
  http_server server{[&](auto& s) {
    s.Get("/loop", [&](const httplib::Request&, httplib::Response& response) {
      ++calls;
      response.set_redirect("/loop");
    });
  }};
  auto got = world{server.url()}.get("/loop");
  BOOST_REQUIRE(got.is(http_errc::request_failed));
  BOOST_TEST(got.answer.error().reason() == "302");
  BOOST_TEST(got.why().find("/loop") != std::string::npos);
  BOOST_TEST(calls == 1);
}

// -- targets that are not there

BOOST_AUTO_TEST_CASE(a_target_that_takes_no_connections_is_definitely_without_effect) {
  auto got = world{deserted_url()}.get("/");
  BOOST_REQUIRE_MESSAGE(got.is(http_errc::connection_failed), got.why());
  BOOST_TEST(is_definite(got.answer.error()));
  BOOST_TEST(!is_refusal(got.answer.error()));
}

BOOST_AUTO_TEST_CASE(a_name_that_does_not_resolve_is_said) {
  auto got = world{"http://nobody.invalid:1"}.get("/");
  BOOST_REQUIRE_MESSAGE(got.is(http_errc::connection_failed), got.why());
  BOOST_TEST(got.why().find("nobody.invalid") != std::string::npos);
  BOOST_TEST(is_definite(got.answer.error()));
}

BOOST_AUTO_TEST_CASE(a_target_without_tls_is_not_called_over_https) {
  test::raw_server server{[](auto& peer) { peer.send("HTTP/1.1 400 Bad Request\r\n\r\n"); }};
  auto got = world{"https" + server.url().substr(4)}.get("/");
  BOOST_TEST(got.is(http_errc::connection_failed), got.why());
}

BOOST_AUTO_TEST_CASE(https_needs_a_certificate_that_is_vouched_for) {
  const test::certificate own{"localhost"}, stranger{"localhost"}, other_name{"example.org"};
  test::temp_dir dir;
  const auto get = [&](const test::certificate& of_server, const test::certificate& trusted) {
    httplib::SSLServer server{of_server.x509(), of_server.key()};
    const std::string body(300'000, 'x');
    server.Post("/", [&](const httplib::Request& request, httplib::Response& response) {
      response.set_content(request.body == body ? body : "other", "text/plain");
    });
    auto options =
        world::options_of("https://localhost:" + std::to_string(server.bind_to_any_port("127.0.0.1")));
    std::thread serving{[&] { server.listen_after_bind(); }};
    options.ca_file = trusted.write_to(dir.path() / "ca.pem");
    auto got = [&] {
      world w{options};
      auto first = w.ask(call_of(HttpCall::METHOD_POST, "/", body));
      // Again, over the same connection.
      return first.answer ? w.ask(call_of(HttpCall::METHOD_POST, "/", body)) : std::move(first);
    }();
    BOOST_TEST((!got.answer || got.answer->body() == body));
    while (!server.is_running())
      std::this_thread::yield();
    server.stop();
    serving.join();
    return got;
  };
  auto trusted = get(own, own);
  BOOST_TEST(trusted.answer.has_value(), trusted.why());
  BOOST_TEST(get(own, stranger).is(http_errc::connection_failed));
  BOOST_TEST(get(other_name, other_name).is(http_errc::connection_failed));
}

// -- answers that take too long

BOOST_AUTO_TEST_CASE(a_silent_target_is_cut_at_the_limit) {
  auto got = get_from("", limit_time);
  BOOST_REQUIRE_MESSAGE(got.is(http_errc::timeout), got.why());
  BOOST_TEST(!is_definite(got.answer.error()));
  BOOST_TEST((got.took >= short_limit && got.took < short_limit + grace));
}

BOOST_AUTO_TEST_CASE(an_answer_that_drips_is_cut_at_the_limit_wherever_it_drips) {
  for (std::string start :
       {"HTTP/1.1 2", "HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    std::promise<void> dropped;
    test::raw_server server{[&](auto& peer) {
      auto going = peer.read_head() && peer.send(start);
      while (going && !peer.is_gone_within(20))
        going = peer.send("0");
      dropped.set_value();
    }};
    auto options = world::options_of(server.url());
    limit_time(options);
    world w{options};
    auto got = w.get("/");
    BOOST_TEST(got.is(http_errc::timeout), start << ": " << got.why());
    BOOST_TEST((got.took >= short_limit && got.took < short_limit + grace));
    // The thread is free again, too.
    dropped.get_future().wait();
  }
}

BOOST_AUTO_TEST_CASE(a_deadline_shortens_the_limit) {
  test::raw_server server{[](auto& peer) { peer.wait_until_gone(); }};
  world w{server.url()};
  command_context context;
  context.deadline = steady_clock::now() + short_limit;
  auto got = w.ask(caf::make_message(context, call_of(HttpCall::METHOD_GET, "/")));
  BOOST_TEST(got.is(http_errc::timeout), got.why());
  // Now it has passed.
  BOOST_TEST(w.ask(caf::make_message(context, call_of(HttpCall::METHOD_GET, "/")))
                 .is(entity_errc::deadline_exceeded));
}

BOOST_AUTO_TEST_CASE(calls_wait_for_a_connection_within_bounds) {
  test::raw_server server{[](auto& peer) { peer.wait_until_gone(); }};
  auto options = world::options_of(server.url());
  options.connections = 1;
  options.max_waiting = 1;
  options.call_limit = short_limit;
  world w{options};
  const auto message = caf::make_message(call_of(HttpCall::METHOD_GET, "/"));
  internal::request_slot running{w.system, w.client, message};
  internal::request_slot waiting{w.system, w.client, message};
  internal::request_slot refused{w.system, w.client, message};
  const auto code_of = [](internal::request_slot& slot) {
    auto answer = slot.wait_until(steady_clock::now() + patience);
    BOOST_REQUIRE((answer && answer->match_elements<caf::error>()));
    return from_caf_error(answer->get_as<caf::error>(0)).code();
  };
  BOOST_TEST((code_of(refused) == entity_errc::overloaded));
  BOOST_TEST((code_of(running) == http_errc::timeout));
  // Taken back before it had begun, or begun in the moment that the first one made room.
  const auto last = code_of(waiting);
  BOOST_TEST((last == entity_errc::deadline_exceeded || last == http_errc::timeout));
}

// -- answers that are too large, or none

BOOST_AUTO_TEST_CASE(large_answers_are_cut_while_they_come) {
  const std::string megabyte(1 << 20, 'x');
  for (std::string head :
       {"Content-Length: 52428800\r\n\r\n", "\r\n", "Transfer-Encoding: chunked\r\n\r\n"}) {
    std::atomic<std::size_t> megabytes{0};
    {
      test::raw_server server{[&](auto& peer) {
        auto going = peer.read_head() && peer.send("HTTP/1.1 200 OK\r\n" + head);
        for (; going && megabytes != 50; megabytes += going ? 1 : 0)
          going = peer.send(head.starts_with('T') ? "100000\r\n" + megabyte + "\r\n" : megabyte);
      }};
      auto got = world{server.url()}.get("/");
      BOOST_TEST(got.is(http_errc::invalid_answer), head << ": " << got.why());
    }
    BOOST_TEST(megabytes < 50u);
  }
}

BOOST_AUTO_TEST_CASE(an_answer_as_large_as_the_bound_is_taken) {
  const std::string body(1'000, 'x');
  const auto answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + body;
  auto got = get_from(answer, [](auto& options) { options.max_answer_bytes = 1'000; });
  BOOST_REQUIRE_MESSAGE(got.answer, got.why());
  BOOST_TEST(got.answer->body() == body);
  got = get_from(answer, [](auto& options) { options.max_answer_bytes = 999; });
  BOOST_TEST(got.is(http_errc::invalid_answer));
}

BOOST_AUTO_TEST_CASE(what_has_no_end_or_no_sense_is_an_error_and_never_a_crash) {
  const std::string endless(4 << 20, 'a');
  for (const auto& answer : {endless, "HTTP/1.1 200 " + endless + "\r\n\r\n",
                             "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 " + endless + "\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nX: " + endless + "\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + endless,
                             std::string{"\r\n\r\n"}, std::string{"SSH-2.0-OpenSSH_9.2\r\n"},
                             std::string{"HTTP/1.1 abc\r\n\r\n"}, std::string{"\0\0\0\r\n", 5}}) {
    auto got = get_from(answer, limit_time);
    // A target that says too little is cut at the limit.
    BOOST_TEST((got.is(http_errc::invalid_answer) || got.is(http_errc::timeout)), answer.substr(0, 40));
  }
  std::string headers;
  for (int i = 0; i != 100'000; ++i)
    headers += "X-" + std::to_string(i) + ": 1\r\n";
  BOOST_TEST(get_from("HTTP/1.1 200 OK\r\n" + headers + "\r\n").is(http_errc::invalid_answer));
}

BOOST_AUTO_TEST_CASE(an_answer_that_breaks_off_leaves_the_outcome_open) {
  for (std::string part :
       {"", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}) {
    test::raw_server server{[&](auto& peer) { peer.read_head() && peer.send(part); }};
    auto got = world{server.url()}.get("/");
    BOOST_REQUIRE_MESSAGE(got.is(http_errc::invalid_answer), part + ": " + got.why());
    BOOST_TEST(!is_definite(got.answer.error()));
  }
}

BOOST_AUTO_TEST_CASE(a_target_that_closes_while_a_large_call_is_sent_does_not_end_the_process) {
  test::raw_server server{[](auto& peer) { peer.read_head(); }};
  auto got = world{server.url()}.ask(call_of(HttpCall::METHOD_POST, "/", std::string(8 << 20, 'x')));
  BOOST_TEST(got.is(http_errc::invalid_answer), got.why());
}

// -- calls and targets that break a rule

BOOST_AUTO_TEST_CASE(calls_that_break_a_rule_are_refused_unsent) {
  test::raw_server server{[](auto&) {}};
  world w{server.url()};
  const auto refused = [&](HttpCall call, command_context context = {}) {
    auto got = w.ask(caf::make_message(std::move(context), std::move(call)));
    BOOST_TEST(got.is(http_errc::invalid_request), got.why());
    BOOST_TEST((!got.answer && is_refusal(got.answer.error()) && is_definite(got.answer.error())));
  };
  refused(call_of(HttpCall::METHOD_UNSPECIFIED, "/"));
  refused(call_of(static_cast<HttpCall::Method>(77), "/"));
  for (auto path : {"", "orders", "/a b", "/a\r\nX: y", "/\xc3\xa9", "/a#b"})
    refused(call_of(HttpCall::METHOD_GET, path));
  for (auto [name, value] : {std::pair{"X", "a\r\nY: b"},
                             {"X Y", "a"},
                             {"", "a"},
                             {"X:", "a"},
                             {"Host", "a"},
                             {"content-length", "5"},
                             {"Transfer-Encoding", "chunked"}}) {
    auto call = call_of(HttpCall::METHOD_GET, "/");
    (*call.mutable_headers())[name] = value;
    refused(call);
  }
  command_context context;
  context.idempotency_key = "a\nb";
  refused(call_of(HttpCall::METHOD_GET, "/"), context);
  BOOST_TEST(server.accepted() == 0u);
}

BOOST_AUTO_TEST_CASE(targets_that_break_a_rule_are_refused) {
  caf::actor_system_config config;
  caf::actor_system system{config};
  const auto starts = [&](http_target_options options) {
    auto started = start_http_client(system, std::move(options));
    BOOST_TEST((started || started.error().code() == http_errc::invalid_request));
    return started.has_value();
  };
  for (auto url : {"http://a", "https://a.example:8443/v1/x", "http://[::1]:80", "http://127.0.0.1:1"})
    BOOST_TEST(starts({.url = url}), url);
  for (auto url : {"", "a", "a:80", "ftp://a", "http://", "http://a:0", "http://a:65536", "http://a:99999999",
                   "http://u:p@a", "http://a/?q", "http://a b"})
    BOOST_TEST(!starts({.url = url}), url);
  BOOST_TEST(!starts({.url = "http://a", .connections = 0}));
  BOOST_TEST(!starts({.url = "http://a", .headers = {{"X", "\n"}}}));
}

// -- behind the breaker

BOOST_AUTO_TEST_CASE(the_breaker_opens_when_the_target_fails_and_spares_it) {
  std::atomic<int> calls{0};
  http_server server{[&](auto& s) {
    s.Get("/", [&](const httplib::Request&, httplib::Response& response) {
      ++calls;
      response.status = 503;
      response.set_content("out of order", "text/plain");
    });
  }};
  auto options = world::options_of(server.url());
  options.breaker.failures = 2;
  options.breaker.retry_after = patience;
  world w{options};
  auto breaker = start_http_client(w.system, options);
  BOOST_REQUIRE(breaker);
  w.client = actor_of(*breaker);
  for (int i = 0; i != 2; ++i) {
    auto got = w.get("/");
    BOOST_REQUIRE(got.is(breaker_errc::operation_failed));
    BOOST_TEST((cause_of(got.answer.error()) == make_error_code(http_errc::request_failed)));
    BOOST_TEST(got.why().find("503") != std::string::npos);
    BOOST_TEST(got.why().find("out of order") != std::string::npos);
    BOOST_TEST(!is_definite(got.answer.error()));
  }
  auto refused = w.get("/");
  BOOST_REQUIRE(refused.is(breaker_errc::circuit_open));
  BOOST_TEST(is_definite(refused.answer.error()));
  BOOST_TEST(calls == 2);
}

BOOST_AUTO_TEST_CASE(refusals_pass_the_breaker_as_they_are) {
  http_server server{[](auto& s) {
    s.Get("/", [](const httplib::Request&, httplib::Response& response) {
      response.status = 422;
      response.set_content("no", "text/plain");
    });
  }};
  auto options = world::options_of(server.url());
  options.breaker.failures = 1;
  world w{options};
  auto breaker = start_http_client(w.system, options);
  BOOST_REQUIRE(breaker);
  w.client = actor_of(*breaker);
  for (int i = 0; i != 3; ++i) {
    auto got = w.get("/");
    BOOST_REQUIRE_MESSAGE(got.is(http_errc::request_failed), got.why());
    BOOST_TEST(got.answer.error().reason() == "422");
    BOOST_TEST(got.answer.error().details() == "no");
  }
  BOOST_TEST(w.get("no slash").is(http_errc::invalid_request));
  BOOST_TEST((breaker->stats(patience)->state == breaker_state::closed));
}

BOOST_AUTO_TEST_CASE(a_wrapped_failure_to_connect_is_still_definite) {
  const auto options = world::options_of(deserted_url());
  world w{options};
  auto breaker = start_http_client(w.system, options);
  BOOST_REQUIRE(breaker);
  w.client = actor_of(*breaker);
  auto got = w.get("/");
  BOOST_REQUIRE(got.is(breaker_errc::operation_failed));
  BOOST_TEST(is_definite(got.answer.error()));
  BOOST_TEST(!is_refusal(got.answer.error()));
}

// -- the end

BOOST_AUTO_TEST_CASE(the_end_of_the_client_answers_what_is_under_way) {
  std::promise<void> arrived;
  test::raw_server server{[&](auto& peer) {
    if (peer.read_head())
      arrived.set_value();
    peer.wait_until_gone();
  }};
  auto options = world::options_of(server.url());
  options.connections = 1;
  world w{options};
  const auto message = caf::make_message(call_of(HttpCall::METHOD_GET, "/"));
  internal::request_slot running{w.system, w.client, message};
  arrived.get_future().wait();
  internal::request_slot waiting{w.system, w.client, message};
  caf::anon_send_exit(w.client, caf::exit_reason::user_shutdown);
  for (auto [slot, code] :
       {std::pair{&running, entity_errc::outcome_unknown}, {&waiting, entity_errc::stopped}}) {
    auto answer = slot->wait_until(steady_clock::now() + patience);
    BOOST_REQUIRE((answer && answer->match_elements<caf::error>()));
    auto why = from_caf_error(answer->get_as<caf::error>(0));
    BOOST_TEST((why.code() == code), why.message());
  }
}

BOOST_AUTO_TEST_CASE(a_client_without_handles_ends_whatever_the_time_limit_of_its_calls) {
  http_server server{[](auto& s) { s.Get("/", [](const httplib::Request&, httplib::Response&) {}); }};
  caf::actor_system_config config;
  caf::actor_system system{config};
  {
    auto client = start_http_client(system, world::options_of(server.url()));
    BOOST_REQUIRE(client);
    (void)internal::ask_and_wait(system, actor_of(*client),
                                 caf::make_message(call_of(HttpCall::METHOD_GET, "/")), patience);
  }
  const auto begin = steady_clock::now();
  system.await_all_actors_done(); // hangs if it does not
  BOOST_TEST((steady_clock::now() - begin < grace));
}
