#include "support/account.hpp"
#include "support/projection_world.hpp"

#include <eventcore/runtime/node.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

/// What is in each account, and in all.
struct balances : projection<balances> {
  static constexpr std::string_view name = "balances";
  struct accounts : view<std::string, Sum> {
    static constexpr std::string_view name = "accounts";
  };
  struct totals : view<bool, Sum> {
    static constexpr std::string_view name = "totals";
  };
  using views = eventcore::views<accounts, totals>;
  using events = eventcore::events<bank::Deposited>;

  static void apply(views& v, const bank::Deposited& e, const event_context& c) {
    v.update<accounts>(std::string{c.key()}, [&](auto& sum) { add(sum, e.cents(), c.position); });
    v.update<totals>(true, [&](auto& sum) { add(sum, e.cents(), c.position); });
  }
};

struct node_in_a_folder {
  temp_dir dir;
  std::optional<node> n;
  host<account> accounts;
  projection_host<balances> view;

  node_in_a_folder() { start(); }

  void start() {
    n.reset();
    node_options options;
    options.journal_dir = dir.path() / "journal";
    n = must(node::open(options));
    accounts = n->host<account>();
    view = must(n->project<balances>());
  }
  void deposit(const std::string& id, std::int64_t cents) {
    must_pass(accounts.ask(id, make<bank::Deposit>([&](auto& c) { c.set_cents(cents); }), patience));
  }
  std::string balance(const std::string& id) { return text_of(must(view.get<balances::accounts>(id))); }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(node_projection_test, node_in_a_folder)

BOOST_AUTO_TEST_CASE(one_reads_what_one_has_written) {
  accounts.tell("alice", bank::Open{});
  for (int i = 1; i <= 20; ++i) {
    deposit("alice", 1);
    must_pass(view.wait_until(must(n->journal().head()), patience));
    BOOST_TEST(balance("alice") == std::to_string(i) + ":" + std::to_string(i));
  }
  BOOST_TEST(view.stats().live.sources[0].name == "journal");
  BOOST_TEST(std::filesystem::exists(dir.path() / "journal" / "projections" / "balances"));
  start();
  BOOST_TEST(balance("alice") == "20:20");
  deposit("alice", 5);
  must_pass(view.catch_up(patience));
  BOOST_TEST(balance("alice") == "21:25");
}

BOOST_AUTO_TEST_CASE(views_are_read_by_many_threads_while_events_are_applied) {
  constexpr int ids = 4;
  for (int i = 0; i < ids; ++i)
    accounts.tell(std::to_string(i), bank::Open{});
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> reads{0};
  std::atomic<std::uint64_t> wrong{0};
  {
    std::vector<std::jthread> readers;
    for (int i = 0; i < 4; ++i)
      readers.emplace_back([&] {
        std::int64_t seen = 0;
        while (!stop) {
          // Listed in one transaction: the deposits of an account are whole.
          auto all = key_range<std::string>::all();
          auto rows = view.list<balances::accounts>(all);
          std::int64_t sum = 0;
          for (auto& row : must(std::move(rows))) {
            wrong += row.value.total() != 3 * row.value.events();
            sum += row.value.total();
          }
          wrong += sum < seen; // no state comes after a later one
          seen = sum;
          ++reads;
        }
      });
    std::vector<std::jthread> writers;
    for (int i = 0; i < ids; ++i)
      writers.emplace_back([&, i] {
        for (int k = 0; k < 250; ++k)
          deposit(std::to_string(i), 3);
      });
    writers.clear();
    view.rebuild();
    must_pass(view.wait_rebuilt(patience));
    must_pass(view.catch_up(patience));
    stop = true;
  }
  BOOST_TEST(wrong == 0u);
  BOOST_TEST(reads > 0u);
  BOOST_TEST(text_of(must(view.get<balances::totals>(true))) == "1000:3000");
  BOOST_TEST(view.stats().rebuilt == 1u);
}

BOOST_AUTO_TEST_CASE(a_node_has_each_projection_once_and_ends_it) {
  accounts.tell("alice", bank::Open{});
  auto same = must(n->project<balances>());
  deposit("alice", 7);
  must_pass(same.catch_up(patience));
  BOOST_TEST(balance("alice") == "1:7");
  std::atomic<bool> waits{false};
  std::jthread waiting{[&] {
    waits = true;
    auto reached = view.wait_until(1'000'000, patience);
    BOOST_TEST((!reached && reached.error().code() == projection_errc::stopped));
  }};
  while (!waits)
    std::this_thread::yield();
  n.reset();
  waiting.join();
  BOOST_TEST((same.get<balances::accounts>("alice").error().code() == projection_errc::stopped));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(a_node_that_was_given_its_journal_wants_a_folder) {
  temp_dir dir;
  node n{open_memory_journal()};
  check_contains(must_fail(n.project<balances>(), journal_errc::invalid_argument), "balances");
  projection_options options;
  options.folder = dir.path() / "view";
  auto view = must(n.project<balances>(options));
  auto accounts = n.host<account>();
  accounts.tell("alice", bank::Open{});
  must_pass(accounts.ask("alice", make<bank::Deposit>([](auto& c) { c.set_cents(4); }), patience));
  must_pass(view.catch_up(patience));
  BOOST_TEST(text_of(must(view.get<balances::accounts>("alice"))) == "1:4");
}
