// The events of another node's service as they are read here, with the test in place of the broker.

#include "support/journal_helpers.hpp"

#include <eventcore/runtime/internal/cluster/remote_source.hpp>

#include <atomic>
#include <thread>

using namespace eventcore;
using namespace eventcore::internal;
using namespace eventcore::test;

namespace {

/// A source that is connected, and pages for its feeds.
struct connected_source {
  connected_source() { source->connected(out, {uuid::random(), uuid::random()}, 0, true); }

  /// For the feed that was opened as number `feed`.
  bool page(std::uint64_t feed, log_position position) const { return page(*out, feed, position); }
  bool page(const outbox& from, std::uint64_t feed, log_position position) const {
    feed_page page{feed, position, position};
    page.events.emplace_back().position = position;
    return source->on_page(from, std::move(page));
  }

  std::shared_ptr<remote_source> source = std::make_shared<remote_source>("pay");
  std::shared_ptr<outbox> out = std::make_shared<outbox>([] {});
};

} // namespace

BOOST_FIXTURE_TEST_CASE(nobody_is_told_of_events_after_the_feeds_end, connected_source) {
  std::atomic<bool> inside = false;
  std::atomic<bool> ended = false;
  std::atomic<bool> told_too_late = false;
  auto feed = source->open(1, {}, [&] {
    inside = true;
    for (int i = 0; i != 1'000; ++i) {
      std::this_thread::yield();
      told_too_late = told_too_late || ended;
    }
  });
  std::thread broker{[&] { page(1, 1); }};
  while (!inside)
    std::this_thread::yield();
  feed.reset();
  ended = true;
  broker.join();
  BOOST_TEST(!told_too_late);
  page(1, 2);
}

BOOST_FIXTURE_TEST_CASE(a_feed_ends_when_its_reader_is_told, connected_source) {
  std::unique_ptr<event_feed> feed;
  int told = 0;
  feed = source->open(1, {}, [&] {
    ++told;
    feed.reset();
  });
  page(1, 1);
  page(1, 2);
  BOOST_TEST(told == 1);
}

BOOST_FIXTURE_TEST_CASE(feeds_come_and_go_while_pages_come_and_the_connection_goes, connected_source) {
  std::atomic<std::uint64_t> opened = 0;
  std::atomic<bool> ended = false;
  const auto history = must(source->current_history());
  std::thread broker{[&] {
    for (log_position p = 1; !ended; ++p) {
      page(opened, p);
      if (p % 16 == 0) {
        source->lost(*out, "gone");
        source->connected(out, history, p, true);
      }
    }
  }};
  for (int i = 0; i != 100; ++i) {
    std::atomic<int> told = 0;
    auto feed = source->open(1, {}, [&] { ++told; });
    ++opened;
    while (told == 0)
      std::this_thread::yield();
    (void)feed->read({});
  }
  ended = true;
  broker.join();
  byte_buffer sent;
  BOOST_TEST(out->take(sent));
}

BOOST_FIXTURE_TEST_CASE(no_more_pages_wait_than_the_reader_gave_credit_for, connected_source) {
  auto feed = source->open(1, {}, [] {});
  log_position p = 1;
  for (; p <= 4; ++p)
    BOOST_TEST(page(1, p));
  BOOST_TEST(!page(1, p));
  BOOST_TEST(must(feed->read({})).last == 1u);
  BOOST_TEST(page(1, p));
  for (log_position next = 2; next <= p; ++next)
    BOOST_TEST(must(feed->read({})).last == next);
}

BOOST_FIXTURE_TEST_CASE(a_connection_that_was_given_up_brings_nothing_more, connected_source) {
  auto feed = source->open(1, {}, [] {});
  const auto old = std::exchange(out, std::make_shared<outbox>([] {}));
  source->connected(out, must(source->current_history()), 0, true);
  page(*old, 1, 1);
  source->on_end(*old, 1, make_error(journal_errc::closed, "it ends"));
  BOOST_TEST(must(feed->read({})).events.empty());
  page(1, 2);
  BOOST_TEST(must(feed->read({})).last == 2u);
}
