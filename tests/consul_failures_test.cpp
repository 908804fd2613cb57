// What the registry in Consul says when what it talks with is no Consul in good health.

#include "support/journal_helpers.hpp"
#include "support/raw_server.hpp"
#include "support/registry_conformance.hpp"

#include <eventcore/runtime/consul_registry.hpp>
#include <eventcore/runtime/discovery.hpp>
#include <eventcore/runtime/internal/registration.hpp>

#include <rapidcheck.h>

#include <future>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

std::unique_ptr<service_registry> registry_at(const std::string& url, std::chrono::milliseconds limit = 20s) {
  return must(open_consul_registry({.url = url, .call_limit = limit, .max_answer_bytes = 10'000}));
}

std::string answer_of(int status, const std::string& body) {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

/// Answers every request with the same bytes.
auto always(std::string bytes) {
  return [bytes = std::move(bytes)](raw_server::peer& peer) {
    if (peer.read_head())
      peer.send(bytes);
  };
}

/// All functions fail with this code, and name the address and what was said.
void check_all(const std::string& url, service_registry& registry, registry_errc code,
               const std::string& said) {
  const auto instance = payment_instance();
  const auto entered = registry.enter(instance);
  const auto found = registry.find(instance.id);
  const auto listed = registry.discover("pay");
  BOOST_TEST_REQUIRE((!entered && !found && !listed));
  for (const auto& e : {entered.error(), found.error(), listed.error()}) {
    BOOST_TEST(e.code() == make_error_code(code), e.message());
    BOOST_TEST(e.message().find(url) != std::string::npos, e.message());
    BOOST_TEST(e.message().find(said) != std::string::npos, e.message());
  }
}

void check_answer(const std::string& bytes, registry_errc code, const std::string& said) {
  BOOST_TEST_CONTEXT(bytes.substr(0, 80)) {
    raw_server server{always(bytes)};
    check_all(server.url(), *registry_at(server.url()), code, said);
  }
}

} // namespace

BOOST_AUTO_TEST_CASE(consul_that_is_down_is_unavailable) {
  std::string url;
  {
    url = raw_server{[](auto&) {}}.url();
  }
  const auto registry = registry_at(url);
  check_all(url, *registry, registry_errc::unavailable, "nobody takes connections there");
  const auto withdrawn = registry->withdraw("pay@p1");
  BOOST_TEST_REQUIRE(!withdrawn);
  BOOST_TEST(withdrawn.error().code() == registry_errc::unavailable);
}

BOOST_AUTO_TEST_CASE(errors_of_consul_are_said) {
  check_answer(answer_of(500, "No cluster leader"), registry_errc::unavailable, "500: 'No cluster leader'");
  check_answer(answer_of(503, ""), registry_errc::unavailable, "503");
  check_answer(answer_of(429, "slow down"), registry_errc::unavailable, "429");
  check_answer(answer_of(403, "Permission denied"), registry_errc::refused,
               "403: 'Permission denied'; check the token");
  check_answer(answer_of(404, "nothing here"), registry_errc::refused, "404");
  check_answer("HTTP/1.1 301 X\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
               registry_errc::unavailable, "redirected to 'http://elsewhere/'");
}

BOOST_AUTO_TEST_CASE(garbage_is_an_invalid_answer) {
  const auto garbage = registry_errc::invalid_answer;
  for (const auto* body :
       {"", "hello", "{}", "null", "[1]", "[{}]", "[{\"Service\":{}}]", "[{\"Service\":{\"ID\":1}}]",
        "[[[[[[", "[{\"Service\":{\"ID\":\"pay@p1\",\"Meta\":{\"eventcore-0\":7}}}]", "[\"\xff\"]",
        "<html>\n</html>"})
    check_answer(answer_of(200, body), garbage, "is this the address of a Consul agent?");
  check_answer(answer_of(200, std::string(20'000, '[')), garbage, "too large");
  check_answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", garbage, "broke off");
  check_answer("SSH-2.0-OpenSSH\r\n", garbage, "no HTTP");
  check_answer("", garbage, "the connection ended");
  check_answer(std::string(100'000, 'x'), garbage, "too large");
}

BOOST_AUTO_TEST_CASE(an_answer_that_never_ends_ends_in_time) {
  const std::function<void(raw_server::peer&)> scripts[] = {
      [](raw_server::peer& peer) { peer.wait_until_gone(); },
      [](raw_server::peer& peer) {
        peer.read_head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while (!peer.is_gone_within(10) && peer.send(" ")) {
        }
      }};
  for (const auto& script : scripts) {
    raw_server server{script};
    const auto registry = registry_at(server.url(), 150ms);
    const auto begin = std::chrono::steady_clock::now();
    check_all(server.url(), *registry, registry_errc::unavailable, "in time");
    BOOST_TEST(((std::chrono::steady_clock::now() - begin) < 20s));
  }
}

BOOST_AUTO_TEST_CASE(calls_go_on_with_what_is_known_while_consul_answers_500) {
  std::atomic<bool> broken{false};
  const auto instance = payment_instance();
  const auto list = [&] {
    std::string meta;
    for (const char c : internal::write_registration(instance))
      (c == '"' || c == '\\' ? meta += '\\' : meta) += c;
    BOOST_TEST_REQUIRE(meta.size() > 0u);
    return "[{\"Service\":{\"ID\":\"pay@p1\",\"Meta\":{\"eventcore-0\":\"" + meta + "\"}}}]";
  }();
  raw_server server{[&](raw_server::peer& peer) {
    if (peer.read_head())
      peer.send(broken ? answer_of(500, "oops") : answer_of(200, list));
  }};
  discovery found{registry_at(server.url()), {.renew = 1h, .refresh = 1ms, .retry = 1ms}};
  const auto soon = [](auto holds) {
    const auto give_up = std::chrono::steady_clock::now() + patience;
    while (!holds() && std::chrono::steady_clock::now() < give_up)
      std::this_thread::yield();
    return holds();
  };
  found.watch("pay");
  BOOST_TEST(soon([&] { return found.known("pay") == std::vector{instance}; }));
  broken = true;
  BOOST_TEST(soon([&] { return !found.health(); }));
  BOOST_TEST(found.health().error().message().find("500: 'oops'") != std::string::npos);
  BOOST_TEST((found.known("pay") == std::vector{instance}));
  broken = false;
  BOOST_TEST(soon([&] { return found.health().has_value(); }));
}

BOOST_AUTO_TEST_CASE(wrong_options_are_refused) {
  const auto refused = [](consul_options options) {
    auto opened = open_consul_registry(std::move(options));
    BOOST_TEST(!opened);
    return !opened && opened.error().code() == registry_errc::refused;
  };
  BOOST_TEST(refused({.url = ""}));
  BOOST_TEST(refused({.url = "consul:8500"}));
  BOOST_TEST(refused({.token = "a\r\nX-Evil: b"}));
  BOOST_TEST(refused({.time_to_live = 0s}));
  BOOST_TEST(refused({.time_to_live = -1s}));
  BOOST_TEST(refused({.call_limit = 0s}));
  BOOST_TEST(refused({.max_answer_bytes = 0}));
}

// -- the form of registrations

namespace {

/// Any text that is UTF-8.
rc::Gen<std::string> text() {
  const auto character =
      rc::gen::element<std::string>("a", "Z", "0", " ", "\"", "\\", "\n", "\t", std::string(1, '\0'), "\x7f",
                                    "/", "@", "%", "\u00fc", "\u20ac", "\U0001F600", "'", "{", "}");
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(character), [](const auto& parts) {
    std::string joined;
    for (const auto& part : parts)
      joined += part;
    return joined;
  });
}

} // namespace

BOOST_AUTO_TEST_CASE(registrations_come_back_as_they_went) {
  BOOST_TEST(rc::check([] {
    auto instance = payment_instance();
    instance.version = *text();
    instance.health_check = *text();
    instance.capabilities = *rc::gen::container<std::vector<std::string>>(text());
    instance.metadata = *rc::gen::container<std::map<std::string, std::string>>(text(), text());
    instance.registered_at = timestamp{std::chrono::microseconds{*rc::gen::arbitrary<std::int64_t>()}};
    const auto written = internal::write_registration(instance);
    RC_ASSERT(std::all_of(written.begin(), written.end(), [](char c) { return c >= ' ' && c <= '~'; }));
    if (written.size() <= internal::max_registration_bytes)
      RC_ASSERT(must(internal::read_registration(written)) == instance);
  }));
}

BOOST_AUTO_TEST_CASE(any_bytes_are_a_registration_or_an_error) {
  const auto good = internal::write_registration(payment_instance());
  BOOST_TEST(rc::check([&] {
    auto bytes = *rc::gen::arbitrary<bool>() ? *rc::gen::arbitrary<std::string>() : good;
    for (int i = *rc::gen::inRange(0, 4); i > 0 && !bytes.empty(); --i)
      bytes[*rc::gen::inRange<std::size_t>(0, bytes.size())] = *rc::gen::arbitrary<char>();
    const auto read = internal::read_registration(bytes);
    if (read)
      RC_ASSERT(internal::check_registration(*read).has_value());
    else
      RC_ASSERT(read.error().code() == registry_errc::invalid_registration);
  }));
}
