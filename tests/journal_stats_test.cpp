#include "support/journal_helpers.hpp"

#include "bank.pb.h"

#include <eventcore/persistence/memory_journal.hpp>

#include <boost/test/unit_test.hpp>

#include <numeric>

using namespace eventcore;

namespace {

commit deposits(const std::string& account, std::size_t count, expected_version expected) {
  commit c;
  c.appends.push_back({*stream_id::of("account", account), expected, {}});
  for (std::size_t i = 0; i != count; ++i)
    c.appends[0].events.push_back({bank::Deposited::descriptor(), {}});
  return c;
}

std::uint64_t count_of(const distribution& d) {
  return std::accumulate(d.counts.begin(), d.counts.end(), std::uint64_t{0});
}

} // namespace

BOOST_AUTO_TEST_CASE(a_journal_tells_what_it_wrote_and_how) {
  journal_options options;
  options.writer = writer_mode::stepped;
  auto j = open_memory_journal(options);
  const auto submit = [&](commit c) { j->submit(std::move(c), *j->reserve(), nullptr, 0); };
  BOOST_TEST(j->stats().events_by_type.empty());
  BOOST_TEST((j->stats().last_success == std::chrono::steady_clock::time_point{}));
  submit(deposits("a", 2, expected_version::none()));
  submit(deposits("b", 1, expected_version::none()));
  submit(deposits("a", 5, expected_version::none())); // a conflict
  j->step();
  const auto s = j->stats();
  BOOST_REQUIRE(s.events_by_type.size() == 1u);
  BOOST_TEST(s.events_by_type[0].first == "bank.Deposited");
  BOOST_TEST(s.events_by_type[0].second == 3u, "what was refused is not counted");
  BOOST_TEST(count_of(s.batch) == 1u);
  BOOST_TEST(s.batch.sum == 2);
  BOOST_TEST(s.batch.counts[1] == 1u, "two commits are in the bucket up to 2");
  BOOST_TEST(count_of(s.sync_seconds) == 1u);
  BOOST_TEST((s.last_success > std::chrono::steady_clock::time_point{}));
}

BOOST_AUTO_TEST_CASE(a_journal_tells_when_too_much_waited) {
  journal_options options;
  options.writer = writer_mode::stepped;
  options.max_pending_commits = 1;
  auto j = open_memory_journal(options);
  BOOST_TEST(j->stats().max_pending_commits == 1u);
  auto held = j->reserve();
  BOOST_TEST(j->stats().overloaded == 0u);
  BOOST_TEST(!j->reserve());
  BOOST_TEST(j->stats().overloaded == 1u);
  BOOST_TEST((j->stats().last_overload > std::chrono::steady_clock::time_point{}));
}
