/// kill -9 at random moments, while a subscription answers events with commands: each has its effect exactly once.

#include "support/account.hpp"
#include "support/child_process.hpp"
#include "support/journal_helpers.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/runtime/node.hpp>

#include <spdlog/spdlog.h>

#include <boost/test/unit_test.hpp>

#include <random>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kills = 20; // sanitized processes start slowly
#else
constexpr int kills = 100;
#endif
constexpr std::int64_t accounts = 3;
/// Events that wait for the subscription, at most.
constexpr std::uint64_t max_ahead = 300;

std::string account_of(std::int64_t number) {
  return std::to_string(number % accounts);
}

struct depositor : subscriber<depositor> {
  using events = eventcore::events<Happened>;
  reaction handle(const Happened& e) {
    return to<account>(account_of(e.number()),
                       make<bank::Deposit>([&](auto& c) { c.set_cents(e.number()); }));
  }
};

struct bank_node {
  node n;
  eventcore::host<account> bank = n.host<account>();
  subscription s;

  explicit bank_node(const std::filesystem::path& dir)
      : n{checked(node::open(options_in(dir)))}
      , s{checked(n.subscribe<depositor>({.name = "depositor",
                                          .filter = {{"order"}, {}},
                                          .place = handler_place::scheduler,
                                          .cursor_every = 7}))} {}

  static node_options options_in(const std::filesystem::path& dir) {
    node_options options;
    options.journal_dir = dir;
    return options;
  }

  template <class T>
  static T checked(result<T> r) {
    if (!r)
      throw std::runtime_error{r.error().message()};
    return *std::move(r);
  }
};

/// Goes on with the numbers of stream order-1, and says `w` with each commit, until it is killed.
int run_node(channel& parent, const std::filesystem::path& dir, unsigned seed) {
  spdlog::set_level(spdlog::level::off);
  std::minstd_rand random{seed};
  bank_node node{dir};
  for (std::int64_t i = 0; i < accounts; ++i)
    static_cast<void>(node.bank.ask(account_of(i), bank::GetBalance{}, patience));
  auto& journal = node.n.journal();
  const auto orders = *stream_id::parse("order-1");
  auto number = node.checked(journal.head_of(orders)).version;
  parent.say('r');
  for (;;) {
    const auto stats = node.checked(node.s.stats(patience));
    if (stats.lag() > max_ahead) {
      std::this_thread::yield();
      continue;
    }
    std::vector<new_event> events;
    for (auto n = 1 + random() % 20; n > 0; --n)
      events.push_back(happened(static_cast<std::int64_t>(++number)));
    commit c;
    c.appends.push_back({orders, expected_version::exact(number - events.size()), std::move(events)});
    node.checked(journal.commit_and_wait(std::move(c)));
    parent.say('w');
  }
}

} // namespace

/// spec 11
BOOST_AUTO_TEST_CASE(killed_a_hundred_times_each_event_has_its_effect_once) {
  temp_dir folder;
  const auto dir = folder.path() / "journal";
  {
    auto journal = must(open_lmdb_journal(dir));
    for (std::int64_t i = 0; i < accounts; ++i)
      must(journal->commit_and_wait(
          append("account-" + std::to_string(i), expected_version::none(),
                 {{bank::Opened::descriptor(), bank::Opened{}.SerializeAsString(), 1}})));
  }
  std::mt19937 random{20'240'301};
  for (int round = 0; round < kills; ++round) {
    child_process child{
        [&, seed = static_cast<unsigned>(random())](channel& parent) { return run_node(parent, dir, seed); }};
    // Most die at work, some while they start.
    if (random() % 10 != 0)
      for (auto words = 1 + random() % 30; words > 0; --words)
        BOOST_TEST_REQUIRE(child.hear() != 0, "round " << round);
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 3'000});
    BOOST_TEST_REQUIRE(::kill(child.pid(), SIGKILL) == 0);
    BOOST_TEST_REQUIRE(child.wait() == -1, "the process ended by itself in round " << round);
  }
  bank_node node{dir};
  auto& journal = node.n.journal();
  must_pass(node.s.reached(must(journal.head()), patience));
  std::map<std::string, std::vector<std::int64_t>> wanted;
  const auto orders = read_stream(journal, sid("order-1"));
  for (auto& event : orders)
    wanted[account_of(number_of(event))].push_back(number_of(event));
  BOOST_TEST(orders.size() > static_cast<std::size_t>(kills));
  for (std::int64_t i = 0; i < accounts; ++i) {
    std::vector<std::int64_t> found;
    for (auto& event : read_stream(journal, sid("account-" + std::to_string(i))))
      if (bank::Deposited e; event.type == e.GetTypeName() && e.ParseFromString(event.payload))
        found.push_back(e.cents());
    BOOST_TEST((found == wanted[std::to_string(i)]), "account " << i);
  }
  BOOST_TEST_MESSAGE(orders.size() << " events");
}
