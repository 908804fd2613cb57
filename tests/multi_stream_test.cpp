#include "support/entity_world.hpp"
#include "support/transfers.hpp"

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::literals;

namespace {

bank::Transfer transfer(const std::string& from, const std::string& to, std::int64_t cents) {
  return make<bank::Transfer>([&](auto& c) {
    c.set_from(from);
    c.set_to(to);
    c.set_cents(cents);
  });
}

struct bank_world : entity_world {
  bank_world() {
    append("account-alice", expected_version::none(), {opened(), deposited(700)});
    append("account-bob", expected_version::none(), {opened()});
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(multi_stream_commands, bank_world)

BOOST_AUTO_TEST_CASE(a_transfer_appends_to_both_streams_or_to_none) {
  auto commands = start_multi_stream<transfers>();
  auto good = ask(commands, transfer("alice", "bob", 500));
  run();
  BOOST_TEST(!good.answered()); // nothing is durable
  settle();
  BOOST_TEST(good.cents() == 200);
  BOOST_TEST(events("account-alice").size() == 3);
  BOOST_TEST(events("account-bob").size() == 2);
  auto bad = ask(commands, transfer("alice", "bob", 500));
  settle();
  BOOST_TEST((bad.code() == entity_errc::rejected));
  BOOST_TEST(events("account-bob").size() == 2);
}

BOOST_AUTO_TEST_CASE(a_command_that_lost_is_decided_again_on_the_new_state) {
  auto commands = start_multi_stream<transfers>();
  auto answer = ask(commands, transfer("alice", "bob", 500));
  run();
  append("account-alice", expected_version::exact(2), {withdrawn(400)});
  settle();
  BOOST_TEST(!answer.answered());
  advance(10ms);
  settle();
  BOOST_TEST(answer.failure().message() == "insufficient funds");
}

BOOST_AUTO_TEST_CASE(live_entities_take_in_what_was_appended_to_their_streams) {
  auto accounts = start<account>();
  auto commands = start_multi_stream<transfers>();
  auto before = ask(accounts, "alice", bank::GetBalance{});
  settle();
  BOOST_TEST(before.cents() == 700);
  auto moved = ask(commands, transfer("alice", "bob", 500));
  settle();
  auto after = ask(accounts, "alice", withdraw(200));
  settle();
  BOOST_TEST(moved.cents() == 200);
  BOOST_TEST(after.cents() == 0);
  BOOST_TEST(journal.stats().conflicts == 0);
}

BOOST_AUTO_TEST_CASE(the_last_retry_holds_the_entities_and_both_sides_finish) {
  auto accounts = start<account>();
  auto commands = start_multi_stream<transfers>();
  std::vector<asked> deposits;
  deposits.push_back(ask(accounts, "alice", deposit(1)));
  run();
  auto moved = ask(commands, transfer("alice", "bob", 500));
  for (int i = 0; i < 400 && !moved.answered(); ++i) {
    // The entity has something in flight whenever the command is decided.
    deposits.push_back(ask(accounts, "alice", deposit(1)));
    run();
    advance(1ms);
    write();
    run();
  }
  BOOST_TEST(moved.answered());
  settle();
  advance(3s);
  settle();
  for (auto& d : deposits)
    BOOST_TEST(d.answered());
  BOOST_TEST(stats(commands).holds == 1);
  BOOST_TEST(stats(commands).retries == 4);
  auto balance = ask(accounts, "alice", bank::GetBalance{});
  settle();
  BOOST_TEST(balance.cents() == 200 + static_cast<std::int64_t>(deposits.size()));
}

BOOST_AUTO_TEST_CASE(a_repeat_with_the_same_key_gets_the_same_answer_and_has_no_effect) {
  command_context keyed;
  keyed.idempotency_key = "transfer-1";
  std::int64_t first = 0;
  {
    auto commands = start_multi_stream<transfers>();
    auto once = ask(commands, transfer("alice", "bob", 500), keyed);
    auto again = ask(commands, transfer("alice", "bob", 500), keyed);
    settle();
    first = once.cents();
    BOOST_TEST(again.cents() == first);
  }
  auto restarted = start_multi_stream<transfers>();
  auto later = ask(restarted, transfer("alice", "bob", 500), keyed);
  auto other = ask(restarted, transfer("alice", "bob", 1), keyed);
  settle();
  BOOST_TEST(later.cents() == first);
  BOOST_TEST((other.code() == entity_errc::key_reused));
  BOOST_TEST(events("account-alice").size() == 3);
}

BOOST_AUTO_TEST_SUITE_END()
