#include <eventcore/persistence/view_key.hpp>

#include <boost/test/unit_test.hpp>
#include <rapidcheck.h>

#include <limits>

using namespace eventcore;

namespace {

/// The order of the bytes is the order of the keys, and the bytes hold the key.
template <class Key>
void check_order(const Key& a, const Key& b) {
  const auto bytes_a = to_view_key(a);
  const auto bytes_b = to_view_key(b);
  RC_ASSERT((bytes_a < bytes_b) == (a < b));
  RC_ASSERT((bytes_a == bytes_b) == (a == b));
  std::string_view rest = bytes_a;
  Key parsed{};
  RC_ASSERT(view_key<Key>::take(rest, parsed));
  RC_ASSERT(parsed == a);
  RC_ASSERT(rest.empty());
}

/// Few different bytes, among them those that are written otherwise.
std::string text() {
  return *rc::gen::container<std::string>(rc::gen::element('\0', '\1', '\2', 'a', 'b', '\xFE', '\xFF'));
}

} // namespace

BOOST_AUTO_TEST_CASE(keys_keep_their_order_and_content) {
  BOOST_TEST(rc::check("integers", [] {
    check_order<std::int8_t>(*rc::gen::arbitrary<std::int8_t>(), *rc::gen::arbitrary<std::int8_t>());
    check_order<std::uint16_t>(*rc::gen::arbitrary<std::uint16_t>(), *rc::gen::arbitrary<std::uint16_t>());
    check_order<std::int64_t>(*rc::gen::arbitrary<std::int64_t>(), *rc::gen::arbitrary<std::int64_t>());
    check_order<bool>(*rc::gen::arbitrary<bool>(), *rc::gen::arbitrary<bool>());
  }));
  BOOST_TEST(rc::check("texts", [] { check_order<std::string>(text(), text()); }));
  BOOST_TEST(rc::check("times", [] {
    const auto time = [] {
      return timestamp{std::chrono::microseconds{*rc::gen::arbitrary<std::int64_t>()}};
    };
    check_order<timestamp>(time(), time());
  }));
  BOOST_TEST(rc::check("tuples", [] {
    using key = std::tuple<std::string, std::int32_t, std::string>;
    const auto make = [] { return key{text(), *rc::gen::inRange(-2, 3), text()}; };
    check_order<key>(make(), make());
  }));
  for (auto number : {std::numeric_limits<std::int64_t>::min(), std::int64_t{-1}, std::int64_t{0},
                      std::numeric_limits<std::int64_t>::max()}) {
    const auto bytes = to_view_key(number);
    std::string_view rest = bytes;
    std::int64_t parsed = 7;
    BOOST_TEST(view_key<std::int64_t>::take(rest, parsed));
    BOOST_TEST(parsed == number);
  }
  check_order<uuid>(uuid::random(), uuid::random());
}

BOOST_AUTO_TEST_CASE(ranges_hold_what_they_say) {
  const auto holds = [](const view_bounds& bounds, const std::string& bytes) {
    return bytes >= bounds.begin && (bounds.end.empty() || bytes < bounds.end);
  };
  BOOST_TEST(rc::check("texts that begin with a text", [&] {
    const auto start = text();
    const auto other = text();
    RC_ASSERT(holds(key_range<std::string>::starting_with(start), to_view_key(other)) ==
              other.starts_with(start));
  }));
  BOOST_TEST(rc::check("tuples under their first elements", [&] {
    using key = std::tuple<std::string, std::uint8_t, std::string>;
    const auto first = text();
    const key other{text(), *rc::gen::arbitrary<std::uint8_t>(), text()};
    const auto number = *rc::gen::element<std::uint8_t>(0, 1, 255);
    RC_ASSERT(holds(key_range<key>::under(first), to_view_key(other)) == (std::get<0>(other) == first));
    RC_ASSERT(holds(key_range<key>::under(first, number), to_view_key(other)) ==
              (std::get<0>(other) == first && std::get<1>(other) == number));
  }));
  BOOST_TEST(rc::check("between two", [&] {
    const auto a = *rc::gen::arbitrary<int>(), b = *rc::gen::arbitrary<int>(), x = *rc::gen::arbitrary<int>();
    RC_ASSERT(holds(key_range<int>::between(a, b), to_view_key(x)) == (x >= a && x < b));
    RC_ASSERT(holds(key_range<int>::from(a), to_view_key(x)) == (x >= a));
    RC_ASSERT(holds(key_range<int>::all(), to_view_key(x)));
  }));
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_key_are_refused) {
  const auto takes = [](std::string_view bytes) {
    std::string text;
    return view_key<std::string>::take(bytes, text);
  };
  BOOST_TEST(takes(std::string_view("a\0\1", 3)));
  for (auto bytes : {std::string_view(""), std::string_view("a"), std::string_view("a\0", 2),
                     std::string_view("a\0\2", 3), std::string_view("a\0\xFF", 3)})
    BOOST_TEST(!takes(bytes));
  std::string_view three = "abc";
  std::int32_t number = 0;
  BOOST_TEST(!view_key<std::int32_t>::take(three, number));
}

BOOST_AUTO_TEST_CASE(key_types_have_names) {
  BOOST_TEST(view_key<std::int64_t>::name() == "int64");
  BOOST_TEST(view_key<bool>::name() == "uint8");
  BOOST_TEST((view_key<std::tuple<std::string, timestamp, uuid>>::name() == "(string, timestamp, uuid)"));
}
