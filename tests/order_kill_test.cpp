#include "support/program.hpp"

#include <boost/test/unit_test.hpp>

#include <future>

using namespace eventcore::test;

namespace {

/// A few items and two orders, one of which shipping refuses at the end of its way.
struct scenario {
  const temp_dir dir;

  scenario() {
    std::ofstream{dir.path() / "catalogue.json"}
        << R"([{"sku":"mug","name":"Mug","cents":500,"units":9},{"sku":"tea","name":"Tea","cents":300,"units":9}])";
    std::ofstream orders{dir.path() / "orders.jsonl"};
    for (auto id : {"o-1", "o-2"})
      orders << R"({"order_id":")" << id
             << R"(","customer":{"id":"c-1","name":"Ada","email":"ada@example.com"},"address":"Seeufer 1",)"
             << R"("items":[{"sku":"mug","quantity":2,"cents":500},{"sku":"tea","quantity":1,"cents":300}]})"
             << '\n';
  }

  program_result run(const std::string& journal, std::vector<std::string> more) const {
    more.insert(more.end(),
                {"--journal", (dir.path() / journal).string(), "--catalogue",
                 (dir.path() / "catalogue.json").string(), "--orders", (dir.path() / "orders.jsonl").string(),
                 "--fail", "shipping=0.5", "--at-once", "1"});
    return run_program("order_fulfilment", more);
  }
};

std::string audit_of(const program_result& run) {
  const auto at = run.out.find("audit");
  return at == std::string::npos ? "no audit" : run.out.substr(at);
}

/// What became of a run that was killed at an event of the journal, and of the one that went on.
struct killed_run {
  bool killed;
  program_result end;
};

killed_run kill_and_resume(const scenario& s, const std::string& seed, int event) {
  const auto journal = "killed" + std::to_string(event);
  auto run = s.run(journal, {"--seed", seed, "--kill-at", std::to_string(event)});
  const auto killed = run.exit_code == 128 + 9;
  if (killed)
    run = s.run(journal, {"--seed", seed, "--resume"});
  std::filesystem::remove_all(s.dir.path() / journal);
  return {killed, std::move(run)};
}

/// Runs wait for the disk and for each other more than they work.
constexpr int at_once = 6;

} // namespace

// The program's own checks hold money, units, the order of compensations and each effect to the orders.
BOOST_AUTO_TEST_CASE(a_run_killed_at_any_event_ends_as_if_it_had_not_been) {
  const scenario s;
  // The seed for which one order of the two is refused.
  std::string seed;
  program_result whole;
  for (int i = 1; i <= 20 && !whole.printed("ok: 2 orders, 1 completed, 1 compensated"); ++i) {
    seed = std::to_string(i);
    whole = s.run("whole" + seed, {"--seed", seed});
    BOOST_REQUIRE_MESSAGE(whole.exit_code == 0, whole.out << whole.err);
  }
  BOOST_REQUIRE_MESSAGE(whole.printed("1 completed, 1 compensated"), whole.out);
  int kills = 0;
  for (auto all_killed = true; all_killed;) {
    BOOST_REQUIRE(kills < 200);
    std::vector<std::future<killed_run>> runs;
    for (int i = 1; i <= at_once; ++i)
      runs.push_back(std::async(std::launch::async, kill_and_resume, std::cref(s), seed, kills + i));
    for (auto& run : runs) {
      const auto [killed, end] = run.get();
      kills += killed;
      all_killed = all_killed && killed;
      BOOST_TEST_CONTEXT("killed at event " << kills) {
        BOOST_TEST(end.exit_code == 0, end.out << end.err);
        BOOST_TEST(audit_of(end) == audit_of(whole));
      }
    }
  }
  BOOST_TEST(kills > 30);
  BOOST_TEST_MESSAGE(kills << " events");
}
