#include "support/projection_world.hpp"

#include <boost/test/unit_test.hpp>
#include <lmdb.h>

#include <fstream>
#include <iostream>

#include <sys/mount.h>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

template <class T>
std::string must_fail_with(const result<T>& r, projection_errc code) {
  BOOST_REQUIRE(!r.has_value());
  BOOST_TEST_REQUIRE(r.error().code() == make_error_code(code), r.error().message());
  return r.error().message();
}

/// An event that no `Happened` can be parsed from.
new_event unreadable() {
  return {Happened::descriptor(), "\xFF\xFF\xFF", 1};
}

const error io_error = make_error(journal_errc::io_error, "the wire is cut");

} // namespace

BOOST_FIXTURE_TEST_SUITE(projection_test, projection_world)

// -- spec 24 -----------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(events_of_several_sources_are_applied_each_with_its_own_cursor) {
  source(0).happened("x-1", 1, "red");
  source(0).happened("x-2", 2, "blue");
  source(1).happened("x-1", 40, "red");
  auto p = open();
  settle(p);
  BOOST_TEST(by_text(p, "red") == "2:41");
  BOOST_TEST(by_text(p, "blue") == "1:2");
  BOOST_TEST(text_of(must(p.get<sums::by_stream>({"a", "x-1"}))) == "1:1");
  BOOST_TEST(text_of(must(p.get<sums::by_stream>({"b", "x-1"}))) == "1:40");
  auto stats = p.stats();
  BOOST_TEST(stats.live.sources[0].position == 2u);
  BOOST_TEST(stats.live.sources[1].position == 1u);
  BOOST_TEST(stats.live.events == 3u);
  BOOST_TEST(stats.live.batches == 1u, "one transaction, and so one sync");
  source(1).happened("x-3", 5, "red");
  settle(p);
  BOOST_TEST(by_text(p, "red") == "3:46");
}

BOOST_AUTO_TEST_CASE(a_restart_goes_on_at_the_cursors) {
  source(0).happened("x-1", 1);
  source(1).happened("x-1", 2);
  settle(open());
  source(0).happened("x-1", 3);
  auto p = open();
  BOOST_TEST(by_text(p, "t") == "2:3");
  settle(p);
  BOOST_TEST(by_text(p, "t") == "3:6");
  BOOST_TEST(p.stats().live.events == 1u);
}

BOOST_AUTO_TEST_CASE(what_is_repeated_is_not_applied_again) {
  for (int i = 1; i <= 10; ++i)
    source(0).happened("x-1", i);
  settle(open());
  source(0).repeats = 4;
  source(0).happened("x-1", 100);
  auto p = open();
  settle(p);
  BOOST_TEST(by_text(p, "t") == "11:155");
  BOOST_TEST(p.stats().live.repeated == 4u);
}

BOOST_AUTO_TEST_CASE(unknown_types_are_passed_over_by_the_filter) {
  source(0).append("x-1", {other(), happened(1, "t"), other()});
  auto p = open();
  settle(p);
  BOOST_TEST(by_text(p, "t") == "1:1");
  BOOST_TEST(p.stats().live.sources[0].position == 3u);
  // Nothing was applied, so nothing is written; the place is remembered at the end.
  source(0).append("x-1", {other(), other()});
  settle(p);
  BOOST_TEST(p.stats().live.batches == 1u);
  BOOST_TEST(p.stats().live.sources[0].position == 5u);
  must_pass(p.wait_until(5, 0s));
  p = open();
  BOOST_TEST(p.stats().live.sources[0].position == 5u);
}

BOOST_AUTO_TEST_CASE(a_source_that_fails_keeps_no_other_waiting) {
  source(0).happened("x-1", 1);
  source(1).happened("x-1", 2);
  source(0).fails = io_error;
  auto p = open();
  settle(p);
  BOOST_TEST(by_text(p, "t") == "1:2");
  auto failure = p.stats().live.sources[0].failure;
  BOOST_REQUIRE(failure);
  BOOST_TEST(failure->message() == io_error.message());
  BOOST_TEST(!p.stats().live.failure);
  source(0).fails.reset();
  now += 199ms;
  settle(p);
  BOOST_TEST(by_text(p, "t") == "1:2", "not before its time");
  now += 1ms;
  settle(p);
  BOOST_TEST(by_text(p, "t") == "2:3");
  BOOST_TEST(!p.stats().live.sources[0].failure);
  // And in the middle.
  source(0).fails = io_error;
  source(0).happened("x-1", 10);
  source(1).happened("x-1", 20);
  settle(p);
  BOOST_TEST(by_text(p, "t") == "3:23");
  source(0).fails.reset();
  now += 30s;
  settle(p);
  BOOST_TEST(by_text(p, "t") == "4:33");
}

BOOST_AUTO_TEST_CASE(a_source_that_comes_later_is_applied_from_its_start) {
  source(0).happened("x-1", 1);
  settle(open());
  add_source("c").happened("x-1", 2);
  auto p = open();
  BOOST_TEST(!p.stats().rebuilding);
  settle(p);
  BOOST_TEST(by_text(p, "t") == "2:3");
  BOOST_TEST(p.stats().rebuilt == 0u);
}

BOOST_AUTO_TEST_CASE(sources_must_have_names_of_their_own) {
  add_source("a");
  options.sources.assign(sources.begin(), sources.end());
  check_contains(must_fail_with(open_projection<sums>(options), projection_errc::invalid_sources),
                 "two sources are named a");
  options.sources.clear();
  must_fail_with(open_projection<sums>(options), projection_errc::invalid_sources);
  options.sources = {nullptr};
  must_fail_with(open_projection<sums>(options), projection_errc::invalid_sources);
}

// -- what cannot be applied --------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_event_that_cannot_be_applied_stops_the_projection_before_it) {
  source(0).happened("x-1", 1);
  source(0).happened("x-7", 2, std::string{texts::broken});
  source(0).happened("x-1", 4);
  source(1).happened("x-1", 8);
  auto p = open();
  settle(p);
  // Its half change is not there, what is before it is.
  BOOST_TEST(text_of(must(p.get<sums::by_stream>({"a", "x-7"}))) == "-");
  BOOST_TEST(text_of(must(p.get<sums::by_stream>({"a", "x-1"}))) == "1:1");
  auto stats = p.stats();
  BOOST_TEST(stats.live.sources[0].position == 1u);
  BOOST_REQUIRE(stats.live.failure);
  BOOST_TEST((stats.live.failure->code() == projection_errc::event_failed));
  for (auto part : {"projection sums", "eventcore.test.Happened", "position 2", "source a", "stream x-7",
                    "version 1", "there is no way to apply this"})
    check_contains(stats.live.failure->message(), part);
  const auto waited = must_fail_with(p.wait_until("a", 3, 0s), projection_errc::not_reached);
  check_contains(waited, "up to position 1");
  check_contains(waited, "there is no way to apply this");
  // It is tried again, later and later, and goes on when it can.
  for (auto pause : {200ms, 400ms, 800ms}) {
    now += pause - 1ms;
    settle(p);
    BOOST_TEST(p.stats().live.failure.has_value());
    now += 1ms;
    settle(p);
  }
  BOOST_TEST(p.stats().live.sources[0].position == 1u);
  apply_is_broken = false;
  settle(p);
  BOOST_TEST(p.stats().live.sources[0].position == 1u);
  now += 30s;
  settle(p);
  BOOST_TEST(!p.stats().live.failure);
  BOOST_TEST(by_text(p, "t") == "3:13");
  BOOST_TEST(by_text(p, std::string{texts::broken}) == "1:2");
}

BOOST_AUTO_TEST_CASE(a_payload_that_does_not_decode_stops_the_projection_before_it) {
  source(0).append("x-1", {happened(1, "t"), unreadable(), happened(2, "t")});
  auto p = open();
  settle(p);
  BOOST_TEST(by_text(p, "t") == "1:1");
  const auto failure = p.stats().live.failure;
  BOOST_REQUIRE(failure);
  for (auto part : {"does not parse", "position 2", "stream x-1", "version 2"})
    check_contains(failure->message(), part);
  p = open();
  settle(p);
  BOOST_TEST(by_text(p, "t") == "1:1", "nothing is skipped by a restart");
}

BOOST_AUTO_TEST_CASE(a_newer_schema_version_stops_the_projection) {
  auto event = happened(1, "t");
  event.schema_version = 2;
  source(0).append("x-1", {event});
  auto p = open();
  settle(p);
  BOOST_REQUIRE(p.stats().live.failure);
  check_contains(p.stats().live.failure->message(), "schema version 2");
}

BOOST_AUTO_TEST_CASE(a_refused_change_cannot_be_hidden) {
  source(0).happened("x-1", 1);
  source(0).happened("x-1", 1, std::string{texts::hidden});
  auto p = open();
  settle(p);
  const auto failure = p.stats().live.failure;
  BOOST_REQUIRE(failure);
  BOOST_TEST((failure->code() == journal_errc::invalid_argument));
  for (auto part : {"position 2", "table by_text", "kkkk", "602 bytes", "511"})
    check_contains(failure->message(), part);
  BOOST_TEST(by_text(p, "t") == "1:1");
}

BOOST_AUTO_TEST_CASE(a_key_too_long_is_refused_to_readers_as_well) {
  auto p = open();
  const auto why = must_fail(p.get<sums::by_text>(std::string(510, 'k')), journal_errc::invalid_argument);
  check_contains(why, "512 bytes");
  BOOST_TEST(!must(p.get<sums::by_text>(std::string(509, 'k'))));
}

// -- the view's disk ---------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(after_a_failed_commit_the_view_says_how_far_it_is) {
  bool fails = false;
  bool written = false;
  options.view.commit = [&](MDB_txn* txn) {
    if (!std::exchange(fails, false))
      return mdb_txn_commit(txn);
    if (written)
      mdb_txn_commit(txn);
    else
      mdb_txn_abort(txn);
    return EIO;
  };
  auto p = open();
  for (bool nevertheless : {false, true}) {
    written = nevertheless;
    source(0).happened("x-1", 1);
    source(1).happened("x-1", 10);
    fails = true;
    p.step();
    BOOST_REQUIRE(p.stats().live.failure);
    BOOST_TEST((p.stats().live.failure->code() == journal_errc::io_error));
    now += 30s;
    settle(p);
    BOOST_TEST(!p.stats().live.failure);
    BOOST_TEST(by_text(p, "t") == (nevertheless ? "4:22" : "2:11"));
  }
}

BOOST_AUTO_TEST_CASE(a_full_disk_stands_still_until_there_is_room) {
  source(0).happened("x-1", 1);
  settle(open());
  source(0).happened("x-1", 2);
  options.view.reserve_disk_bytes = ~std::size_t{0};
  auto p = open();
  settle(p);
  BOOST_REQUIRE(p.stats().live.failure);
  BOOST_TEST((p.stats().live.failure->code() == journal_errc::disk_full));
  BOOST_TEST(by_text(p, "t") == "1:1");
  options.view.reserve_disk_bytes = 0;
  p = open();
  settle(p);
  BOOST_TEST(by_text(p, "t") == "2:3");
}

BOOST_AUTO_TEST_CASE(a_disk_without_room_tears_nothing) {
  const auto disk = dir.path() / "disk";
  std::filesystem::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=8m") != 0) {
    BOOST_TEST_MESSAGE("SKIPPED: a small file system can be mounted by root only");
    std::cerr
        << "SKIPPED a_disk_without_room_tears_nothing: a small file system can be mounted by root only\n";
    return;
  }
  struct unmount {
    projection_world& world;
    std::filesystem::path disk;
    ~unmount() {
      world.close();
      ::umount(disk.c_str());
    }
  } later{*this, disk};
  std::ofstream{disk / "ballast"} << std::string(6u << 20, 'b');
  for (int i = 0; i < 3'000; ++i)
    source(i % 2).append("x-" + std::to_string(i), {happened(i, std::string(450, 'a') + std::to_string(i))});
  options.folder = disk / "view";
  options.view.reserve_disk_bytes = 0;
  options.max_batch_events = 20;
  auto p = open();
  const auto whole = [&] {
    const auto stats = p.stats();
    return fold_of({{sources[0].get(), source(0).journal.get()}, {sources[1].get(), source(1).journal.get()}},
                   {stats.live.sources[0].position, stats.live.sources[1].position});
  };
  settle(p);
  BOOST_REQUIRE(p.stats().live.failure);
  // LMDB calls a write that was cut short an I/O error.
  BOOST_TEST((p.stats().live.failure->code() == journal_errc::disk_full ||
              p.stats().live.failure->code() == journal_errc::io_error),
             p.stats().live.failure->message());
  BOOST_TEST(p.stats().live.events > 0u);
  BOOST_TEST(p.stats().live.sources[0].lag() > 0u);
  BOOST_TEST((rows_of(p) == whole()));
  for (int i = 0; i < 5; ++i) {
    now += 30s;
    settle(p);
    BOOST_TEST((rows_of(p) == whole()));
  }
  std::filesystem::remove(disk / "ballast");
  now += 30s;
  settle(p);
  BOOST_TEST(!p.stats().live.failure);
  BOOST_TEST(p.stats().live.sources[0].lag() + p.stats().live.sources[1].lag() == 0u);
  BOOST_TEST((rows_of(p) == whole()));
}

BOOST_AUTO_TEST_CASE(a_damaged_or_missing_view_is_built_anew) {
  for (int i = 1; i <= 100; ++i)
    source(0).happened("x-" + std::to_string(i), i);
  const auto whole = "100:5050";
  settle(open());
  close();
  std::ofstream{options.folder / "view-1" / "data.mdb", std::ios::binary} << std::string(100'000, 'g');
  auto p = open();
  BOOST_TEST(by_text(p, "t") == "-");
  settle(p);
  BOOST_TEST(by_text(p, "t") == whole);
  close();
  std::filesystem::resize_file(options.folder / "view-2" / "data.mdb", 10'000);
  p = open();
  settle(p);
  BOOST_TEST(by_text(p, "t") == whole);
  close();
  std::filesystem::remove_all(options.folder);
  p = open();
  settle(p);
  BOOST_TEST(by_text(p, "t") == whole);
}

// -- the sources' histories --------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_source_with_another_history_is_refused_until_the_view_is_rebuilt) {
  source(0).happened("x-1", 1);
  source(1).happened("x-1", 10);
  settle(open());
  const auto restored = event_source::history{source(0).journal->info().id, uuid::random()};
  source(0).other_history = restored;
  source(0).happened("x-1", 2);
  source(1).happened("x-1", 20);
  auto p = open();
  settle(p);
  BOOST_TEST(by_text(p, "t") == "3:31", "the other source goes on");
  const auto failure = p.stats().live.sources[0].failure;
  BOOST_REQUIRE(failure);
  BOOST_TEST((failure->code() == projection_errc::source_changed));
  for (auto part : {to_string(source(0).journal->info().incarnation), to_string(restored.incarnation),
                    std::string{"position 1"}, std::string{"Rebuild"}})
    check_contains(failure->message(), part);
  // Its position is one of another history.
  const auto waited = p.wait_until("a", 1, 0ns);
  BOOST_TEST_REQUIRE(!waited);
  check_contains(waited.error().message(), "Rebuild");
  must_pass(p.wait_until("b", 2, 0ns));
  p.rebuild();
  settle(p);
  must_pass(p.wait_until("a", 2, 0ns));
  BOOST_TEST(p.stats().rebuilt == 1u);
  BOOST_TEST(by_text(p, "t") == "4:33");
  BOOST_TEST(!p.stats().live.sources[0].failure);
  p = open();
  settle(p);
  BOOST_TEST(!p.stats().live.sources[0].failure);
}

BOOST_AUTO_TEST_CASE(a_source_that_ends_before_the_cursor_is_refused) {
  source(0).append("x-1", happened_many(5));
  settle(open());
  source(0).other_head = 4;
  auto p = open();
  settle(p);
  const auto failure = p.stats().live.sources[0].failure;
  BOOST_REQUIRE(failure);
  BOOST_TEST((failure->code() == projection_errc::source_changed));
  check_contains(failure->message(), "up to position 5");
  check_contains(failure->message(), "ends at position 4");
}

BOOST_AUTO_TEST_CASE(another_journal_under_the_same_name_is_refused) {
  source(0).happened("x-1", 1);
  settle(open());
  close();
  source(0).start_anew();
  source(0).append("x-1", happened_many(5));
  auto p = open();
  settle(p);
  BOOST_REQUIRE(p.stats().live.sources[0].failure);
  BOOST_TEST((p.stats().live.sources[0].failure->code() == projection_errc::source_changed));
  BOOST_TEST(by_text(p, "t") == "1:1");
}

// -- spec 26 -----------------------------------------------------------------------------------------------------

/// A view that is opened again and stands at an event of one source still tells what it has of the other.
BOOST_AUTO_TEST_CASE(positions_are_known_while_the_view_stands) {
  source(1).happened("x-1", 10);
  settle(open());
  source(0).happened("x-1", 1, std::string{texts::broken});
  auto p = open();
  settle(p);
  BOOST_REQUIRE(p.stats().live.failure);
  must_pass(p.wait_until("b", 1, 0ns));
  BOOST_TEST(!p.wait_until("a", 1, 0ns));
}

BOOST_AUTO_TEST_CASE(lag_and_position_are_visible) {
  auto p = open();
  settle(p);
  source(0).append("x-1", happened_many(7));
  auto stats = p.stats();
  BOOST_TEST(stats.live.sources[0].name == "a");
  BOOST_TEST(stats.live.sources[0].head == 7u);
  BOOST_TEST(stats.live.sources[0].lag() == 7u);
  BOOST_TEST(stats.live.version == 1u);
  settle(p);
  stats = p.stats();
  BOOST_TEST(stats.live.sources[0].lag() == 0u);
  BOOST_TEST((stats.live.sources[0].occurred_at == read_log(*source(0).journal, 7).front().occurred_at));
}

BOOST_AUTO_TEST_CASE(views_are_listed_by_ranges_in_pages) {
  for (auto stream : {"x-3", "y-1", "x-1", "x-2"})
    source(0).happened(stream, 1);
  source(1).happened("x-1", 1);
  auto p = open();
  settle(p);
  using range = key_range<std::tuple<std::string, std::string>>;
  const auto names = [&](range where, std::size_t limit = 100) {
    std::string found;
    for (auto page = must(p.list<sums::by_stream>(where, limit)); !page.empty();
         page = must(p.list<sums::by_stream>(where, limit))) {
      for (auto& [key, sum] : page)
        found += std::get<0>(key) + '/' + std::get<1>(key) + ' ';
      found += "| ";
    }
    return found;
  };
  BOOST_TEST(names(range::all()) == "a/x-1 a/x-2 a/x-3 a/y-1 b/x-1 | ");
  BOOST_TEST(names(range::all(), 2) == "a/x-1 a/x-2 | a/x-3 a/y-1 | b/x-1 | ");
  BOOST_TEST(names(range::under(std::string{"b"})) == "b/x-1 | ");
  BOOST_TEST(names(range::between({"a", "x-2"}, {"a", "y"})) == "a/x-2 a/x-3 | ");
}

BOOST_AUTO_TEST_CASE(a_view_is_rebuilt_beside_the_one_that_serves) {
  // Pages of ten, so that the rebuild takes steps.
  source(0).limits.events = 10;
  options.max_batch_events = 10;
  source(0).append("x-1", happened_many(100));
  auto p = open();
  settle(p);
  const auto before = rows_of(p);
  p.rebuild();
  BOOST_TEST(p.step());
  BOOST_REQUIRE(p.stats().rebuilding);
  for (int i = 0; i < 3; ++i)
    p.step();
  auto stats = p.stats();
  BOOST_REQUIRE(stats.rebuilding);
  BOOST_TEST(stats.rebuilding->sources[0].position == 40u);
  BOOST_TEST(stats.rebuilding->sources[0].lag() == 60u);
  BOOST_TEST(stats.live.sources[0].position == 100u);
  BOOST_TEST((rows_of(p) == before));
  must_fail_with(p.wait_rebuilt(0s), projection_errc::not_reached);
  source(0).happened("x-1", 1'000); // the live one goes on
  p.step();
  BOOST_TEST(p.stats().live.sources[0].position == 101u);
  p.rebuild(); // nothing new
  settle(p);
  must_pass(p.wait_rebuilt(0s));
  BOOST_TEST(p.stats().rebuilt == 1u);
  BOOST_TEST(!p.stats().rebuilding);
  BOOST_TEST((rows_of(p) == fold_of({{sources[0].get(), source(0).journal.get()}}, {101})));
  source(0).happened("x-1", 1'000);
  settle(p);
  BOOST_TEST((rows_of(p) == fold_of({{sources[0].get(), source(0).journal.get()}}, {102})));
}

BOOST_AUTO_TEST_CASE(a_rebuild_goes_on_after_a_restart) {
  source(0).limits.events = 10;
  options.max_batch_events = 10;
  source(0).append("x-1", happened_many(100));
  auto p = open();
  settle(p);
  p.rebuild();
  for (int i = 0; i < 5; ++i)
    p.step();
  p = open();
  BOOST_REQUIRE(p.stats().rebuilding);
  BOOST_TEST(p.stats().rebuilding->sources[0].position == 50u);
  settle(p);
  BOOST_TEST(p.stats().rebuilt == 1u);
  BOOST_TEST(by_text(p, "") == "100:5050");
}

BOOST_AUTO_TEST_CASE(another_version_rebuilds_the_view_while_the_old_one_serves) {
  source(0).limits.events = 10;
  options.max_batch_events = 10;
  source(0).append("x-1", happened_many(100));
  settle(open());
  auto p = open<sums_of<2>>();
  BOOST_TEST(p.stats().live.version == 1u);
  p.step();
  BOOST_TEST(by_text(p, "") == "100:5050");
  source(0).happened("x-1", 1, "");
  settle(p);
  BOOST_TEST(p.stats().live.version == 2u);
  BOOST_TEST(by_text(p, "") == "101:10102");
  // And back.
  auto back = open();
  settle(back);
  BOOST_TEST(by_text(back, "") == "101:5051");
}

BOOST_AUTO_TEST_CASE(other_events_rebuild_the_view) {
  source(0).append("x-1", {other(), happened(1, "t")});
  settle(open());
  auto p = open<sums_of<1, events<Happened, Other>>>();
  settle(p);
  BOOST_TEST(p.stats().rebuilt == 1u);
  BOOST_TEST(by_text(p, "other") == "0:0");
}

namespace {

struct renamed_table : projection<renamed_table> {
  static constexpr std::string_view name = "sums";
  struct rows : view<std::int64_t, Sum> {
    static constexpr std::string_view name = "rows";
  };
  using views = eventcore::views<rows>;
  using events = eventcore::events<Happened>;
  static void apply(views& v, const Happened& e) { v.put<rows>(e.number(), Sum{}); }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_view_with_other_tables_answers_when_it_is_built) {
  source(0).append("x-1", happened_many(10));
  settle(open());
  auto p = open<renamed_table>();
  must_fail_with(p.get<renamed_table::rows>(1), projection_errc::not_ready);
  settle(p);
  BOOST_TEST(must(p.get<renamed_table::rows>(1)).has_value());
  BOOST_TEST(!must(p.get<renamed_table::rows>(11)));
}

BOOST_AUTO_TEST_CASE(a_source_that_is_taken_away_rebuilds_the_view) {
  source(0).happened("x-1", 1);
  source(1).happened("x-1", 10);
  settle(open());
  sources.pop_back();
  auto p = open();
  settle(p);
  BOOST_TEST(p.stats().rebuilt == 1u);
  BOOST_TEST(by_text(p, "t") == "1:1");
}

BOOST_AUTO_TEST_CASE(a_rebuilt_view_does_not_serve_before_it_has_all_that_the_old_one_has) {
  source(0).happened("x-1", 1);
  source(1).happened("x-1", 10);
  auto p = open();
  settle(p);
  source(1).fails = io_error;
  p.rebuild();
  settle(p);
  BOOST_TEST(p.stats().rebuilt == 0u);
  BOOST_REQUIRE(p.stats().rebuilding);
  BOOST_TEST(p.stats().rebuilding->sources[1].failure.has_value());
  BOOST_TEST(by_text(p, "t") == "2:11");
  source(1).fails.reset();
  now += 30s;
  settle(p);
  BOOST_TEST(p.stats().rebuilt == 1u);
  BOOST_TEST(by_text(p, "t") == "2:11");
}

BOOST_AUTO_TEST_CASE(a_failed_swap_is_tried_again) {
  source(0).happened("x-1", 1);
  int until_failure = -1;
  options.view.commit = [&](MDB_txn* txn) {
    if (until_failure < 0 || until_failure-- > 0)
      return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return EIO;
  };
  for (int at = 0; at < 3; ++at) { // making the view, its only batch, the swap
    auto p = open();
    settle(p);
    p.rebuild();
    until_failure = at;
    settle(p);
    BOOST_TEST(by_text(p, "t") == "1:1");
    BOOST_TEST(p.stats().rebuilt == 0u, "failed at commit " << at);
    BOOST_TEST((p.stats().rebuild_failure || (p.stats().rebuilding && p.stats().rebuilding->failure)));
    now += 30s;
    settle(p);
    BOOST_TEST(p.stats().rebuilt == 1u);
    BOOST_TEST(!p.stats().rebuild_failure);
    BOOST_TEST(by_text(p, "t") == "1:1");
  }
}

// -- its end -----------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_stopped_projection_says_so) {
  source(0).happened("x-1", 1);
  auto p = open();
  settle(p);
  p.stop();
  p.stop();
  must_fail_with(p.get<sums::by_text>("t"), projection_errc::stopped);
  must_fail_with(p.wait_until(1, 1s), projection_errc::stopped);
  must_fail_with(p.catch_up(1s), projection_errc::stopped);
  must_fail_with(p.wait_rebuilt(1s), projection_errc::stopped);
  p.rebuild();
  BOOST_TEST(!p.step());
  BOOST_TEST(p.stats().live.sources[0].position == 1u);
}

BOOST_AUTO_TEST_CASE(a_folder_has_one_projection) {
  auto p = open();
  must_fail(open_projection<sums>(options), journal_errc::locked);
  must_fail_with(p.wait_until("nobody", 1, 0s), projection_errc::unknown_source);
}

BOOST_AUTO_TEST_SUITE_END()
