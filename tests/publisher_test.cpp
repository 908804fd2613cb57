#include "support/account.hpp"
#include "support/journal_helpers.hpp"

#include <eventcore/actors/internal/saved_answers.hpp>
#include <eventcore/actors/publisher.hpp>
#include <eventcore/persistence/memory_journal.hpp>

#include "evolution.pb.h"

#include <google/protobuf/util/message_differencer.h>
#include <rapidcheck.h>

namespace eventcore::test {

namespace {

std::string any_text() {
  std::string text;
  for (const auto* part : *rc::gen::container<std::vector<const char*>>(
           rc::gen::element("a", "Z", "-", " ", "\n", "\u00e9", "\u6f22", "\U0001f600", "@", "00")))
    text += part;
  return text;
}

event_metadata any_metadata() {
  event_metadata m{any_text(), any_text(), any_text(), any_text(), any_text(), {}};
  for (auto n = *rc::gen::inRange(0, 4); n > 0; --n)
    m.headers[any_text()] = any_text();
  return m;
}

recorded_event any_event() {
  static event_id_generator ids;
  recorded_event e;
  e.position = *rc::gen::inRange<log_position>(1, ~log_position{0});
  e.stream = "order-" + *rc::gen::container<std::string>(rc::gen::inRange('a', 'z'));
  e.stream.resize(std::min<std::size_t>(e.stream.size(), stream_id::max_size));
  e.version = *rc::gen::inRange<stream_version>(1, ~stream_version{0});
  e.id = ids.next();
  e.type = "shop." + *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange('A', 'Z')));
  e.schema_version = *rc::gen::arbitrary<std::uint32_t>();
  e.occurred_at = timestamp{std::chrono::microseconds{*rc::gen::arbitrary<std::int64_t>()}};
  e.payload = *rc::gen::arbitrary<std::string>();
  e.metadata = any_metadata();
  return e;
}

void same(const recorded_event& a, const recorded_event& b) {
  RC_ASSERT(a.position == b.position);
  RC_ASSERT(a.stream == b.stream);
  RC_ASSERT(a.version == b.version);
  RC_ASSERT(a.id == b.id);
  RC_ASSERT(a.type == b.type);
  RC_ASSERT(a.schema_version == b.schema_version);
  RC_ASSERT(a.occurred_at == b.occurred_at);
  RC_ASSERT(a.payload == b.payload);
  RC_ASSERT(a.metadata == b.metadata);
}

recorded_event plain_event() {
  recorded_event e;
  e.position = 7;
  e.stream = "account-alice";
  e.version = 3;
  e.id = *uuid::parse("01890a5d-ac96-774b-bcce-b302099a8057");
  e.type = "bank.Deposited";
  e.occurred_at = timestamp{std::chrono::microseconds{1'000'001}};
  e.payload = "\x08\x05";
  return e;
}

DistributedEvent traced(const std::string& traceparent) {
  auto e = plain_event();
  e.metadata.traceparent = traceparent;
  return to_distributed(e, "bank", {}, {});
}

publication all_of_account() {
  publication p;
  p.map<bank::Opened, bank::Deposited, bank::Withdrawn>("accounts").publish<account>();
  return p;
}

} // namespace

/// spec 6
BOOST_AUTO_TEST_CASE(every_event_round_trips_through_its_published_form) {
  BOOST_TEST(rc::check("every event round trips", [] {
    const auto e = any_event();
    const auto service = "shop" + any_text();
    const auto topics =
        *rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>("a", "b"));
    const auto published_at = timestamp{std::chrono::microseconds{*rc::gen::arbitrary<std::int64_t>()}};
    const auto envelope = to_distributed(e, service, topics, published_at);
    DistributedEvent arrived;
    RC_ASSERT(arrived.ParseFromString(envelope.SerializeAsString()));
    RC_ASSERT(google::protobuf::util::MessageDifferencer::Equals(arrived, envelope));
    RC_ASSERT(arrived.service_id() == service);
    RC_ASSERT(std::ranges::equal(arrived.topics(), topics));
    RC_ASSERT(arrived.published_at_us() == published_at.time_since_epoch().count());
    auto back = from_distributed(arrived);
    RC_ASSERT(back.has_value());
    same(*back, e);
  }));
}

/// What other builds have written must stay readable: these bytes are for ever.
BOOST_AUTO_TEST_CASE(the_field_numbers_are_stable) {
  auto e = plain_event();
  e.metadata = {"c", "d", "t", "u", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", {{"k", "v"}}};
  const std::vector<std::string> topics{"accounts"};
  const auto bytes =
      to_distributed(e, "bank", topics, timestamp{std::chrono::microseconds{2'000'002}}).SerializeAsString();
  const auto hex_of = [](std::string_view text) {
    std::string hex;
    for (const unsigned char c : text)
      (hex += "0123456789abcdef"[c >> 4]) += "0123456789abcdef"[c & 15];
    return hex;
  };
  // clang-format off
  BOOST_TEST(hex_of(bytes) ==
             "0a1001890a5dac96774bbcceb302099a8057"      // event_id
             "120e62616e6b2e4465706f7369746564"          // event_type
             "1801"                                      // schema_version
             "220d6163636f756e742d616c696365"            // stream_id
             "2803"                                      // version
             "3007"                                      // position
             "3a020805"                                  // payload
             "424d" "0a0163" "120164" "1a0174" "220175"  // metadata, its four ids,
             "2a37" + hex_of(e.metadata.traceparent) +   // trace context
             "3206" "0a016b" "120176"                    // and header
             "4941420f0000000000"                        // occurred_at_us
             "5182841e0000000000"                        // published_at_us
             "5a0462616e6b"                              // service_id
             "6220" + hex_of("0af7651916cd43dd8448eb211c80319c") + // trace_id
             "6a10" + hex_of("b7ad6b7169203331") +       // span_id
             "72086163636f756e7473");                    // topics
  // clang-format on
}

BOOST_AUTO_TEST_CASE(the_trace_comes_from_the_metadata) {
  const auto e = traced("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  BOOST_TEST(e.trace_id() == "0af7651916cd43dd8448eb211c80319c");
  BOOST_TEST(e.span_id() == "b7ad6b7169203331");
  BOOST_TEST(traced("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-new").trace_id() ==
             e.trace_id());

  for (const auto* wrong : {"", "00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-new",
                            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01"}) {
    BOOST_TEST(traced(wrong).trace_id().empty(), wrong);
    BOOST_TEST(traced(wrong).span_id().empty(), wrong);
    BOOST_TEST(traced(wrong).metadata().traceparent() == wrong);
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_published_event_is_refused_by_field) {
  const auto good = to_distributed(plain_event(), "bank", {}, {});
  BOOST_TEST(from_distributed(good).has_value());
  const auto refused = [&](auto change, std::string_view field) {
    auto bad = good;
    change(bad);
    const auto back = from_distributed(bad);
    BOOST_TEST_REQUIRE(!back);
    BOOST_TEST((back.error().code() == publish_errc::malformed_envelope));
    check_contains(back.error().message(), field);
  };
  refused([](auto& e) { e.set_event_id("short"); }, "event_id");
  refused([](auto& e) { e.set_event_id(std::string(16, 'A')); }, "event_id");
  refused([](auto& e) { e.set_stream_id("order-*"); }, "stream_id");
  refused([](auto& e) { e.clear_event_type(); }, "event_type");
  refused([](auto& e) { e.set_version(0); }, "version");
  refused([](auto& e) { e.set_position(0); }, "position");
}

/// spec 5
BOOST_AUTO_TEST_CASE(types_are_mapped_to_topics) {
  auto content = all_of_account();
  content.map<bank::Opened>("openings").map<bank::Opened>("accounts");
  const auto publishing = must(publisher::create(content, "bank"));
  const auto topics = must(publishing.topics_of("bank.Opened"));
  BOOST_TEST((std::vector(topics.begin(), topics.end()) == std::vector<std::string>{"accounts", "openings"}));
  BOOST_TEST((publishing.categories() == std::vector<std::string>{"account"}));

  auto e = plain_event();
  const auto envelope = must(publishing.envelope(e));
  BOOST_TEST(envelope.service_id() == "bank");
  BOOST_TEST(envelope.topics(0) == "accounts");
  BOOST_TEST(envelope.published_at_us() > 0);

  e.type = "bank.Closed";
  for (const auto& failed : {publishing.envelope(e).error(), publishing.topics_of("bank.Closed").error()}) {
    BOOST_TEST((failed.code() == publish_errc::unknown_event_type));
    check_contains(failed.message(), "unknown event type bank.Closed");
    check_contains(failed.message(), "service bank");
  }
}

BOOST_AUTO_TEST_CASE(topics_are_what_a_subscription_reads) {
  using topics = std::vector<std::string>;
  auto content = all_of_account();
  content.map<bank::Opened>("openings").map<bank::Withdrawn>("openings");
  const auto publishing = must(publisher::create(content, "bank"));
  const auto openings = must(publishing.filter_of(topics{"openings"}));
  BOOST_TEST((openings.categories == topics{"account"}));
  BOOST_TEST((openings.types == topics{"bank.Opened", "bank.Withdrawn"}));
  BOOST_TEST((must(publishing.filter_of(topics{"openings", "accounts"})).types ==
              topics{"bank.Deposited", "bank.Opened", "bank.Withdrawn"}));
  // A filter of nothing would be one of everything.
  for (const auto& wrong : {topics{"opening"}, topics{"openings", ""}, topics{}}) {
    const auto refused = publishing.filter_of(wrong);
    BOOST_TEST_REQUIRE(!refused);
    BOOST_TEST((refused.error().code() == publish_errc::unknown_topic));
    check_contains(refused.error().message(), "accounts, openings");
  }
  content.categories.clear();
  BOOST_TEST(!must(publisher::create(content, "bank")).filter_of(topics{"openings"}));
}

/// spec 5
BOOST_AUTO_TEST_CASE(an_unmapped_type_of_a_published_category_is_found_at_the_start) {
  publication content;
  content.map<bank::Opened>("accounts").publish<account>();
  const auto refused = publisher::create(content, "bank");
  BOOST_TEST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code() == publish_errc::unknown_event_type));
  for (const auto* part : {"bank.Deposited", "bank.Withdrawn", "category account"})
    check_contains(refused.error().message(), part);
  BOOST_TEST(refused.error().message().find("bank.Opened") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_topic_has_a_name_that_is_safe_in_logs_and_patterns) {
  for (const auto* topic : {"", "orders*", "a\nb", "\xff"}) {
    auto content = all_of_account();
    content.map<bank::Opened>(topic);
    const auto refused = publisher::create(content, "bank");
    BOOST_TEST_REQUIRE(!refused);
    BOOST_TEST((refused.error().code() == publish_errc::invalid_topic));
    check_contains(refused.error().message(), "bank.Opened");
  }
}

/// spec 8
BOOST_AUTO_TEST_CASE(only_published_categories_are_published) {
  const auto publishing = must(publisher::create(all_of_account(), "bank"));
  auto e = plain_event();
  BOOST_TEST(publishing.publishes(e));
  e.stream = "accounting-1";
  BOOST_TEST(!publishing.publishes(e));
  e = plain_event();
  e.type = internal::answer_carrier().type->full_name();
  BOOST_TEST(!publishing.publishes(e));
}

BOOST_AUTO_TEST_CASE(a_renamed_type_is_published_under_its_former_names_too) {
  publication content;
  content.map<evolution_test::Closed>("doors");
  const auto publishing = must(publisher::create(content, "bank"));
  for (const auto* name : {"evolution_test.Closed", "evolution_test.Shut", "evolution_test.Locked"})
    BOOST_TEST(publishing.topics_of(name).has_value(), name);
}

} // namespace eventcore::test
