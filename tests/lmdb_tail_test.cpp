#include "support/journal_helpers.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/persistence/internal/lmdb_journal.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/log_feed.hpp>

#include <fstream>
#include <iterator>

namespace eventcore::test {

namespace {

constexpr auto any = expected_version::any();

/// All that the feed can give now.
std::vector<std::int64_t> drain(log_feed& feed) {
  std::vector<std::int64_t> found;
  log_chunk chunk;
  for (bool more = true; more;) {
    more = must(feed.read(chunk));
    for (auto* event : chunk.events())
      found.push_back(number_of(*event));
  }
  return found;
}

using list = std::vector<std::int64_t>;

} // namespace

BOOST_AUTO_TEST_SUITE(lmdb_tail_test)

BOOST_AUTO_TEST_CASE(what_could_not_be_committed_is_not_in_memory) {
  temp_dir dir;
  int code = 0;
  bool after_all = false;
  auto j = must(internal::open_lmdb_journal(dir.path() / "journal", {}, [&](MDB_txn* txn) {
    if (code == 0 || after_all) {
      if (auto failed = mdb_txn_commit(txn))
        return failed;
    } else {
      mdb_txn_abort(txn);
    }
    return std::exchange(code, 0);
  }));
  log_feed feed{*j, 1, {}, nullptr};
  must(j->commit_and_wait(append("a-1", any, {happened(1)})));
  code = EIO;
  must_fail(j->commit_and_wait(append("a-1", any, {happened(2)})), journal_errc::outcome_unknown);
  BOOST_TEST(!j->recent(2));
  BOOST_TEST((drain(feed) == list{1}));
  must(j->commit_and_wait(append("a-1", any, {happened(3)})));
  BOOST_TEST(number_of(*j->recent(2)->begin()) == 3);
  // The sync fails, but all is on disk: there the feed finds it.
  code = EIO;
  after_all = true;
  must_fail(j->commit_and_wait(append("a-1", any, {happened(4)})), journal_errc::outcome_unknown);
  BOOST_TEST(!j->recent(3));
  BOOST_TEST((drain(feed) == list{3, 4}));
  must(j->commit_and_wait(append("a-1", any, {happened(5)})));
  BOOST_TEST((drain(feed) == list{5}));
}

BOOST_AUTO_TEST_CASE(a_feed_stands_before_a_damaged_record) {
  temp_dir dir;
  const auto folder = dir.path() / "journal";
  {
    auto j = must(open_lmdb_journal(folder));
    must(j->commit_and_wait(append("a-1", any, {happened(1), happened(2, "damage me"), happened(3)})));
  }
  std::string bytes;
  {
    std::ifstream in{folder / "data.mdb", std::ios::binary};
    bytes.assign(std::istreambuf_iterator<char>{in}, {});
  }
  const auto at = bytes.find("damage me");
  BOOST_REQUIRE(at != std::string::npos);
  bytes[at] = 'D';
  std::ofstream{folder / "data.mdb", std::ios::binary | std::ios::trunc} << bytes;

  auto j = must(open_lmdb_journal(folder));
  log_feed feed{*j, 1, {}, nullptr};
  log_chunk chunk;
  BOOST_TEST(must(feed.read(chunk)));
  BOOST_TEST(chunk.events().size() == 1u);
  for (int i = 0; i < 2; ++i) {
    check_contains(must_fail(feed.read(chunk), journal_errc::corrupt), "position 2");
    BOOST_TEST(feed.next() == 2u);
    BOOST_TEST(chunk.events().empty());
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace eventcore::test
