// Runs `eventcore sagas` as a process, on journals of nodes that run in processes of their own, or did.

#include "bank.pb.h"
#include "support/child_process.hpp"
#include "support/journal_helpers.hpp"
#include "support/program.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/actors/internal/saga_engine.hpp>
#include <eventcore/actors/saga.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/node.hpp>

#include <caf/all.hpp>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <functional>
#include <memory>
#include <sstream>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::literals;
using nlohmann::json;

namespace {

bank::Deposit cents(std::int64_t amount) {
  return make<bank::Deposit>([&](auto& c) { c.set_cents(amount); });
}

/// The hotel refuses trips of `refused` cents, and never answers those of `unanswered`. While flights are not paid back, it has no
/// time for those of `postponed`.
constexpr std::int64_t refused = 5;
constexpr std::int64_t unanswered = 7;
constexpr std::int64_t postponed = 9;

struct trip : saga<trip> {
  static constexpr std::string_view category = "trip";
  using input = bank::Deposit;

  static void define(definition<input>& saga) {
    saga.step("flight")
        .request_at("flight", [](const input& i) { return cents(i.cents()); })
        .compensate_at("flight", [](const input& i) { return cents(-i.cents()); })
        .within(1h);
    saga.step("hotel")
        .request_at("hotel", [](const input& i) { return cents(i.cents()); })
        .compensate_at("hotel", [](const input& i) { return cents(-i.cents()); })
        .within(1h)
        .retry({.retries = 10, .backoff = 1h, .max_backoff = 1h});
  }
};

enum class answer : std::uint8_t { done, no, later, nothing };

class participant : public caf::event_based_actor {
public:
  participant(caf::actor_config& config, std::function<answer(std::int64_t)> how)
      : caf::event_based_actor{config}
      , how_{std::move(how)} {}

protected:
  caf::behavior make_behavior() override {
    return {[this](const command_context&, const bank::Deposit& c) -> caf::result<bank::Balance> {
      const auto given = how_(c.cents());
      if (given == answer::nothing)
        return make_response_promise(); // dropped, which is silence
      if (given == answer::later)
        return to_caf_error(make_error(entity_errc::overloaded, "later"));
      if (given == answer::no)
        return to_caf_error(make_error(entity_errc::rejected, "no, \"never\""));
      return bank::Balance{};
    }};
  }

private:
  std::function<answer(std::int64_t)> how_;
};

/// Trips by their ids, and what each is to cost.
using trips = std::vector<std::pair<std::string, std::int64_t>>;

/// What a node's process does: starts the trips, waits until all is done that can be done, says `r`, and hears: `p`, pay flights back from now on; `e`, end. With any other word it
/// waits until the trip of that name is stuck or has ended, and says how: `s`, `c` (completed) or `u` (undone).
int run_node(channel& parent, const std::filesystem::path& dir, bool pays_back, const trips& started) {
  spdlog::set_level(spdlog::level::off);
  std::atomic<bool> paying = pays_back;
  node_options options;
  options.journal_dir = dir;
  auto n = node::open(options);
  if (!n)
    throw std::runtime_error{n.error().message()};
  auto& system = n->system();
  n->add_participant("flight", system.spawn<participant>([&](std::int64_t cents) {
    return cents > 0 || paying ? answer::done : answer::no;
  }));
  n->add_participant("hotel", system.spawn<participant>([&](std::int64_t cents) {
    return cents == refused                ? answer::no
           : cents == unanswered           ? answer::nothing
           : cents == postponed && !paying ? answer::later
                                           : answer::done;
  }));
  const auto host = n->saga<trip>();
  for (auto& [id, amount] : started)
    if (auto begun = host.start(id, cents(amount), patience); !begun)
      throw std::runtime_error{begun.error().message()};
  for (auto& [id, amount] : started) {
    if (amount == postponed)
      while (host.status(id, patience)->steps.at(1).state != "delayed")
        std::this_thread::yield();
    else if (amount != unanswered && !host.finished(id, patience))
      throw std::runtime_error{"trip " + id + " goes on for too long"};
  }
  parent.say('r');
  for (;;) {
    const char word = parent.hear();
    if (word == 'e' || word == 0)
      return 0;
    if (word == 'p') {
      paying = true;
      parent.say('p');
      continue;
    }
    const auto phase = host.finished(std::string(1, word), patience);
    parent.say(!phase                              ? '?'
               : *phase == saga_phase::stuck       ? 's'
               : *phase == saga_phase::compensated ? 'u'
                                                   : 'c');
  }
}

program_result run(std::vector<std::string> args, const std::filesystem::path& dir) {
  args.insert(args.begin(), "sagas");
  args.insert(args.end(), {"--journal", dir.string()});
  return run_program("eventcore", args);
}

void check_done(const program_result& r, const std::string& out) {
  BOOST_TEST(r.exit_code == 0);
  BOOST_TEST(r.err == "");
  BOOST_TEST(r.out == out);
}

void check_fails(const program_result& r, int exit_code, std::string_view complaint) {
  BOOST_TEST(r.exit_code == exit_code);
  BOOST_TEST(r.out == "");
  check_contains(r.err, complaint);
}

std::vector<json> lines_of(const program_result& r) {
  BOOST_TEST_REQUIRE(r.exit_code == 0, r.err);
  BOOST_TEST(r.err == "");
  std::vector<json> lines;
  std::istringstream in{r.out};
  for (std::string line; std::getline(in, line);)
    lines.push_back(json::parse(line));
  return lines;
}

std::vector<std::string> ids_of(const program_result& r) {
  std::vector<std::string> ids;
  for (auto& line : lines_of(r))
    ids.push_back(line["id"].get<std::string>());
  std::ranges::sort(ids);
  return ids;
}

using text_list = std::vector<std::string>;

/// A journal of trips with a node's process.
struct agency {
  temp_dir folder;
  std::filesystem::path dir = folder.path() / "journal";
  std::unique_ptr<child_process> node;

  void start(bool pays_back, const trips& started = {}) {
    node = std::make_unique<child_process>(
        [&](channel& parent) { return run_node(parent, dir, pays_back, started); });
    BOOST_TEST_REQUIRE(node->hear() == 'r');
  }
  void end() {
    node->say('e');
    BOOST_TEST(node->wait() == 0);
    node.reset();
  }
  char ask(char word) const {
    node->say(word);
    return node->hear();
  }
  program_result run(std::vector<std::string> args) const { return ::run(std::move(args), dir); }
  std::string phase(const std::string& id) const {
    return lines_of(run({"show", "trip", id, "--json"})).at(0)["phase"].get<std::string>();
  }
};

const trips usual{{"1", refused}, {"2", refused}, {"3", unanswered}, {"4", 1}};

} // namespace

// -- reading

BOOST_AUTO_TEST_CASE(unfinished_sagas_are_listed_next_to_a_node_and_without_one) {
  agency a;
  a.start(false, usual);
  for (const bool running : {true, false}) {
    if (!running)
      a.end();
    BOOST_TEST(ids_of(a.run({"list", "--json"})) == (text_list{"1", "2", "3"}));
    BOOST_TEST(ids_of(a.run({"list", "trip", "--json"})) == (text_list{"1", "2", "3"}));
    BOOST_TEST(ids_of(a.run({"list", "--json", "--stuck"})) == (text_list{"1", "2"}));
    const auto stuck = "stuck         trip              1                 flight                1    "
                       "-                            \"no, \\\"never\\\"\"\n"s;
    auto second = stuck;
    second[32] = '2';
    check_done(a.run({"list", "trip", "--stuck"}), stuck + second);
    const auto list = a.run({"list"});
    BOOST_TEST(list.out.starts_with(
                   "running       trip              3                 hotel                 1    20"),
               list.out);
    BOOST_TEST(list.out.ends_with(stuck + second), list.out);
  }
}

BOOST_AUTO_TEST_CASE(a_saga_is_shown_with_its_steps) {
  agency a;
  a.start(false, usual);
  a.end();
  check_done(a.run({"show", "trip", "1"}),
             "saga            trip 1\n"
             "phase           stuck\n"
             "failed_step     hotel\n"
             "why             \"no, \\\"never\\\"\"\n"
             "due             -\n"
             "  flight                    undo_failed               1     \"no, \\\"never\\\"\"\n"
             "  hotel                     failed                    1     \"no, \\\"never\\\"\"\n");
  const auto shown = lines_of(a.run({"show", "trip", "3", "--json"})).at(0);
  BOOST_TEST(shown["phase"].get<std::string>() == "running");
  BOOST_TEST(shown["steps"][1]["state"].get<std::string>() == "requested");
  BOOST_TEST(shown["due"].is_string());
  BOOST_TEST(a.phase("4") == "completed");
  check_fails(a.run({"show", "trip", "5"}), 1, "no saga trip-5");
}

BOOST_AUTO_TEST_CASE(what_the_journal_has_no_saga_of_is_an_error) {
  agency a;
  a.start(true, {{"1", 1}});
  a.end();
  check_done(a.run({"list"}), "");
  check_done(a.run({"list", "trip"}), "");
  check_done(a.run({"list", "trip", "--stuck"}), "");
  check_fails(a.run({"list", "tripp"}), 1, "no saga of category tripp");
  check_fails(a.run({"retry", "tripp", "--stuck"}), 1, "no saga of category tripp");
  check_fails(a.run({"retry", "tripp", "1"}), 1, "no saga");
  check_fails(a.run({"abort", "trip", "1"}), 1, "has ended");
  check_fails(run({"list"}, a.folder.path() / "none"), 1, "does not exist");
  check_fails(run({"retry", "trip", "1"}, a.folder.path() / "none"), 1, "holds no journal");
  BOOST_TEST(!std::filesystem::exists(a.folder.path() / "none"));
}

BOOST_AUTO_TEST_CASE(bad_usage_is_named) {
  temp_dir dir;
  for (const auto& args : std::vector<text_list>{{},
                                                 {"resume", "trip", "1"},
                                                 {"list", "trip", "1"},
                                                 {"list", "--why", "x"},
                                                 {"list", "a-b"},
                                                 {"show"},
                                                 {"show", "trip"},
                                                 {"show", "trip", "1", "--stuck"},
                                                 {"retry"},
                                                 {"retry", "trip"},
                                                 {"retry", "trip", "1", "--stuck"},
                                                 {"retry", "trip", "1", "--json"},
                                                 {"retry", "trip", "a*"},
                                                 {"retry", "trip", "1", "--why", "\xFF"},
                                                 {"skip", "trip", "1", "--why", std::string(5'000, 'x')},
                                                 {"abort", "trip", "--stuck"},
                                                 {"abort", "--stuck"}})
    check_fails(run(args, dir.path()), 2, "eventcore: ");
}

// -- deciding

BOOST_AUTO_TEST_CASE(a_running_node_carries_out_decisions) {
  agency a;
  a.start(false, usual);
  check_done(a.run({"retry", "trip", "1", "--why", "just a try"}), "trip 1: retry, now compensating\n");
  BOOST_TEST(a.ask('1') == 's');
  BOOST_TEST(a.ask('p') == 'p');
  check_done(a.run({"retry", "trip", "1"}), "trip 1: retry, now compensating\n");
  BOOST_TEST(a.ask('1') == 'u');
  check_done(a.run({"skip", "trip", "2"}), "trip 2: skip, now compensated\n");
  BOOST_TEST(a.ask('2') == 'u');
  check_done(a.run({"abort", "trip", "3", "--why", "the customer called"}),
             "trip 3: abort, now compensating\n");
  BOOST_TEST(a.ask('3') == 'u');
  check_fails(a.run({"retry", "trip", "1"}), 1, "has ended");
  check_fails(a.run({"skip", "trip", "none"}), 1, "no saga");
  check_fails(a.run({"retry", "tour", "1"}), 1, "does not run the sagas of category tour");
  check_done(a.run({"list"}), "");
  a.end();
  const auto events = run_program("eventcore", {"show", "trip-3", "--journal", a.dir.string()});
  BOOST_TEST(events.printed("the customer called"), events.out);
}

BOOST_AUTO_TEST_CASE(decisions_without_a_node_are_carried_out_by_the_next_one) {
  agency a;
  a.start(false, usual);
  a.node->kill(); // leaves its socket behind
  BOOST_TEST(std::filesystem::is_socket(a.dir / "control.sock"));
  check_done(a.run({"retry", "trip", "1"}), "trip 1: retry, now compensating; goes on when a node runs it\n");
  check_fails(a.run({"retry", "trip", "1"}), 1, "neither stuck");
  check_done(a.run({"skip", "trip", "2", "--why", "paid by hand"}),
             "trip 2: skip, now compensating; goes on when a node runs it\n");
  check_done(a.run({"abort", "trip", "3"}), "trip 3: abort, now compensating; goes on when a node runs it\n");
  check_fails(a.run({"abort", "trip", "4"}), 1, "has ended");
  check_fails(a.run({"abort", "trip", "5"}), 1, "no saga");
  check_done(a.run({"list", "--stuck"}), "");
  BOOST_TEST(ids_of(a.run({"list", "--json"})) == (text_list{"1", "2", "3"}));
  a.start(true);
  for (const char id : {'1', '2', '3'})
    BOOST_TEST(a.ask(id) == 'u');
  check_done(a.run({"list"}), "");
  a.end();
  BOOST_TEST(!std::filesystem::exists(a.dir / "control.sock"));
}

BOOST_AUTO_TEST_CASE(a_saga_that_waits_before_a_retry_can_be_told_not_to_wait) {
  agency a;
  a.start(false, {{"1", postponed}, {"2", postponed}});
  a.ask('p');
  check_done(a.run({"retry", "trip", "1"}), "trip 1: retry, now running\n");
  BOOST_TEST(a.ask('1') == 'c');
  a.end();
  check_done(a.run({"retry", "trip", "2"}), "trip 2: retry, now running; goes on when a node runs it\n");
  a.start(true);
  BOOST_TEST(a.ask('2') == 'c');
  a.end();
}

BOOST_AUTO_TEST_CASE(all_stuck_sagas_can_be_retried_or_skipped_at_once) {
  agency a;
  trips many{{"x", unanswered}};
  for (auto i = 0; i != 1'100; ++i) // more than a page
    many.push_back({std::to_string(i), refused});
  a.start(false, many);
  BOOST_TEST(ids_of(a.run({"list", "--stuck", "--json"})).size() == 1'100u);
  a.ask('p');
  const auto retried = a.run({"retry", "trip", "--stuck", "--why", "flights are paid back again"});
  BOOST_TEST(retried.exit_code == 0);
  BOOST_TEST(std::ranges::count(retried.out, '\n') == 1'100);
  check_done(a.run({"list", "--stuck"}), "");
  check_done(a.run({"retry", "trip", "--stuck"}), "");
  a.end();
  a.start(false, {{"a", refused}, {"b", refused}});
  a.node->kill();
  const auto skipped = a.run({"skip", "trip", "--stuck"});
  BOOST_TEST(skipped.exit_code == 0);
  BOOST_TEST(std::ranges::count(skipped.out, '\n') == 2);
  a.start(false);
  for (const char id : {'0', 'a', 'b'})
    BOOST_TEST(a.ask(id) == 'u');
  a.end();
}

BOOST_AUTO_TEST_CASE(a_stopped_node_is_named_in_time_and_is_not_asked) {
  agency a;
  a.start(false, usual);
  ::kill(a.node->pid(), SIGSTOP);
  const auto begin = std::chrono::steady_clock::now();
  check_fails(a.run({"skip", "trip", "1"}), 1, "stopped, or hangs");
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 30s));
  BOOST_TEST(ids_of(a.run({"list", "--stuck", "--json"})) == (text_list{"1", "2"}));
  ::kill(a.node->pid(), SIGCONT);
  check_done(a.run({"skip", "trip", "2"}), "trip 2: skip, now compensated\n");
  BOOST_TEST(a.phase("1") == "stuck");
  a.end();
}

BOOST_AUTO_TEST_CASE(a_journal_that_somebody_writes_without_a_socket_is_left_alone) {
  agency a;
  a.start(false, usual);
  a.end();
  child_process writer{[&](channel& parent) {
    const auto journal = open_lmdb_journal(a.dir);
    parent.say(journal ? 'r' : '?');
    return parent.hear() == 'e' ? 0 : 1;
  }};
  BOOST_TEST_REQUIRE(writer.hear() == 'r');
  const auto answer = a.run({"skip", "trip", "1"});
  check_fails(answer, 1, "written by process " + std::to_string(writer.pid()));
  check_contains(answer.err, "control.sock");
  BOOST_TEST(a.phase("1") == "stuck");
  writer.say('e');
  BOOST_TEST(writer.wait() == 0);
  check_done(a.run({"skip", "trip", "1"}), "trip 1: skip, now compensating; goes on when a node runs it\n");
}

BOOST_AUTO_TEST_CASE(tools_that_run_at_once_wait_for_each_other) {
  agency a;
  trips many;
  for (char id = 'A'; id <= 'F'; ++id)
    many.push_back({std::string(1, id), refused});
  a.start(false, many);
  for (const bool running : {true, false}) {
    if (!running)
      a.end();
    std::vector<std::thread> tools;
    std::atomic<int> done = 0, refusals = 0;
    for (std::size_t i = running ? 0 : 4; i != (running ? 4u : 6u); ++i)
      for (auto twice = 0; twice != 2; ++twice)
        tools.emplace_back([&, id = many[i].first] {
          const auto r = a.run({"skip", "trip", id});
          done += r.exit_code == 0;
          refusals +=
              r.exit_code == 1 && (r.complained("has ended") || r.complained("only the compensation"));
        });
    for (auto& tool : tools)
      tool.join();
    BOOST_TEST(done == (running ? 4 : 2));
    BOOST_TEST(refusals == (running ? 4 : 2));
  }
  a.start(false);
  for (auto& [id, unused] : many)
    BOOST_TEST(a.ask(id[0]) == 'u');
  a.end();
}

BOOST_AUTO_TEST_CASE(a_folder_with_a_long_path_has_its_socket) {
  agency a;
  a.dir = a.folder.path() / std::string(150, 'a') / std::string(150, 'b');
  a.start(true, usual);
  check_done(a.run({"abort", "trip", "3"}), "trip 3: abort, now compensating\n");
  BOOST_TEST(a.ask('3') == 'u');
  a.end();
}

// -- size

namespace {

template <class Event>
new_event saga_event(const Event& e) {
  return {Event::descriptor(), e.SerializeAsString(), 1};
}

/// Writes a saga that waits for its first step, or is stuck there.
void add_saga(commit& c, const std::string& id, bool stuck) {
  const auto due = timestamp{std::chrono::hours{24 * 365 * 60}};
  std::vector<new_event> events{saga_event(make<SagaStarted>([&](auto& e) {
                                  e.set_id(id);
                                  e.add_steps("flight");
                                })),
                                saga_event(make<SagaStepRequested>([&](auto& e) {
                                  e.set_step("flight");
                                  e.mutable_request()->set_target("flight");
                                  e.set_deadline_us(due.time_since_epoch().count());
                                }))};
  if (stuck)
    events.push_back(saga_event(make<SagaCompensationFailed>([&](auto& e) { e.set_step("flight"); })));
  c.appends.push_back({sid("trip-" + id), expected_version::none(), std::move(events)});
  c.timers.push_back({internal::saga_timer("trip", id), {}, stuck ? timestamp::max() : due});
}

} // namespace

BOOST_AUTO_TEST_CASE(a_hundred_thousand_unfinished_sagas_are_listed_in_little_memory) {
  temp_dir folder;
  const auto dir = folder.path() / "journal";
  {
    const auto journal = must(open_lmdb_journal(dir));
    for (auto i = 0; i != 100; ++i) {
      commit c;
      for (auto k = 0; k != 1'000; ++k)
        add_saga(c, std::to_string(i * 1'000 + k), i == 50 && k < 3);
      must_pass(journal->commit_and_wait(std::move(c)));
    }
  }
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  const std::string bounded;
#else
  const std::string bounded = "ulimit -d 32768; "; // KiB
#endif
  const auto list = [&](text_list args) {
    args.insert(args.begin(), {"sagas", "list", "--journal", dir.string()});
    const auto listed = run_program("eventcore", args, bounded);
    BOOST_TEST(listed.exit_code == 0, listed.err);
    return std::ranges::count(listed.out, '\n');
  };
  BOOST_TEST(list({}) == 100'000);
  BOOST_TEST(list({"--json", "trip"}) == 100'000);
  BOOST_TEST(list({"--stuck"}) == 3);
}
