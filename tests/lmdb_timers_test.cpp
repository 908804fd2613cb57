#include "support/child_process.hpp"
#include "support/journal_helpers.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/persistence/internal/lmdb_journal.hpp>
#include <eventcore/persistence/verify.hpp>

#include <lmdb.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <set>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

const timestamp start{1'000'000s};

struct journal_folder {
  temp_dir dir;
  std::filesystem::path path = dir.path() / "journal";

  std::unique_ptr<journal> open() const { return must(open_lmdb_journal(path)); }
  std::unique_ptr<journal_reader> open_reader() const { return must(open_lmdb_journal_reader(path)); }
};

commit change_timers(std::vector<timer_change> changes) {
  commit c;
  c.timers = std::move(changes);
  return c;
}

std::vector<durable_timer> timers_of(journal_reader& j) {
  return must(j.read_timers({}, timestamp::max()));
}

/// Removes the table of timers, as a journal that is older has none.
void drop_timers(const std::filesystem::path& path) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi table = 0;
  BOOST_TEST_REQUIRE(mdb_env_create(&env) == 0);
  BOOST_TEST_REQUIRE(mdb_env_set_maxdbs(env, 10) == 0);
  BOOST_TEST_REQUIRE(mdb_env_set_mapsize(env, 64u << 20) == 0);
  BOOST_TEST_REQUIRE(mdb_env_open(env, path.c_str(), 0, 0644) == 0);
  BOOST_TEST_REQUIRE(mdb_txn_begin(env, nullptr, 0, &txn) == 0);
  BOOST_TEST_REQUIRE(mdb_dbi_open(txn, "timers", 0, &table) == 0);
  BOOST_TEST_REQUIRE(mdb_drop(txn, table, 1) == 0);
  BOOST_TEST_REQUIRE(mdb_txn_commit(txn) == 0);
  mdb_env_close(env);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_journal_older_than_timers_gets_them_when_it_is_written) {
  journal_folder folder;
  must(folder.open()->commit_and_wait(append("order-1", expected_version::none(), {happened(1)})));
  drop_timers(folder.path);
  BOOST_TEST(timers_of(*folder.open_reader()).empty());
  BOOST_TEST(must(folder.open_reader()->head()) == 1u);
  {
    auto j = folder.open();
    BOOST_TEST(timers_of(*j).empty());
    must(j->commit_and_wait(change_timers({{"a/1", {}, start}})));
  }
  BOOST_TEST((timers_of(*folder.open_reader()) == std::vector{durable_timer{start, "a/1"}}));
  BOOST_TEST((timers_of(*folder.open()) == std::vector{durable_timer{start, "a/1"}}));
}

BOOST_AUTO_TEST_CASE(a_damaged_timer_is_named_and_not_passed_over) {
  journal_folder folder;
  must(folder.open()->commit_and_wait(
      change_timers({{"a/1", {}, start}, {"a/to be damaged", {}, start + 1us}, {"a/3", {}, start + 2us}})));
  const auto file = folder.path / "data.mdb";
  std::ifstream in{file, std::ios::binary};
  std::string bytes{std::istreambuf_iterator<char>{in}, {}};
  const auto at = bytes.find("to be damaged");
  BOOST_TEST_REQUIRE(at != std::string::npos);
  for (auto i = at; i != std::string::npos; i = bytes.find("to be damaged", i + 1))
    bytes[i + 3] = 'B';
  std::ofstream{file, std::ios::binary | std::ios::trunc} << bytes;

  auto j = folder.open();
  BOOST_TEST((must(j->read_timers({}, start)) == std::vector{durable_timer{start, "a/1"}}));
  BOOST_TEST((timers_of(*j) == std::vector{durable_timer{start, "a/1"}}), "what stands before it is read");
  check_contains(must_fail(j->read_timers({start, "a/1"}, timestamp::max()), journal_errc::corrupt),
                 "a/to Be damaged");
  const auto report = verify_journal(*j);
  BOOST_TEST(report.problem_count == 1u);
  check_contains(report.problems.at(0), "a/to Be damaged");
}

BOOST_AUTO_TEST_CASE(a_commit_that_fails_on_disk_changes_no_timers) {
  journal_folder folder;
  int code = 0;
  auto j = must(internal::open_lmdb_journal(folder.path, {}, [&](MDB_txn* txn) {
    if (code == 0)
      return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return std::exchange(code, 0);
  }));
  must(j->commit_and_wait(change_timers({{"a/1", {}, start}})));
  int heard = 0;
  const auto subscription = j->follow_timers([&](timestamp) { ++heard; });
  code = EIO;
  must_fail(j->commit_and_wait(change_timers({{"a/1", start, {}}, {"a/2", {}, start}})),
            journal_errc::outcome_unknown);
  BOOST_TEST((timers_of(*j) == std::vector{durable_timer{start, "a/1"}}));
  BOOST_TEST(heard == 0);
  must(j->commit_and_wait(change_timers({{"a/3", {}, start}})));
  BOOST_TEST(timers_of(*j).size() == 2u);
  j->close();
  BOOST_TEST(heard == 1, "what was not written is not announced later");
}

BOOST_AUTO_TEST_CASE(events_and_timers_survive_a_kill_together) {
  journal_folder folder;
  constexpr std::size_t in_a_row = 5;
  // Commit n appends event n, sets timer n, moves timer n - 1 and cancels timer n - 2.
  const auto step = [](std::uint64_t n) {
    const auto name = [](std::uint64_t i) { return "a/" + std::to_string(i); };
    const auto due = [](std::uint64_t i) {
      return start + std::chrono::microseconds{(i * 7'919) % 1'000'000};
    };
    auto c = append("order-1", expected_version::exact(n - 1), {happened(static_cast<std::int64_t>(n))});
    c.timers.push_back({name(n), {}, due(n)});
    if (n > 1)
      c.timers.push_back({name(n - 1), due(n - 1), due(n - 1) + 3s});
    if (n > 2)
      c.timers.push_back({name(n - 2), due(n - 2) + 3s, {}});
    return c;
  };
  std::uint64_t before = 0;
  for (int round = 0; round < 10; ++round) {
    child_process writer{[&](channel& parent) {
      auto j = *open_lmdb_journal(folder.path);
      for (auto n = before + 1;; ++n) {
        const auto credit_for = [&] {
          for (;;)
            if (auto credit = j->reserve())
              return *std::move(credit);
        };
        if (n % in_a_row == 0) {
          if (!j->commit_and_wait(step(n)))
            return 1;
          if (n == before + 20 * in_a_row - before % in_a_row)
            parent.say('k');
        } else {
          j->submit(step(n), credit_for(), nullptr, 0);
        }
      }
      return 0;
    }};
    BOOST_TEST_REQUIRE(writer.hear() == 'k');
    writer.kill();
    auto j = folder.open();
    const auto version = must(j->head_of(sid("order-1"))).version;
    BOOST_TEST_REQUIRE(version > before);
    std::set<durable_timer> expected;
    for (std::uint64_t n = 1; n <= version; ++n)
      for (const auto& change : step(n).timers) {
        expected.erase({change.from, change.name});
        if (change.to != timestamp{})
          expected.insert({change.to, change.name});
      }
    BOOST_TEST(std::ranges::equal(timers_of(*j), expected));
    before = version;
  }
}
