#include "support/account.hpp"
#include "support/scripted_source.hpp"
#include "support/subscription_world.hpp"

#include <eventcore/actors/internal/subscription_cursor.hpp>

#include <boost/test/unit_test.hpp>

#include <future>
#include <random>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

using list = std::vector<std::int64_t>;

/// A subscription of the world that follows another service.
struct source_world : subscription_world {
  std::shared_ptr<scripted_source> orders = std::make_shared<scripted_source>("orders");

  source_world() { options.source = orders; }

  void order(const list& numbers, const std::string& stream = "order-1") {
    orders->happen(stream, numbers);
    settle();
  }
  void check_stands(const subscription& s, std::string_view why) {
    BOOST_TEST((stats(s).state == subscription_state::stopped));
    check_contains(stats(s).last_error, why);
  }
  /// Calls that wait for the journal's writer, which stands still here.
  template <class F>
  auto beside_the_writer(F f) {
    auto answer = std::async(std::launch::async, f);
    while (answer.wait_for(1ms) != std::future_status::ready)
      journal.inner().step();
    return answer.get();
  }
  result<void> set_to(log_position position, const std::shared_ptr<event_source>& source) {
    return beside_the_writer(
        [&] { return set_subscription_cursor(journal.inner(), "sub", position, source); });
  }
  result<std::size_t> want_replayed() {
    return beside_the_writer([&] { return want_dead_letters_replayed(journal.inner(), "sub"); });
  }
};

/// Answers each number with a deposit of so many cents here.
struct depositor : subscriber<depositor> {
  using events = eventcore::events<Happened>;

  reaction handle(const Happened& e, const event_context& x) {
    BOOST_TEST(x.source == "orders");
    return to<account>(std::string{x.key()}, make<bank::Deposit>([&](auto& c) { c.set_cents(e.number()); }));
  }
};

struct reacting_world : source_world {
  host<account> bank = start<account>();

  reacting_world() {
    for (auto name : {"account-0", "account-1", "account-2"})
      append(name, expected_version::none(), {opened()});
  }
  subscription react() {
    auto s = subscribe<depositor>(options);
    settle();
    return must(std::move(s));
  }
  list deposits(std::int64_t i) {
    list found;
    for (auto& event : events("account-" + std::to_string(i)))
      if (bank::Deposited e; event.type == e.GetTypeName() && e.ParseFromString(event.payload))
        found.push_back(e.cents());
    return found;
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(subscription_source_test, source_world)

/// spec 9, 15
BOOST_AUTO_TEST_CASE(it_catches_up_follows_and_goes_on_where_it_was) {
  order({1, 2, 3});
  on_event = [&](const Happened& e, const event_context& x) -> result<void> {
    BOOST_TEST(x.source == "orders");
    BOOST_TEST(x.position == orders->log.at(x.position - 1).position);
    BOOST_TEST(to_string(x.id) == to_string(orders->log.at(x.position - 1).id));
    heard.push_back(e.number());
    return {};
  };
  happen("order-1", {77}); // in the own journal, which it does not follow
  auto s = follow();
  BOOST_TEST((heard == list{1, 2, 3}));
  order({4});
  orders->page_events = 2;
  order({5, 6, 7, 8, 9});
  BOOST_TEST((heard == list{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  BOOST_TEST(stats(s).position == 9u);
  BOOST_TEST(stats(s).head == 9u);
  BOOST_TEST((stats(s).state == subscription_state::live));
  pass(200ms);
  BOOST_TEST(cursor() == 9u);
  stop(s);
  order({10});
  follow();
  BOOST_TEST((heard == list{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

/// spec 9
BOOST_AUTO_TEST_CASE(it_starts_where_it_is_told_in_the_source_s_log) {
  order({1, 2, 3});
  options.start = start_from::now();
  auto now = follow();
  BOOST_TEST(cursor() == 3u);
  stop(now);
  options.name = "other";
  options.start = start_from::position(3);
  auto third = follow();
  BOOST_TEST((heard == list{3}));
  order({4});
  BOOST_TEST((heard == list{3, 4}));
  // What came meanwhile is not skipped because `now` is later.
  options.name = "sub";
  options.start = start_from::now();
  follow();
  BOOST_TEST((heard == list{3, 4, 4}));
  options.name = "ahead";
  options.start = start_from::position(99);
  check_stands(follow(), "log ends at 4");
}

/// spec 15
BOOST_AUTO_TEST_CASE(it_waits_for_a_source_that_is_not_there) {
  orders->reached = false;
  auto s = follow();
  BOOST_TEST((stats(s).state == subscription_state::retrying));
  check_contains(stats(s).last_error, "orders is not reached");
  pass(60s);
  BOOST_TEST(must(journal.load_cursor("subscription-history/sub")) == 0u);
  order({1, 2});
  orders->reached = true;
  pass(1s); // however long it was away
  BOOST_TEST((heard == list{1, 2}));
  BOOST_TEST((stats(s).state == subscription_state::live));
  BOOST_TEST(stats(s).last_error == "");
  stop(s);
  // A node that ends before it was reached keeps what it knows.
  orders->reached = false;
  s = follow();
  BOOST_TEST(stats(s).position == 2u);
  stop(s);
  BOOST_TEST(cursor() == 2u);
}

/// spec 15
BOOST_AUTO_TEST_CASE(it_goes_on_at_once_when_the_source_is_back) {
  auto s = follow();
  order({1});
  for (std::int64_t i = 2; i != 12; ++i) {
    orders->lose();
    settle();
    BOOST_TEST((stats(s).state == subscription_state::retrying));
    pass(10s);
    orders->happen("order-1", {i});
    orders->reach();
    settle(); // no time passes
    BOOST_TEST(heard.back() == i);
    BOOST_TEST((stats(s).state == subscription_state::live));
  }
  BOOST_TEST(heard.size() == 11u);
  BOOST_TEST(orders->opened == 1u);
  // However often it was woken, there is one retry at a time.
  for (int i = 0; i != 50; ++i)
    orders->lose();
  settle();
  const auto before = orders->reads;
  pass(300s);
  BOOST_TEST(orders->reads - before <= 20u);
}

BOOST_AUTO_TEST_CASE(a_feed_that_ended_is_opened_anew) {
  auto s = follow();
  order({1});
  orders->fails = make_error(journal_errc::corrupt, "position 2 is damaged");
  order({2});
  BOOST_TEST((stats(s).state == subscription_state::retrying));
  check_contains(stats(s).last_error, "position 2 is damaged");
  pass(10s);
  orders->fails.reset();
  pass(30s);
  BOOST_TEST((heard == list{1, 2}));
  order({3});
  BOOST_TEST((heard == list{1, 2, 3}));
}

BOOST_AUTO_TEST_CASE(events_in_hand_stay_when_the_feed_is_opened_anew) {
  orders->page_events = 2;
  options.retries = 100;
  options.max_backoff = 100ms;
  fail_at(1, 20);
  order({1, 2, 3, 4, 5});
  auto s = follow();
  orders->fails = make_error(journal_errc::io_error, "a read failed");
  order({6, 7, 8});
  pass(1s);
  orders->fails.reset();
  pass(30s);
  BOOST_TEST((heard == list{1, 2, 3, 4, 5, 6, 7, 8}));
  BOOST_TEST(stats(s).position == 8u);
}

BOOST_AUTO_TEST_CASE(a_source_that_is_restored_while_it_runs_stops_it) {
  auto s = follow();
  order({1, 2, 3, 4});
  pass(200ms);
  orders->restore(2);
  settle();
  check_stands(s, "set_subscription_cursor");
  check_contains(stats(s).last_error, "position 4 of another history of service orders");
  order({5, 6, 7});
  pass(60s);
  auto resumed = send(actor_of(s), caf::make_message(internal::resume_subscription{}));
  settle();
  BOOST_TEST(resumed.arrived());
  BOOST_TEST((heard == list{1, 2, 3, 4}));
  BOOST_TEST((stats(s).state == subscription_state::stopped));
  stop(s);
  // The same after a restart.
  s = follow();
  check_stands(s, "another history of service orders");
  stop(s);
  BOOST_TEST((set_to(99, orders).error().code() == subscription_errc::cursor_ahead));
  must_pass(set_to(2, orders));
  s = follow();
  BOOST_TEST((heard == list{1, 2, 3, 4, 5, 6, 7}));
}

BOOST_AUTO_TEST_CASE(a_source_that_is_restored_while_its_feed_is_opened_is_found_out) {
  order({1, 2, 3});
  orders->while_opening = [&] {
    orders->while_opening = nullptr;
    orders->restore(1);
    orders->happen("order-1", {20, 30, 40});
  };
  auto s = follow();
  pass(2s);
  BOOST_TEST((heard == list{1, 20, 30, 40}));
  BOOST_TEST(must(journal.load_cursor("subscription-history/sub")) ==
             internal::history_of(orders->now.incarnation));
}

BOOST_AUTO_TEST_CASE(a_source_that_ends_before_the_cursor_stops_it) {
  auto s = follow();
  order({1, 2, 3});
  stop(s);
  orders->log.resize(2); // under the same name of its history
  check_stands(follow(), "position 4 of service orders");
}

BOOST_AUTO_TEST_CASE(the_log_that_it_follows_does_not_change_unless_somebody_says_so) {
  happen("order-1", {1});
  order({10, 20, 30});
  options.source = nullptr;
  stop(follow());
  options.source = orders;
  auto why = must_refuse(subscription_errc::other_source);
  check_contains(why, "followed its own journal up to position 1");
  check_contains(why, "to follow service orders now");
  must_pass(set_to(1, orders));
  stop(follow());
  BOOST_TEST((heard == list{1, 20, 30}));

  auto bills = std::make_shared<scripted_source>("bills");
  bills->happen("bill-1", {100, 200});
  options.source = bills;
  why = must_refuse(subscription_errc::other_source);
  check_contains(why, "followed service orders up to position 3");
  check_contains(why, "to follow service bills now");
  must_pass(set_to(0, bills));
  stop(follow());
  BOOST_TEST((heard == list{1, 20, 30, 100, 200}));

  options.source = nullptr;
  check_contains(must_refuse(subscription_errc::other_source), "is to follow its own journal now");
  must_pass(set_to(1, nullptr));
  auto s = follow();
  happen("order-1", {2});
  BOOST_TEST(heard.back() == 2);
  // One name, one subscription.
  options.source = orders;
  must_refuse(subscription_errc::name_in_use);
}

/// spec 12
BOOST_AUTO_TEST_CASE(a_parked_event_is_kept_and_replayed_while_the_source_is_away) {
  options.on_failure = on_failure::park;
  options.retries = 1;
  happen("order-1", {70, 71, 72}); // other events at the same positions
  fail_at(2, 2);
  orders->happen("order-1", {1, 2, 3});
  orders->log[1].metadata.user = "eve";
  auto s = follow();
  pass(1s);
  BOOST_TEST((heard == list{1, 3}));
  BOOST_TEST(stats(s).parked == 1u);
  auto letters = must(list_dead_letters(journal, "sub"));
  BOOST_TEST_REQUIRE(letters.size() == 1u);
  BOOST_TEST(letters[0].source == "orders");
  BOOST_TEST(letters[0].position == 2u);
  const auto event = must(read_dead_letter_event(journal, "sub", letters[0]));
  BOOST_TEST(number_of(event) == 2);
  BOOST_TEST(event.metadata.user == "eve");
  BOOST_TEST(to_string(event.id) == to_string(orders->log[1].id));

  std::string source;
  on_event = [&](const Happened& e, const event_context& x) -> result<void> {
    BOOST_TEST(x.from_dead_letters);
    BOOST_TEST(x.metadata.user == "eve");
    source = x.source;
    heard.push_back(e.number());
    return {};
  };
  orders->lose();
  settle();
  BOOST_TEST(must(want_replayed()) == 1u);
  caf::anon_send(actor_of(s), internal::look_at_letters{});
  settle();
  BOOST_TEST((heard == list{1, 3, 2}));
  BOOST_TEST(source == "orders");
  BOOST_TEST(must(list_dead_letters(journal, "sub")).empty());
  BOOST_TEST(stats(s).replayed == 1u);
}

BOOST_AUTO_TEST_CASE(letters_of_a_history_that_ended_must_go_before_the_next_one) {
  options.on_failure = on_failure::park;
  options.retries = 0;
  fail_at(3, 1);
  auto s = follow();
  order({1, 2, 3, 4});
  orders->restore(2);
  settle();
  stop(s);
  auto refused = set_to(2, orders);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code() == subscription_errc::letters_open));
  check_contains(refused.error().message(), "dead letter at position 3 of service orders");
  must(beside_the_writer([&] { return drop_dead_letters(journal.inner(), "sub"); }));
  must_pass(set_to(2, orders));
  order({30});
  follow();
  BOOST_TEST((heard == list{1, 2, 4, 30}));
}

BOOST_AUTO_TEST_CASE(a_source_needs_a_name) {
  options.source = std::make_shared<scripted_source>("");
  must_refuse(subscription_errc::invalid_options);
}

BOOST_AUTO_TEST_CASE(dead_letters_of_the_source_are_for_those_who_ask_for_them) {
  orders->write("deadletter-undertaker", happened(1)); // of one that runs there
  order({2});
  stop(follow());
  BOOST_TEST((heard == list{2}));
  options.name = "undertaker";
  options.filter.categories = {"deadletter"};
  follow();
  BOOST_TEST((heard == list{2, 1}));
}

/// spec 14
BOOST_AUTO_TEST_CASE(workers_share_the_streams_of_a_source) {
  options.workers = 3;
  orders->page_events = 7;
  std::map<std::string, list> by_stream;
  std::map<std::string, list> wanted;
  on_event = [&](const Happened& e, const event_context& x) -> result<void> {
    by_stream[std::string{x.stream}].push_back(e.number());
    return {};
  };
  auto s = follow();
  for (std::int64_t i = 0; i != 200; ++i) {
    const auto stream = "order-" + std::to_string(i % 11);
    wanted[stream].push_back(i);
    orders->happen(stream, {i});
    if (i % 17 == 0)
      settle();
    if (i % 50 == 0) {
      orders->lose();
      settle();
      orders->reach();
    }
  }
  settle();
  BOOST_TEST((by_stream == wanted));
  BOOST_TEST(stats(s).position == 200u);
}

BOOST_AUTO_TEST_CASE(without_a_cursor_each_start_begins_anew) {
  options.keep_cursor = false;
  order({1, 2});
  stop(follow());
  orders->restore(1);
  auto s = follow();
  BOOST_TEST((heard == list{1, 2, 1}));
  orders->restore(1);
  settle();
  check_stands(s, "another history");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(subscription_source_reaction_test, reacting_world)

/// spec 11
BOOST_AUTO_TEST_CASE(a_command_s_commit_moves_the_cursor_in_the_source_s_log) {
  auto s = react();
  std::vector<std::size_t> commits;
  journal.fail_commit = [&](const commit& c) -> std::optional<error> {
    if (!c.cursors.empty())
      commits.push_back(c.appends.size());
    return std::nullopt;
  };
  orders->happen("order-0", {3, 6});
  orders->log.back().metadata.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  settle();
  BOOST_TEST((deposits(0) == list{3, 6}));
  BOOST_TEST(cursor() == 2u);
  BOOST_TEST((commits == std::vector<std::size_t>{1, 1}));
  const auto event = events("account-0").at(2);
  BOOST_TEST(event.metadata.causation_id == to_string(orders->log[1].id));
  check_contains(event.metadata.traceparent, "4bf92f3577b34da6a3ce929d0e0e4736");
}

/// spec 11, 15: everything in memory here is lost 100 times, at any step of actors and journal, with the commits that were not
/// written; and the source comes and goes.
BOOST_AUTO_TEST_CASE(killed_a_hundred_times_it_has_reacted_once_to_each_event) {
  for (unsigned seed = 1; seed <= 3; ++seed) {
    reacting_world w;
    w.orders->page_events = 5;
    std::minstd_rand random{seed};
    auto s = w.react();
    std::map<std::int64_t, list> wanted;
    std::int64_t number = 0;
    for (int kills = 0; kills < 100;) {
      for (auto n = random() % 20; n > 0; --n) {
        const auto to = static_cast<std::int64_t>(random() % 3);
        wanted[to].push_back(++number);
        w.orders->happen("order-" + std::to_string(to), {number});
      }
      for (auto steps = random() % 120; steps > 0; --steps) {
        if (random() % 4 == 0)
          w.write();
        else
          w.run_one(random());
        if (random() % 50 == 0)
          w.advance(std::chrono::milliseconds{random() % 300});
        if (random() % 30 == 0)
          w.orders->lose();
        if (random() % 15 == 0)
          w.orders->reach();
      }
      if (random() % 2 == 0)
        continue;
      ++kills;
      const auto waiting = random() % 3;
      caf::anon_send(actor_of(s), internal::stop_host{true});
      caf::anon_send(actor_of(w.bank), internal::stop_host{true});
      w.journal.lose_all_but(waiting);
      w.run();
      w.write();
      w.bank = w.start<account>();
      s = must(w.subscribe<depositor>(w.options));
    }
    w.orders->reach();
    w.settle();
    for (int i = 0; i < 100 && w.stats(s).position < w.orders->log.size(); ++i)
      w.pass(1s);
    BOOST_TEST(w.stats(s).position == w.orders->log.size());
    for (std::int64_t i = 0; i < 3; ++i)
      BOOST_TEST((w.deposits(i) == wanted[i]), "account " << i << " with seed " << seed);
  }
}

BOOST_AUTO_TEST_SUITE_END()
