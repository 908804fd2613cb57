#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/uuid.hpp>

#include <boost/test/unit_test.hpp>
#include <rapidcheck.h>

#include <algorithm>
#include <chrono>
#include <ostream>
#include <set>
#include <thread>
#include <vector>

namespace eventcore {

std::ostream& operator<<(std::ostream& out, const uuid& id) {
  return out << to_string(id);
}

namespace {

/// The leading 48 bits: milliseconds since the Unix epoch.
std::int64_t milliseconds_of(const event_id& id) {
  std::int64_t ms = 0;
  for (std::size_t i = 0; i < 6; ++i)
    ms = ms << 8 | id.bytes[i];
  return ms;
}

int version_of(const uuid& id) {
  return id.bytes[6] >> 4;
}

int variant_of(const uuid& id) {
  return id.bytes[8] >> 6;
}

} // namespace

BOOST_AUTO_TEST_CASE(text_is_parsed_in_either_case) {
  const std::string text = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"; // RFC 9562, appendix A.6
  auto id = uuid::parse(text);
  BOOST_TEST_REQUIRE(id.has_value());
  BOOST_TEST(to_string(*id) == text);
  BOOST_TEST(milliseconds_of(*id) == 1'645'557'742'000);
  auto upper = uuid::parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F");
  BOOST_TEST_REQUIRE(upper.has_value());
  BOOST_TEST(*upper == *id);
  BOOST_TEST(!id->is_nil());
  BOOST_TEST(uuid{}.is_nil());
  BOOST_TEST(to_string(uuid{}) == "00000000-0000-0000-0000-000000000000");
  BOOST_TEST(uuid::parse(to_string(uuid{}))->is_nil());
}

BOOST_AUTO_TEST_CASE(what_is_no_uuid_is_refused_by_name) {
  for (std::string_view text :
       {"", "017f22e2", "017f22e279b07cc398c4dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0", "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2-79b0-7cc3-98c4dc-0c0c07398f", "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
        "017f22e2_79b0_7cc3_98c4_dc0c0c07398f", " 17f22e2-79b0-7cc3-98c4-dc0c0c07398f"}) {
    auto id = uuid::parse(text);
    BOOST_TEST_REQUIRE(!id.has_value(), text);
    BOOST_TEST(id.error().code() == journal_errc::invalid_argument);
    BOOST_TEST((id.error().message().find(text) != std::string::npos), id.error().message());
  }
}

BOOST_AUTO_TEST_CASE(every_uuid_round_trips_as_text) {
  BOOST_TEST(rc::check("every uuid round trips as text", [](const std::array<std::uint8_t, 16>& bytes) {
    const uuid id{bytes};
    auto parsed = uuid::parse(to_string(id));
    RC_ASSERT(parsed.has_value());
    RC_ASSERT(*parsed == id);
  }));
}

BOOST_AUTO_TEST_CASE(random_uuids_differ) {
  std::set<uuid> ids;
  for (int i = 0; i < 1'000; ++i) {
    auto id = uuid::random();
    BOOST_TEST_REQUIRE(version_of(id) == 4);
    BOOST_TEST_REQUIRE(variant_of(id) == 2);
    ids.insert(id);
  }
  BOOST_TEST(ids.size() == 1'000u);
}

BOOST_AUTO_TEST_CASE(an_event_id_holds_the_time) {
  std::int64_t now = 1'700'000'000'123'456;
  event_id_generator ids{[&] { return now; }};
  auto id = ids.next();
  BOOST_TEST(version_of(id) == 7);
  BOOST_TEST(variant_of(id) == 2);
  BOOST_TEST(milliseconds_of(id) == 1'700'000'000'123);
  // RFC 9562, 6.2, method 3: the fraction of the millisecond, in 4096ths.
  BOOST_TEST(((id.bytes[6] & 0x0F) << 8 | id.bytes[7]) == 456 * 4'096 / 1'000);

  const auto before = std::chrono::system_clock::now().time_since_epoch() / std::chrono::milliseconds{1};
  const auto made = milliseconds_of(event_id_generator{}.next());
  const auto after = std::chrono::system_clock::now().time_since_epoch() / std::chrono::milliseconds{1};
  BOOST_TEST(before <= made);
  BOOST_TEST(made <= after);
}

BOOST_AUTO_TEST_CASE(event_ids_grow_while_the_clock_stands_still) {
  event_id_generator ids{[] { return std::int64_t{1'700'000'000'000'000}; }};
  auto last = ids.next();
  for (int i = 0; i < 10'000; ++i) { // more than fit into one millisecond
    auto id = ids.next();
    BOOST_TEST_REQUIRE(last < id);
    BOOST_TEST_REQUIRE(version_of(id) == 7);
    BOOST_TEST_REQUIRE(variant_of(id) == 2);
    last = id;
  }
}

BOOST_AUTO_TEST_CASE(event_ids_grow_under_any_clock) {
  BOOST_TEST(rc::check("event ids grow under any clock", [](const std::vector<std::int64_t>& times) {
    std::int64_t now = 0;
    event_id_generator ids{[&] { return now; }};
    auto last = ids.next();
    for (auto time : times) {
      now = time % (std::int64_t{1} << 50); // some 36 years, before and after the epoch
      auto id = ids.next();
      RC_ASSERT(last < id);
      last = id;
    }
  }));
}

BOOST_AUTO_TEST_CASE(event_ids_grow_behind_observed_ones) {
  event_id_generator ids{[] { return std::int64_t{1'000'000}; }};
  event_id_generator future{[] { return std::int64_t{2'000'000'000'000'000}; }};
  auto observed = future.next();
  ids.observe(observed);
  auto id = ids.next();
  BOOST_TEST((observed < id));
  ids.observe(event_id_generator{[] { return std::int64_t{5}; }}.next());
  auto next = ids.next();
  BOOST_TEST((id < next), "an old id does not pull the generator back");
  ids.observe(*uuid::parse("ffffffff-ffff-4fff-bfff-ffffffffffff"));
  BOOST_TEST(milliseconds_of(ids.next()) == milliseconds_of(next), "an id of another version says nothing");
}

BOOST_AUTO_TEST_CASE(event_ids_of_several_threads_grow_and_differ) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t count = 20'000;
  std::atomic<std::int64_t> now{1'700'000'000'000'000};
  // A clock that jumps about.
  event_id_generator ids{
      [&] { return now.fetch_add(7) % 3 == 0 ? std::int64_t{1'600'000'000'000'000} : now.load(); }};
  std::vector<std::vector<event_id>> made(threads);
  {
    std::vector<std::jthread> running;
    for (auto& mine : made)
      running.emplace_back([&] {
        for (std::size_t i = 0; i < count; ++i)
          mine.push_back(ids.next());
      });
  }
  std::vector<event_id> all;
  for (auto& mine : made) {
    BOOST_TEST((std::ranges::adjacent_find(mine, std::ranges::greater_equal{}) == mine.end()));
    all.insert(all.end(), mine.begin(), mine.end());
  }
  std::ranges::sort(all);
  // They differ in the leading 64 bits already, which is what makes them grow.
  auto same_head = [](const event_id& a, const event_id& b) {
    return std::equal(&a.bytes[0], &a.bytes[8], &b.bytes[0]);
  };
  BOOST_TEST((std::ranges::adjacent_find(all, same_head) == all.end()));
}

} // namespace eventcore
