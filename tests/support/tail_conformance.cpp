#include "support/journal_conformance_cases.hpp"
#include "support/journal_helpers.hpp"

#include <eventcore/persistence/log_feed.hpp>

#include <rapidcheck.h>

#include <atomic>
#include <thread>

namespace eventcore::test {

namespace {

void check_same(const recorded_event& found, const recorded_event& wanted) {
  BOOST_TEST_REQUIRE((fields(found) == fields(wanted)),
                     "the event at position " << wanted.position << " differs from the log's");
}

/// Submits to a stepped journal and steps.
void write(journal& j, commit c) {
  auto answers = std::make_shared<recorder>();
  BOOST_TEST_REQUIRE(submit(j, std::move(c), answers, 0));
  j.step();
  must_pass(answers->take().at(0).outcome);
}

/// Reads all that the feed can give now.
std::vector<recorded_event> drain(log_feed& feed, read_limits limits = {}) {
  std::vector<recorded_event> all;
  log_chunk chunk;
  for (bool more = true; more;) {
    const auto before = feed.next();
    more = must(feed.read(chunk, limits));
    BOOST_TEST_REQUIRE(chunk.first() == before);
    BOOST_TEST_REQUIRE(chunk.last() + 1 == feed.next());
    for (auto* event : chunk.events())
      all.push_back(*event);
  }
  return all;
}

void new_events_are_in_memory_for_keepers(const case_setup& setup) {
  auto j = setup.open_stepped();
  write(*j, append("order-1", any, {happened(1)}));
  BOOST_TEST(!j->recent(1));
  auto kept = j->keep_tail();
  BOOST_TEST(!j->recent(1));
  BOOST_TEST(!j->recent(2));
  commit full;
  full.appends.push_back({sid("order-1"), any, {happened(2, "two"), other()}, {"key", "answer"}});
  full.appends.push_back({sid("mail-1"), any, {{Other::descriptor(), "", 3}}});
  full.metadata = {"correlation", "causation", "tenant", "user", "trace", {{"a", "1"}}};
  write(*j, full);
  auto page = j->recent(2);
  BOOST_TEST_REQUIRE(page.get());
  BOOST_TEST_REQUIRE(page->size() == 3u);
  const auto log = read_log(*j, 2);
  for (std::size_t i = 0; i < 3; ++i)
    check_same(page->events()[i], log[i]);
  BOOST_TEST(j->recent(3) == page);
  BOOST_TEST(j->recent(4) == page);
  BOOST_TEST(!j->recent(5));
  {
    auto also_kept = j->keep_tail();
    kept = {};
    BOOST_TEST(j->recent(2) == page);
  }
  BOOST_TEST(!j->recent(2));
  write(*j, append("order-1", any, {happened(3)}));
  BOOST_TEST(!j->recent(5));
  check_same(page->events()[0], log[0]);
}

void what_is_in_memory_is_durable(const case_setup& setup) {
  auto j = setup.open_stepped();
  auto kept = j->keep_tail();
  auto answers = std::make_shared<recorder>();
  for (std::uint64_t i = 0; i < 3; ++i)
    submit(*j, append("order-1", any, {happened(static_cast<std::int64_t>(i))}), answers, i);
  submit(*j, append("order-1", expected_version::exact(7), {happened(7)}), answers, 3);
  submit(*j, append("order-1", any, {happened(3)}), answers, 4);
  BOOST_TEST(!j->recent(1));
  std::vector<log_position> found;
  auto following = j->follow_tail([&](log_position head) {
    for (log_position p = 1; p <= head; ++p)
      found.push_back(j->recent(p) ? p : 0);
  });
  j->step();
  BOOST_TEST((found == std::vector<log_position>{1, 2, 3, 4}));
  BOOST_TEST(
      (numbers({j->recent(1)->begin(), j->recent(1)->end()}) == std::vector<std::int64_t>{0, 1, 2, 3}));
}

void the_memory_of_the_tail_is_bounded(const case_setup& setup) {
  auto options = setup.options();
  options.writer = writer_mode::stepped;
  options.tail_bytes = 64u << 10;
  auto j = setup.open(options);
  auto kept = j->keep_tail();
  for (int i = 0; i < 100; ++i)
    write(*j, append("order-1", any, happened_many(20)));
  BOOST_TEST(!j->recent(1));
  BOOST_TEST(j->recent(2'000).get());
  // What is in memory is in a row, up to the head.
  log_position first = 2'000;
  std::size_t bytes = 0;
  for (auto page = j->recent(first); page; page = j->recent(first - 1)) {
    first = page->begin()->position;
    for (auto& event : *page)
      bytes += sizeof(event);
  }
  BOOST_TEST(bytes <= options.tail_bytes);
  BOOST_TEST(bytes >= options.tail_bytes / 4);
  for (log_position p = 1; p <= 2'000; ++p)
    BOOST_TEST_REQUIRE(!j->recent(p) == (p < first));
  // One that is larger than all of it is not kept.
  write(*j, append("order-1", any, {happened(1, std::string(100'000, 'x'))}));
  BOOST_TEST(!j->recent(2'001));
  write(*j, append("order-1", any, {happened(1)}));
  BOOST_TEST(j->recent(2'002).get());
}

void a_feed_tells_when_there_is_more(const case_setup& setup) {
  auto j = setup.open_stepped();
  write(*j, append("order-1", any, happened_many(3)));
  std::size_t told = 0;
  log_feed feed{*j, 2, {}, [&] { ++told; }};
  BOOST_TEST((numbers(drain(feed)) == std::vector<std::int64_t>{2, 3}));
  BOOST_TEST(feed.next() == 4u);
  BOOST_TEST(feed.head() == 3u);
  BOOST_TEST(told == 0u);
  write(*j, append("order-1", any, {happened(4)}));
  BOOST_TEST(told == 1u);
  write(*j, append("order-1", any, {happened(5)}));
  BOOST_TEST(told == 1u);
  BOOST_TEST(feed.head() == 5u);
  BOOST_TEST((numbers(drain(feed)) == std::vector<std::int64_t>{4, 5}));
  BOOST_TEST(drain(feed).empty());
  write(*j, append("order-1", any, {happened(6)}));
  BOOST_TEST(told == 2u);
  j->close();
  log_chunk chunk;
  BOOST_TEST(must(feed.read(chunk)) == false); // in memory still
  BOOST_TEST(chunk.events().size() == 1u);
  must_fail(feed.read(chunk), journal_errc::closed);
}

/// Several transactions that another reader keeps in memory, and none after them.
void a_feed_that_starts_in_memory_reads_to_the_end(const case_setup& setup) {
  auto j = setup.open_stepped();
  const auto kept = j->keep_tail();
  for (std::int64_t n = 1; n <= 3; ++n)
    write(*j, append("order-1", any, {happened(n)}));
  log_feed feed{*j, 1, {}, {}};
  BOOST_TEST((numbers(drain(feed)) == std::vector<std::int64_t>{1, 2, 3}));
  BOOST_TEST(feed.head() == 3u);
}

void a_feed_beside_writers_sees_all_in_order(const case_setup& setup) {
  auto options = setup.options();
  options.tail_bytes = 200'000; // so that slow ones fall out of it
  auto j = setup.open(options);
  constexpr std::uint64_t events = 8'000;
  std::thread writer{[&] {
    auto answers = std::make_shared<recorder>();
    for (std::uint64_t i = 0; i < events; ++i)
      submit(*j, append("c" + std::to_string(i % 3) + "-1", any, {happened(static_cast<std::int64_t>(i))}),
             answers, i);
    answers->wait_for(events);
  }};
  std::vector<std::thread> readers;
  std::atomic<int> right{0};
  for (int n = 0; n < 3; ++n)
    readers.emplace_back([&, n] {
      std::mutex mutex;
      std::condition_variable more;
      bool told = false;
      log_feed feed{*j, 1, {}, [&] {
                      std::lock_guard lock{mutex};
                      told = true;
                      more.notify_one();
                    }};
      log_chunk chunk;
      log_position seen = 0;
      while (seen < events) {
        auto again = feed.read(chunk, {.events = n == 0 ? 7u : 1'024u});
        if (!again)
          return;
        for (auto* event : chunk.events())
          if (event->position != ++seen || number_of(*event) != static_cast<std::int64_t>(seen - 1))
            return;
        if (*again || seen == events)
          continue;
        std::unique_lock lock{mutex};
        if (!more.wait_for(lock, patience, [&] { return told; }))
          return;
        told = false;
      }
      ++right;
    });
  writer.join();
  for (auto& reader : readers)
    reader.join();
  BOOST_TEST(right == 3);
}

void a_feed_is_like_the_log(const case_setup& setup) {
  const bool holds = rc::check("a feed reads what the log holds", [&] {
    auto options = setup.options();
    options.writer = writer_mode::stepped;
    options.tail_bytes = *rc::gen::element<std::size_t>(0, 2'000, 20'000, 1u << 20);
    const auto factory = setup.make_factory();
    auto j = factory->open(options);
    log_filter filter;
    if (*rc::gen::arbitrary<bool>())
      filter.categories = {"a"};
    if (*rc::gen::arbitrary<bool>())
      filter.types = {Happened::descriptor()->full_name()};
    const auto start = *rc::gen::inRange<log_position>(0, 8);
    std::optional<log_feed> feed;
    std::vector<recorded_event> seen;
    const auto steps = *rc::gen::inRange(1, 20);
    for (int i = 0; i < steps; ++i) {
      for (auto commits = *rc::gen::inRange(0, 4); commits > 0; --commits) {
        std::vector<new_event> events;
        for (auto n = *rc::gen::inRange(1, 30); n > 0; --n)
          events.push_back(*rc::gen::arbitrary<bool>()
                               ? happened(n, std::string(static_cast<std::size_t>(n), 'x'))
                               : other());
        write(*j, append(*rc::gen::element<std::string>("a-1", "b-1"), any, std::move(events)));
      }
      if (!feed && *rc::gen::arbitrary<bool>())
        feed.emplace(*j, start, filter, nullptr);
      if (feed && *rc::gen::arbitrary<bool>()) {
        log_chunk chunk;
        const auto limits = read_limits{.events = *rc::gen::inRange<std::size_t>(1, 60), .bytes = 2'000};
        for (auto reads = *rc::gen::inRange(1, 5); reads > 0; --reads) {
          must(feed->read(chunk, limits));
          RC_ASSERT(chunk.events().size() <= limits.events);
          for (auto* event : chunk.events())
            seen.push_back(*event);
        }
      }
    }
    if (!feed)
      feed.emplace(*j, start, filter, nullptr);
    for (auto& event : drain(*feed))
      seen.push_back(event);
    RC_ASSERT(feed->next() == std::max(std::max<log_position>(start, 1), must(j->head()) + 1));
    const auto log = read_log(*j, std::max<log_position>(start, 1), filter);
    RC_ASSERT(seen.size() == log.size());
    for (std::size_t i = 0; i < log.size(); ++i)
      RC_ASSERT(fields(seen[i]) == fields(log[i]));
  });
  BOOST_TEST(holds);
}

} // namespace

std::vector<conformance_case> tail_cases() {
  return {
      {"new_events_are_in_memory_for_keepers", new_events_are_in_memory_for_keepers},
      {"what_is_in_memory_is_durable", what_is_in_memory_is_durable},
      {"the_memory_of_the_tail_is_bounded", the_memory_of_the_tail_is_bounded},
      {"a_feed_tells_when_there_is_more", a_feed_tells_when_there_is_more},
      {"a_feed_that_starts_in_memory_reads_to_the_end", a_feed_that_starts_in_memory_reads_to_the_end},
      {"a_feed_beside_writers_sees_all_in_order", a_feed_beside_writers_sees_all_in_order},
      {"a_feed_is_like_the_log", a_feed_is_like_the_log},
  };
}

} // namespace eventcore::test
