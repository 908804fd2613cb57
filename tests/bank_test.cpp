#include "support/program.hpp"

#include <boost/test/unit_test.hpp>

using namespace eventcore::test;

namespace {

std::vector<std::string> with(const temp_dir& dir, std::vector<std::string> more) {
  std::vector<std::string> args{"--journal", (dir.path() / "journal").string(), "--accounts", "50", "--hot",
                                "3"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

} // namespace

BOOST_AUTO_TEST_CASE(the_books_balance) {
  const temp_dir dir;
  auto run = run_program("bank", with(dir, {"--transfers", "3000", "--workers", "8"}));
  BOOST_TEST(run.exit_code == 0, run.out << run.err);
  BOOST_TEST(run.printed("ok: 3000 transfers, and not a cent is lost"), run.out);
}

BOOST_AUTO_TEST_CASE(the_books_balance_after_kills_and_restarts) {
  const temp_dir dir;
  for (auto kill_after : {"400", "700", "1"}) {
    auto killed = run_program(
        "bank", with(dir, {"--transfers", "3000", "--workers", "16", "--kill-after", kill_after}));
    BOOST_TEST(killed.exit_code == 128 + 9, killed.out << killed.err);
  }
  auto resumed = run_program("bank", with(dir, {"--transfers", "3000", "--workers", "4"}));
  BOOST_TEST(resumed.exit_code == 0, resumed.out << resumed.err);
  BOOST_TEST(resumed.printed("going on with 3000 transfers"), resumed.out);
  BOOST_TEST(resumed.printed("ok: 3000 transfers"), resumed.out);
}

BOOST_AUTO_TEST_CASE(wrong_arguments_are_named) {
  const temp_dir dir;
  const auto none = run_program("bank", {"--workers", "0"});
  BOOST_TEST(none.exit_code == 2);
  BOOST_TEST(none.err.starts_with("bank: --workers"), none.err);
  BOOST_TEST(run_program("bank", {"--transfers", "many"}).exit_code == 2);
  BOOST_TEST(run_program("bank", with(dir, {"--transfers", "10"})).exit_code == 0);
  auto other = run_program("bank", {"--journal", (dir.path() / "journal").string(), "--accounts", "51"});
  BOOST_TEST(other.exit_code == 1);
  BOOST_TEST(other.err.starts_with("bank: "), other.err);
  BOOST_TEST(other.complained("50 accounts, not 51"), other.err);
}
