/// One handler stalls, others throw at every thousandth event: nobody else waits, nothing is lost, and what was parked is replayed
/// by the tool from the running node.

#include "support/account.hpp"
#include "support/journal_helpers.hpp"
#include "support/program.hpp"
#include "support/sums.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/dead_letters.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/federation_hub.hpp>
#include <eventcore/runtime/journal_target.hpp>
#include <eventcore/runtime/node.hpp>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <spdlog/spdlog.h>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <latch>
#include <mutex>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t events_in_all = 20'000;
constexpr std::int64_t fails_every = 1'000;
constexpr std::int64_t reacts_every = 50;
constexpr std::size_t parked = events_in_all / fails_every;

using numbers_seen = std::vector<std::int64_t>;

numbers_seen all_numbers() {
  numbers_seen all;
  for (std::int64_t i = 1; i <= events_in_all; ++i)
    all.push_back(i);
  return all;
}

struct noting : subscriber<noting> {
  using events = eventcore::events<Happened>;
  using function = std::function<void(std::int64_t)>;

  explicit noting(function f)
      : on_event{std::move(f)} {}
  void handle(const Happened& e) { on_event(e.number()); }

  function on_event;
};

/// Deposits what happened, and cannot answer thousands as long as it is broken.
struct depositing : subscriber<depositing> {
  using events = eventcore::events<Happened>;

  depositing(std::string id, const std::atomic<bool>& is_broken)
      : account_id{std::move(id)}
      , broken{is_broken} {}
  reaction handle(const Happened& e) {
    if (broken && e.number() % fails_every == 0)
      throw std::runtime_error{"no thousands"};
    if (e.number() % reacts_every != 0)
      return nothing();
    return to<account>(account_id, make<bank::Deposit>([&](auto& c) { c.set_cents(e.number()); }));
  }

  std::string account_id;
  const std::atomic<bool>& broken;
};

struct totals : projection<totals> {
  static constexpr std::string_view name = "totals";
  struct all : view<bool, Sum> {
    static constexpr std::string_view name = "all";
  };
  using views = eventcore::views<all>;
  using events = eventcore::events<Happened>;

  static void apply(views& v, const Happened& e) {
    v.update<all>(true, [&](auto& sum) { add(sum, e.number(), 0); });
  }
};

struct shop {
  temp_dir folder;
  std::filesystem::path dir = folder.path() / "journal";
  std::unique_ptr<journal> target = open_memory_journal();
  std::unique_ptr<journal> moody_target = open_memory_journal();
  std::mutex mutex;
  std::map<std::string, numbers_seen> seen;
  std::atomic<bool> broken = true;
  const std::atomic<bool> sound = false;
  std::latch go{1};
  std::optional<node> n;

  shop() {
    spdlog::set_level(spdlog::level::off);
    node_options options;
    options.name = "shop";
    options.journal_dir = dir;
    n.emplace(must(node::open(options)));
    auto bank = n->host<account>();
    for (auto* id : {"sound", "throws"}) {
      bank.tell(id, bank::Open{});
      must(bank.ask(id, bank::GetBalance{}, patience));
    }
  }

  void note(const std::string& name, std::int64_t number) {
    std::lock_guard lock{mutex};
    seen[name].push_back(number);
  }
  numbers_seen noted(const std::string& name) {
    std::lock_guard lock{mutex};
    return seen[name];
  }

  subscription follow(
      subscription_options options, std::function<void()> before = [] {}) {
    options.filter.categories = {"order"};
    return must(n->subscribe<noting>(options, [this, before, name = options.name] {
      return std::make_unique<noting>([this, before, name](std::int64_t number) {
        before();
        note(name, number);
      });
    }));
  }

  /// `handle` throws at thousands, as long as it is broken.
  subscription follow_throwing() {
    return must(n->subscribe<noting>(giving_up("throws"), [this] {
      return std::make_unique<noting>([this](std::int64_t number) {
        if (broken && number % fails_every == 0)
          throw std::runtime_error{"no thousands"};
        note("throws", number);
      });
    }));
  }

  subscription react(const subscription_options& options, const std::string& id,
                     const std::atomic<bool>& is_broken) {
    return must(n->subscribe<depositing>(
        options, [&is_broken, id] { return std::make_unique<depositing>(id, is_broken); }));
  }

  static subscription_options giving_up(std::string name) {
    return {.name = std::move(name),
            .filter = {{"order"}, {}},
            .retries = 1,
            .backoff = 1ms,
            .on_failure = on_failure::park};
  }

  /// Sends all orders to `to`, which is called `name`.
  federation_hub federate(const std::string& name, journal& to, const std::string& transformation = {}) {
    publication orders;
    orders.map<Happened>("orders");
    orders.categories["order"];
    federation_options options;
    options.retries = 1;
    options.backoff = 1ms;
    options.transformations.add("moody", [this](event_draft& draft) -> result<void> {
      const auto& e = **draft.payload();
      const auto* number = e.GetDescriptor()->FindFieldByName("number");
      if (broken && e.GetReflection()->GetInt64(e, number) % fails_every == 0)
        throw std::runtime_error{"no thousands"};
      return {};
    });
    return must(
        federation_hub::start(*n, must(n->publish(orders)),
                              must(federation_rules::create({{"", "shop", "*", {name}, transformation}})),
                              {{name, make_journal_target(to)}}, options));
  }

  log_position append_all() {
    for (std::int64_t first = 1; first <= events_in_all; first += 100)
      must(n->journal().commit_and_wait(append("order-" + std::to_string(first / 100 % 7),
                                               expected_version::any(), happened_many(100, first))));
    return must(n->journal().head());
  }

  void replay_by_tool(const std::string& name) {
    const auto replay =
        run_program("eventcore", {"dead-letters", "replay", name, "--all", "--journal", dir.string()});
    BOOST_TEST(replay.exit_code == 0, replay.err);
    BOOST_TEST(replay.out == name + ": " + std::to_string(parked) + " letters to be replayed\n");
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!must(list_dead_letters(n->journal(), name)).empty()) {
      BOOST_TEST_REQUIRE((std::chrono::steady_clock::now() < deadline), name);
      std::this_thread::sleep_for(1ms);
    }
  }

  numbers_seen deposits(const std::string& id) {
    numbers_seen found;
    for (auto& event : read_stream(n->journal(), sid("account-" + id)))
      if (bank::Deposited e; event.type == e.GetTypeName() && e.ParseFromString(event.payload))
        found.push_back(e.cents());
    return found;
  }
};

numbers_seen without_thousands(numbers_seen all) {
  std::erase_if(all, [](auto number) { return number % fails_every == 0; });
  return all;
}

numbers_seen reacted_to(numbers_seen all) {
  std::erase_if(all, [](auto number) { return number % reacts_every != 0; });
  return all;
}

/// As a late replay leaves it: the parked ones in order behind all others.
numbers_seen thousands_last() {
  auto all = all_numbers();
  std::ranges::stable_partition(all, [](auto number) { return number % fails_every != 0; });
  return all;
}

} // namespace

/// spec 12, 13, 29
BOOST_FIXTURE_TEST_CASE(who_stalls_or_throws_is_alone_with_it, shop) {
  const auto stalls = follow({.name = "stalls", .handler_limit = 50ms}, [this] { go.wait(); });
  const auto throws = follow_throwing();
  const auto reaction_throws = react(giving_up("reaction throws"), "throws", broken);
  const std::vector<subscription> others{
      follow({.name = "thread"}),
      follow({.name = "scheduled", .place = handler_place::scheduler}),
      follow({.name = "group", .workers = 3}),
      react({.name = "reaction", .filter = {{"order"}, {}}}, "sound", sound),
  };
  const auto view = must(n->project<totals>());
  const auto hub = federate("target", *target);
  const auto moody = federate("moody", *moody_target, "moody");
  const auto last = append_all();

  for (auto& s : others)
    must_pass(s.reached(last, patience));
  must_pass(view.wait_until(last, patience));
  must_pass(hub.reached("target", last, patience));
  must_pass(throws.reached(last, patience));
  must_pass(reaction_throws.reached(last, patience));
  must_pass(moody.reached("moody", last, patience));

  // All others are through, and the one that stalls has not moved.
  auto stalled = must(stalls.stats(patience));
  while (!stalled.stalled)
    stalled = must(stalls.stats(patience));
  BOOST_TEST(stalled.handled == 0u);
  BOOST_TEST(stalled.lag() >= static_cast<std::uint64_t>(events_in_all));
  BOOST_TEST(noted("stalls").empty());

  BOOST_TEST((noted("thread") == all_numbers()));
  BOOST_TEST((noted("scheduled") == all_numbers()));
  auto group = noted("group");
  std::ranges::sort(group);
  BOOST_TEST((group == all_numbers()));
  BOOST_TEST((deposits("sound") == reacted_to(all_numbers())));
  BOOST_TEST(must(view.get<totals::all>(true))->total() == events_in_all * (events_in_all + 1) / 2);
  BOOST_TEST((numbers(read_log(*target)) == all_numbers()));
  for (auto& s : others) {
    const auto stats = must(s.stats(patience));
    BOOST_TEST(stats.retries + stats.parked + stats.skipped + stats.restarts == 0u, stats.name);
  }

  // Those that throw go on without what they cannot handle, which is kept.
  BOOST_TEST((noted("throws") == without_thousands(all_numbers())));
  BOOST_TEST((deposits("throws") == reacted_to(without_thousands(all_numbers()))));
  BOOST_TEST((numbers(read_log(*moody_target)) == without_thousands(all_numbers())));
  for (auto& stats : {must(throws.stats(patience)), must(reaction_throws.stats(patience)),
                      must(moody.stats("moody", patience)).subscription}) {
    BOOST_TEST(stats.parked == parked, stats.name);
    BOOST_TEST(stats.retries == parked, stats.name);
    BOOST_TEST(must(list_dead_letters(n->journal(), stats.name)).size() == parked, stats.name);
  }

  // It fails again, and stays parked.
  BOOST_TEST(must(throws.replay_dead_letters()) == parked);
  while (must(throws.stats(patience)).replays_failed < parked)
    std::this_thread::yield();
  BOOST_TEST(must(list_dead_letters(n->journal(), "throws")).size() == parked);

  broken = false;
  replay_by_tool("throws");
  replay_by_tool("reaction throws");
  replay_by_tool("federation/moody");
  BOOST_TEST((noted("throws") == thousands_last()));
  BOOST_TEST((deposits("throws") == reacted_to(thousands_last())));
  BOOST_TEST((numbers(read_log(*moody_target)) == thousands_last()));

  go.count_down();
  must_pass(stalls.reached(last, patience));
  BOOST_TEST((noted("stalls") == all_numbers()));
}

/// Events larger than what a subscription asks for at once, a projection applies in one transaction, or goes to a target in one batch;
/// from memory and from disk.
BOOST_FIXTURE_TEST_CASE(an_event_too_large_for_any_window_reaches_all, shop) {
  const std::string text(5u << 20, 'x');
  const auto append_large = [&](std::int64_t number) {
    must(n->journal().commit_and_wait(
        append("order-1", expected_version::any(), {happened(number, text), happened(number + 1, text)})));
    must(n->journal().commit_and_wait(append("order-1", expected_version::any(), {happened(number + 2)})));
  };
  append_large(1);
  std::vector<subscription> all{
      follow({.name = "one"}),
      follow({.name = "small", .chunk = {.events = 1, .bytes = 1}}),
      follow({.name = "group", .workers = 3}),
  };
  projection_options small;
  small.max_batch_bytes = 1;
  small.max_batch_memory = 1;
  const auto view = must(n->project<totals>(small));
  const auto hub = federate("target", *target);
  append_large(4);
  const auto last = must(n->journal().head());
  for (auto& s : all) {
    must_pass(s.reached(last, patience));
    BOOST_TEST((noted(must(s.stats(patience)).name) == numbers_seen{1, 2, 3, 4, 5, 6}));
  }
  must_pass(view.wait_until(last, patience));
  BOOST_TEST(must(view.get<totals::all>(true))->total() == 21);
  must_pass(hub.reached("target", last, patience));
  BOOST_TEST((numbers(read_log(*target)) == numbers_seen{1, 2, 3, 4, 5, 6}));
}
