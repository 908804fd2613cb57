/// SIGTERM under load: what was acknowledged is there, what was refused is not, and nobody is left without an answer.

#include "support/account.hpp"
#include "support/child_process.hpp"
#include "support/temp_dir.hpp"
#include "support/transfers.hpp"

#include <eventcore/persistence/verify.hpp>
#include <eventcore/runtime/node.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <map>
#include <thread>

#include <fcntl.h>
#include <sys/mman.h>

using namespace eventcore;
using namespace std::literals;

namespace {

constexpr std::size_t workers = 12;
constexpr auto patience = 60s;

/// Each saga deposits a cent twice.
struct gift : saga<gift> {
  static constexpr std::string_view category = "gift";
  using input = bank::Deposit;
  static void define(definition<input>& saga) {
    for (auto step : {"first", "second"})
      saga.step(step)
          .request<account>([](const input&) { return to("gifts", one_cent()); })
          .compensate<account>([](const input&) { return to("gifts", bank::GetBalance{}); })
          .within(patience);
  }
  static bank::Deposit one_cent() {
    return make<bank::Deposit>([](auto& c) { c.set_cents(1); });
  }
};

/// What the child's workers got for an answer; in memory that outlives it.
struct tally {
  struct of_worker {
    std::uint64_t asked, acknowledged, refused;
  };
  of_worker deposits[workers], transfers[workers], sagas[workers];
  std::uint64_t unexpected;
  char what[512];
};

class shared_tally {
public:
  shared_tally()
      : content_{static_cast<tally*>(
            ::mmap(nullptr, sizeof(tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))} {
    if (content_ == MAP_FAILED)
      throw std::runtime_error{"no shared memory"};
  }
  ~shared_tally() { ::munmap(content_, sizeof(tally)); }
  tally* operator->() const { return content_; }

private:
  tally* content_;
};

std::string own_account(std::size_t worker) {
  return "of-" + std::to_string(worker);
}

/// Asks until it is refused because the node stops. Any other failure is unexpected.
template <class Ask>
void ask_until_stopped(tally& all, tally::of_worker& mine, Ask ask) {
  for (;;) {
    ++mine.asked;
    const auto answer = ask(mine.asked);
    if (answer) {
      ++mine.acknowledged;
      continue;
    }
    if (answer.error().code() == entity_errc::stopped) {
      ++mine.refused;
      return;
    }
    if (std::atomic_ref { all.unexpected } ++ == 0)
      std::snprintf(all.what, sizeof all.what, "%s: %s", answer.error().code().message().c_str(),
                    answer.error().message().c_str());
    return;
  }
}

int run_under_load(const std::filesystem::path& dir, test::channel& parent, tally& all) {
  node_options options;
  options.journal_dir = dir;
  auto opened = node::open(options);
  if (!opened)
    return 3;
  auto accounts = opened->host<account>();
  auto transfer = opened->multi_stream<::transfers>();
  auto gifts = opened->saga<gift>();
  std::vector<std::string> ids{"gifts", "from", "to"};
  for (std::size_t w = 0; w != workers; ++w)
    ids.push_back(own_account(w));
  for (auto& id : ids) {
    accounts.tell(id, bank::Open{});
    if (!accounts.ask(id, bank::GetBalance{}, patience))
      return 4;
  }
  const auto rich = make<bank::Deposit>([](auto& c) { c.set_cents(1'000'000'000); });
  if (!accounts.ask("from", rich, patience))
    return 4;
  std::atomic<std::size_t> running{0};
  std::vector<std::jthread> threads;
  for (std::size_t w = 0; w != workers; ++w) {
    threads.emplace_back([&, w] {
      ask_until_stopped(all, all.deposits[w], [&](auto) {
        ++running;
        return accounts.ask(own_account(w), gift::one_cent(), patience);
      });
    });
    threads.emplace_back([&, w] {
      ask_until_stopped(all, all.transfers[w], [&](auto) {
        return transfer.ask(make<bank::Transfer>([](auto& c) {
                              c.set_from("from");
                              c.set_to("to");
                              c.set_cents(1);
                            }),
                            patience);
      });
    });
    threads.emplace_back([&, w] {
      ask_until_stopped(all, all.sagas[w], [&](auto n) {
        return gifts.start(std::to_string(w) + "." + std::to_string(n), gift::one_cent(), patience);
      });
    });
  }
  while (running < 20 * workers)
    std::this_thread::yield();
  node::keep_signals();
  parent.say('r');
  const auto signal = opened->run_until_signal();
  threads.clear();
  return signal == SIGTERM || signal == SIGINT ? 0 : 5;
}

std::int64_t cents_in(journal_reader& journal, const std::string& account) {
  std::int64_t cents = 0;
  stream_cursor where{*stream_id::of("account", account)};
  event_page page;
  do {
    BOOST_REQUIRE(journal.read_stream(where, page));
    for (auto& e : page) {
      if (bank::Deposited deposited; e.type == "bank.Deposited" && deposited.ParseFromString(e.payload))
        cents += deposited.cents();
    }
  } while (!page.empty());
  return cents;
}

} // namespace

BOOST_AUTO_TEST_CASE(
    sigterm_under_load_loses_nothing_that_was_acknowledged_and_leaves_nobody_without_an_answer) {
  for (auto round = 0; round != 5; ++round) {
    const test::temp_dir dir;
    const shared_tally all;
    test::child_process child{
        [&](test::channel& parent) { return run_under_load(dir.path(), parent, *all.operator->()); }};
    BOOST_REQUIRE(child.hear() == 'r');
    const auto before = std::chrono::steady_clock::now();
    ::kill(child.pid(), SIGTERM);
    ::kill(child.pid(), SIGTERM); // more of them change nothing
    ::kill(child.pid(), SIGINT);
    const auto code = child.wait();
    const auto took = std::chrono::steady_clock::now() - before;
    BOOST_TEST(code == 0);
    BOOST_TEST((took < 10s));
    BOOST_TEST(all->unexpected == 0u, all->what);

    const auto journal = open_lmdb_journal_reader(dir.path());
    BOOST_REQUIRE(journal);
    BOOST_TEST(verify_journal(**journal).problems.empty());
    std::uint64_t sagas = 0, moved = 0;
    for (std::size_t w = 0; w != workers; ++w) {
      BOOST_TEST(all->deposits[w].refused == 1u);
      BOOST_TEST(all->transfers[w].refused == 1u);
      BOOST_TEST(all->sagas[w].refused == 1u);
      BOOST_TEST(cents_in(**journal, own_account(w)) ==
                 static_cast<std::int64_t>(all->deposits[w].acknowledged));
      moved += all->transfers[w].acknowledged;
      for (std::uint64_t n = 1; n <= all->sagas[w].asked; ++n) {
        const auto head =
            (*journal)->head_of(*stream_id::of("gift", std::to_string(w) + "." + std::to_string(n)));
        BOOST_REQUIRE(head);
        BOOST_TEST((head->version > 0) == (n <= all->sagas[w].acknowledged));
      }
      sagas += all->sagas[w].acknowledged;
    }
    BOOST_TEST(cents_in(**journal, "to") == static_cast<std::int64_t>(moved));
    BOOST_TEST_MESSAGE(moved << " transfers, " << sagas << " sagas; the end took "
                             << std::chrono::ceil<std::chrono::milliseconds>(took).count() << " ms");
  }
}

BOOST_AUTO_TEST_CASE(sagas_that_were_under_way_go_on_when_they_are_started_again) {
  const test::temp_dir dir;
  const shared_tally all;
  test::child_process child{
      [&](test::channel& parent) { return run_under_load(dir.path(), parent, *all.operator->()); }};
  BOOST_REQUIRE(child.hear() == 'r');
  ::kill(child.pid(), SIGTERM);
  BOOST_TEST(child.wait() == 0);
  std::uint64_t started = 0;
  node_options options;
  options.journal_dir = dir.path();
  {
    auto opened = node::open(options);
    BOOST_REQUIRE(opened);
    opened->host<account>();
    auto gifts = opened->saga<gift>();
    for (std::size_t w = 0; w != workers; ++w)
      for (std::uint64_t n = 1; n <= all->sagas[w].acknowledged; ++n, ++started) {
        const auto ended = gifts.finished(std::to_string(w) + "." + std::to_string(n), patience);
        BOOST_REQUIRE(ended);
        BOOST_TEST((*ended == saga_phase::completed));
      }
    opened->stop();
    const auto refused = gifts.start("late", gift::one_cent(), patience);
    BOOST_REQUIRE(!refused);
    BOOST_TEST((refused.error().code() == entity_errc::stopped));
    opened->stop();
  }
  const auto journal = open_lmdb_journal_reader(dir.path());
  BOOST_REQUIRE(journal);
  BOOST_TEST(cents_in(**journal, "gifts") == static_cast<std::int64_t>(2 * started));
}
