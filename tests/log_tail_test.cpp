#include "support/journal_helpers.hpp"

#include <eventcore/persistence/internal/log_tail.hpp>
#include <eventcore/persistence/internal/record_codec.hpp>

#include <atomic>
#include <random>
#include <thread>

namespace eventcore::test {

namespace {

using internal::log_tail;

/// A record whose event says its position.
std::string body_at(log_position position) {
  std::string body;
  internal::encode_body(body, uuid::random(), sid("order-1"), happened(static_cast<std::int64_t>(position)),
                        {}, {});
  return body;
}

void add(log_tail& tail, log_position position) {
  tail.add(body_at(position), position, position);
}

/// Whether the tail has the event at `position`. If so, all of its page must stand where they say.
bool has(const log_tail& tail, log_position position) {
  const auto page = tail.find(position);
  if (!page)
    return false;
  auto next = page->events().front().position;
  bool found = false;
  for (auto& event : page->events()) {
    if (event.position != next || number_of(event) != static_cast<std::int64_t>(next))
      throw std::logic_error{"event " + std::to_string(number_of(event)) + " stands at position " +
                             std::to_string(event.position)};
    found = found || next == position;
    ++next;
  }
  return found;
}

} // namespace

BOOST_AUTO_TEST_SUITE(log_tail_test)

BOOST_AUTO_TEST_CASE(it_holds_what_was_published_while_it_was_kept) {
  log_tail tail{1 << 20};
  add(tail, 1);
  tail.publish();
  BOOST_TEST(!has(tail, 1));
  auto kept = tail.keep();
  add(tail, 2);
  BOOST_TEST(!has(tail, 2));
  tail.publish();
  BOOST_TEST(has(tail, 2));
  add(tail, 3);
  tail.discard();
  tail.publish();
  BOOST_TEST(!has(tail, 3));
  kept = {};
  BOOST_TEST(!has(tail, 2));
}

BOOST_AUTO_TEST_CASE(one_that_comes_when_another_left_within_a_transaction_is_not_misled) {
  log_tail tail{1 << 20};
  auto kept = tail.keep();
  add(tail, 1);
  kept = {};
  add(tail, 2);
  kept = tail.keep();
  add(tail, 3);
  add(tail, 4);
  tail.publish();
  BOOST_TEST(!has(tail, 2));
  BOOST_TEST(has(tail, 3));
  BOOST_TEST(has(tail, 4));
}

BOOST_AUTO_TEST_CASE(an_event_larger_than_the_tail_is_not_kept) {
  log_tail tail{1'000};
  const auto kept = tail.keep();
  add(tail, 1);
  tail.publish();
  tail.add(std::string(2'000, 'x'), 2, 2);
  tail.publish();
  BOOST_TEST(!has(tail, 1));
  BOOST_TEST(!has(tail, 2));
  add(tail, 3);
  tail.publish();
  BOOST_TEST(has(tail, 3));
}

BOOST_AUTO_TEST_CASE(readers_come_and_go_while_it_is_written) {
  log_tail tail{100'000};
  std::atomic<log_position> head{0};
  std::atomic<bool> end{false};
  std::atomic<std::uint64_t> found{0};
  std::atomic<bool> wrong{false};
  {
    std::vector<std::jthread> readers;
    for (unsigned i = 0; i != 3; ++i)
      readers.emplace_back([&, i] {
        std::minstd_rand random{i + 1};
        try {
          while (!end) {
            const auto kept = tail.keep();
            for (auto reads = random() % 20; reads > 0; --reads)
              if (const auto last = head.load(); last > 0)
                found += has(tail, last - std::min<log_position>(last - 1, random() % 100));
          }
        } catch (const std::exception&) {
          wrong = true;
        }
      });
    std::minstd_rand random{99};
    for (log_position next = 1; next <= 50'000;) {
      const auto begin = next;
      for (auto n = 1 + random() % 50; n > 0; --n)
        add(tail, next++);
      if (random() % 10 == 0) {
        tail.discard();
        next = begin;
      } else {
        tail.publish();
        head = next - 1;
      }
    }
    end = true;
  }
  BOOST_TEST(!wrong);
  BOOST_TEST(found > 0u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace eventcore::test
