/// kill -9 at random moments under load: what was acknowledged is there, and nothing else is amiss.

#include "history.hpp"
#include "victim.hpp"

#include <support/temp_dir.hpp>

#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/verify.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>

using namespace std::literals;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int share = 5; // sanitized processes start slowly
#else
constexpr int share = 1;
#endif

struct journal_under_fire {
  eventcore::test::temp_dir dir;
  crash::history history;
  std::mt19937 random{20'240'229};
  std::uint64_t round = 0;
  std::size_t promises = 0;
  std::chrono::duration<double> slowest_open{0};

  /// Lets a process write, kills it, and looks at what it left.
  void kill_one(std::vector<std::string> args, crash::promised kept = crash::promised::all) {
    ++round;
    args.insert(args.end(),
                {"--seed", std::to_string(random()), "--first-commit", std::to_string(round << 32)});
    crash::victim victim{dir.path(), args};
    // Most die under load, some while they open the journal.
    if (random() % 10 != 0)
      BOOST_TEST_REQUIRE(victim.wait_for_load());
    victim.watch(std::chrono::microseconds{random() % 40'000});
    victim.kill();
    BOOST_TEST_REQUIRE(victim.was_killed(), "the process ended by itself in round " << round);
    promises += victim.promises().size();

    const auto before = std::chrono::steady_clock::now();
    auto journal = eventcore::open_lmdb_journal(dir.path());
    slowest_open =
        std::max<std::chrono::duration<double>>(slowest_open, std::chrono::steady_clock::now() - before);
    if (!journal)
      BOOST_FAIL("round " << round << ": " << journal.error().message());
    const auto problems = history.check(**journal, victim.promises(), kept);
    for (const auto& problem : problems)
      BOOST_ERROR("round " << round << ": " << problem);
    BOOST_TEST_REQUIRE(problems.empty());
  }

  ~journal_under_fire() {
    BOOST_TEST_MESSAGE(round << " kills, " << history.head() << " events, " << promises << " promises, "
                             << history.lost() << " of them lost; slowest open " << slowest_open.count()
                             << " s");
  }

  void check_whole_journal() {
    BOOST_TEST(slowest_open.count() < 0.5 * share);
    BOOST_TEST(promises > round);
    auto journal = eventcore::open_lmdb_journal_reader(dir.path());
    if (!journal)
      BOOST_FAIL(journal.error().message());
    const auto report = eventcore::verify_journal(**journal);
    for (const auto& problem : report.problems)
      BOOST_ERROR(problem);
    BOOST_TEST(report.events == history.head());
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(kill_test, journal_under_fire)

BOOST_AUTO_TEST_CASE(acknowledged_commits_survive) {
  for (int i = 0; i < 150 / share; ++i)
    kill_one({});
  check_whole_journal();
}

BOOST_AUTO_TEST_CASE(what_entities_answered_survives) {
  for (int i = 0; i < 60 / share; ++i)
    kill_one({"--entities"});
  check_whole_journal();
}

BOOST_AUTO_TEST_CASE(relaxed_keeps_a_prefix) {
  for (int i = 0; i < 40 / share; ++i)
    kill_one({"--relaxed"}, crash::promised::prefix);
  check_whole_journal();
}

BOOST_AUTO_TEST_SUITE_END()
