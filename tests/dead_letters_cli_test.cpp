// Runs `eventcore dead-letters` as a process, on the journal of a node that runs here, or did.

#include "support/journal_helpers.hpp"
#include "support/program.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/dead_letters.hpp>
#include <eventcore/persistence/event_source.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/node.hpp>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

/// Cannot take fives, as long as it is broken.
struct fussy : subscriber<fussy> {
  using events = eventcore::events<Happened>;

  fussy(std::atomic<bool>& is_broken, std::atomic<int>& all)
      : broken{is_broken}
      , count{all} {}
  result<void> handle(const Happened& e) {
    if (broken && e.number() % 5 == 0)
      return make_error(journal_errc::io_error, "no \"fives\"");
    ++count;
    return {};
  }

  std::atomic<bool>& broken;
  std::atomic<int>& count;
};

struct letters_fixture {
  temp_dir folder;
  std::filesystem::path dir = folder.path() / "journal";
  std::atomic<bool> broken = true;
  std::atomic<int> handled = 0;
  std::optional<node> n;
  subscription s;

  letters_fixture() {
    spdlog::set_level(spdlog::level::off);
    start();
    must(n->journal().commit_and_wait(append("a-1", expected_version::any(), happened_many(16))));
    must_pass(s.reached(16, patience));
  }
  void start() {
    node_options options;
    options.journal_dir = dir;
    n.emplace(must(node::open(options)));
    s = must(n->subscribe<fussy>({.name = "fussy", .retries = 0, .on_failure = on_failure::park},
                                 [this] { return std::make_unique<fussy>(broken, handled); }));
  }
  program_result run(std::vector<std::string> args) const {
    args.insert(args.begin(), "dead-letters");
    args.insert(args.end(), {"--journal", dir.string()});
    return run_program("eventcore", args);
  }
  void check_done(const program_result& r, std::string_view out) const {
    BOOST_TEST(r.exit_code == 0);
    BOOST_TEST(r.err == "");
    BOOST_TEST(r.out == out);
  }
  void check_fails(const program_result& r, int exit_code, std::string_view complaint) const {
    BOOST_TEST(r.exit_code == exit_code);
    BOOST_TEST(r.out == "");
    check_contains(r.err, complaint);
  }
  std::vector<json> lines(const program_result& r) const {
    BOOST_TEST_REQUIRE(r.exit_code == 0, r.err);
    std::vector<json> all;
    std::istringstream in{r.out};
    for (std::string line; std::getline(in, line);)
      all.push_back(json::parse(line));
    return all;
  }
  void wait_for_letters(std::size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (must(list_dead_letters(n->journal(), "fussy")).size() != count) {
      BOOST_TEST_REQUIRE((std::chrono::steady_clock::now() < deadline));
      std::this_thread::yield();
    }
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(dead_letters_cli_test, letters_fixture)

/// spec 12
BOOST_AUTO_TEST_CASE(letters_are_listed_and_shown) {
  auto letters = lines(run({"list", "--json"}));
  BOOST_TEST_REQUIRE(letters.size() == 3u);
  auto& first = letters[0];
  BOOST_TEST(first["subscription"] == "fussy");
  BOOST_TEST(first["position"] == 5);
  BOOST_TEST(first["stream"] == "a-1");
  BOOST_TEST(first["version"] == 5);
  BOOST_TEST(first["type"] == "eventcore.test.Happened");
  BOOST_TEST(first["attempts"] == 1);
  BOOST_TEST(first["replay_wanted"] == false);
  check_contains(first["why"].get<std::string>(), "no \"fives\"");
  auto text = run({"list", "fussy"});
  check_contains(text.out, "fussy  10  a-1  10  eventcore.test.Happened  1  ");
  auto calm = must(n->subscribe<fussy>({.name = "calm", .on_failure = on_failure::skip},
                                       [this] { return std::make_unique<fussy>(broken, handled); }));
  must_pass(calm.reached(16, patience));
  check_done(run({"list", "calm"}), "");
  check_fails(run({"list", "nobody"}), 1, dir.string() + " has no subscription nobody");
  auto shown = lines(run({"show", "fussy", "10"}));
  BOOST_TEST_REQUIRE(shown.size() == 2u);
  BOOST_TEST(shown[0]["position"] == 10);
  BOOST_TEST(shown[1]["data"]["number"] == "10");
  check_fails(run({"show", "fussy", "11"}), 1, "no dead letter at position 11");
}

/// spec 12
BOOST_AUTO_TEST_CASE(a_running_node_replays_and_drops) {
  check_done(run({"drop", "fussy", "10"}), "fussy: 1 letter dropped\n");
  check_done(run({"replay", "fussy", "5"}), "fussy: 1 letter to be replayed\n"); // fails again, and stays
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (must(s.stats(patience)).replays_failed == 0)
    BOOST_TEST_REQUIRE((std::chrono::steady_clock::now() < deadline));
  auto letters = lines(run({"list", "--json"}));
  BOOST_TEST_REQUIRE(letters.size() == 2u);
  BOOST_TEST(letters[0]["attempts"] == 2);
  broken = false;
  check_done(run({"replay", "fussy", "--all"}), "fussy: 2 letters to be replayed\n");
  wait_for_letters(0);
  BOOST_TEST(handled == 15);
  check_done(run({"list", "fussy"}), "");
  check_fails(run({"replay", "fussy", "--all"}), 1, "no dead letter");
  check_fails(run({"drop", "fussy", "5"}), 1, "no dead letter at position 5");
}

BOOST_AUTO_TEST_CASE(without_a_node_the_wish_waits_in_the_journal) {
  n.reset();
  check_done(run({"drop", "fussy", "15"}), "fussy: 1 letter dropped\n");
  check_done(run({"replay", "fussy", "5"}),
             "fussy: 1 letter to be replayed when a node runs the subscription\n");
  auto letters = lines(run({"list", "--json"}));
  BOOST_TEST_REQUIRE(letters.size() == 2u);
  BOOST_TEST(letters[0]["replay_wanted"] == true);
  BOOST_TEST(letters[1]["replay_wanted"] == false);
  broken = false;
  start();
  wait_for_letters(1);
}

/// spec 12: the event lies in another journal, at a position where this one has something else.
BOOST_AUTO_TEST_CASE(a_letter_of_another_service_holds_its_event) {
  auto other = open_memory_journal();
  must(other->commit_and_wait(append("b-7", expected_version::any(), {happened(1), happened(5)})));
  std::atomic<int> handled_there = 0;
  auto far = must(n->subscribe<fussy>({.name = "far",
                                       .source = make_journal_source(*other, "bills"),
                                       .retries = 0,
                                       .on_failure = on_failure::park},
                                      [&] { return std::make_unique<fussy>(broken, handled_there); }));
  must_pass(far.reached(2, patience));
  auto letters = lines(run({"list", "far", "--json"}));
  BOOST_TEST_REQUIRE(letters.size() == 1u);
  BOOST_TEST(letters[0]["source"] == "bills");
  check_contains(run({"list", "far"}).out, "from service bills");
  auto shown = lines(run({"show", "far", "2"}));
  BOOST_TEST_REQUIRE(shown.size() == 2u);
  BOOST_TEST(shown[1]["stream"] == "b-7");
  BOOST_TEST(shown[1]["position"] == 2);
  BOOST_TEST(shown[1]["data_base64"] == "CAU="); // the number five
  BOOST_TEST(!shown[1].contains("error"));

  must_pass(far.stop(patience));
  check_done(run({"drop", "fussy", "--all"}), "fussy: 3 letters dropped\n");
  check_done(run({"replay", "far", "2"}), "far: 1 letter to be replayed\n");
  broken = false;
  far = must(n->subscribe<fussy>({.name = "far", .source = make_journal_source(*other, "bills")},
                                 [&] { return std::make_unique<fussy>(broken, handled_there); }));
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!must(list_dead_letters(n->journal(), "far")).empty())
    BOOST_TEST_REQUIRE((std::chrono::steady_clock::now() < deadline));
  BOOST_TEST(handled_there == 2);
  must_pass(far.stop(patience)); // before its source ends
}

BOOST_AUTO_TEST_CASE(bad_usage_is_refused) {
  check_fails(run({}), 2, "ACTION");
  check_fails(run({"forget"}), 2, "ACTION");
  check_fails(run({"show"}), 2, "SUBSCRIPTION");
  check_fails(run({"show", "fussy"}), 2, "POSITION");
  check_fails(run({"show", "fussy", "x"}), 2, "POSITION");
  check_fails(run({"list", "fussy", "5"}), 2, "takes no POSITION");
  check_fails(run({"replay", "fussy"}), 2, "--all");
  check_fails(run({"drop", "fussy", "5", "--all"}), 2, "--all");
  check_fails(run({"list", "--all"}), 2, "--all");
  check_fails(run({"drop", "fussy", "5", "--json"}), 2, "--json");
  check_fails(run({"list", "a*b"}), 2, "a*b");
}

BOOST_AUTO_TEST_SUITE_END()
