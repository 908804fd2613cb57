#include "support/transfers.hpp"

#include <eventcore/actors/given_streams.hpp>

#include <boost/test/unit_test.hpp>

using namespace eventcore;

namespace {

bank::Deposited deposited(std::int64_t cents) {
  return make<bank::Deposited>([&](auto& e) { e.set_cents(cents); });
}
bank::Withdrawn withdrawn(std::int64_t cents) {
  return make<bank::Withdrawn>([&](auto& e) { e.set_cents(cents); });
}
bank::Balance balance(std::int64_t cents) {
  return make<bank::Balance>([&](auto& b) { b.set_cents(cents); });
}
bank::Transfer transfer(const std::string& from, const std::string& to, std::int64_t cents) {
  return make<bank::Transfer>([&](auto& c) {
    c.set_from(from);
    c.set_to(to);
    c.set_cents(cents);
  });
}

/// Does something else each time.
struct moody : multi_stream_decider<moody> {
  using commands = eventcore::commands<bank::Transfer>;
  using streams = folds<account>;
  static void declare(stream_set& s, const bank::Transfer& c) { s.read<account>(c.from()); }
  static effect<bank::Balance> decide(const stream_states&, const bank::Transfer&) {
    static std::int64_t calls = 0;
    return balance(++calls);
  }
};

/// Appends where it did not look.
struct careless : multi_stream_decider<careless> {
  using commands = eventcore::commands<bank::Transfer>;
  using streams = folds<account>;
  static void declare(stream_set& s, const bank::Transfer& c) { s.read<account>(c.from()); }
  static effect<no_reply> decide(const stream_states&, const bank::Transfer& c) {
    return append<account>(c.to(), deposited(c.cents()));
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(events_and_reply_are_compared_stream_by_stream) {
  auto outcome =
      given_streams<transfers>(on<account>("alice", bank::Opened{}, deposited(700)), on<account>("bob"))
          .when(transfer("alice", "bob", 500));
  outcome.then(on<account>("bob", deposited(500)), on<account>("alice", withdrawn(500)))
      .then_reply(balance(200))
      .then_reply([](const bank::Balance& b) { return b.cents() == 200; });
  BOOST_CHECK_THROW(outcome.then(on<account>("alice", withdrawn(500))), expectation_failed);
  BOOST_CHECK_THROW(outcome.then(on<account>("alice", withdrawn(500)), on<account>("bob", deposited(501))),
                    expectation_failed);
  BOOST_CHECK_THROW(outcome.then_no_events(), expectation_failed);
  BOOST_CHECK_THROW(outcome.then_reply(balance(201)), expectation_failed);
  BOOST_CHECK_THROW(outcome.then_rejected(), expectation_failed);
}

BOOST_AUTO_TEST_CASE(rejections_are_compared) {
  auto outcome = given_streams<transfers>().when(transfer("alice", "bob", 500));
  outcome.then_rejected().then_rejected("insufficient funds").then_no_events();
  BOOST_CHECK_THROW(outcome.then_rejected("something else"), expectation_failed);
  BOOST_CHECK_THROW(outcome.then_reply(balance(0)), expectation_failed);
}

BOOST_AUTO_TEST_CASE(what_the_runtime_would_refuse_is_refused_here) {
  BOOST_CHECK_THROW(given_streams<transfers>().when(transfer("alice", "alice", 1)), expectation_failed);
  BOOST_CHECK_THROW(given_streams<transfers>().when(transfer("alice", "b*b", 1)), invalid_command_streams);
  BOOST_CHECK_THROW(given_streams<moody>().when(transfer("alice", "bob", 1)), expectation_failed);
  BOOST_CHECK_THROW(given_streams<careless>().when(transfer("alice", "bob", 1)), expectation_failed);
}
