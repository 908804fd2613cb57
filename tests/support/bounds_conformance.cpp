#include "support/journal_conformance_cases.hpp"
#include "support/journal_helpers.hpp"

namespace eventcore::test {

namespace {

// -- bounds ---------------------------------------------------------------------------------------

void credit_is_bounded_by_count(const case_setup& setup) {
  auto options = setup.options();
  options.writer = writer_mode::stepped;
  options.max_pending_commits = 3;
  auto j = setup.open(options);
  auto answers = std::make_shared<recorder>();
  {
    auto first = must(j->reserve());
    auto second = must(j->reserve());
    auto third = must(j->reserve());
    check_contains(must_fail(j->reserve(), journal_errc::overloaded), "3");
    BOOST_TEST(j->stats().pending_commits == 3u);
    auto moved = std::move(first);
    BOOST_TEST(!first);
    must_fail(j->reserve(), journal_errc::overloaded);
    second = writer_credit{};
    first = must(j->reserve());
    must_fail(j->reserve(), journal_errc::overloaded);
    // Submitted, but not answered yet: still taken.
    j->submit(append("order-1", any, {happened(1)}), std::move(third), answers, 0);
    must_fail(j->reserve(), journal_errc::overloaded);
    BOOST_TEST(j->step() == 1u);
    third = must(j->reserve());
    must_fail(j->reserve(), journal_errc::overloaded);
  }
  BOOST_TEST(j->stats().pending_commits == 0u);
  BOOST_TEST(j->stats().pending_bytes == 0u);
  // A commit that is refused gives its credit back, too.
  for (int i = 0; i < 10; ++i) {
    BOOST_TEST(submit(*j, append("order-1", any, {new_event{}}), answers, 0));
    BOOST_TEST(submit(*j, append("order-1", exact(99), {happened(1)}), answers, 0));
    j->step();
  }
  BOOST_TEST(j->stats().pending_commits == 0u);
  BOOST_TEST(j->stats().pending_bytes == 0u);
}

void credit_is_bounded_by_bytes(const case_setup& setup) {
  auto options = setup.options();
  options.writer = writer_mode::stepped;
  options.max_pending_bytes = 100'000;
  auto j = setup.open(options);
  {
    auto credit = must(j->reserve(60'000));
    BOOST_TEST(credit.bytes() == 60'000u);
    check_contains(must_fail(j->reserve(60'000), journal_errc::overloaded), "100000");
    auto rest = must(j->reserve(30'000));
    BOOST_TEST(j->stats().pending_bytes == 90'000u);
  }
  BOOST_TEST(j->stats().pending_bytes == 0u);
  // A commit that is larger than its credit is charged with what it is.
  j->submit(append("order-1", any, {happened(1, std::string(90'000, 'x'))}), must(j->reserve(10)), nullptr,
            0);
  BOOST_TEST(j->stats().pending_bytes >= 90'000u);
  must_fail(j->reserve(20'000), journal_errc::overloaded);
  j->step();
  BOOST_TEST(j->stats().pending_bytes == 0u);
  BOOST_TEST(j->reserve(20'000).has_value());
}

void a_commit_without_credit_is_refused(const case_setup& setup) {
  auto j = setup.open_stepped();
  auto answers = std::make_shared<recorder>();
  j->submit(append("order-1", any, {happened(1)}), writer_credit{}, answers, 0);
  check_codes(answers->take(), {journal_errc::invalid_argument});
  j->step();
  BOOST_TEST(must(j->head()) == 0u);
}

void a_commit_that_is_too_large_is_refused(const case_setup& setup) {
  auto options = setup.options();
  options.max_commit_bytes = 10'000;
  options.max_commit_events = 20;
  auto j = setup.open(options);
  auto refused = [&](commit c) {
    return must_fail(j->commit_and_wait(std::move(c)), journal_errc::too_large);
  };
  check_contains(refused(append("order-1", any, {happened(1, std::string(10'001, 'x'))})), "10000");
  check_contains(refused(append("order-1", any, happened_many(21))), "20");
  commit spread;
  spread.appends.push_back({sid("order-1"), any, happened_many(11)});
  spread.appends.push_back({sid("order-2"), any, happened_many(10)});
  refused(spread);
  BOOST_TEST(must(j->commit_and_wait(append("order-1", none, happened_many(20)))).first == 1u);
  BOOST_TEST(
      must(j->commit_and_wait(append("order-2", none, {happened(1, std::string(9'000, 'x'))}))).first == 21u);
}

/// Also what is larger than a group may be, and than a page of a database.
void large_commits_are_kept_whole(const case_setup& setup) {
  auto options = setup.options();
  options.max_group_bytes = 50'000;
  options.max_group_events = 10;
  auto j = setup.open(options);
  const std::string large(1'000'000, 'y');
  must(j->commit_and_wait(append("order-1", none, {happened(1, large)})));
  must(j->commit_and_wait(append("order-1", exact(1), happened_many(500))));
  auto answers = std::make_shared<recorder>();
  for (std::size_t i = 0; i < 100; ++i)
    BOOST_TEST_REQUIRE(submit(*j, append("order-2", exact(i * 3), happened_many(3)), answers, i));
  BOOST_TEST_REQUIRE(answers->wait_for(100));
  wait_for_head(setup, *j, 801);
  auto first = read_stream(*j, sid("order-1"));
  BOOST_TEST_REQUIRE(first.size() == 501u);
  Happened message;
  BOOST_TEST((message.ParseFromString(first[0].payload) && message.text() == large));
  BOOST_TEST(read_stream(*j, sid("order-2")).size() == 300u);
}

void an_invalid_commit_is_refused_at_once(const case_setup& setup) {
  auto j = setup.open_stepped();
  auto refused = [&](commit c) {
    auto answers = std::make_shared<recorder>();
    BOOST_TEST(submit(*j, std::move(c), answers, 5));
    auto got = answers->take();
    BOOST_TEST_REQUIRE(got.size() == 1u, "it is answered before submit returns");
    BOOST_TEST(got[0].ticket == 5u);
    return must_fail(got[0].outcome, journal_errc::invalid_argument);
  };
  auto c = append("order-1", any, {happened(1)});
  c.appends.push_back({sid("order-2"), any, {happened(1)}});
  c.appends.push_back(c.appends[0]);
  check_contains(refused(c), "order-1");
  c = move_cursor("mail", 0, 1);
  c.cursors.push_back({"mail", 1, 2});
  check_contains(refused(c), "mail");
  refused(move_cursor("", 0, 1));
  refused(move_cursor(std::string(256, 'n'), 0, 1));
  check_contains(refused(append("order-1", any, {happened(1), new_event{}})), "order-1");
  c = append("order-1", any, {happened(1)});
  c.metadata.user = "J\xFCrgen";
  check_contains(refused(c), "J\\xFCrgen");
  c.metadata = {};
  c.metadata.headers["\xC3"] = "cut off";
  check_contains(refused(c), "UTF-8");
  BOOST_TEST(j->step() == 0u);
  BOOST_TEST(must(j->head()) == 0u);
  BOOST_TEST(submit(*j, move_cursor(std::string(255, 'n'), 0, 1), nullptr, 0));
  j->step();
  BOOST_TEST(must(j->load_cursor(std::string(255, 'n'))) == 1u);
}

void failed_commits_leave_no_gap(const case_setup& setup) {
  auto j = setup.open();
  std::vector<std::int64_t> written;
  for (std::int64_t i = 0; i < 60; ++i) {
    auto outcome = [&]() -> result<committed> {
      if (i % 3 == 0)
        return j->commit_and_wait(append("order-1", exact(1'000), happened_many(3, i)));
      if (i % 5 == 0)
        return j->commit_and_wait(append("order-1", any, {happened(i), new_event{}}));
      return j->commit_and_wait(append("order-1", any, {happened(i)}));
    }();
    if (outcome)
      written.push_back(i);
  }
  wait_for_head(setup, *j, written.size());
  auto log = read_log(*j);
  BOOST_TEST(numbers(log) == written, boost::test_tools::per_element());
  for (std::size_t i = 0; i < log.size(); ++i) {
    BOOST_TEST(log[i].position == i + 1);
    BOOST_TEST(log[i].version == i + 1);
  }
}

} // namespace

std::vector<conformance_case> bounds_cases() {
  return {
      {"credit_is_bounded_by_count", credit_is_bounded_by_count},
      {"credit_is_bounded_by_bytes", credit_is_bounded_by_bytes},
      {"a_commit_without_credit_is_refused", a_commit_without_credit_is_refused},
      {"a_commit_that_is_too_large_is_refused", a_commit_that_is_too_large_is_refused},
      {"large_commits_are_kept_whole", large_commits_are_kept_whole},
      {"an_invalid_commit_is_refused_at_once", an_invalid_commit_is_refused_at_once},
      {"failed_commits_leave_no_gap", failed_commits_leave_no_gap},
  };
}

} // namespace eventcore::test
