#include <eventcore/actors/internal/saved_answers.hpp>

#include <boost/test/unit_test.hpp>
#include <rapidcheck.h>

#include <deque>

using namespace eventcore;
using namespace std::chrono_literals;

namespace {

struct kept {
  std::string key;
  std::string content;
  timestamp given_at;
};

} // namespace

BOOST_AUTO_TEST_CASE(the_newest_answers_are_found_by_their_keys_and_no_others) {
  auto holds = rc::check("as a list of the newest would have them", [] {
    answer_options limits;
    limits.keep = *rc::gen::inRange<std::size_t>(1, 40);
    limits.age = 100s;
    internal::saved_answers answers;
    std::deque<kept> model;
    timestamp now{1h};
    const auto puts = *rc::gen::inRange(0, 200);
    for (int i = 0; i != puts; ++i) {
      now += std::chrono::seconds{*rc::gen::inRange(0, 5)};
      kept next{"key-" + std::to_string(*rc::gen::inRange(0, 60)), std::to_string(i), now};
      answers.put(limits, next.key, next.content, now);
      model.push_back(std::move(next));
      if (model.size() > limits.keep)
        model.pop_front();
    }
    for (int i = 0; i != 60; ++i) {
      const auto key = "key-" + std::to_string(i);
      auto expected = std::find_if(model.rbegin(), model.rend(), [&](auto& k) { return k.key == key; });
      auto found = answers.find(limits, key, now);
      RC_ASSERT(found.has_value() == (expected != model.rend() && now - expected->given_at <= limits.age));
      if (found)
        RC_ASSERT(*found == expected->content);
    }
  });
  BOOST_TEST(holds);
}
