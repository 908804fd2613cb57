#include <eventcore/persistence/commit.hpp>
#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/stream_id.hpp>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <rapidcheck.h>

#include <set>
#include <unordered_set>

// Spec 4: 1 to 255 bytes of UTF-8, no control characters, none of * ? [ ]; anything else is a clear error.

namespace eventcore {

namespace {

namespace data = boost::unit_test::data;

const std::string good[]{
    "a",
    "order-4711",
    "order",
    "order-",
    "-4711",
    "a-b-c",
    " ",
    "with space and 'quotes' \"\\/.:{}()",
    "\x7E",
    "kunde-J\xC3\xBCrgen",
    "\xC2\xA0",         // U+00A0, the first behind C1
    "\xDF\xBF",         // U+07FF
    "\xE0\xA0\x80",     // U+0800
    "\xED\x9F\xBF",     // U+D7FF, the last before the surrogates
    "\xEE\x80\x80",     // U+E000, the first behind them
    "\xEF\xBF\xBF",     // U+FFFF
    "\xF0\x90\x80\x80", // U+10000
    "\xF4\x8F\xBF\xBF", // U+10FFFF
    std::string(255, 'x'),
};

const std::string control_characters[]{
    std::string{"a\0b", 3}, "a\x01", "a\x1F", "\n", "\t", "a\x7F", "a\xC2\x80", "a\xC2\x9F",
};

const std::string forbidden_characters[]{"*", "a*", "order-?", "[a", "a]", "\xC3\xBC*"};

const std::string malformed[]{
    "a\x80",                // a continuation byte alone
    "a\xC3",                // cut off
    "a\xE2\x82",            // cut off
    "a\xF0\x9F\x98",        // cut off
    "\xC3\x28",             // no continuation byte
    "\xE2\x28\xA1",         //
    "\xE2\x82\x28",         //
    "\xC0\xAF",             // overlong /
    "\xC0\x80",             // overlong NUL
    "\xC1\xBF",             // overlong U+007F
    "\xE0\x9F\xBF",         // overlong U+07FF
    "\xF0\x8F\xBF\xBF",     // overlong U+FFFF
    "\xED\xA0\x80",         // U+D800
    "\xED\xBF\xBF",         // U+DFFF
    "\xF4\x90\x80\x80",     // U+110000
    "\xF8\x88\x80\x80\x80", // five bytes
    "\xFE",                 //
    "\xFF",                 //
    "latin1-J\xFCrgen",     //
};

std::string refusal(std::string_view text) {
  auto id = stream_id::parse(text);
  BOOST_REQUIRE(!id);
  BOOST_TEST(id.error().code() == journal_errc::invalid_stream_id);
  return id.error().message();
}

void check_contains(const std::string& text, std::string_view part) {
  BOOST_TEST((text.find(part) != std::string::npos), "'" << part << "' is missing in: " << text);
}

} // namespace

BOOST_DATA_TEST_CASE(a_good_id_keeps_its_text, data::make(good), text) {
  auto id = stream_id::parse(text);
  BOOST_TEST_REQUIRE(id.has_value());
  BOOST_TEST(id->str() == text);
}

BOOST_DATA_TEST_CASE(control_characters_are_refused, data::make(control_characters), text) {
  check_contains(refusal(text), "control character");
}

BOOST_DATA_TEST_CASE(pattern_characters_are_refused, data::make(forbidden_characters), text) {
  check_contains(refusal(text), "* ? [ ]");
}

BOOST_DATA_TEST_CASE(malformed_utf8_is_refused, data::make(malformed), text) {
  check_contains(refusal(text), "UTF-8");
}

BOOST_AUTO_TEST_CASE(an_id_has_1_to_255_bytes) {
  check_contains(refusal(""), "1 to 255");
  check_contains(refusal(std::string(256, 'x')), "1 to 255");
  std::string umlauts;
  for (int i = 0; i < 128; ++i)
    umlauts += "\xC3\xBC";
  check_contains(refusal(umlauts), "256 bytes");
}

BOOST_AUTO_TEST_CASE(a_refusal_names_the_text_without_harm) {
  check_contains(refusal("order-*-7"), "'order-*-7'");
  auto message = refusal("bell-\a-escape-\x1B[31m-\xFF");
  check_contains(message, "bell-\\x07-escape-\\x1B[31m-\\xFF");
  BOOST_TEST(message.find('\a') == std::string::npos);
  BOOST_TEST(message.find('\x1B') == std::string::npos);
  message = refusal(std::string(100'000, 'y') + "*");
  check_contains(message, "yyy...");
  BOOST_TEST(message.size() < 300u);
}

BOOST_AUTO_TEST_CASE(the_category_ends_at_the_first_dash) {
  auto category = [](std::string_view text) { return std::string{stream_id::parse(text)->category()}; };
  BOOST_TEST(category("order-4711") == "order");
  BOOST_TEST(category("order-2024-7") == "order");
  BOOST_TEST(category("order") == "order");
  BOOST_TEST(category("order-") == "order");
  BOOST_TEST(category("-7").empty());
}

BOOST_AUTO_TEST_CASE(an_id_is_made_of_category_and_key) {
  auto id = stream_id::of("order", "2024-7");
  BOOST_TEST_REQUIRE(id.has_value());
  BOOST_TEST(id->str() == "order-2024-7");
  BOOST_TEST(id->category() == "order");
  auto refused = stream_id::of("my-order", "7");
  BOOST_TEST_REQUIRE(!refused.has_value());
  BOOST_TEST(refused.error().code() == journal_errc::invalid_stream_id);
  check_contains(refused.error().message(), "'my-order'");
  BOOST_TEST(!stream_id::of("order", "*").has_value());
  BOOST_TEST(!stream_id::of("order", std::string(250, 'x')).has_value());
  BOOST_TEST(stream_id::of("order", std::string(249, 'x')).has_value());
}

BOOST_AUTO_TEST_CASE(ids_compare_by_bytes) {
  auto a = *stream_id::parse("a-1");
  auto b = *stream_id::parse("b-1");
  BOOST_TEST((a == *stream_id::parse("a-1")));
  BOOST_TEST((a != b && a < b));
  BOOST_TEST((std::set<stream_id>{b, a, b}.size() == 2u));
  BOOST_TEST((std::unordered_set<stream_id>{b, a, b}.size() == 2u));
}

BOOST_AUTO_TEST_CASE(any_text_is_taken_as_it_is_or_refused_with_a_reason) {
  BOOST_TEST(rc::check("any text is taken as it is, or refused with a reason", [](const std::string& text) {
    auto id = stream_id::parse(text);
    if (id)
      RC_ASSERT(id->str() == text);
    else
      RC_ASSERT(!id.error().message().empty());
  }));
}

BOOST_AUTO_TEST_CASE(an_expectation_describes_itself) {
  BOOST_TEST(expected_version::exact(7).describe() == "version 7");
  BOOST_TEST(expected_version::none().describe() == "no events");
  BOOST_TEST(expected_version::exact(0).describe() == "no events");
  BOOST_TEST(expected_version::any().describe() == "any version");
}

BOOST_AUTO_TEST_CASE(every_code_has_a_text_of_its_own) {
  std::set<std::string> texts;
  const auto last = static_cast<int>(journal_errc::not_owned);
  for (int code = 1; code <= last; ++code)
    texts.insert(journal_category().message(code));
  BOOST_TEST(texts.size() == static_cast<std::size_t>(last));
  for (const auto& text : texts)
    BOOST_TEST(text.find("unknown") == std::string::npos);
  BOOST_TEST(std::string{journal_category().name()} == "eventcore.journal");
  check_contains(journal_category().message(last + 1), std::to_string(last + 1));
}

} // namespace eventcore
