/// Power lost at any write: what was synced is there, what was not may be there or not, in any mixture.

#include "history.hpp"
#include "victim.hpp"

#include <support/temp_dir.hpp>

#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/verify.hpp>

#include <boost/test/unit_test.hpp>

#include <random>
#include <string>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int share = 5; // sanitized processes start slowly
#else
constexpr int share = 1;
#endif

struct journal_on_a_disk {
  eventcore::test::temp_dir dir;
  crash::history history;
  std::uint64_t round = 0;
  std::vector<crash::promise> promises;

  /// Lets a process write until its operation `at` on the journal's file, where the power goes.
  void lose_power(std::uint64_t at, std::uint64_t seed, std::vector<std::string> args,
                  bool disk_lies = false) {
    ++round;
    args.insert(args.end(),
                {"--seed", std::to_string(seed % 1'000'000), "--first-commit", std::to_string(round << 32)});
    crash::victim victim{dir.path(),
                         args,
                         {{"POWER_LOSS_FOLDER", dir.path()},
                          {"POWER_LOSS_AT", std::to_string(at)},
                          {"POWER_LOSS_SEED", std::to_string(seed)},
                          {"POWER_LOSS_LIE", disk_lies ? "1" : "0"}}};
    BOOST_TEST_REQUIRE(victim.wait_for_end(), "the process writes no more in round " << round);
    BOOST_TEST_REQUIRE(victim.was_killed(), "the process ended by itself in round " << round);
    promises = victim.promises();
  }

  std::vector<std::string> problems(crash::promised kept = crash::promised::all) {
    auto journal = eventcore::open_lmdb_journal(dir.path());
    if (!journal)
      return {journal.error().message()};
    return history.check(**journal, promises, kept);
  }

  void check(crash::promised kept = crash::promised::all) {
    const auto found = problems(kept);
    for (const auto& problem : found)
      BOOST_ERROR("round " << round << ": " << problem);
    BOOST_TEST_REQUIRE(found.empty());
  }

  void check_whole_journal() {
    auto journal = eventcore::open_lmdb_journal_reader(dir.path());
    if (!journal)
      BOOST_FAIL(journal.error().message());
    const auto report = eventcore::verify_journal(**journal);
    for (const auto& problem : report.problems)
      BOOST_ERROR(problem);
    BOOST_TEST(report.events == history.head());
    BOOST_TEST_MESSAGE(round << " power losses, " << history.head() << " events, " << history.lost()
                             << " promises lost");
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(power_loss_test, journal_on_a_disk)

// From the first write of a new journal on, one after the other. Between them the journal starts anew.
BOOST_AUTO_TEST_CASE(at_every_write_of_a_new_journal) {
  for (std::uint64_t at = 1; at <= 120; at += share) {
    for (std::uint64_t seed = 0; seed < 2; ++seed) {
      BOOST_TEST_CONTEXT("operation " << at << ", seed " << seed) {
        journal_on_a_disk fresh;
        fresh.lose_power(at, 2 * at + seed, {});
        fresh.check();
        // And it goes on from there.
        fresh.lose_power(40, 2 * at + seed, {});
        fresh.check();
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(at_random_writes) {
  std::mt19937_64 random{1};
  for (int i = 0; i < 200 / share; ++i) {
    lose_power(1 + random() % 120, random(), {});
    check();
  }
  BOOST_TEST(history.head() > 1'000);
  check_whole_journal();
}

BOOST_AUTO_TEST_CASE(entities_at_random_writes) {
  std::mt19937_64 random{2};
  for (int i = 0; i < 50 / share; ++i) {
    lose_power(1 + random() % 100, random(), {"--entities"});
    check();
  }
  BOOST_TEST(history.head() > 1'000);
  check_whole_journal();
}

BOOST_AUTO_TEST_CASE(relaxed_keeps_a_prefix) {
  std::mt19937_64 random{3};
  for (int i = 0; i < 50 / share; ++i) {
    lose_power(1 + random() % 100, random(), {"--relaxed"});
    check(crash::promised::prefix);
  }
  BOOST_TEST(history.lost() > 0u);
  check_whole_journal();
}

// The tests above would notice: on a disk that does not sync, the same checks fail.
BOOST_AUTO_TEST_CASE(a_disk_that_lies_is_found_out) {
  constexpr int rounds = 8;
  int found_out = 0;
  for (int i = 0; i < rounds; ++i) {
    journal_on_a_disk fresh;
    fresh.lose_power(100, static_cast<std::uint64_t>(i), {}, true);
    // The journal may be damaged so badly that reading it kills the reader.
    const auto reader = fork();
    if (reader == 0) {
      dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
      _exit(fresh.problems().empty() ? 0 : 1);
    }
    int status = 0;
    waitpid(reader, &status, 0);
    found_out += status == 0 ? 0 : 1;
  }
  BOOST_TEST(found_out > rounds / 2);
}

BOOST_AUTO_TEST_SUITE_END()
