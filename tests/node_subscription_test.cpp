#include "support/account.hpp"
#include "support/journal_helpers.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/dead_letters.hpp>
#include <eventcore/actors/subscription_errc.hpp>
#include <eventcore/runtime/node.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <future>
#include <latch>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

/// Notes positions; waits where it is told to.
struct noting : subscriber<noting> {
  using events = eventcore::events<Happened>;
  using function = std::function<void(const Happened&, const event_context&)>;

  explicit noting(function f)
      : on_event{std::move(f)} {}
  void handle(const Happened& e, const event_context& x) { on_event(e, x); }

  function on_event;
};

/// Notes what it is told of, of two types.
struct serving_two : subscriber<serving_two> {
  using events = eventcore::events<Happened, Other>;

  explicit serving_two(std::vector<std::string>& list)
      : heard{list} {}
  void handle(const Happened& e) { heard.push_back(std::to_string(e.number())); }
  void handle(const Other&) { heard.push_back("other"); }

  std::vector<std::string>& heard; ///< read when the subscription has reached a position
};

auto making(noting::function f) {
  return [f = std::move(f)] { return std::make_unique<noting>(f); };
}

/// Deposits for Alice what happened.
struct depositor : subscriber<depositor> {
  using events = eventcore::events<Happened>;
  reaction handle(const Happened& e) {
    return to<account>("alice", make<bank::Deposit>([&](auto& c) { c.set_cents(e.number()); }));
  }
};

struct running_node {
  temp_dir dir;
  std::optional<node> n;

  running_node() { open(); }
  void open() {
    node_options options;
    options.journal_dir = dir.path() / "journal";
    n.emplace(must(node::open(options)));
  }

  void write(std::size_t commits, std::size_t events = 10) {
    auto answers = std::make_shared<recorder>();
    for (std::size_t i = 0; i < commits; ++i)
      while (!submit(n->journal(),
                     append("s-" + std::to_string(i % 7), expected_version::any(), happened_many(events)),
                     answers, i))
        std::this_thread::yield();
    BOOST_TEST_REQUIRE(answers->wait_for(commits));
  }

  template <class F>
  void wait_until(F f) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!f()) {
      BOOST_TEST_REQUIRE((std::chrono::steady_clock::now() < deadline));
      std::this_thread::sleep_for(1ms);
    }
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(node_subscription_test, running_node)

/// spec 9
BOOST_AUTO_TEST_CASE(subscribers_that_start_anywhere_see_the_same_sequence) {
  constexpr std::size_t commits = 2'000;
  std::mutex mutex;
  std::map<std::string, std::vector<log_position>> seen;
  const auto follow = [&](const std::string& name, start_from start, handler_place place,
                          std::size_t workers = 1) {
    return must(n->subscribe<noting>({.name = name, .start = start, .place = place, .workers = workers},
                                     making([&, name](auto&, auto& x) {
                                       std::lock_guard lock{mutex};
                                       seen[name].push_back(x.position);
                                     })));
  };
  std::vector<subscription> all;
  all.push_back(follow("first", start_from::beginning(), handler_place::own_thread));
  std::thread writer{[&] { write(commits); }};
  wait_until([&] { return must(n->journal().head()) > commits * 4; });
  all.push_back(follow("middle", start_from::beginning(), handler_place::scheduler));
  all.push_back(follow("group", start_from::beginning(), handler_place::own_thread, 3));
  const auto from = must(n->journal().head()) + 1;
  all.push_back(follow("position", start_from::position(from), handler_place::own_thread));
  writer.join();
  all.push_back(follow("last", start_from::beginning(), handler_place::own_thread));
  write(10);
  const auto head = must(n->journal().head());
  for (auto& s : all)
    must_pass(s.reached(head, patience));
  std::vector<log_position> wanted;
  for (log_position p = 1; p <= head; ++p)
    wanted.push_back(p);
  std::lock_guard lock{mutex};
  BOOST_TEST((seen["first"] == wanted));
  BOOST_TEST((seen["middle"] == wanted));
  BOOST_TEST((seen["last"] == wanted));
  std::ranges::sort(seen["group"]);
  BOOST_TEST((seen["group"] == wanted));
  BOOST_TEST((seen["position"] ==
              std::vector(wanted.begin() + static_cast<std::ptrdiff_t>(from - 1), wanted.end())));
}

/// spec 9, 10
BOOST_AUTO_TEST_CASE(one_handler_serves_several_topics) {
  using topics = std::vector<std::string>;
  publication content;
  content.map<Happened>("happenings").map<Other>("others").map<Detailed>("details");
  content.categories["a"];
  const auto publishing = must(n->publish(content));
  std::map<std::string, std::vector<std::string>> heard;
  const auto follow = [&](const std::string& name, const topics& of) {
    return must(
        n->subscribe<serving_two>({.name = name, .filter = must(publishing.filter_of(of))},
                                  [&list = heard[name]] { return std::make_unique<serving_two>(list); }));
  };
  std::vector<subscription> all{follow("one", {"others"}), follow("two", {"happenings", "others"}),
                                follow("all", {"happenings", "others", "details"})};
  const new_event detailed{Detailed::descriptor(), Detailed{}.SerializeAsString(), 1};
  must(
      n->journal().commit_and_wait(append("a-1", expected_version::any(), {happened(1), other(), detailed})));
  must(n->journal().commit_and_wait(append("b-1", expected_version::any(), {happened(2), other()})));
  must(n->journal().commit_and_wait(append("a-1", expected_version::any(), {happened(3)})));
  for (auto& s : all)
    must_pass(s.reached(must(n->journal().head()), patience));
  BOOST_TEST((heard["one"] == topics{"other"}));
  BOOST_TEST((heard["two"] == topics{"1", "other", "3"}));
  BOOST_TEST((heard["all"] == heard["two"]));
  // A type that the filter admits and the handler does not declare is counted.
  BOOST_TEST(must(all[1].stats(patience)).passed_over == 0u);
  BOOST_TEST(must(all[2].stats(patience)).passed_over == 1u);
}

BOOST_AUTO_TEST_CASE(a_node_that_ends_in_order_leaves_nothing_to_repeat) {
  std::atomic<std::size_t> heard = 0;
  const auto follow = [&] {
    return must(n->subscribe<noting>({.name = "sub"}, making([&](auto&, auto&) { ++heard; })));
  };
  auto s = follow();
  write(100);
  must_pass(s.reached(1'000, patience));
  n.reset();
  open();
  s = follow();
  write(1);
  must_pass(s.reached(1'010, patience));
  BOOST_TEST(heard == 1'010u);
}

BOOST_AUTO_TEST_CASE(two_of_a_name_are_refused) {
  auto s = must(n->subscribe<noting>({.name = "sub"}, making([](auto&, auto&) {})));
  auto second = n->subscribe<noting>({.name = "sub"}, making([](auto&, auto&) {}));
  BOOST_REQUIRE(!second.has_value());
  BOOST_TEST((second.error().code() == subscription_errc::name_in_use));
  must_pass(s.stop(patience));
  must(n->subscribe<noting>({.name = "sub"}, making([](auto&, auto&) {})));
}

/// spec 13
BOOST_AUTO_TEST_CASE(one_that_stalls_keeps_nobody_else_waiting) {
  std::latch go{1};
  auto stalls = must(n->subscribe<noting>({.name = "stalls", .handler_limit = 50ms},
                                          making([&](auto&, auto&) { go.wait(); })));
  std::vector<subscription> others;
  std::atomic<std::size_t> heard = 0;
  for (int i = 0; i < 4; ++i)
    others.push_back(must(n->subscribe<noting>({.name = "other " + std::to_string(i)},
                                               making([&](auto&, auto&) { ++heard; }))));
  write(500);
  for (auto& s : others)
    must_pass(s.reached(5'000, patience));
  BOOST_TEST(heard == 20'000u);
  wait_until([&] { return must(stalls.stats(patience)).stalled; });
  auto now = must(stalls.stats(patience));
  BOOST_TEST(now.position == 0u);
  BOOST_TEST(now.lag() == 5'000u);
  auto not_yet = stalls.reached(1, 10ms);
  BOOST_TEST(!not_yet.has_value());
  go.count_down();
  must_pass(stalls.reached(5'000, patience));
  BOOST_TEST(!must(stalls.stats(patience)).stalled);
}

/// The process outlives the node here, so the handler returns at last, when nothing of the node is there any more.
BOOST_AUTO_TEST_CASE(a_handler_that_never_returns_does_not_stop_the_end_of_the_node) {
  auto go = std::make_shared<std::promise<void>>();
  auto returned = std::make_shared<std::promise<void>>();
  {
    auto entered = std::make_shared<std::promise<void>>();
    must(n->subscribe<noting>({.name = "stuck"},
                              making([entered, returned, wait = go->get_future().share()](auto& e, auto&) {
                                if (e.number() != 1)
                                  return;
                                entered->set_value();
                                wait.wait();
                                returned->set_value();
                              })));
    write(1, 1);
    entered->get_future().wait();
  }
  const auto before = std::chrono::steady_clock::now();
  n.reset();
  BOOST_TEST((std::chrono::steady_clock::now() - before < 40s));
  go->set_value();
  BOOST_TEST((returned->get_future().wait_for(patience) == std::future_status::ready));
}

/// spec 12
BOOST_AUTO_TEST_CASE(parked_events_are_replayed) {
  std::atomic<bool> broken = true;
  std::mutex mutex;
  std::vector<std::int64_t> heard;
  auto s =
      must(n->subscribe<noting>({.name = "sub", .retries = 1, .backoff = 1ms, .on_failure = on_failure::park},
                                making([&](auto& e, auto& x) {
                                  if (broken && e.number() % 10 == 5)
                                    throw std::runtime_error{"five"};
                                  std::lock_guard lock{mutex};
                                  heard.push_back(x.from_dead_letters ? -e.number() : e.number());
                                })));
  write(3, 10); // three times 1 to 10
  must_pass(s.reached(30, patience));
  BOOST_TEST(must(s.stats(patience)).parked == 3u);
  auto letters = must(list_dead_letters(n->journal(), "sub"));
  BOOST_TEST(letters.size() == 3u);
  broken = false;
  BOOST_TEST(must(s.replay_dead_letters(letters.at(0).position)) == 1u);
  wait_until([&] { return must(list_dead_letters(n->journal(), "sub")).size() == 2u; });
  BOOST_TEST(must(drop_dead_letters(n->journal(), "sub", letters.at(1).position)) == 1u);
  BOOST_TEST(must(s.replay_dead_letters()) == 1u);
  wait_until([&] { return must(list_dead_letters(n->journal(), "sub")).empty(); });
  std::lock_guard lock{mutex};
  BOOST_TEST(std::ranges::count(heard, -5) == 2);
  BOOST_TEST(heard.size() == 29u);
  auto none = s.replay_dead_letters();
  BOOST_TEST(!none.has_value());
}

BOOST_AUTO_TEST_CASE(a_handler_s_commands_go_to_the_node_s_entities) {
  auto bank = n->host<account>();
  bank.tell("alice", bank::Open{});
  auto s = must(n->subscribe<depositor>({.name = "sub", .place = handler_place::scheduler}));
  write(10, 10);
  must_pass(s.reached(101, patience));
  BOOST_TEST(must(bank.ask("alice", bank::GetBalance{}, patience)).cents() == 550);
}

BOOST_AUTO_TEST_SUITE_END()
