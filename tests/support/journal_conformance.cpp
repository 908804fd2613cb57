#include "support/journal_conformance.hpp"
#include "support/journal_conformance_cases.hpp"
#include "support/journal_helpers.hpp"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>

namespace eventcore::test {

namespace {

constexpr auto none = expected_version::none();
constexpr auto any = expected_version::any();
constexpr auto exact = &expected_version::exact;

/// Longer than any test takes.
constexpr std::chrono::minutes endless{5};

auto fields(const recorded_event& e) {
  return std::tie(e.position, e.stream, e.version, e.id, e.type, e.schema_version, e.occurred_at, e.payload,
                  e.metadata);
}

/// Waits until all that was acknowledged is durable: at once with `durability::fsync`.
void wait_for_head(const case_setup& setup, journal& j, log_position head) {
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (setup.durability == durability::relaxed && must(j.head()) < head &&
         std::chrono::steady_clock::now() < give_up)
    std::this_thread::yield();
  BOOST_TEST_REQUIRE(must(j.head()) == head);
}

/// Fills `j` with events of several streams in turn, so that a stream's events do not stand side by side.
void fill_interleaved(journal& j, std::size_t events) {
  auto answers = std::make_shared<recorder>();
  for (std::size_t i = 0; i < events; ++i) {
    const auto stream = "c" + std::to_string(i % 3) + "-" + std::to_string(i % 7);
    BOOST_TEST_REQUIRE(submit(j, append(stream, any, {happened(static_cast<std::int64_t>(i))}), answers, i));
  }
  BOOST_TEST_REQUIRE(answers->wait_for(events));
}

// -- what an empty journal says, and what an event holds ------------------------------------------

void an_empty_journal_is_empty(const case_setup& setup) {
  auto options = setup.options();
  options.service = "billing";
  auto j = setup.open(options);
  BOOST_TEST(j->info().format_version > 0u);
  BOOST_TEST(!j->info().id.is_nil());
  BOOST_TEST(!j->info().incarnation.is_nil());
  BOOST_TEST(j->info().service == "billing");
  BOOST_TEST(j->info().created_at.time_since_epoch().count() > 0);
  BOOST_TEST(must(j->head()) == 0u);
  auto head = must(j->head_of(sid("order-1")));
  BOOST_TEST(head.stream == "order-1");
  BOOST_TEST(head.version == 0u);
  BOOST_TEST(head.position == 0u);
  BOOST_TEST(read_stream(*j, sid("order-1")).empty());
  event_page page;
  log_position next = 0;
  must_pass(j->read_log(next, page));
  BOOST_TEST(page.empty());
  BOOST_TEST(next == 1u);
  std::string token;
  BOOST_TEST(must(j->list_streams(token)).empty());
  BOOST_TEST(must(j->event_types()).empty());
  BOOST_TEST(!must(j->load_snapshot(sid("order-1"), "t")).has_value());
  BOOST_TEST(must(j->load_cursor("mail")) == 0u);
}

void an_event_keeps_all_its_fields(const case_setup& setup) {
  auto j = setup.open();
  commit full;
  full.appends.push_back({sid("order-ä-1"), none, {happened(7, "seven"), other()}});
  full.appends[0].events[1].schema_version = 3;
  full.metadata = {"correlation", "causation",        "tenant",
                   "user",        "00-trace-span-01", {{"a", "1"}, {"empty", ""}}};
  full.occurred_at = timestamp{std::chrono::microseconds{1'234'567'890'123'456}};
  must(j->commit_and_wait(full));
  must(j->commit_and_wait(append("order-2", none, {{Other::descriptor(), "", 1}})));
  wait_for_head(setup, *j, 3);

  auto log = read_log(*j);
  BOOST_TEST_REQUIRE(log.size() == 3u);
  for (log_position p = 1; p <= 3; ++p)
    BOOST_TEST(log[p - 1].position == p);
  BOOST_TEST(log[0].stream == "order-ä-1");
  BOOST_TEST(log[0].version == 1u);
  BOOST_TEST(log[0].type == "eventcore.test.Happened");
  BOOST_TEST(log[0].schema_version == 1u);
  BOOST_TEST((log[0].occurred_at == full.occurred_at));
  BOOST_TEST((log[0].metadata == full.metadata));
  BOOST_TEST(log[0].payload == full.appends[0].events[0].payload);
  BOOST_TEST(log[1].version == 2u);
  BOOST_TEST(log[1].type == "eventcore.test.Other");
  BOOST_TEST(log[1].schema_version == 3u);
  BOOST_TEST((log[1].metadata == full.metadata));
  BOOST_TEST(log[2].stream == "order-2");
  BOOST_TEST(log[2].version == 1u);
  BOOST_TEST(log[2].payload.empty());
  BOOST_TEST((log[2].metadata == event_metadata{}));
  for (const auto& event : log) {
    BOOST_TEST((event.id.bytes[6] >> 4) == 7);
    auto in_stream = read_stream(*j, sid(event.stream), event.version);
    BOOST_TEST_REQUIRE(!in_stream.empty());
    BOOST_TEST((fields(in_stream.front()) == fields(event)));
  }
  BOOST_TEST((log[0].id < log[1].id && log[1].id < log[2].id));
}

void time_comes_from_the_clock(const case_setup& setup) {
  auto options = setup.options();
  std::atomic<std::int64_t> now{5'000'000'000};
  options.clock = [&now] { return now.load(); };
  auto j = setup.open(options);
  must(j->commit_and_wait(append("order-1", any, {happened(1)})));
  now = 4'000'000'000;
  must(j->commit_and_wait(append("order-1", any, {happened(2)})));
  auto events = read_stream(*j, sid("order-1"));
  BOOST_TEST_REQUIRE(events.size() == 2u);
  BOOST_TEST(events[0].occurred_at.time_since_epoch().count() == 5'000'000'000);
  BOOST_TEST(events[1].occurred_at.time_since_epoch().count() == 4'000'000'000);
  BOOST_TEST((events[0].id < events[1].id), "ids grow although the clock went back");
}

// -- expected versions ----------------------------------------------------------------------------

void expected_versions_are_checked(const case_setup& setup) {
  auto j = setup.open();
  auto fails = [&](expected_version expected) {
    must_fail(j->commit_and_wait(append("order-1", expected, {happened(0)})), journal_errc::conflict);
  };
  fails(exact(1));
  must(j->commit_and_wait(append("order-1", none, {happened(1), happened(2)})));
  fails(none);
  fails(exact(1));
  fails(exact(3));
  must(j->commit_and_wait(append("order-1", exact(2), {happened(3)})));
  must(j->commit_and_wait(append("order-1", any, {happened(4)})));
  must(j->commit_and_wait(append("order-2", exact(0), {happened(5)})));
  must(j->commit_and_wait(append("order-3", any, {happened(6)})));
  BOOST_TEST(numbers(read_stream(*j, sid("order-1"))) == (std::vector<std::int64_t>{1, 2, 3, 4}),
             boost::test_tools::per_element());
  auto head = must(j->head_of(sid("order-1")));
  BOOST_TEST(head.version == 4u);
  BOOST_TEST(head.position == 4u);
  wait_for_head(setup, *j, 6);
}

void a_conflict_names_stream_expected_and_found(const case_setup& setup) {
  auto j = setup.open();
  must(j->commit_and_wait(append("order-1", none, happened_many(7))));
  auto message =
      must_fail(j->commit_and_wait(append("order-1", exact(5), {happened(0)})), journal_errc::conflict);
  check_contains(message, "order-1");
  check_contains(message, exact(5).describe());
  check_contains(message, "version 7");
  message = must_fail(j->commit_and_wait(append("order-1", none, {happened(0)})), journal_errc::conflict);
  check_contains(message, none.describe());
}

void a_commit_over_streams_is_atomic(const case_setup& setup) {
  auto j = setup.open();
  must(j->commit_and_wait(append("account-1", none, {happened(1)})));
  commit transfer;
  transfer.appends.push_back({sid("account-1"), exact(1), {happened(2), happened(3)}});
  transfer.appends.push_back({sid("account-2"), none, {happened(4)}});
  transfer.appends.push_back({sid("transfer-1"), any, {happened(5)}});
  auto where = must(j->commit_and_wait(transfer));
  BOOST_TEST(where.first == 2u);
  BOOST_TEST(where.last == 5u);
  wait_for_head(setup, *j, 5);
  BOOST_TEST(numbers(read_log(*j, 2)) == (std::vector<std::int64_t>{2, 3, 4, 5}),
             boost::test_tools::per_element());

  // The last of three fails: the first two must leave nothing behind.
  transfer.appends[0].expected = exact(3);
  transfer.appends[1].expected = exact(1);
  transfer.appends[2].expected = exact(7);
  must_fail(j->commit_and_wait(transfer), journal_errc::conflict);
  BOOST_TEST(must(j->head()) == 5u);
  BOOST_TEST(must(j->head_of(sid("account-1"))).version == 3u);
  BOOST_TEST(must(j->head_of(sid("account-2"))).version == 1u);
}

void a_stream_that_is_only_read_is_checked(const case_setup& setup) {
  auto j = setup.open();
  must(j->commit_and_wait(append("customer-1", none, {happened(1)})));
  commit order;
  order.appends.push_back({sid("customer-1"), exact(1), {}});
  order.appends.push_back({sid("order-1"), none, {happened(2)}});
  BOOST_TEST(must(j->commit_and_wait(order)).first == 2u);
  BOOST_TEST(must(j->head_of(sid("customer-1"))).version == 1u);

  order.appends[0].expected = exact(2);
  order.appends[1].expected = exact(1);
  check_contains(must_fail(j->commit_and_wait(order), journal_errc::conflict), "customer-1");
  BOOST_TEST(must(j->head_of(sid("order-1"))).version == 1u);

  auto where = must(j->commit_and_wait(append("customer-1", exact(1), {})));
  BOOST_TEST(where.first == 0u);
  BOOST_TEST(where.last == 0u);
  must_fail(j->commit_and_wait(append("customer-1", none, {})), journal_errc::conflict);
  must(j->commit_and_wait(append("customer-2", none, {})));
  BOOST_TEST(must(j->head_of(sid("customer-2"))).version == 0u);
  wait_for_head(setup, *j, 2);
}

void a_category_of_another_service_is_refused(const case_setup& setup) {
  auto options = setup.options();
  options.service = "shop";
  options.categories = {"order", "payment"};
  auto j = setup.open(options);
  commit both;
  both.appends.push_back({sid("order-1"), none, {happened(1)}});
  both.appends.push_back({sid("customer-1"), none, {happened(2)}});
  auto message = must_fail(j->commit_and_wait(both), journal_errc::not_owned);
  for (auto* word : {"customer-1", "shop", "category customer"})
    check_contains(message, word);
  must_fail(j->commit_and_wait(append("orders-1", any, {happened(1)})), journal_errc::not_owned);
  BOOST_TEST(must(j->head()) == 0u);
  both.appends[1].events.clear(); // to read it is allowed
  must(j->commit_and_wait(both));
  must(j->commit_and_wait(append("payment-1", any, {happened(3)})));
  wait_for_head(setup, *j, 2);
}

// -- groups and epochs ----------------------------------------------------------------------------

/// The codes of answers in their order; success is an empty code.
std::vector<std::error_code> codes(const std::vector<recorder::answer>& answers) {
  std::vector<std::error_code> found;
  for (const auto& answer : answers)
    found.push_back(answer.outcome ? std::error_code{} : answer.outcome.error().code());
  return found;
}

const std::error_code success{};
const std::error_code conflict = journal_errc::conflict;
const std::error_code epoch_closed = journal_errc::epoch_closed;

void check_codes(const std::vector<recorder::answer>& answers, const std::vector<std::error_code>& expected) {
  BOOST_TEST(codes(answers) == expected, boost::test_tools::per_element());
}

void a_conflict_fails_alone_in_its_group(const case_setup& setup) {
  auto j = setup.open_stepped();
  auto answers = std::make_shared<recorder>();
  BOOST_TEST(submit(*j, append("a-1", none, {happened(1), happened(2)}), answers, 10));
  BOOST_TEST(submit(*j, append("a-1", none, {happened(3)}), answers, 11));
  BOOST_TEST(submit(*j, append("b-1", none, {happened(4)}), answers, 12));
  BOOST_TEST(submit(*j, append("a-1", exact(2), {happened(5)}), answers, 13));
  BOOST_TEST(submit(*j, append("c-1", exact(9), {happened(6)}), answers, 14));
  BOOST_TEST(submit(*j, append("b-1", exact(1), {happened(7)}), answers, 15));
  BOOST_TEST(answers->size() == 0u, "nothing is answered before its step");
  BOOST_TEST(j->step() == 6u);
  auto got = answers->take();
  check_codes(got, {success, conflict, success, success, conflict, success});
  for (std::size_t i = 0; i < got.size(); ++i)
    BOOST_TEST(got[i].ticket == 10 + i);
  BOOST_TEST(got[2].outcome->first == 3u);
  BOOST_TEST(got[3].outcome->first == 4u);
  BOOST_TEST(got[5].outcome->last == 5u);
  BOOST_TEST(numbers(read_log(*j)) == (std::vector<std::int64_t>{1, 2, 4, 5, 7}),
             boost::test_tools::per_element());
  BOOST_TEST(j->step() == 0u);
}

void an_epoch_ends_with_its_first_failure(const case_setup& setup) {
  auto j = setup.open_stepped();
  auto answers = std::make_shared<recorder>();
  auto pipeline = std::make_shared<writer_epoch>();
  auto neighbour = std::make_shared<writer_epoch>();
  auto send = [&](std::shared_ptr<writer_epoch> epoch, std::string_view stream, expected_version expected) {
    auto c = append(stream, expected, {happened(1)});
    c.epoch = std::move(epoch);
    BOOST_TEST(submit(*j, std::move(c), answers, 0));
  };
  send(pipeline, "a-1", none);
  send(pipeline, "a-1", exact(5));
  send(pipeline, "a-1", exact(1));
  send(neighbour, "a-1", exact(1));
  send(pipeline, "b-1", any);
  j->step();
  check_codes(answers->take(), {success, conflict, epoch_closed, success, epoch_closed});
  BOOST_TEST(pipeline->closed());
  BOOST_TEST(!neighbour->closed());

  send(pipeline, "a-1", exact(2));
  send(std::make_shared<writer_epoch>(), "a-1", exact(2));
  send(nullptr, "a-1", exact(3));
  j->step();
  check_codes(answers->take(), {epoch_closed, success, success});

  neighbour->close();
  send(neighbour, "a-1", exact(4));
  j->step();
  check_codes(answers->take(), {epoch_closed});
  BOOST_TEST(must(j->head_of(sid("a-1"))).version == 4u);
}

void an_epoch_ends_with_a_commit_that_breaks_a_bound(const case_setup& setup) {
  auto j = setup.open_stepped();
  auto answers = std::make_shared<recorder>();
  auto pipeline = std::make_shared<writer_epoch>();
  auto c = append("a-1", none, {new_event{}});
  c.epoch = pipeline;
  BOOST_TEST(submit(*j, std::move(c), answers, 0));
  c = append("a-1", any, {happened(1)});
  c.epoch = pipeline;
  BOOST_TEST(submit(*j, std::move(c), answers, 1));
  j->step();
  check_codes(answers->take(), {journal_errc::invalid_argument, epoch_closed});
}

/// A expects version 10 and loses to a stranger's event 11; B, decided on A, expects 11, which is now there
/// by chance.
void an_epoch_refuses_a_version_that_matches_by_chance(const case_setup& setup) {
  auto j = setup.open_stepped();
  auto answers = std::make_shared<recorder>();
  BOOST_TEST(submit(*j, append("order-1", none, happened_many(10)), nullptr, 0));
  j->step();
  auto send = [&](std::shared_ptr<writer_epoch> epoch, stream_version expected, std::int64_t number) {
    auto c = append("order-1", exact(expected), {happened(number)});
    c.epoch = std::move(epoch);
    BOOST_TEST(submit(*j, std::move(c), answers, 0));
  };
  auto entity = std::make_shared<writer_epoch>();

  // All in one group.
  send(nullptr, 10, 11);
  send(entity, 10, -1);
  send(entity, 11, -2);
  j->step();
  check_codes(answers->take(), {success, conflict, epoch_closed});

  // The same over several groups.
  entity = std::make_shared<writer_epoch>();
  send(nullptr, 11, 12);
  j->step();
  send(entity, 11, -1);
  j->step();
  send(entity, 12, -2);
  j->step();
  check_codes(answers->take(), {success, conflict, epoch_closed});

  // After a new epoch is opened the kept command passes.
  send(std::make_shared<writer_epoch>(), 12, 13);
  j->step();
  check_codes(answers->take(), {success});
  BOOST_TEST(numbers(read_stream(*j, sid("order-1"), 10)) == (std::vector<std::int64_t>{10, 11, 12, 13}),
             boost::test_tools::per_element());
}

void answers_come_in_order_of_submission(const case_setup& setup) {
  constexpr std::size_t count = 5'000;
  auto j = setup.open();
  auto answers = std::make_shared<recorder>();
  auto epoch = std::make_shared<writer_epoch>();
  for (std::size_t i = 0; i < count; ++i) {
    auto c = append("order-1", exact(i), {happened(static_cast<std::int64_t>(i))});
    c.epoch = epoch;
    BOOST_TEST_REQUIRE(submit(*j, std::move(c), answers, i));
  }
  BOOST_TEST_REQUIRE(answers->wait_for(count));
  j->close();
  auto got = answers->take();
  BOOST_TEST_REQUIRE(got.size() == count);
  for (std::size_t i = 0; i < count; ++i) {
    BOOST_TEST_REQUIRE(got[i].ticket == i);
    BOOST_TEST_REQUIRE(got[i].outcome.has_value());
    BOOST_TEST_REQUIRE(got[i].outcome->first == i + 1);
  }
}

/// A listener may go on where an answer leaves it: it submits the next commit from within `on_commit`.
void a_listener_may_submit(const case_setup& setup) {
  constexpr std::uint64_t count = 200;
  auto j = setup.open();
  struct chain final : commit_listener {
    journal* j = nullptr;
    recorder all;
    std::weak_ptr<chain> self;
    void on_commit(std::uint64_t ticket, const result<committed>& outcome) noexcept override {
      if (outcome && ticket + 1 < count)
        submit(*j, append("order-1", exact(ticket + 1), {happened(0)}), self.lock(), ticket + 1);
      all.on_commit(ticket, outcome);
    }
  };
  auto listener = std::make_shared<chain>();
  listener->j = j.get();
  listener->self = listener;
  BOOST_TEST(submit(*j, append("order-1", none, {happened(0)}), listener, 0));
  BOOST_TEST(listener->all.wait_for(count));
  BOOST_TEST(must(j->head_of(sid("order-1"))).version == count);
}

void a_commit_without_listener_is_written(const case_setup& setup) {
  auto j = setup.open_stepped();
  BOOST_TEST(submit(*j, append("order-1", none, {happened(1)}), nullptr, 0));
  BOOST_TEST(submit(*j, append("order-1", none, {happened(2)}), nullptr, 0));
  j->step();
  BOOST_TEST(must(j->head()) == 1u);
}

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

// -- cursors --------------------------------------------------------------------------------------

void cursors_move_by_compare_and_set(const case_setup& setup) {
  auto j = setup.open();
  auto where = must(j->commit_and_wait(move_cursor("mail", 0, 5)));
  BOOST_TEST(where.first == 0u);
  BOOST_TEST(where.last == 0u);
  BOOST_TEST(must(j->load_cursor("mail")) == 5u);
  auto message = must_fail(j->commit_and_wait(move_cursor("mail", 4, 6)), journal_errc::conflict);
  check_contains(message, "mail");
  check_contains(message, "4");
  check_contains(message, "5");
  must_fail(j->commit_and_wait(move_cursor("mail", 0, 6)), journal_errc::conflict);
  must_fail(j->commit_and_wait(move_cursor("post", 5, 6)), journal_errc::conflict);
  must(j->commit_and_wait(move_cursor("mail", 5, 9)));
  must(j->commit_and_wait(move_cursor("mail", 9, 2)));
  BOOST_TEST(must(j->load_cursor("mail")) == 2u, "a cursor may go back");
  BOOST_TEST(must(j->load_cursor("post")) == 0u);
  BOOST_TEST(must(j->head()) == 0u);
}

void cursors_and_events_go_together(const case_setup& setup) {
  auto j = setup.open();
  auto c = append("order-1", none, {happened(1)});
  c.cursors.push_back({"mail", 0, 10});
  c.cursors.push_back({"post", 0, 20});
  must(j->commit_and_wait(c));

  c.appends[0].expected = exact(1);
  c.cursors = {{"mail", 10, 11}, {"post", 99, 21}};
  must_fail(j->commit_and_wait(c), journal_errc::conflict);
  BOOST_TEST(must(j->head_of(sid("order-1"))).version == 1u);
  BOOST_TEST(must(j->load_cursor("mail")) == 10u);

  c.appends[0].expected = none;
  c.cursors = {{"mail", 10, 11}};
  must_fail(j->commit_and_wait(c), journal_errc::conflict);
  BOOST_TEST(must(j->load_cursor("mail")) == 10u);
  BOOST_TEST(must(j->load_cursor("post")) == 20u);
}

void cursors_are_checked_within_a_group(const case_setup& setup) {
  auto j = setup.open_stepped();
  auto answers = std::make_shared<recorder>();
  for (log_position expected : {0, 1, 1, 2})
    BOOST_TEST(submit(*j, move_cursor("mail", expected, expected + 1), answers, 0));
  j->step();
  check_codes(answers->take(), {success, success, conflict, success});
  BOOST_TEST(must(j->load_cursor("mail")) == 3u);
}

// -- reading streams ------------------------------------------------------------------------------

void a_stream_is_read_in_pages_of_any_size(const case_setup& setup) {
  auto j = setup.open();
  fill_interleaved(*j, 70);
  const auto stream = sid("c1-4");
  const auto all = read_stream(*j, stream);
  BOOST_TEST_REQUIRE(all.size() >= 3u);
  for (stream_version from = 0; from <= all.size() + 2; ++from) {
    const auto first = std::max<stream_version>(from, 1);
    const auto expected = first > all.size() ? 0 : all.size() - first + 1;
    for (std::size_t page_size = 1; page_size <= all.size() + 1; ++page_size) {
      auto found = read_stream(*j, stream, from, {page_size, 1u << 20});
      BOOST_TEST_REQUIRE(found.size() == expected);
      for (std::size_t i = 0; i < found.size(); ++i)
        BOOST_TEST((fields(found[i]) == fields(all[first - 1 + i])));
    }
    BOOST_TEST(read_stream(*j, stream, from, {1'024, 1}).size() == expected);
  }
}

void a_page_keeps_its_bounds(const case_setup& setup) {
  auto j = setup.open();
  for (int i = 0; i < 10; ++i)
    must(j->commit_and_wait(append("order-1", any, {happened(i, std::string(1'000, 'x'))})));
  wait_for_head(setup, *j, 10);
  event_page page;
  stream_cursor where{sid("order-1")};
  must_pass(j->read_stream(where, page, {3, 1u << 20}));
  BOOST_TEST(page.size() == 3u);
  BOOST_TEST(where.next == 4u);
  must_pass(j->read_stream(where, page, {100, 3'500}));
  BOOST_TEST(page.size() >= 1u);
  BOOST_TEST(page.size() <= 3u);
  must_pass(j->read_stream(where, page, {100, 1}));
  BOOST_TEST(page.size() == 1u, "one event, however large");
  log_position next = 1;
  must_pass(j->read_log(next, page, {}, {100, 3'500}));
  BOOST_TEST(page.size() >= 1u);
  BOOST_TEST(page.size() <= 3u);
  BOOST_TEST(next == page.size() + 1);
  must_pass(j->read_log(next, page, {}, {100, 1}));
  BOOST_TEST(page.size() == 1u);
  must_pass(j->read_log(next, page, {}, {2, 1u << 20}));
  BOOST_TEST(page.size() == 2u);
}

void any_right_hint_finds_the_event(const case_setup& setup) {
  auto j = setup.open();
  fill_interleaved(*j, 90);
  const auto stream = sid("c2-5");
  const auto all = read_stream(*j, stream);
  BOOST_TEST_REQUIRE(all.size() >= 4u);
  event_page page;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto earliest = i == 0 ? 0 : all[i - 1].position;
    for (auto after = earliest; after < all[i].position; ++after) {
      stream_cursor where{stream, i + 1, after};
      must_pass(j->read_stream(where, page));
      BOOST_TEST_REQUIRE(page.size() == all.size() - i);
      BOOST_TEST((fields(page.events()[0]) == fields(all[i])));
      BOOST_TEST(where.next == all.size() + 1);
      BOOST_TEST(where.after >= all.back().position);
    }
  }
}

void a_stream_cursor_goes_on_at_the_end(const case_setup& setup) {
  auto j = setup.open();
  stream_cursor where{sid("order-1")};
  event_page page;
  must_pass(j->read_stream(where, page));
  BOOST_TEST(page.empty());
  BOOST_TEST(where.next == 1u);
  for (std::int64_t i = 1; i <= 5; ++i) {
    must(j->commit_and_wait(append("order-2", any, {happened(0)})));
    must(j->commit_and_wait(append("order-1", any, {happened(i)})));
    must_pass(j->read_stream(where, page));
    BOOST_TEST_REQUIRE(page.size() == 1u);
    BOOST_TEST(number_of(page.events()[0]) == i);
    must_pass(j->read_stream(where, page));
    BOOST_TEST(page.empty());
  }
}

void a_page_is_used_again_without_traces(const case_setup& setup) {
  auto j = setup.open();
  auto rich =
      append("order-1", none, {happened(1, "a long text that was there before"), happened(2), happened(3)});
  rich.metadata = {"correlation", "causation", "tenant", "user", "trace", {{"key", "value"}}};
  must(j->commit_and_wait(rich));
  must(j->commit_and_wait(append("p-2", none, {other()})));
  event_page page;
  stream_cursor where{sid("order-1")};
  must_pass(j->read_stream(where, page));
  BOOST_TEST(page.size() == 3u);
  where = {sid("p-2")};
  must_pass(j->read_stream(where, page));
  BOOST_TEST_REQUIRE(page.size() == 1u);
  BOOST_TEST(page.events()[0].stream == "p-2");
  BOOST_TEST((page.events()[0].metadata == event_metadata{}));
  BOOST_TEST(page.events()[0].payload == other().payload);
  where = {sid("missing-1")};
  must_pass(j->read_stream(where, page));
  BOOST_TEST(page.empty());
}

void streams_with_like_names_are_apart(const case_setup& setup) {
  auto j = setup.open();
  const std::vector<std::string> names{"a",
                                       "a-",
                                       "a-1",
                                       "a-10",
                                       "a-1-0",
                                       "A-1",
                                       "ä-1",
                                       std::string(255, 'x'),
                                       std::string(254, 'x'),
                                       std::string(254, 'x') + "y"};
  for (std::size_t round = 0; round < 2; ++round)
    for (std::size_t i = 0; i < names.size(); ++i)
      must(j->commit_and_wait(append(names[i], exact(round), {happened(static_cast<std::int64_t>(i))})));
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto n = static_cast<std::int64_t>(i);
    BOOST_TEST(numbers(read_stream(*j, sid(names[i]))) == (std::vector<std::int64_t>{n, n}),
               boost::test_tools::per_element());
  }
}

// -- reading the log ------------------------------------------------------------------------------

void the_log_is_read_by_filter(const case_setup& setup) {
  auto j = setup.open();
  for (int i = 0; i < 60; ++i)
    must(j->commit_and_wait(append("c" + std::to_string(i % 4) + "-" + std::to_string(i % 5), any,
                                   {i % 3 == 0 ? other() : happened(i)})));
  must(j->commit_and_wait(append("c1", any, {happened(60)})));
  must(j->commit_and_wait(append("c11-1", any, {happened(61)})));
  wait_for_head(setup, *j, 62);
  const auto all = read_log(*j);
  BOOST_TEST_REQUIRE(all.size() == 62u);
  const std::string happened_type = Happened::descriptor()->full_name();
  const std::string other_type = Other::descriptor()->full_name();
  const std::vector<log_filter> filters{
      {},
      {{"c1"}, {}},
      {{"c1", "c3"}, {}},
      {{"nothing"}, {}},
      {{"c1-1"}, {}},
      {{}, {other_type}},
      {{}, {"Other"}},
      {{}, {other_type, happened_type}},
      {{"c0", "c2"}, {other_type}},
  };
  for (const auto& filter : filters) {
    std::vector<log_position> expected;
    for (const auto& event : all) {
      auto category = event.stream.substr(0, event.stream.find('-'));
      if ((filter.categories.empty() || std::ranges::count(filter.categories, category) > 0) &&
          (filter.types.empty() || std::ranges::count(filter.types, event.type) > 0))
        expected.push_back(event.position);
    }
    for (std::size_t page_size : {1, 2, 7, 1'000}) {
      std::vector<log_position> found;
      for (const auto& event : read_log(*j, 1, filter, {page_size, 1u << 20})) {
        BOOST_TEST((fields(event) == fields(all[event.position - 1])));
        found.push_back(event.position);
      }
      BOOST_TEST(found == expected, boost::test_tools::per_element());
    }
  }
  for (log_position from = 1; from <= 62; ++from)
    BOOST_TEST(read_log(*j, from).size() == 63 - from);
}

void a_filtered_read_looks_at_a_bounded_part(const case_setup& setup) {
  auto j = setup.open();
  must(j->commit_and_wait(append("busy-1", any, happened_many(1'000))));
  must(j->commit_and_wait(append("rare-1", any, {happened(-1)})));
  wait_for_head(setup, *j, 1'001);
  event_page page;
  log_position next = 1;
  std::size_t calls = 0;
  for (; next <= 1'001; ++calls) {
    const auto before = next;
    must_pass(j->read_log(next, page, {{"rare"}, {}}, {2, 1u << 20}));
    BOOST_TEST_REQUIRE(next > before);
    BOOST_TEST_REQUIRE(next - before <= 128u);
    BOOST_TEST(page.size() == (before <= 1'001 && next > 1'001 ? 1u : 0u));
  }
  BOOST_TEST(calls >= 8u);
  BOOST_TEST(next == 1'002u);
  must_pass(j->read_log(next, page));
  BOOST_TEST(page.empty());
  BOOST_TEST(next == 1'002u);
  must(j->commit_and_wait(append("rare-1", any, {happened(-2)})));
  wait_for_head(setup, *j, 1'002);
  must_pass(j->read_log(next, page, {{"rare"}, {}}));
  BOOST_TEST_REQUIRE(page.size() == 1u);
  BOOST_TEST(number_of(page.events()[0]) == -2);
  BOOST_TEST(next == 1'003u);
}

/// Positions come without gaps to a reader that reads while several threads write.
void a_reader_beside_writers_sees_no_gap(const case_setup& setup) {
  constexpr std::size_t writers = 3;
  constexpr std::size_t commits = 1'500;
  auto j = setup.open();
  auto answers = std::make_shared<recorder>();
  std::vector<std::jthread> threads;
  for (std::size_t w = 0; w < writers; ++w)
    threads.emplace_back([&, w] {
      for (std::size_t i = 0; i < commits; ++i)
        submit(*j,
               append("w" + std::to_string(w) + "-" + std::to_string(i % 50), any, happened_many(1 + i % 3)),
               answers, w * commits + i);
    });
  std::map<std::string, stream_version> versions;
  std::string flaw;
  log_position seen = 0;
  event_page page;
  const auto give_up = std::chrono::steady_clock::now() + patience;
  const auto total = writers * commits * 2;
  for (log_position next = 1; seen < total && flaw.empty() && std::chrono::steady_clock::now() < give_up;) {
    must_pass(j->read_log(next, page, {}, {100, 1u << 20}));
    for (const auto& event : page) {
      if (event.position != ++seen)
        flaw = "position " + std::to_string(event.position) + " where " + std::to_string(seen) + " should be";
      else if (event.version != ++versions[event.stream])
        flaw = "version " + std::to_string(event.version) + " of " + event.stream + " came too early";
    }
  }
  for (auto& thread : threads)
    thread.join();
  BOOST_TEST(flaw.empty(), flaw);
  BOOST_TEST(seen == total);
  BOOST_TEST(answers->wait_for(writers * commits));
}

// -- what else the journal knows ------------------------------------------------------------------

/// Every stream, by pages of `limit`.
std::map<std::string, stream_head> list_all(journal_reader& j, std::size_t limit) {
  std::map<std::string, stream_head> found;
  std::string token;
  for (;;) {
    auto page = must(j.list_streams(token, limit));
    BOOST_TEST_REQUIRE(page.size() <= limit);
    if (page.empty())
      return found;
    for (auto& head : page)
      BOOST_TEST_REQUIRE(found.emplace(head.stream, head).second, head.stream << " came twice");
  }
}

void every_stream_is_listed_once(const case_setup& setup) {
  constexpr std::size_t streams = 5'000;
  auto j = setup.open();
  auto answers = std::make_shared<recorder>();
  for (std::size_t i = 0; i < streams; ++i) {
    const auto name = "s" + std::to_string(i % 10) + "-" + std::to_string(i);
    BOOST_TEST_REQUIRE(submit(*j, append(name, none, happened_many(1 + i % 3)), answers, i));
  }
  BOOST_TEST_REQUIRE(answers->wait_for(streams));
  auto got = answers->take();
  wait_for_head(setup, *j, got.back().outcome->last);
  for (std::size_t limit : {97, 1'000, 10'000}) {
    auto found = list_all(*j, limit);
    BOOST_TEST_REQUIRE(found.size() == streams);
    for (std::size_t i = 0; i < streams; ++i) {
      const auto name = "s" + std::to_string(i % 10) + "-" + std::to_string(i);
      BOOST_TEST_REQUIRE(found.contains(name));
      BOOST_TEST_REQUIRE(found[name].version == 1 + i % 3);
      BOOST_TEST_REQUIRE(found[name].position == got[i].outcome->last);
    }
  }
}

void a_journal_describes_its_types(const case_setup& setup) {
  namespace pb = google::protobuf;
  auto j = setup.open();
  Detailed detailed;
  detailed.mutable_details()->set_note("see below");
  detailed.mutable_details()->add_codes(42);
  must(j->commit_and_wait(append("order-1", any, {happened(1), happened(2)})));
  must(j->commit_and_wait(
      append("order-1", any, {{Detailed::descriptor(), detailed.SerializeAsString(), 1}})));
  must_fail(j->commit_and_wait(append("order-1", none, {other()})), journal_errc::conflict);
  wait_for_head(setup, *j, 3);

  auto types = must(j->event_types());
  BOOST_TEST_REQUIRE(types.size() == 2u, "ordered by name, without the type that was never written");
  BOOST_TEST(types[0].name == "eventcore.test.Detailed");
  BOOST_TEST(types[0].first_position == 3u);
  BOOST_TEST(types[1].name == "eventcore.test.Happened");
  BOOST_TEST(types[1].first_position == 1u);

  pb::FileDescriptorSet files;
  BOOST_TEST_REQUIRE(files.ParseFromString(types[0].descriptors));
  BOOST_TEST(files.file_size() == 2);
  pb::DescriptorPool pool;
  for (const auto& file : files.file())
    BOOST_TEST_REQUIRE(pool.BuildFile(file) != nullptr, "dependencies come first");
  const auto* type = pool.FindMessageTypeByName(types[0].name);
  BOOST_TEST_REQUIRE(type != nullptr);
  pb::DynamicMessageFactory factory;
  std::unique_ptr<pb::Message> message{factory.GetPrototype(type)->New()};
  BOOST_TEST(message->ParseFromString(read_stream(*j, sid("order-1"), 3).at(0).payload));
  BOOST_TEST(message->ShortDebugString() == detailed.ShortDebugString());
}

/// A program that changed a type without a new name: both forms are kept, each with the position where it
/// began.
void all_forms_of_a_type_are_kept(const case_setup& setup) {
  namespace pb = google::protobuf;
  auto make_pool = [](std::string_view field) {
    pb::FileDescriptorProto file;
    file.set_name("shop.proto");
    file.set_package("shop");
    file.set_syntax("proto3");
    auto* added = file.add_message_type();
    added->set_name("Added");
    auto* number = added->add_field();
    number->set_name(std::string{field});
    number->set_number(1);
    number->set_type(pb::FieldDescriptorProto::TYPE_INT64);
    number->set_label(pb::FieldDescriptorProto::LABEL_OPTIONAL);
    auto pool = std::make_unique<pb::DescriptorPool>();
    pool->BuildFile(file);
    return pool;
  };
  const auto old_pool = make_pool("count");
  const auto new_pool = make_pool("quantity");
  const auto* old_form = old_pool->FindMessageTypeByName("shop.Added");
  const auto* new_form = new_pool->FindMessageTypeByName("shop.Added");
  auto j = setup.open();
  for (const auto* form : {old_form, old_form, new_form, old_form, new_form})
    must(j->commit_and_wait(append("cart-1", any, {{form, "\x08\x01", 1}})));
  wait_for_head(setup, *j, 5);
  auto types = must(j->event_types());
  BOOST_TEST_REQUIRE(types.size() == 2u);
  BOOST_TEST(types[0].name == "shop.Added");
  BOOST_TEST(types[0].first_position == 1u);
  check_contains(types[0].descriptors, "count");
  BOOST_TEST(types[1].name == "shop.Added");
  BOOST_TEST(types[1].first_position == 3u);
  check_contains(types[1].descriptors, "quantity");
  j->close();
}

snapshot saved(stream_version version, std::string type, std::string state = "state") {
  return {version, 3 * version, std::move(type), 7, std::move(state)};
}

void check_snapshot(journal_reader& j, std::string_view stream, const std::string& type, stream_version up_to,
                    const std::optional<snapshot>& expected) {
  auto found = must(j.load_snapshot(sid(stream), type, up_to));
  BOOST_TEST_REQUIRE(found.has_value() == expected.has_value());
  if (!found)
    return;
  BOOST_TEST(found->version == expected->version);
  BOOST_TEST(found->position == expected->position);
  BOOST_TEST(found->type == expected->type);
  BOOST_TEST(found->type_version == expected->type_version);
  BOOST_TEST((found->state == expected->state));
}

/// Calls `check(journal)` while the snapshots that `save(journal)` saved are queued, when they are written, and after the
/// journal was opened again.
template <class Save, class Check>
void check_snapshots(const case_setup& setup, Save save, Check check) {
  auto j = setup.open_stepped();
  save(*j);
  check(*j);
  j->flush_snapshots();
  check(*j);
  if (!setup.persistent())
    return;
  j.reset();
  check(*setup.open());
}

constexpr stream_version newest = ~stream_version{0};

void snapshots_are_found_by_version(const case_setup& setup) {
  const auto ten = saved(10, "account", "state at ten");
  const auto twenty = saved(20, "account", std::string(100'000, '\0'));
  check_snapshots(
      setup,
      [&](journal& j) {
        j.save_snapshot(sid("account-1"), twenty);
        j.save_snapshot(sid("account-1"), ten);
      },
      [&](journal& j) {
        check_snapshot(j, "account-1", "account", newest, twenty);
        check_snapshot(j, "account-1", "account", 20, twenty);
        check_snapshot(j, "account-1", "account", 19, ten);
        check_snapshot(j, "account-1", "account", 10, ten);
        check_snapshot(j, "account-1", "account", 9, std::nullopt);
        BOOST_TEST(must(j.head()) == 0u);
      });
}

void snapshots_of_other_streams_and_types_are_apart(const case_setup& setup) {
  const std::string long_name(255, 'n');
  const std::string long_type(255, 't');
  check_snapshots(
      setup,
      [&](journal& j) {
        j.save_snapshot(sid("a-1"), saved(5, "x"), 1);
        j.save_snapshot(sid("a-1"), saved(6, "y"), 1);
        j.save_snapshot(sid("a-12"), saved(7, "x"), 1);
        j.save_snapshot(sid(long_name), saved(8, long_type), 1);
      },
      [&](journal& j) {
        check_snapshot(j, "a-1", "x", newest, saved(5, "x"));
        check_snapshot(j, "a-1", "y", newest, saved(6, "y"));
        check_snapshot(j, "a-12", "x", newest, saved(7, "x"));
        check_snapshot(j, long_name, long_type, newest, saved(8, long_type));
        check_snapshot(j, "a", "x", newest, std::nullopt);
        check_snapshot(j, "a-2", "x", newest, std::nullopt);
        check_snapshot(j, "a-1", "z", newest, std::nullopt);
        check_snapshot(j, "a-1", "", newest, std::nullopt);
        check_snapshot(j, "a-12", "y", newest, std::nullopt);
        check_snapshot(j, long_name, long_type + "t", newest, std::nullopt);
      });
}

void only_the_newest_snapshots_are_kept(const case_setup& setup) {
  auto j = setup.open();
  for (stream_version version = 1; version <= 5; ++version) {
    j->save_snapshot(sid("a-1"), saved(version, "t"));
    j->save_snapshot(sid("a-1"), saved(version, "all"), 100);
    j->save_snapshot(sid("a-2"), saved(version, "t"), 0);
    if (version == 2)
      j->flush_snapshots();
  }
  j->flush_snapshots();
  check_snapshot(*j, "a-1", "t", newest, saved(5, "t"));
  check_snapshot(*j, "a-1", "t", 4, saved(4, "t"));
  check_snapshot(*j, "a-1", "t", 3, std::nullopt);
  for (stream_version version = 1; version <= 5; ++version)
    check_snapshot(*j, "a-1", "all", version, saved(version, "all"));
  check_snapshot(*j, "a-2", "t", newest, saved(5, "t"));
  check_snapshot(*j, "a-2", "t", 4, std::nullopt);
  j->save_snapshot(sid("a-1"), saved(1, "t"));
  j->flush_snapshots();
  check_snapshot(*j, "a-1", "t", 3, std::nullopt);
}

void a_snapshot_of_the_same_version_is_replaced(const case_setup& setup) {
  const auto old = saved(10, "t", "old");
  const auto twenty = saved(20, "t");
  snapshot changed{10, 4, "t", 9, ""};
  for (const bool written : {false, true}) {
    auto j = setup.open();
    j->save_snapshot(sid("a-1"), old);
    j->save_snapshot(sid("a-1"), twenty);
    if (written)
      j->flush_snapshots();
    j->save_snapshot(sid("a-1"), changed);
    check_snapshot(*j, "a-1", "t", 19, changed);
    j->flush_snapshots();
    check_snapshot(*j, "a-1", "t", 19, changed);
    check_snapshot(*j, "a-1", "t", newest, twenty);
  }
}

void snapshots_are_counted(const case_setup& setup) {
  constexpr std::size_t most = 16u << 20;
  auto j = setup.open();
  j->flush_snapshots();
  j->save_snapshot(sid("a-1"), saved(1, "t", std::string(most, 's')));
  j->save_snapshot(sid("a-1"), saved(2, "t", std::string(most + 1, 's')));
  j->save_snapshot(sid("a-1"), saved(3, ""));
  j->save_snapshot(sid("a-1"), saved(4, std::string(256, 't')));
  j->flush_snapshots();
  check_snapshot(*j, "a-1", "t", newest, saved(1, "t", std::string(most, 's')));
  BOOST_TEST(j->stats().snapshots_written == 1u);
  BOOST_TEST(j->stats().snapshots_dropped == 3u);
  BOOST_TEST(j->stats().snapshots_damaged == 0u);
  BOOST_TEST(j->stats().transactions == 0u, "snapshots stay out of the commits' transactions");
  j->save_snapshot(sid("a-1"), saved(5, "t"));
  j->close();
  BOOST_TEST(j->stats().snapshots_written == 2u, "closing writes what is queued");
}

void snapshots_are_saved_and_loaded_by_many_threads(const case_setup& setup) {
  constexpr stream_version rounds = 500;
  auto j = setup.open();
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i)
      threads.emplace_back([&, stream = "a-" + std::to_string(i)] {
        for (stream_version version = 1; version <= rounds; ++version) {
          j->save_snapshot(sid(stream), saved(version, "t"));
          auto found = j->load_snapshot(sid(stream), "t");
          if (!found || !*found || (*found)->version != version)
            throw std::runtime_error{"a snapshot that was saved is not found"};
          if (version % 100 == 0)
            j->flush_snapshots();
        }
      });
  }
  j->flush_snapshots();
  BOOST_TEST(j->stats().snapshots_dropped == 0u);
  for (int i = 0; i < 3; ++i)
    check_snapshot(*j, "a-" + std::to_string(i), "t", newest, saved(rounds, "t"));
}

// -- following, figures, the end ------------------------------------------------------------------

void the_tail_is_told_after_each_transaction(const case_setup& setup) {
  auto j = setup.open_stepped();
  std::vector<log_position> told;
  auto following = j->follow_tail([&](log_position head) { told.push_back(head); });
  auto send = [&](std::string_view stream, std::size_t events) {
    submit(*j, append(stream, any, happened_many(events)), nullptr, 0);
  };
  send("a-1", 2);
  send("a-2", 3);
  BOOST_TEST(told.empty());
  j->step();
  BOOST_TEST(told == (std::vector<log_position>{5}), boost::test_tools::per_element());
  submit(*j, append("a-1", exact(77), {happened(1)}), nullptr, 0);
  submit(*j, append("a-1", exact(2), {}), nullptr, 0);
  j->step();
  submit(*j, move_cursor("mail", 0, 1), nullptr, 0);
  j->step();
  BOOST_TEST(told.size() == 1u, "a transaction without events says nothing");
  std::vector<log_position> also_told;
  {
    auto second = j->follow_tail([&](log_position head) { also_told.push_back(head); });
    send("a-1", 1);
    j->step();
  }
  BOOST_TEST(told.size() == 2u);
  BOOST_TEST(also_told == (std::vector<log_position>{6}), boost::test_tools::per_element());
  auto moved = std::move(following);
  send("a-1", 1);
  j->step();
  BOOST_TEST(told.back() == 7u);
  BOOST_TEST(also_told.size() == 1u);
  moved = tail_subscription{};
  send("a-1", 1);
  j->step();
  BOOST_TEST(told.back() == 7u);
}

/// What the tail names is readable by others at that moment; nothing is told once the subscription is gone.
void what_the_tail_names_is_durable(const case_setup& setup) {
  auto j = setup.open();
  std::mutex mutex;
  std::condition_variable changed;
  log_position told = 0;
  std::atomic<bool> gone{false};
  std::atomic<bool> told_late{false};
  std::optional<tail_subscription> following{j->follow_tail([&](log_position head) {
    told_late = told_late || gone;
    std::lock_guard lock{mutex};
    told = head;
    changed.notify_all();
  })};
  auto answers = std::make_shared<recorder>();
  std::jthread writer{[&] {
    for (std::uint64_t i = 0; i < 500; ++i)
      submit(*j, append("order-1", exact(i), {happened(0)}), answers, i);
  }};
  log_position seen = 0;
  bool in_time = true;
  while (seen < 500 && in_time) {
    std::unique_lock lock{mutex};
    in_time = changed.wait_for(lock, patience, [&] { return told > seen; });
    seen = told;
    lock.unlock();
    if (in_time && must(j->head()) < seen)
      in_time = false;
  }
  writer.join();
  BOOST_TEST(in_time);
  BOOST_TEST(seen == 500u);
  following.reset();
  gone = true;
  must(j->commit_and_wait(append("order-1", any, {happened(0)})));
  j->close();
  BOOST_TEST(!told_late);
}

void stats_count_what_happened(const case_setup& setup) {
  auto j = setup.open_stepped();
  auto pipeline = std::make_shared<writer_epoch>();
  auto send = [&](commit c) { BOOST_TEST(submit(*j, std::move(c), nullptr, 0)); };
  send(append("a-1", none, happened_many(3)));
  send(append("a-2", none, happened_many(2)));
  auto doomed = append("a-1", none, {happened(1)});
  doomed.epoch = pipeline;
  send(doomed);
  send(doomed);
  auto before = j->stats();
  BOOST_TEST(before.commits == 0u);
  BOOST_TEST(before.pending_commits == 4u);
  BOOST_TEST(before.pending_bytes > 0u);
  j->step();
  auto after = j->stats();
  BOOST_TEST(after.commits == 2u);
  BOOST_TEST(after.conflicts == 2u);
  BOOST_TEST(after.failures == 0u);
  BOOST_TEST(after.events == 5u);
  BOOST_TEST(after.event_bytes > 5 * happened(1).payload.size());
  BOOST_TEST(after.transactions == 1u);
  BOOST_TEST(after.pending_commits == 0u);
  BOOST_TEST(after.pending_bytes == 0u);
}

void a_closed_journal_says_so(const case_setup& setup) {
  auto j = setup.open();
  must(j->commit_and_wait(append("order-1", none, {happened(1)})));
  auto credit = must(j->reserve());
  j->close();
  j->close();
  auto answers = std::make_shared<recorder>();
  j->submit(append("order-1", any, {happened(2)}), std::move(credit), answers, 3);
  auto got = answers->take();
  BOOST_TEST_REQUIRE(got.size() == 1u);
  must_fail(got[0].outcome, journal_errc::closed);
  must_fail(j->reserve(), journal_errc::closed);
  must_fail(j->commit_and_wait(append("order-1", any, {happened(2)})), journal_errc::closed);
  j->save_snapshot(sid("order-1"), saved(1, "t"));
  j->flush_snapshots();
  BOOST_TEST(j->stats().snapshots_written == 0u);
  BOOST_TEST(j->stats().snapshots_dropped == 1u);
  must_fail(j->head(), journal_errc::closed);
  must_fail(j->head_of(sid("order-1")), journal_errc::closed);
  event_page page;
  stream_cursor where{sid("order-1")};
  must_fail(j->read_stream(where, page), journal_errc::closed);
  BOOST_TEST(page.empty());
  log_position next = 1;
  must_fail(j->read_log(next, page), journal_errc::closed);
  std::string token;
  must_fail(j->list_streams(token), journal_errc::closed);
  must_fail(j->event_types(), journal_errc::closed);
  must_fail(j->load_snapshot(sid("order-1"), "t"), journal_errc::closed);
  must_fail(j->load_cursor("mail"), journal_errc::closed);
  BOOST_TEST(j->stats().commits == 1u);
}

void closing_answers_all_that_wait(const case_setup& setup) {
  constexpr std::size_t writers = 3;
  auto j = setup.open();
  std::vector<std::shared_ptr<recorder>> answers;
  std::vector<std::jthread> threads;
  std::array<std::atomic<std::size_t>, writers> submitted{};
  for (std::size_t w = 0; w < writers; ++w) {
    answers.push_back(std::make_shared<recorder>());
    threads.emplace_back([&, w, listener = answers.back()] {
      for (std::size_t i = 0;;) {
        auto credit = j->reserve();
        if (!credit && credit.error().code() == journal_errc::overloaded)
          continue;
        if (!credit)
          return;
        j->submit(append("w-" + std::to_string(w), any, {happened(0)}), *std::move(credit), listener, i++);
        ++submitted[w];
      }
    });
  }
  BOOST_TEST(std::ranges::all_of(answers, [](auto& a) { return a->wait_for(100); }));
  j->close();
  for (auto& thread : threads)
    thread.join();
  std::array<std::size_t, writers> passed{};
  for (std::size_t w = 0; w < writers; ++w) {
    auto got = answers[w]->take();
    BOOST_TEST(got.size() == submitted[w].load(), "each is answered once");
    // What comes after the closing is refused at once, and may overtake what still waits.
    std::ranges::sort(got, {}, &recorder::answer::ticket);
    for (std::size_t i = 0; i < got.size(); ++i) {
      BOOST_TEST_REQUIRE(got[i].ticket == i);
      if (got[i].outcome)
        BOOST_TEST_REQUIRE(++passed[w] == i + 1, "no success after a refusal");
      else
        must_fail(got[i].outcome, journal_errc::closed);
    }
  }
  if (!setup.persistent())
    return;
  j.reset();
  j = setup.open();
  for (std::size_t w = 0; w < writers; ++w)
    BOOST_TEST(must(j->head_of(sid("w-" + std::to_string(w)))).version == passed[w]);
}

// -- many -----------------------------------------------------------------------------------------

void many_threads_submit_at_once(const case_setup& setup) {
  constexpr std::size_t writers = 6;
  constexpr std::size_t commits = 2'000;
  auto j = setup.open();
  std::vector<std::shared_ptr<recorder>> answers;
  std::vector<std::jthread> threads;
  for (std::size_t w = 0; w < writers; ++w) {
    answers.push_back(std::make_shared<recorder>());
    threads.emplace_back([&, w, listener = answers.back()] {
      for (std::size_t i = 0; i < commits; ++i) {
        commit c = append("own-" + std::to_string(w), exact(i), {happened(static_cast<std::int64_t>(i))});
        c.appends.push_back({sid("shared-1"), any, {happened(static_cast<std::int64_t>(w))}});
        submit(*j, std::move(c), listener, i);
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  std::set<log_position> positions;
  for (auto& listener : answers) {
    BOOST_TEST_REQUIRE(listener->wait_for(commits));
    log_position before = 0;
    for (auto& [ticket, outcome] : listener->take()) {
      must_pass(outcome);
      BOOST_TEST_REQUIRE(outcome->first > before, "a thread's commits keep their order");
      BOOST_TEST_REQUIRE(outcome->last == outcome->first + 1);
      before = outcome->last;
      positions.insert(outcome->first);
    }
  }
  constexpr auto events = writers * commits * 2;
  BOOST_TEST(positions.size() == writers * commits);
  BOOST_TEST(*positions.begin() == 1u);
  BOOST_TEST(*positions.rbegin() == events - 1);
  wait_for_head(setup, *j, events);
  BOOST_TEST(read_stream(*j, sid("shared-1")).size() == writers * commits);
  for (std::size_t w = 0; w < writers; ++w) {
    auto own = numbers(read_stream(*j, sid("own-" + std::to_string(w))));
    BOOST_TEST_REQUIRE(own.size() == commits);
    BOOST_TEST(std::ranges::is_sorted(own));
  }
}

/// More streams and events than a backend keeps in memory, in random order, with few heads remembered by the
/// writer.
void many_events_are_found_again(const case_setup& setup) {
  constexpr std::size_t streams = 5'000;
  constexpr std::size_t commits = 20'000;
  constexpr std::size_t streams_per_commit = 10;
  auto options = setup.options();
  options.cached_heads = 500;
  auto j = setup.open(options);
  auto name = [](std::size_t i) { return sid("s" + std::to_string(i % 7) + "-" + std::to_string(i)); };
  std::vector<std::vector<std::int64_t>> model(streams);
  std::mt19937 random{4711};
  auto answers = std::make_shared<recorder>();
  std::int64_t number = 0;
  for (std::size_t i = 0; i < commits; ++i) {
    commit c;
    // Some streams are written all the time, most of them seldom.
    const auto base = random() % 4 == 0 ? random() % 20 : random() % streams;
    for (std::size_t k = 0; k < streams_per_commit; ++k) {
      const auto index = (base + k * 499) % streams;
      c.appends.push_back({name(index), exact(model[index].size()), {happened(++number)}});
      model[index].push_back(number);
    }
    while (!submit(*j, c, answers, i))
      BOOST_TEST_REQUIRE(answers->wait_for(answers->size() + 1));
  }
  BOOST_TEST_REQUIRE(answers->wait_for(commits));
  for (auto& answer : answers->take())
    must_pass(answer.outcome);
  wait_for_head(setup, *j, commits * streams_per_commit);

  for (int reopened = 0; reopened < 2; ++reopened) {
    BOOST_TEST(list_all(*j, 1'024).size() ==
               std::ranges::count_if(model, [](auto& s) { return !s.empty(); }));
    for (std::size_t i = 0; i < streams; ++i) {
      const auto stream = name(i);
      BOOST_TEST_REQUIRE(must(j->head_of(stream)).version == model[i].size());
      BOOST_TEST_REQUIRE((numbers(read_stream(*j, stream)) == model[i]));
      if (i % 50 != 0 || model[i].empty())
        continue;
      for (stream_version from : {model[i].size(), model[i].size() / 2 + 1}) {
        auto tail = read_stream(*j, stream, from);
        BOOST_TEST_REQUIRE(tail.size() == model[i].size() - from + 1);
        BOOST_TEST_REQUIRE(number_of(tail[0]) == model[i][from - 1]);
      }
    }
    if (!setup.persistent())
      break;
    j.reset();
    j = setup.open(options);
  }
  must(j->commit_and_wait(append(name(0), exact(model[0].size()), {happened(1)})));
}

// -- relaxed durability, persistence --------------------------------------------------------------

void relaxed_acknowledges_early(const case_setup& setup) {
  if (setup.durability != durability::relaxed)
    return;
  auto options = setup.options();
  options.relaxed_interval = endless;
  auto j = setup.open(options);
  for (std::uint64_t i = 0; i < 20; ++i)
    must(j->commit_and_wait(append("order-1", exact(i), {happened(0)})));
  BOOST_TEST(j->stats().commits == 20u);
  BOOST_TEST(j->stats().transactions == 0u, "acknowledged before it is durable");
  BOOST_TEST(must(j->head()) == 0u, "the log shows what is durable");
  BOOST_TEST(read_stream(*j, sid("order-1")).size() == 20u, "a stream shows what was acknowledged");
  BOOST_TEST(must(j->head()) == 20u);
  must(j->commit_and_wait(append("order-2", none, {happened(0)})));
  BOOST_TEST(must(j->head_of(sid("order-2"))).version == 1u);
  must(j->commit_and_wait(move_cursor("mail", 0, 7)));
  BOOST_TEST(must(j->load_cursor("mail")) == 7u);
  must(j->commit_and_wait(append("order-1", exact(20), {happened(0)})));
  j->close();
  if (!setup.persistent())
    return;
  j.reset();
  j = setup.open(options);
  BOOST_TEST(must(j->head_of(sid("order-1"))).version == 21u, "closing makes all durable");
}

void relaxed_writes_within_its_interval(const case_setup& setup) {
  if (setup.durability != durability::relaxed)
    return;
  auto j = setup.open();
  must(j->commit_and_wait(append("order-1", none, {happened(0)})));
  wait_for_head(setup, *j, 1);
}

void a_journal_opened_again_holds_all(const case_setup& setup) {
  if (!setup.persistent())
    return;
  auto options = setup.options();
  std::atomic<std::int64_t> now{2'000'000'000'000'000};
  options.clock = [&now] { return now.load(); };
  auto j = setup.open(options);
  const auto id = j->info().id;
  const auto incarnation = j->info().incarnation;
  std::vector<recorded_event> before;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 25; ++i) {
      auto c =
          append("c" + std::to_string(i % 3) + "-" + std::to_string(i), exact(round), {happened(i), other()});
      c.appends[0].expected = exact(2 * static_cast<stream_version>(round));
      c.metadata.user = "user " + std::to_string(round);
      must(j->commit_and_wait(c));
    }
    must(j->commit_and_wait(move_cursor("mail", round, round + 1)));
    wait_for_head(setup, *j, 50u * (round + 1));
    j.reset();
    now -= 1'000'000;
    j = setup.open(options);
    BOOST_TEST(j->info().id == id);
    BOOST_TEST(j->info().incarnation == incarnation);
    BOOST_TEST(must(j->load_cursor("mail")) == round + 1u);
    BOOST_TEST(must(j->event_types()).size() == 2u);
    auto log = read_log(*j);
    BOOST_TEST_REQUIRE(log.size() == 50u * (round + 1));
    for (std::size_t i = 0; i < before.size(); ++i)
      BOOST_TEST((fields(log[i]) == fields(before[i])));
    for (std::size_t i = 1; i < log.size(); ++i)
      BOOST_TEST_REQUIRE((log[i - 1].id < log[i].id),
                         "ids grow, although the clock goes back between openings");
    before = log;
    BOOST_TEST(list_all(*j, 10).size() == 25u);
    for (const auto& event : log)
      BOOST_TEST((fields(read_stream(*j, sid(event.stream), event.version).at(0)) == fields(event)));
  }
}

constexpr std::pair<const char*, void (*)(const case_setup&)> cases[]{
    {"an_empty_journal_is_empty", an_empty_journal_is_empty},
    {"an_event_keeps_all_its_fields", an_event_keeps_all_its_fields},
    {"time_comes_from_the_clock", time_comes_from_the_clock},
    {"expected_versions_are_checked", expected_versions_are_checked},
    {"a_conflict_names_stream_expected_and_found", a_conflict_names_stream_expected_and_found},
    {"a_commit_over_streams_is_atomic", a_commit_over_streams_is_atomic},
    {"a_stream_that_is_only_read_is_checked", a_stream_that_is_only_read_is_checked},
    {"a_category_of_another_service_is_refused", a_category_of_another_service_is_refused},
    {"a_conflict_fails_alone_in_its_group", a_conflict_fails_alone_in_its_group},
    {"an_epoch_ends_with_its_first_failure", an_epoch_ends_with_its_first_failure},
    {"an_epoch_ends_with_a_commit_that_breaks_a_bound", an_epoch_ends_with_a_commit_that_breaks_a_bound},
    {"an_epoch_refuses_a_version_that_matches_by_chance", an_epoch_refuses_a_version_that_matches_by_chance},
    {"answers_come_in_order_of_submission", answers_come_in_order_of_submission},
    {"a_listener_may_submit", a_listener_may_submit},
    {"a_commit_without_listener_is_written", a_commit_without_listener_is_written},
    {"credit_is_bounded_by_count", credit_is_bounded_by_count},
    {"credit_is_bounded_by_bytes", credit_is_bounded_by_bytes},
    {"a_commit_without_credit_is_refused", a_commit_without_credit_is_refused},
    {"a_commit_that_is_too_large_is_refused", a_commit_that_is_too_large_is_refused},
    {"large_commits_are_kept_whole", large_commits_are_kept_whole},
    {"an_invalid_commit_is_refused_at_once", an_invalid_commit_is_refused_at_once},
    {"failed_commits_leave_no_gap", failed_commits_leave_no_gap},
    {"cursors_move_by_compare_and_set", cursors_move_by_compare_and_set},
    {"cursors_and_events_go_together", cursors_and_events_go_together},
    {"cursors_are_checked_within_a_group", cursors_are_checked_within_a_group},
    {"a_stream_is_read_in_pages_of_any_size", a_stream_is_read_in_pages_of_any_size},
    {"a_page_keeps_its_bounds", a_page_keeps_its_bounds},
    {"any_right_hint_finds_the_event", any_right_hint_finds_the_event},
    {"a_stream_cursor_goes_on_at_the_end", a_stream_cursor_goes_on_at_the_end},
    {"a_page_is_used_again_without_traces", a_page_is_used_again_without_traces},
    {"streams_with_like_names_are_apart", streams_with_like_names_are_apart},
    {"the_log_is_read_by_filter", the_log_is_read_by_filter},
    {"a_filtered_read_looks_at_a_bounded_part", a_filtered_read_looks_at_a_bounded_part},
    {"a_reader_beside_writers_sees_no_gap", a_reader_beside_writers_sees_no_gap},
    {"every_stream_is_listed_once", every_stream_is_listed_once},
    {"a_journal_describes_its_types", a_journal_describes_its_types},
    {"all_forms_of_a_type_are_kept", all_forms_of_a_type_are_kept},
    {"snapshots_are_found_by_version", snapshots_are_found_by_version},
    {"snapshots_of_other_streams_and_types_are_apart", snapshots_of_other_streams_and_types_are_apart},
    {"only_the_newest_snapshots_are_kept", only_the_newest_snapshots_are_kept},
    {"a_snapshot_of_the_same_version_is_replaced", a_snapshot_of_the_same_version_is_replaced},
    {"snapshots_are_counted", snapshots_are_counted},
    {"snapshots_are_saved_and_loaded_by_many_threads", snapshots_are_saved_and_loaded_by_many_threads},
    {"the_tail_is_told_after_each_transaction", the_tail_is_told_after_each_transaction},
    {"what_the_tail_names_is_durable", what_the_tail_names_is_durable},
    {"stats_count_what_happened", stats_count_what_happened},
    {"a_closed_journal_says_so", a_closed_journal_says_so},
    {"closing_answers_all_that_wait", closing_answers_all_that_wait},
    {"many_threads_submit_at_once", many_threads_submit_at_once},
    {"many_events_are_found_again", many_events_are_found_again},
    {"relaxed_acknowledges_early", relaxed_acknowledges_early},
    {"relaxed_writes_within_its_interval", relaxed_writes_within_its_interval},
    {"a_journal_opened_again_holds_all", a_journal_opened_again_holds_all},
    {"a_journal_is_like_its_model", a_journal_is_like_its_model},
    {"new_events_are_in_memory_for_keepers", new_events_are_in_memory_for_keepers},
    {"what_is_in_memory_is_durable", what_is_in_memory_is_durable},
    {"the_memory_of_the_tail_is_bounded", the_memory_of_the_tail_is_bounded},
    {"a_feed_tells_when_there_is_more", a_feed_tells_when_there_is_more},
    {"a_feed_that_starts_in_memory_reads_to_the_end", a_feed_that_starts_in_memory_reads_to_the_end},
    {"a_feed_beside_writers_sees_all_in_order", a_feed_beside_writers_sees_all_in_order},
    {"a_feed_is_like_the_log", a_feed_is_like_the_log},
    {"timers_are_read_in_order", timers_are_read_in_order},
    {"timers_are_moved_and_cancelled", timers_are_moved_and_cancelled},
    {"timers_go_with_their_commit_or_not_at_all", timers_go_with_their_commit_or_not_at_all},
    {"invalid_timers_are_refused", invalid_timers_are_refused},
    {"a_commit_of_too_many_timers_is_refused", a_commit_of_too_many_timers_is_refused},
    {"followers_of_timers_hear_the_earliest", followers_of_timers_hear_the_earliest},
    {"timers_of_a_writing_thread_become_durable", timers_of_a_writing_thread_become_durable},
    {"timers_are_like_a_set", timers_are_like_a_set},
};

} // namespace

bool register_journal_conformance(const std::string& name, make_journal_factory make_factory) {
  namespace ut = boost::unit_test;
  auto* all = BOOST_TEST_SUITE(name);
  for (auto durability : {durability::fsync, durability::relaxed}) {
    auto* suite = BOOST_TEST_SUITE(durability == durability::fsync ? "fsync" : "relaxed");
    for (auto [case_name, body] : cases) {
      auto run = [body = body, durability, make_factory] {
        body({durability, make_factory, make_factory()});
      };
      suite->add(ut::make_test_case(run, case_name, __FILE__, __LINE__));
    }
    all->add(suite);
  }
  ut::framework::master_test_suite().add(all);
  return true;
}

} // namespace eventcore::test
