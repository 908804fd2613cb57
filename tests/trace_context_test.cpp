#include <eventcore/actors/trace_context.hpp>

#include <boost/test/unit_test.hpp>
#include <rapidcheck.h>

using eventcore::trace_context;

namespace {

const std::string id = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string span = "00f067aa0ba902b7";

std::string header(const std::string& version = "00", const std::string& trace = id,
                   const std::string& parent = span, const std::string& flags = "01") {
  return version + '-' + trace + '-' + parent + '-' + flags;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_context_is_read_and_written_as_the_recommendation_has_it) {
  const auto c = trace_context::parse(header());
  BOOST_REQUIRE(c);
  BOOST_TEST(c->trace_id() == id);
  BOOST_TEST(c->span_id() == span);
  BOOST_TEST(c->sampled);
  BOOST_TEST(c->str() == header());
  BOOST_TEST(!trace_context::parse(header("00", id, span, "00"))->sampled);
}

BOOST_AUTO_TEST_CASE(flags_that_are_not_known_are_not_passed_on) {
  const auto c = trace_context::parse(header("00", id, span, "ff"));
  BOOST_REQUIRE(c);
  BOOST_TEST(c->sampled);
  BOOST_TEST(c->str() == header());
  BOOST_TEST(!trace_context::parse(header("00", id, span, "fe"))->sampled);
}

BOOST_AUTO_TEST_CASE(a_future_version_is_read_as_far_as_it_is_known) {
  for (auto& text : {header("01"), header("cc") + "-what-the-future-will-be-like", header("fe") + "-"}) {
    const auto c = trace_context::parse(text);
    BOOST_REQUIRE_MESSAGE(c, text);
    BOOST_TEST(c->str() == header(), "it is passed on in the version that is known");
  }
  for (auto& text : {header("cc") + ".what", header("01") + "0"})
    BOOST_TEST(!trace_context::parse(text), text);
}

BOOST_AUTO_TEST_CASE(what_is_no_context_is_none) {
  auto upper = id;
  upper[1] = 'B';
  const std::vector<std::string> wrong{
      "",
      "garbage",
      header("ff"),
      header("0x"),
      header("00", upper),
      header("00", id, "00F067AA0BA902B7"),
      header("00", id, span, "0g"),
      header("00", std::string(32, '0')),
      header("00", id, std::string(16, '0')),
      header() + "-more",
      header() + ' ',
      ' ' + header(),
      header().substr(0, 54),
      "00_" + id + '-' + span + "-01",
      "00-" + id + '_' + span + "-01",
      "00-" + id + '-' + span + "_01",
      "00-" + id.substr(1) + "--" + span + "-01",
      header() + std::string(1u << 20, 'a'),
      std::string(1u << 20, '0'),
      std::string(55, '\0'),
  };
  for (auto& text : wrong)
    BOOST_TEST(!trace_context::parse(text), text.substr(0, 80));
}

BOOST_AUTO_TEST_CASE(children_stay_in_their_trace) {
  const auto root = trace_context::begin(true);
  const auto child = root.child();
  BOOST_TEST(child.trace_id() == root.trace_id());
  BOOST_TEST(child.span != root.span);
  BOOST_TEST(child.sampled);
  BOOST_TEST(trace_context::begin(true).trace_id() != root.trace_id());
}

BOOST_AUTO_TEST_CASE(any_context_comes_back_from_its_text_and_any_text_is_survived) {
  rc::check("round trip", [](std::uint64_t high, std::uint64_t low, std::uint64_t of, bool sampled) {
    RC_PRE((high != 0 || low != 0) && of != 0);
    const trace_context c{high, low, of, sampled};
    RC_ASSERT(trace_context::parse(c.str()) == c);
  });
  rc::check("one changed byte", [] {
    auto text = header();
    text[*rc::gen::inRange<std::size_t>(0, text.size())] = *rc::gen::arbitrary<char>();
    if (const auto c = trace_context::parse(text))
      RC_ASSERT(trace_context::parse(c->str()) == c);
  });
}
