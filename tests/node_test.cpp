#include "support/account.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/internal/host_actor.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/node.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

using namespace eventcore;
using namespace std::chrono_literals;

namespace {

bank::Deposit deposit(std::int64_t cents) {
  return make<bank::Deposit>([&](auto& c) { c.set_cents(cents); });
}

template <class T>
std::string why(const result<T>& r) {
  return r ? "" : r.error().message();
}

constexpr auto patience = 60s;

/// Its only step stays open until it is confirmed.
struct welcome : saga<welcome> {
  static constexpr std::string_view category = "welcome";
  using input = bank::Deposit;
  static void define(definition<input>& saga) {
    saga.step("open")
        .request<account>([](const input&) { return to("alice", bank::Open{}); })
        .confirmed_later()
        .within(1min);
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_node_rebuilds_entities_from_its_journal) {
  test::temp_dir dir;
  node_options options;
  options.journal_dir = dir.path() / "journal";
  {
    auto opened = node::open(options);
    BOOST_REQUIRE_MESSAGE(opened, why(opened));
    auto accounts = opened->host<account>();
    accounts.tell("alice", bank::Open{});
    auto answer = accounts.ask("alice", deposit(500), patience);
    BOOST_REQUIRE_MESSAGE(answer, why(answer));
    BOOST_TEST(answer->cents() == 500);
  }
  auto opened = node::open(options);
  BOOST_REQUIRE_MESSAGE(opened, why(opened));
  auto answer = opened->host<account>().ask("alice", bank::GetBalance{}, patience);
  BOOST_REQUIRE_MESSAGE(answer, why(answer));
  BOOST_TEST(answer->cents() == 500);
}

BOOST_AUTO_TEST_CASE(a_journal_that_cannot_be_opened_is_an_error_value) {
  test::temp_dir dir;
  node_options options;
  options.journal_dir = dir.path();
  options.journal.create = false;
  auto opened = node::open(options);
  BOOST_REQUIRE(!opened);
  BOOST_TEST((opened.error().code() == journal_errc::cannot_open));
}

BOOST_AUTO_TEST_CASE(asks_from_many_threads_are_answered_and_counted) {
  node n{open_memory_journal()};
  auto accounts = n.host<account>();
  accounts.tell("hot", bank::Open{});
  std::vector<std::thread> threads;
  for (auto t = 0; t != 8; ++t)
    threads.emplace_back([&] {
      for (auto i = 0; i != 100; ++i)
        (void)accounts.ask("hot", deposit(1), patience);
    });
  for (auto& thread : threads)
    thread.join();
  auto answer = accounts.ask("hot", bank::GetBalance{}, patience);
  BOOST_REQUIRE_MESSAGE(answer, why(answer));
  BOOST_TEST(answer->cents() == 800);
  auto stats = accounts.stats(patience);
  BOOST_REQUIRE(stats);
  BOOST_TEST(stats->resident == 1u);
}

BOOST_AUTO_TEST_CASE(rejections_reach_the_caller_with_the_deciders_words) {
  node n{open_memory_journal()};
  auto answer = n.host<account>().ask("alice", deposit(1), patience);
  BOOST_REQUIRE(!answer);
  BOOST_TEST((answer.error().code() == entity_errc::rejected));
  BOOST_TEST(answer.error().message() == "the account is not open");
}

BOOST_AUTO_TEST_CASE(an_ask_without_an_answer_in_time_is_outcome_unknown) {
  journal_options options;
  options.writer = writer_mode::stepped;
  auto journal = open_memory_journal(options);
  auto& writer = *journal;
  node n{std::move(journal)};
  auto accounts = n.host<account>();
  accounts.tell("alice", bank::Open{});
  auto answer = accounts.ask("alice", deposit(1), 200ms);
  BOOST_REQUIRE(!answer);
  // The latter if the machine is so slow that the command is not even taken up in time.
  BOOST_TEST((answer.error().code() == entity_errc::outcome_unknown ||
              answer.error().code() == entity_errc::deadline_exceeded));
  std::atomic<bool> done{false};
  std::thread writing{[&] {
    while (!done)
      if (writer.step() == 0)
        std::this_thread::yield();
  }};
  auto balance = accounts.ask("alice", bank::GetBalance{}, patience);
  done = true;
  writing.join();
  BOOST_REQUIRE_MESSAGE(balance, why(balance));
  if (answer.error().code() == entity_errc::outcome_unknown)
    BOOST_TEST(balance->cents() == 1);
}

BOOST_AUTO_TEST_CASE(the_end_of_a_node_answers_what_is_under_way) {
  auto n = std::make_unique<node>(open_memory_journal());
  auto accounts = n->host<account>();
  accounts.tell("alice", bank::Open{});
  std::atomic<int> started{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (auto t = 0; t != 8; ++t)
    threads.emplace_back([&] {
      for (;;) {
        ++started;
        auto answer = accounts.ask("alice", deposit(1), patience);
        if (!answer) {
          wrong += answer.error().code() != entity_errc::stopped;
          return;
        }
      }
    });
  while (started < 100)
    std::this_thread::yield();
  internal::stop_actors(n->system(), std::array{actor_of(accounts)}, patience);
  for (auto& thread : threads)
    thread.join();
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(time_limits_of_sagas_hold_though_the_wall_clock_was_set_back) {
  auto journal = open_memory_journal();
  const auto last = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()) + 1h;
  commit c;
  c.appends.push_back({*stream_id::parse("account-bob"),
                       expected_version::none(),
                       {{bank::Opened::descriptor(), bank::Opened{}.SerializeAsString(), 1}}});
  c.occurred_at = last;
  BOOST_REQUIRE(journal->commit_and_wait(std::move(c)));
  node n{std::move(journal)};
  n.host<account>();
  auto sagas = n.saga<welcome>();
  auto started = sagas.start("1", {}, patience);
  BOOST_REQUIRE_MESSAGE(started, why(started));
  auto timers = n.journal().read_timers({}, timestamp::max());
  BOOST_REQUIRE_MESSAGE(timers && timers->size() == 1, why(timers));
  BOOST_TEST((timers->front().due >= last + 1min));
  auto confirmed = sagas.confirm("1", "open", nullptr, patience);
  BOOST_REQUIRE_MESSAGE(confirmed, why(confirmed));
  BOOST_TEST((*confirmed == saga_phase::completed));
}
