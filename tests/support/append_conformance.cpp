#include "support/journal_conformance_cases.hpp"
#include "support/journal_helpers.hpp"

#include <atomic>

namespace eventcore::test {

namespace {

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

} // namespace

std::vector<conformance_case> append_cases() {
  return {
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
      {"an_epoch_refuses_a_version_that_matches_by_chance",
       an_epoch_refuses_a_version_that_matches_by_chance},
      {"answers_come_in_order_of_submission", answers_come_in_order_of_submission},
      {"a_listener_may_submit", a_listener_may_submit},
      {"a_commit_without_listener_is_written", a_commit_without_listener_is_written},
  };
}

} // namespace eventcore::test
