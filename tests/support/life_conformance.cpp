#include "support/journal_conformance_cases.hpp"
#include "support/journal_helpers.hpp"

#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <thread>

namespace eventcore::test {

namespace {

/// Longer than any test takes.
constexpr std::chrono::minutes endless{5};

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

} // namespace

std::vector<conformance_case> life_cases() {
  return {
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
  };
}

} // namespace eventcore::test
