#include "support/raw_server.hpp"

#include <order_fulfilment/payment_client.hpp>

#include <shop.pb.h>

#include <eventcore/actors/internal/ask.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/http_client.hpp>
#include <eventcore/runtime/node.hpp>

#include <caf/all.hpp>

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;

result<shop::Payment> ask(const std::string& url, caf::message command,
                          std::chrono::milliseconds limit = patience) {
  node n{open_memory_journal()};
  http_target_options options;
  options.name = "payment gateway";
  options.url = url;
  options.call_limit = limit;
  auto gateway = start_http_client(n.system(), options);
  BOOST_REQUIRE_MESSAGE(gateway, (gateway ? "" : gateway.error().message()));
  auto client = shop::start_payment_client(n.system(), *gateway);
  auto answer = internal::ask_and_wait(n.system(), client, std::move(command), patience);
  if (!answer)
    return answer.error();
  BOOST_REQUIRE_MESSAGE(answer->match_elements<shop::Payment>(), caf::to_string(*answer));
  return answer->get_as<shop::Payment>(0);
}

caf::message take(std::int64_t cents) {
  return caf::make_message(std::string{"o-1"}, command_context{}, make<shop::TakePayment>([&](auto& c) {
                             c.set_customer_id("c-1");
                             c.set_cents(cents);
                           }));
}

caf::message cancel() {
  return caf::make_message(std::string{"o-1"}, command_context{}, shop::CancelPayment{});
}

/// What a gateway that sends `bytes` to every call makes of a command.
result<shop::Payment> answered(std::string bytes, caf::message command,
                               std::chrono::milliseconds limit = patience) {
  test::raw_server server{[&](auto& peer) {
    if (peer.read_head() && peer.send(bytes))
      peer.wait_until_gone();
  }};
  return ask(server.url(), std::move(command), limit);
}

std::string ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

} // namespace

BOOST_AUTO_TEST_CASE(payments_are_taken_and_cancelled) {
  auto taken = answered(ok(R"({"status":"taken","cents":500})"), take(500));
  BOOST_REQUIRE_MESSAGE(taken, (taken ? "" : taken.error().message()));
  BOOST_TEST((taken->status() == shop::Payment::TAKEN));
  BOOST_TEST(taken->cents() == 500);
  auto cancelled = answered(ok(R"({"status":"cancelled","cents":500})"), cancel());
  BOOST_REQUIRE(cancelled);
  BOOST_TEST((cancelled->status() == shop::Payment::CANCELLED));
  BOOST_TEST(bool{answered("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", cancel())});
}

BOOST_AUTO_TEST_CASE(an_answer_that_describes_no_payment_or_another_one_leaves_the_step_in_doubt) {
  for (std::string body :
       {"", "yes", "<html>It works!</html>", "[]", "{}", "null", R"({"status":"taken"})", R"({"cents":500})",
        R"({"status":"taken","cents":499})", R"({"status":"taken","cents":"500"})",
        R"({"status":7,"cents":500})", R"({"status":"taken","cents":500.5})",
        R"({"status":"cancelled","cents":500})", "\xff\xfe", R"({"status":"taken","cents":500)"}) {
    auto answer = answered(ok(body), take(500));
    BOOST_REQUIRE_MESSAGE(!answer, body);
    BOOST_TEST((answer.error().code() == entity_errc::unexpected_reply), body);
    BOOST_TEST(answer.error().message().find("payment gateway answered 200") != std::string::npos);
    BOOST_TEST((shop::outcome_of_payment(answer.error()) == step_outcome::in_doubt));
  }
  BOOST_TEST(!answered(ok(R"({"status":"taken","cents":500})"), cancel()));
  BOOST_TEST(!answered(ok(std::string(100'000, '[')), take(500)));
}

BOOST_AUTO_TEST_CASE(an_answer_without_end_or_sense_leaves_the_step_in_doubt_and_a_no_does_not) {
  auto outcome = [](const result<shop::Payment>& answer) {
    BOOST_REQUIRE(!answer);
    BOOST_TEST_MESSAGE(answer.error().message());
    return shop::outcome_of_payment(answer.error());
  };
  using enum step_outcome;
  BOOST_TEST((outcome(answered(ok(std::string(50 << 20, 'x')), take(500))) == in_doubt));
  BOOST_TEST((outcome(answered("HTTP/1.1 200 OK\r\n\r\n{", take(500), 100ms)) == in_doubt));
  BOOST_TEST((outcome(answered("HTTP/1.1 302 Found\r\nLocation: /payments\r\nContent-Length: 0\r\n\r\n",
                               take(500))) == in_doubt));
  BOOST_TEST((outcome(answered("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", take(500))) == in_doubt));
  BOOST_TEST((outcome(answered("HTTP/1.1 402 No\r\nContent-Length: 0\r\n\r\n", take(500))) == refused));
  BOOST_TEST((outcome(ask("http://nobody.invalid:1", take(500))) == nothing_happened));
}
