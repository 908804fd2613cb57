#include "support/entity_world.hpp"

#include <eventcore/actors/persistent_actor.hpp>

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace eventcore::test;

namespace {

using version = expected_version;

/// Counts deposits, and answers with the sum or the journal's error.
class saver final : public persistent_actor {
public:
  using persistent_actor::persistent_actor;

protected:
  caf::behavior start() override {
    on_event<bank::Deposited>([this](const bank::Deposited& e) { sum_ += e.cents(); });
    return {
        [this](const bank::Deposit& c) {
          auto promise = make_response_promise();
          auto event = make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); });
          persist(event, [this, promise](const result<void>& outcome) mutable {
            if (outcome)
              promise.deliver(balance());
            else
              promise.deliver(to_caf_error(outcome.error()));
          });
          return promise;
        },
        [this](const bank::Withdraw&) {
          auto promise = make_response_promise();
          persist(bank::Withdrawn{}, [promise](const result<void>& outcome) mutable {
            promise.deliver(to_caf_error(outcome.error()));
          });
          return promise;
        },
        [this](const bank::GetBalance&) { return balance(); },
    };
  }

private:
  bank::Balance balance() const {
    return make<bank::Balance>([&](auto& b) { b.set_cents(sum_); });
  }

  std::int64_t sum_ = 0;
};

struct saver_world : entity_world {
  ~saver_world() {
    caf::anon_send_exit(actor, caf::exit_reason::kill);
    settle();
  }

  void begin() {
    actor = system().spawn<saver>(std::ref(static_cast<eventcore::journal&>(journal)),
                                  *stream_id::parse("saver-1"));
  }
  template <class Command>
  asked ask(Command command) {
    return send(actor, caf::make_message(std::move(command)));
  }

  caf::actor actor;
};

} // namespace

BOOST_FIXTURE_TEST_CASE(messages_wait_until_the_commit_before_is_durable, saver_world) {
  begin();
  auto first = ask(deposit(1));
  auto second = ask(deposit(2));
  auto query = ask(bank::GetBalance{});
  run();
  BOOST_TEST(journal.submitted == 1u);
  BOOST_TEST(!query.answered());
  settle();
  BOOST_TEST(journal.submitted == 2u);
  BOOST_TEST(first.cents() == 1);
  BOOST_TEST(second.cents() == 3);
  BOOST_TEST(query.cents() == 3);
}

BOOST_FIXTURE_TEST_CASE(the_state_is_rebuilt_in_chunks_before_the_first_message, saver_world) {
  append("saver-1", version::none(), std::vector<new_event>(1'500, deposited(1)));
  begin();
  auto query = ask(bank::GetBalance{});
  run();
  BOOST_TEST(query.cents() == 1'500);
}

BOOST_FIXTURE_TEST_CASE(a_conflict_is_an_error_and_the_state_catches_up, saver_world) {
  begin();
  run();
  submit("saver-1", version::none(), {deposited(100)});
  auto lost = ask(deposit(1));
  auto next = ask(deposit(2));
  settle();
  BOOST_TEST((lost.code() == journal_errc::conflict));
  BOOST_TEST(next.cents() == 102);
}

BOOST_FIXTURE_TEST_CASE(an_event_without_handler_is_refused_before_it_is_written, saver_world) {
  begin();
  auto request = ask(withdraw(1));
  settle();
  BOOST_TEST((request.code() == journal_errc::invalid_argument));
  BOOST_TEST(journal.submitted == 0u);
}

BOOST_FIXTURE_TEST_CASE(an_unknown_event_in_the_stream_ends_the_actor_with_its_name, saver_world) {
  append("saver-1", version::none(), {deposited(1), opened()});
  begin();
  auto request = ask(bank::GetBalance{});
  run();
  BOOST_TEST((request.code() == entity_errc::recovery_failed));
  for (auto* word : {"saver-1", "event 2", "position 2", "bank.Opened"})
    BOOST_TEST(request.failure().message().find(word) != std::string::npos, word);
}

BOOST_FIXTURE_TEST_CASE(an_actor_that_is_killed_says_that_the_outcome_is_unknown, saver_world) {
  begin();
  auto request = ask(deposit(1));
  run();
  caf::anon_send_exit(actor, caf::exit_reason::kill);
  run();
  BOOST_TEST((request.code() == journal_errc::outcome_unknown));
  settle();
}
