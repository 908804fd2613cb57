#include "support/account.hpp"
#include "support/child_process.hpp"
#include "support/federation_world.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/dead_letters.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/verify.hpp>
#include <eventcore/runtime/federation_hub.hpp>
#include <eventcore/runtime/node.hpp>

#include <mutex>
#include <numeric>
#include <random>
#include <thread>

namespace eventcore::test {

namespace {

using positions = std::vector<log_position>;

publication accounts() {
  publication p;
  p.map<bank::Opened, bank::Deposited, bank::Withdrawn>("accounts").publish<account>();
  return p;
}

new_event deposited(std::int64_t cents) {
  return event_of(make<bank::Deposited>([&](auto& e) { e.set_cents(cents); }));
}

federation_rules all_to(const std::vector<std::string>& targets) {
  return must(federation_rules::create({{"", "bank", "*", targets, ""}}));
}

positions first(log_position count) {
  positions all(count);
  std::iota(all.begin(), all.end(), 1);
  return all;
}

/// A way that is closed until it is opened.
class gate final : public federation_target {
public:
  explicit gate(journal& to)
      : inner_{make_journal_target(to)} {}

  void open() { open_ = true; }

  void ask_position(const federation_source& source,
                    std::function<void(result<log_position>)> done) override {
    open_ ? inner_->ask_position(source, std::move(done)) : done(closed());
  }
  void deliver(federation_batch batch, std::function<void(federation_answer)> done) override {
    open_ ? inner_->deliver(std::move(batch), std::move(done)) : done({0, closed()});
  }

private:
  static error closed() { return make_error(federation_errc::unavailable, "the gate is closed"); }

  std::unique_ptr<federation_target> inner_;
  std::atomic<bool> open_{false};
};

/// A service that ends and comes back, with what was on its way to it: its journal is closed and opened again.
class restarting_service final : public federation_target {
public:
  explicit restarting_service(std::filesystem::path dir)
      : dir_{std::move(dir)} {}

  void start() {
    std::lock_guard lock{mutex_};
    journal_ = must(open_lmdb_journal(dir_));
    inner_ = make_journal_target(*journal_);
  }
  void end() {
    std::lock_guard lock{mutex_};
    inner_.reset();
    journal_.reset();
  }
  log_position head() {
    std::lock_guard lock{mutex_};
    return must(journal_->head());
  }

  void ask_position(const federation_source& source,
                    std::function<void(result<log_position>)> done) override {
    std::lock_guard lock{mutex_};
    inner_ ? inner_->ask_position(source, std::move(done)) : done(away());
  }
  void deliver(federation_batch batch, std::function<void(federation_answer)> done) override {
    std::lock_guard lock{mutex_};
    inner_ ? inner_->deliver(std::move(batch), std::move(done)) : done({0, away()});
  }

private:
  static error away() { return make_error(federation_errc::unavailable, "nobody listens"); }

  std::filesystem::path dir_;
  std::mutex mutex_;
  std::unique_ptr<journal> journal_;
  std::unique_ptr<federation_target> inner_;
};

/// A service of accounts, and the journals of two others.
struct bank_and_others {
  bank_and_others() {
    node_options options;
    options.name = "bank";
    bank.emplace(open_memory_journal(), options);
  }

  void append(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      must(bank->journal().commit_and_wait(test::append("account-" + std::to_string(i % 7),
                                                        expected_version::any(),
                                                        {deposited(static_cast<std::int64_t>(i))})));
  }

  result<federation_hub> start(const federation_rules& rules, const federation_hub::targets& to,
                               federation_options options = {}) {
    options.backoff = std::chrono::milliseconds{1};
    return federation_hub::start(*bank, must(bank->publish(accounts())), rules, to, std::move(options));
  }

  std::unique_ptr<journal> left = open_memory_journal();
  std::unique_ptr<journal> right = open_memory_journal();
  std::optional<node> bank; // ends before the journals that it sends to
};

template <class T>
void must_refuse(const result<T>& r, std::error_code code, std::string_view part) {
  BOOST_TEST_REQUIRE(!r);
  BOOST_TEST((r.error().code() == code), r.error().message());
  check_contains(r.error().message(), part);
}

/// For a child process, which must not use the test framework.
template <class T>
T need(result<T> r) {
  if (!r)
    throw std::runtime_error{r.error().message()};
  if constexpr (!std::is_void_v<T>)
    return *std::move(r);
}

} // namespace

/// spec 27
BOOST_FIXTURE_TEST_CASE(rules_are_checked_when_a_hub_starts, bank_and_others) {
  const federation_hub::targets to{{"left", make_journal_target(*left)}};
  must_refuse(start(all_to({"left", "rihgt"}), to), federation_errc::unknown_target, "'rihgt' is no target");
  must_refuse(start(must(federation_rules::create({{"", "bank", "*", {"left"}, "mask"}})), to),
              federation_errc::unknown_transformation, "unknown transformation 'mask'");
  must_refuse(start(must(federation_rules::create({{"", "bnak", "*", {"left"}, ""}})), to),
              federation_errc::unknown_source, "service bank");
  BOOST_TEST_REQUIRE(start(all_to({"left"}), to).has_value());
  // A second one would be two that deliver to one target.
  BOOST_TEST(!start(all_to({"left"}), to).has_value());
}

BOOST_FIXTURE_TEST_CASE(what_a_service_commits_arrives, bank_and_others) {
  const auto hub = must(start(all_to({"left"}), {{"left", make_journal_target(*left)}}));
  auto accounts = bank->host<account>();
  accounts.tell("alice", bank::Open{});
  must(accounts.ask("alice", make<bank::Deposit>([](auto& c) { c.set_cents(500); }), patience));
  must_pass(hub.reached("left", 2, patience));
  const auto arrived = read_stream(*left, sid("account-alice"));
  BOOST_TEST_REQUIRE(arrived.size() == 2u);
  BOOST_TEST(arrived[1].type == "bank.Deposited");
  BOOST_TEST(arrived[1].metadata.headers.at("federation.source") == "bank");
  const auto stats = must(hub.stats("left", patience));
  BOOST_TEST(stats.target == "left");
  BOOST_TEST(stats.delivered == 2u);
  BOOST_TEST(stats.position == 2u);
  BOOST_TEST(stats.available);
  BOOST_TEST(stats.subscription.position == 2u);
  BOOST_TEST((hub.target_names() == std::vector<std::string>{"left"}));
  must_refuse(hub.stats("right", patience), federation_errc::unknown_target, "'right'");
}

/// spec 29
BOOST_FIXTURE_TEST_CASE(a_target_that_is_away_gets_all_when_it_is_back_and_others_do_not_notice,
                        bank_and_others) {
  const auto away = std::make_shared<gate>(*left);
  append(500);
  const auto hub =
      must(start(all_to({"left", "right"}), {{"left", away}, {"right", make_journal_target(*right)}}));
  append(500);
  must_pass(hub.reached("right", 1'000, patience));
  BOOST_TEST((positions_in(*right) == first(1'000)));
  while (must(hub.stats("left", patience)).available)
    std::this_thread::yield();
  const auto stats = must(hub.stats("left", patience));
  check_contains(stats.last_error, "the gate is closed");
  BOOST_TEST(stats.delivered == 0u);
  BOOST_TEST(must(left->head()) == 0u);

  away->open();
  must_pass(hub.reached("left", 1'000, patience));
  append(100);
  must_pass(hub.reached("left", 1'100, patience));
  BOOST_TEST((positions_in(*left) == first(1'100)));
  BOOST_TEST(must(hub.stats("left", patience)).available);
  BOOST_TEST(must(hub.stats("left", patience)).subscription.parked == 0u);
}

/// spec 29: away for a while again and again, whatever is on its way then, while others append and are sent to.
BOOST_FIXTURE_TEST_CASE(a_target_that_ends_and_comes_back_has_each_event_once, bank_and_others) {
  constexpr log_position wanted = 20'000;
  constexpr int ends = 20;
  const temp_dir dir;
  const auto away = std::make_shared<restarting_service>(dir.path());
  away->start();
  const auto hub =
      must(start(all_to({"left", "right"}), {{"left", away}, {"right", make_journal_target(*right)}}));
  std::atomic<bool> failed{false};
  std::jthread writer{[&] {
    for (log_position p = 0; p < wanted && !failed; p += 10)
      failed = !bank->journal().commit_and_wait(test::append("account-" + std::to_string(p % 7),
                                                             expected_version::any(),
                                                             std::vector<new_event>(10, deposited(1))));
  }};
  // It comes a bit further each time: the rest of its events waits for it.
  for (log_position i = 1; i <= ends; ++i) {
    while (away->head() < i * wanted / (ends + 1) && !failed)
      std::this_thread::yield();
    away->end();
    while (must(hub.stats("left", patience)).available)
      std::this_thread::yield();
    away->start();
  }
  away->end();
  writer.join();
  BOOST_TEST_REQUIRE(!failed);

  // The other one has all while this one is away, and noticed nothing.
  must_pass(hub.reached("right", wanted, patience));
  BOOST_TEST((positions_in(*right) == first(wanted)));
  const auto other = must(hub.stats("right", patience));
  BOOST_TEST(other.available);
  BOOST_TEST(other.delivered == wanted);
  BOOST_TEST(other.subscription.retries + other.subscription.parked + other.subscription.restarts == 0u);

  away->start();
  must_pass(hub.reached("left", wanted, patience));
  BOOST_TEST(must(hub.stats("left", patience)).available);
  BOOST_TEST(must(hub.stats("left", patience)).subscription.parked == 0u);
  away->end();
  const auto arrived = must(open_lmdb_journal_reader(dir.path()));
  BOOST_TEST((positions_in(*arrived) == first(wanted))); // so those of a stream are in its order
  BOOST_TEST(verify_journal(*arrived).ok());
}

/// spec 29
BOOST_FIXTURE_TEST_CASE(an_event_that_fails_is_parked_for_its_target_alone, bank_and_others) {
  std::atomic<bool> mended{false};
  federation_options options;
  options.transformations.add("hundredth", [&](event_draft& draft) -> result<void> {
    if (!mended && draft.event().position() % 100 == 0)
      throw std::runtime_error{"one of many"};
    return {};
  });
  append(500);
  const auto hub =
      must(start(must(federation_rules::create(
                     {{"", "bank", "*", {"left"}, "hundredth"}, {"", "bank", "*", {"right"}, ""}})),
                 {{"left", make_journal_target(*left)}, {"right", make_journal_target(*right)}}, options));
  must_pass(hub.reached("left", 500, patience));
  must_pass(hub.reached("right", 500, patience));
  BOOST_TEST((positions_in(*right) == first(500)));
  auto expected = first(500);
  std::erase_if(expected, [](auto p) { return p % 100 == 0; });
  BOOST_TEST((positions_in(*left) == expected));
  BOOST_TEST(must(hub.stats("left", patience)).subscription.parked == 5u);
  const auto parked = read_stream(bank->journal(), sid("deadletter-federation/left"));
  BOOST_TEST(parked.size() == 5u);
  BOOST_TEST(read_stream(bank->journal(), sid("deadletter-federation/right")).empty());

  mended = true;
  BOOST_TEST(must(hub.replay_dead_letters("left")) == 5u);
  while (must(hub.stats("left", patience)).subscription.replayed < 5)
    std::this_thread::yield();
  auto all = positions_in(*left);
  std::ranges::sort(all);
  BOOST_TEST((all == first(500)));
}

/// A backup of its journal took the target's place, and the source has no new events that would remind the hub.
BOOST_FIXTURE_TEST_CASE(a_target_that_lost_events_gets_them_when_the_hub_starts, bank_and_others) {
  federation_options options;
  options.transformations.add("some", [](event_draft& draft) -> result<void> {
    if (draft.event().position() % 25 == 0)
      throw std::runtime_error{"not this one"};
    return {};
  });
  const auto rules = must(federation_rules::create({{"", "bank", "*", {"left"}, "some"}}));
  auto expected = first(99);
  std::erase_if(expected, [](auto p) { return p % 25 == 0; });
  append(100);
  {
    const auto hub = must(start(rules, {{"left", make_journal_target(*left)}}, options));
    must_pass(hub.reached("left", 100, patience));
    BOOST_TEST((positions_in(*left) == expected));
    must_pass(hub.stop(patience));
  }
  left = open_memory_journal();
  const auto hub = must(start(rules, {{"left", make_journal_target(*left)}}, options));
  must_pass(hub.reached("left", 100, patience));
  BOOST_TEST((positions_in(*left) == expected));
  const auto stats = must(hub.stats("left", patience));
  BOOST_TEST(stats.delivered == 96u);
  BOOST_TEST(stats.subscription.parked == 0u); // they are already
  BOOST_TEST(must(list_dead_letters(bank->journal(), "federation/left")).size() == 4u);
}

BOOST_FIXTURE_TEST_CASE(a_stopped_hub_goes_on_where_it_was, bank_and_others) {
  for (int i = 1; i <= 3; ++i) {
    const auto hub = must(start(all_to({"left"}), {{"left", make_journal_target(*left)}}));
    append(50);
    must_pass(hub.reached("left", must(bank->journal().head()), patience));
    must_pass(hub.stop(patience));
    append(10);
  }
  BOOST_TEST((positions_in(*left) == first(170)));
}

BOOST_FIXTURE_TEST_CASE(targets_that_start_at_different_times_get_the_same, bank_and_others) {
  constexpr log_position wanted = 20'000;
  const auto at_the_end = open_memory_journal();
  const auto begin = must(start(all_to({"left"}), {{"left", make_journal_target(*left)}}));
  std::atomic<bool> failed{false};
  std::thread writer{[&] {
    for (log_position p = 0; p < wanted && !failed; p += 50) {
      const auto stream = sid("account-" + std::to_string(p % 7));
      failed = !bank->journal().commit_and_wait(
          test::append(stream, expected_version::any(), std::vector<new_event>(50, deposited(1))));
    }
  }};
  while (must(bank->journal().head()) < wanted / 2 && !failed)
    std::this_thread::yield();
  const auto middle = must(start(all_to({"right"}), {{"right", make_journal_target(*right)}}));
  writer.join();
  BOOST_TEST_REQUIRE(!failed);
  const auto end = must(start(all_to({"last"}), {{"last", make_journal_target(*at_the_end)}}));
  must_pass(begin.reached("left", wanted, patience));
  must_pass(middle.reached("right", wanted, patience));
  must_pass(end.reached("last", wanted, patience));
  for (auto* target : {left.get(), right.get(), at_the_end.get()})
    BOOST_TEST((positions_in(*target) == first(wanted)));
  must_pass(end.stop(patience)); // before its target's end
}

/// spec 8, 15: source, hub and target in a process that is killed again and again.
BOOST_AUTO_TEST_CASE(each_event_arrives_once_whenever_the_process_is_killed) {
  const temp_dir dir;
  const auto source_dir = dir.path() / "source";
  const auto target_dir = dir.path() / "target";
  constexpr log_position wanted = 20'000;
  const auto live = [&](channel& parent, bool to_the_end) {
    auto target = need(open_lmdb_journal(target_dir));
    node_options options;
    options.name = "bank";
    options.journal_dir = source_dir;
    auto bank = need(node::open(options));
    federation_options how;
    const auto hub = need(federation_hub::start(bank, need(bank.publish(accounts())), all_to({"target"}),
                                                {{"target", make_journal_target(*target)}}, how));
    std::mt19937 random{std::random_device{}()};
    while (need(bank.journal().head()) < wanted) {
      auto c = append("account-" + std::to_string(random() % 50), expected_version::any(), {});
      for (auto n = 1 + random() % 20; n > 0; --n)
        c.appends[0].events.push_back(deposited(1));
      need(bank.journal().commit_and_wait(std::move(c)));
      if (!to_the_end)
        parent.say('.');
    }
    need(hub.reached("target", need(bank.journal().head()), patience));
    if (!to_the_end)
      parent.say('!');
    return 0;
  };
  std::mt19937 random{4711};
  int killed = 0;
  for (int i = 0; i < 30; ++i) {
    child_process child{[&](channel& parent) { return live(parent, false); }};
    // The journal is longer with each life.
    const auto commits = random() % 100;
    for (unsigned n = 0; n < commits; ++n)
      if (child.hear() != '.')
        break;
    child.kill();
    ++killed;
  }
  child_process last{[&](channel& parent) { return live(parent, true); }};
  BOOST_TEST_REQUIRE(last.wait() == 0);

  const auto source = must(open_lmdb_journal_reader(source_dir));
  const auto target = must(open_lmdb_journal_reader(target_dir));
  const auto head = must(source->head());
  BOOST_TEST(head >= wanted);
  BOOST_TEST((positions_in(*target) == first(head)));
  BOOST_TEST(verify_journal(*target).ok());
  BOOST_TEST_MESSAGE(killed << " times killed, " << head << " events");
}

} // namespace eventcore::test
