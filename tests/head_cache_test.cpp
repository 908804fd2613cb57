#include <eventcore/persistence/internal/head_cache.hpp>

#include <boost/test/unit_test.hpp>
#include <rapidcheck.h>

#include <deque>
#include <map>
#include <set>

using namespace eventcore;

BOOST_AUTO_TEST_CASE(the_streams_used_last_are_known_at_their_versions) {
  auto holds = rc::check("as a map and a list of the last uses would have them", [] {
    const auto capacity = *rc::gen::inRange<std::size_t>(0, 400);
    internal::head_cache heads{capacity};
    std::map<std::string, stream_version> versions;
    std::deque<std::string> uses;
    const auto steps = *rc::gen::inRange(0, 2'000);
    for (int i = 0; i != steps; ++i) {
      const auto stream = "stream-" + std::to_string(*rc::gen::inRange(0, 500)) +
                          std::string(*rc::gen::element(0u, 40u), 'x');
      auto* known = heads.find(stream);
      std::set<std::string> last;
      for (auto use = uses.rbegin(); use != uses.rend() && last.size() < capacity / 2; ++use)
        last.insert(*use);
      RC_ASSERT(known || !last.contains(stream));
      if (known)
        RC_ASSERT(*known == versions[stream]);
      else
        known = heads.put(stream, versions[stream]);
      *known = ++versions[stream];
      uses.push_back(stream);
      if (*rc::gen::inRange(0, 4) == 0)
        heads.trim();
      if (*rc::gen::inRange(0, 1'000) == 0) {
        heads.clear();
        uses.clear();
      }
    }
  });
  BOOST_TEST(holds);
}

// An open transaction keeps pointers to heads while it looks others up.
BOOST_AUTO_TEST_CASE(heads_stay_where_they_are_until_the_cache_is_trimmed) {
  internal::head_cache heads{16};
  std::vector<stream_version*> found;
  for (stream_version i = 0; i != 10'000; ++i)
    found.push_back(heads.put(std::to_string(i), i));
  for (stream_version i = 0; i != found.size(); ++i) {
    BOOST_REQUIRE(*found[i] == i);
    BOOST_REQUIRE(heads.find(std::to_string(i)) == found[i]);
  }
}
