#include "support/journal_conformance_cases.hpp"
#include "support/journal_helpers.hpp"

#include <algorithm>
#include <map>
#include <thread>

namespace eventcore::test {

namespace {

/// Fills `j` with events of several streams in turn, so that a stream's events do not stand side by side.
void fill_interleaved(journal& j, std::size_t events) {
  auto answers = std::make_shared<recorder>();
  for (std::size_t i = 0; i < events; ++i) {
    const auto stream = "c" + std::to_string(i % 3) + "-" + std::to_string(i % 7);
    BOOST_TEST_REQUIRE(submit(j, append(stream, any, {happened(static_cast<std::int64_t>(i))}), answers, i));
  }
  BOOST_TEST_REQUIRE(answers->wait_for(events));
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

} // namespace

std::vector<conformance_case> reading_cases() {
  return {
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
  };
}

} // namespace eventcore::test
