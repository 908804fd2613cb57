#include "support/entity_world.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/verify.hpp>
#include <eventcore/runtime/node.hpp>

#include <boost/test/unit_test.hpp>

#include <filesystem>

// Journals of earlier builds must open for ever: tests/golden/format-1 was written by the case below when format 1 was new, and
// is never written again.

using namespace eventcore;
using namespace eventcore::test;
using namespace std::literals;

namespace {

const std::filesystem::path golden = EVENTCORE_SOURCE_DIR "/tests/golden/format-1";

command_context keyed(std::string key) {
  command_context context;
  context.idempotency_key = std::move(key);
  context.now = timestamp{std::chrono::sys_days{std::chrono::year{2026} / 11 / 24}};
  context.metadata = {"correlation", "causation", "tenant", "user", "00-trace-parent", {{"header", "value"}}};
  return context;
}

/// A copy that may be written to.
struct copy_of_golden {
  copy_of_golden() {
    std::filesystem::copy(golden, dir.path() / "journal", std::filesystem::copy_options::recursive);
  }
  temp_dir dir;
  std::filesystem::path path() const { return dir.path() / "journal"; }
};

} // namespace

BOOST_AUTO_TEST_CASE(write_the_golden_journal, *boost::unit_test::disabled()) {
  BOOST_REQUIRE(!std::filesystem::exists(golden));
  lmdb_options options;
  options.service = "bank";
  {
    auto journal = open_lmdb_journal(golden, options);
    BOOST_REQUIRE(journal);
    commit c;
    c.appends.push_back(
        {*stream_id::parse("account-bob"), expected_version::none(), {opened(), deposited(5)}});
    c.cursors.push_back({"reader", 0, 1});
    c.occurred_at = keyed("").now;
    BOOST_REQUIRE((*journal)->commit_and_wait(std::move(c)));
    (*journal)->save_snapshot(*stream_id::parse("account-bob"), {2, 2, "bank.Balance", 7, "saved"});
  }
  node_options of_node;
  of_node.journal_dir = golden;
  auto node = node::open(std::move(of_node));
  BOOST_REQUIRE(node);
  auto accounts = node->host<account>();
  BOOST_REQUIRE(accounts.host_handle::ask("alice", std::make_unique<bank::Open>(), 10s, keyed("open")));
  BOOST_REQUIRE(accounts.ask("alice", deposit(700), 10s, keyed("deposit")));
  BOOST_REQUIRE(!accounts.ask("alice", withdraw(900), 10s, keyed("withdraw")));
  BOOST_REQUIRE(accounts.ask("alice", withdraw(200), 10s));
}

BOOST_AUTO_TEST_CASE(all_that_is_in_it_is_read) {
  copy_of_golden copy;
  auto opened = open_lmdb_journal(copy.path());
  BOOST_REQUIRE(opened);
  auto& journal = **opened;
  BOOST_TEST(journal.info().format_version == 1u);
  BOOST_TEST(journal.info().service == "bank");
  BOOST_TEST(*journal.head() == 6u);
  BOOST_TEST(*journal.load_cursor("reader") == 1u);
  auto snapshot = journal.load_snapshot(*stream_id::parse("account-bob"), "bank.Balance");
  BOOST_REQUIRE(snapshot && *snapshot);
  BOOST_TEST((*snapshot)->version == 2u);
  BOOST_TEST((*snapshot)->type_version == 7u);
  BOOST_TEST((*snapshot)->state == "saved");

  log_position next = 1;
  event_page page;
  BOOST_REQUIRE(journal.read_log(next, page));
  std::vector<std::string> types;
  for (auto& e : page)
    types.push_back(e.stream + ' ' + e.type + ' ' + e.answer.key);
  const std::vector<std::string> expected{"account-bob bank.Opened ",
                                          "account-bob bank.Deposited ",
                                          "account-alice bank.Opened open",
                                          "account-alice bank.Deposited deposit",
                                          "account-alice eventcore.CommandAnswered withdraw",
                                          "account-alice bank.Withdrawn "};
  BOOST_TEST(types == expected, boost::test_tools::per_element());
  auto& deposit = page.events()[3];
  BOOST_TEST((deposit.metadata == keyed("").metadata));
  BOOST_TEST((deposit.occurred_at == keyed("").now));
  BOOST_TEST(deposit.version == 2u);
}

BOOST_AUTO_TEST_CASE(its_entities_go_on_and_know_their_answers) {
  copy_of_golden copy;
  node_options options;
  options.journal_dir = copy.path();
  auto node = node::open(std::move(options));
  BOOST_REQUIRE(node);
  auto accounts = node->host<account>();
  BOOST_TEST(accounts.ask("alice", deposit(700), 10s, keyed("deposit"))->cents() == 700);
  BOOST_TEST(accounts.ask("alice", withdraw(900), 10s, keyed("withdraw")).error().message() ==
             "insufficient funds");
  BOOST_TEST(accounts.ask("alice", deposit(1), 10s)->cents() == 501);
  BOOST_TEST(accounts.ask("bob", bank::GetBalance{}, 10s)->cents() == 5);
}
