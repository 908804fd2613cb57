/// A subscription on the log of another service, in processes that are killed: the bank, whose deposits it follows, and the shop, which
/// answers each of them with a deposit of its own, exactly once.

#include "support/cluster_process.hpp"
#include "support/restored_backup.hpp"

#include <eventcore/actors/dead_letters.hpp>
#include <eventcore/actors/subscription_errc.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/verify.hpp>

#include <spdlog/spdlog.h>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <map>
#include <random>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;

namespace {

constexpr int accounts = 3;

/// Does here what was done there.
struct mirror : subscriber<mirror> {
  using events = eventcore::events<bank::Opened, bank::Deposited>;

  reaction handle(const bank::Opened&, const event_context& x) {
    return to<account>(std::string{x.key()}, bank::Open{});
  }
  reaction handle(const bank::Deposited& e, const event_context& x) {
    return to<account>(std::string{x.key()}, make<bank::Deposit>([&](auto& c) { c.set_cents(e.cents()); }));
  }
};

/// Notes what it hears; cannot take a deposit of 13 cents while it is superstitious.
struct noting : subscriber<noting> {
  using events = eventcore::events<bank::Deposited>;
  struct notes {
    std::mutex mutex;
    std::map<std::string, std::vector<std::int64_t>> by_account;
    std::atomic<bool> superstitious = true;
  };

  explicit noting(std::shared_ptr<notes> to)
      : seen{std::move(to)} {}
  result<void> handle(const bank::Deposited& e, const event_context& x) {
    if (e.cents() == 13 && seen->superstitious)
      return make_error(journal_errc::io_error, "not thirteen");
    std::lock_guard lock{seen->mutex};
    seen->by_account[std::string{x.key()}].push_back(e.cents());
    return {};
  }

  std::shared_ptr<notes> seen;
};

using deposits = std::map<std::string, std::vector<std::int64_t>>;

/// In the order of their streams.
deposits deposits_in(const std::filesystem::path& folder) {
  const auto journal = must(open_lmdb_journal_reader(folder));
  deposits found;
  for (int i = 0; i != accounts; ++i) {
    const auto name = std::to_string(i);
    for (const auto& event : read_stream(*journal, sid("account-" + name)))
      if (bank::Deposited e; event.type == e.GetTypeName() && e.ParseFromString(event.payload))
        found[name].push_back(e.cents());
  }
  return found;
}

std::size_t count(const deposits& all) {
  std::size_t sum = 0;
  for (const auto& [name, list] : all)
    sum += list.size();
  return sum;
}

struct bank_and_mirror {
  temp_dir dir;
  std::uint16_t bank_port = free_port();
  std::uint16_t shop_port = free_port();
  service_process bank{member_options(dir.path(), "bank", bank_port), [](node& n) { n.offer_events(); }};
  service_process shop{member_options(dir.path(), "shop", shop_port, {loopback(bank_port)}), [](node& n) {
                         auto started = n.subscribe<mirror>(
                             {.name = "mirror", .source = n.remote_events("bank"), .backoff = 10ms});
                         if (!started)
                           throw std::runtime_error{started.error().message()};
                       }};
  std::optional<node> teller;

  void open_teller() {
    spdlog::set_level(spdlog::level::off);
    teller.emplace(
        must(node::open(member_options(dir.path(), "teller", free_port(), {loopback(bank_port)}))));
    must_pass(teller->join());
  }
  void open_accounts() {
    for (int i = 0; i != accounts; ++i)
      must_pass(teller->service("bank").ask(std::to_string(i), std::make_unique<bank::Open>(), patience));
  }
  /// Until it is done, once, whatever becomes of the bank meanwhile.
  bool deposit(std::int64_t number, std::int64_t cents) {
    command_context key;
    key.idempotency_key = std::to_string(number);
    for (int i = 0; i != 1'000; ++i)
      if (teller->service("bank").ask<bank::Balance>(
              std::to_string(number % accounts), make<bank::Deposit>([&](auto& c) { c.set_cents(cents); }),
              patience, key))
        return true;
    return false;
  }
};

} // namespace

/// spec 11, 15, 46
BOOST_FIXTURE_TEST_CASE(it_reacts_once_to_each_event_whoever_is_killed, bank_and_mirror) {
  constexpr int kills = 20;
  bank.start();
  shop.start();
  open_teller();
  open_accounts();
  std::atomic<bool> end = false;
  std::atomic<bool> failed = false;
  std::atomic<std::int64_t> made = 0;
  std::jthread busy{[&] {
    while (!end && !failed)
      if (const auto number = made + 1; deposit(number, number))
        made = number;
      else
        failed = true;
  }};
  std::minstd_rand random{20'261'126};
  for (int i = 0; i != kills && !failed; ++i) {
    // Each is killed with work before it, and behind it.
    const auto until = made + 1 + static_cast<std::int64_t>(random() % 40);
    BOOST_TEST(eventually([&] { return made >= until || failed; }));
    auto& victim = random() % 2 == 0 ? bank : shop;
    victim.kill();
    victim.start();
  }
  end = true;
  busy.join();
  BOOST_TEST(!failed);
  BOOST_TEST(
      eventually([&] { return count(deposits_in(dir.path() / "shop")) >= static_cast<std::size_t>(made); }));
  shop.end();
  bank.end();
  const auto there = deposits_in(dir.path() / "bank");
  const auto here = deposits_in(dir.path() / "shop");
  BOOST_TEST(count(there) == static_cast<std::size_t>(made));
  BOOST_TEST((here == there));
  BOOST_TEST(verify_journal(*must(open_lmdb_journal_reader(dir.path() / "shop"))).ok());
  BOOST_TEST_MESSAGE(made << " deposits, " << kills << " kills");
}

/// spec 12, 14, 15, 33
BOOST_FIXTURE_TEST_CASE(it_waits_visibly_for_its_source_and_parks_what_it_cannot_handle, bank_and_mirror) {
  auto options = member_options(dir.path(), "reader", free_port(), {loopback(bank_port)});
  options.admin.listen = "0";
  options.admin.max_lag = 1ms;
  options.admin.min_free_disk = 0;
  spdlog::set_level(spdlog::level::off);
  auto reader = must(node::open(options));
  must_pass(reader.join());
  const auto seen = std::make_shared<noting::notes>();
  const auto source = reader.remote_events("bank");
  auto s = must(reader.subscribe<noting>(
      {.name = "noting", .source = source, .retries = 0, .on_failure = on_failure::park, .workers = 2},
      [&] { return std::make_unique<noting>(seen); }));
  const auto problem = [&]() -> std::string {
    for (auto& check : reader.health().checks)
      if (check.name == "subscriptions" && check.problem)
        return *check.problem;
    return {};
  };
  BOOST_TEST(eventually([&] { return problem().find("has not reached service bank") != std::string::npos; }),
             problem());
  BOOST_TEST((must(s.stats(patience)).state == subscription_state::retrying));
  check_contains(must(s.stats(patience)).last_error, "bank is not reached");

  bank.start();
  open_teller();
  open_accounts();
  for (std::int64_t i = 1; i <= 20; ++i)
    BOOST_TEST_REQUIRE(deposit(i, i));
  const log_position last = accounts + 20;
  must_pass(s.reached(last, patience));
  BOOST_TEST(eventually([&] { return problem().empty(); }), problem());
  BOOST_TEST(must(s.stats(patience)).parked == 1u);
  BOOST_TEST(must(s.stats(patience)).lag() == 0u);
  const auto letters = must(list_dead_letters(reader.journal(), "noting"));
  BOOST_TEST_REQUIRE(letters.size() == 1u);
  BOOST_TEST(letters[0].source == "bank");
  BOOST_TEST(letters[0].type == "bank.Deposited");

  // Its letter is replayed although the bank is gone.
  bank.kill();
  seen->superstitious = false;
  BOOST_TEST(must(s.replay_dead_letters()) == 1u);
  BOOST_TEST(eventually([&] { return must(list_dead_letters(reader.journal(), "noting")).empty(); }));
  bank.start();
  BOOST_TEST_REQUIRE(deposit(21, 21));
  must_pass(s.reached(last + 1, patience));
  deposits wanted;
  for (std::int64_t i = 1; i <= 21; ++i)
    if (i != 13)
      wanted[std::to_string(i % accounts)].push_back(i);
  std::lock_guard lock{seen->mutex};
  std::size_t late = 0;
  for (auto& [name, list] : seen->by_account)
    late += std::erase(list, 13);
  BOOST_TEST(late == 1u);
  BOOST_TEST((seen->by_account == wanted));
}

/// spec 15
BOOST_FIXTURE_TEST_CASE(it_stands_still_when_its_source_was_restored_from_a_backup, bank_and_mirror) {
  auto reader = must(node::open(member_options(dir.path(), "reader", free_port(), {loopback(bank_port)})));
  must_pass(reader.join());
  const auto seen = std::make_shared<noting::notes>();
  const auto source = reader.remote_events("bank");
  const auto follow = [&] {
    return must(reader.subscribe<noting>({.name = "noting", .source = source},
                                         [&] { return std::make_unique<noting>(seen); }));
  };
  bank.start();
  open_teller();
  open_accounts();
  BOOST_TEST_REQUIRE((deposit(1, 1) && deposit(2, 2)));
  const auto folder = dir.path() / "bank";
  bank.end();
  std::filesystem::copy(folder, dir.path() / "backup", std::filesystem::copy_options::recursive);
  bank.start();
  BOOST_TEST_REQUIRE(deposit(4, 4));
  auto s = follow();
  must_pass(s.reached(accounts + 3, patience));
  bank.kill();
  std::filesystem::remove_all(folder);
  std::filesystem::copy(dir.path() / "backup", folder, std::filesystem::copy_options::recursive);
  stamp_anew(folder);
  bank.start();
  BOOST_TEST_REQUIRE((deposit(5, 5) && deposit(7, 7)));
  BOOST_TEST(eventually([&] { return must(s.stats(patience)).state == subscription_state::stopped; }));
  check_contains(must(s.stats(patience)).last_error, "another history of service bank");
  check_contains(must(s.stats(patience)).last_error, "set_subscription_cursor");
  must_pass(s.stop(patience));
  must_pass(set_subscription_cursor(reader.journal(), "noting", accounts + 2, source));
  s = follow();
  must_pass(s.reached(accounts + 4, patience));
  std::lock_guard lock{seen->mutex};
  BOOST_TEST((seen->by_account == deposits{{"1", {1, 4, 7}}, {"2", {2, 5}}}));
}
