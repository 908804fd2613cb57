#include <eventcore/actors/given.hpp>

#include "support/account.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

using namespace std::literals;
using eventcore::expectation_failed;
using eventcore::given;
using eventcore::make;

namespace {

template <class M>
M with_cents(std::int64_t cents) {
  return make<M>([&](auto& m) { m.set_cents(cents); });
}
const auto deposited = with_cents<bank::Deposited>;
const auto withdrawn = with_cents<bank::Withdrawn>;
const auto deposit = with_cents<bank::Deposit>;
const auto withdraw = with_cents<bank::Withdraw>;
const auto balance = with_cents<bank::Balance>;
const bank::Opened opened;

/// The message with which `test` fails; empty if it does not.
template <class Test>
std::string failure(Test test) {
  try {
    test();
    return {};
  } catch (const expectation_failed& e) {
    return e.what();
  }
}

/// A decider that breaks the rules as its static members say.
struct unruly : eventcore::decider<unruly> {
  static constexpr std::string_view category = "unruly";
  using commands = eventcore::commands<bank::Deposit, bank::Withdraw, bank::Open>;
  using events = eventcore::events<bank::Deposited, bank::Opened>;
  struct state {
    std::int64_t cents = 0;
    friend bool operator==(const state&, const state&) = default;
  };

  inline static std::int64_t decided = 0;
  inline static std::int64_t evolved = 0;

  static void evolve(state& s, const bank::Deposited& e) { s.cents += e.cents() + evolved++; }
  static void evolve(state&, const bank::Opened&) {}

  static effect<bank::Balance> decide(const state&, const bank::Deposit& c) {
    return persist(with_cents<bank::Deposited>(c.cents())).then_reply(with_cents<bank::Balance>(0));
  }
  static effect<bank::Balance> decide(const state&, const bank::Withdraw&) {
    return with_cents<bank::Balance>(decided++);
  }
  static effect<no_reply> decide(const state&, const bank::Open&, const eventcore::command_context& context) {
    if (context.metadata.user.empty())
      throw std::invalid_argument{"nobody"};
    if (context.now == eventcore::timestamp{})
      return nothing();
    return persist(make<bank::Opened>([&](auto& e) { e.set_owner(context.metadata.user); })).then_stop();
  }
};

eventcore::command_context context_of(std::string user, std::chrono::microseconds now = 0us) {
  eventcore::command_context context;
  context.metadata.user = std::move(user);
  context.now = eventcore::timestamp{now};
  return context;
}

} // namespace

BOOST_AUTO_TEST_SUITE(met_expectations)

BOOST_AUTO_TEST_CASE(events_reply_and_state) {
  given<account>(opened, deposited(700))
      .when(withdraw(500))
      .then(withdrawn(500))
      .then_reply(balance(200))
      .then_reply([](const bank::Balance& b) { return b.cents() == 200; })
      .then_state([](const account::state& s) { return s.open && s.cents == 200; });
}

BOOST_AUTO_TEST_CASE(rejections) {
  given<account>(opened).when(withdraw(500)).then_rejected("insufficient funds").then_no_events();
  given<account>(opened)
      .when(make<bank::Open>([](auto& c) { c.set_owner("bob"); }))
      .then_rejected()
      .then_rejected("already_open")
      .then_rejected("the account is open already")
      .then_rejected([](const eventcore::rejection& no) { return no.details == "owner bob"; });
}

BOOST_AUTO_TEST_CASE(no_history_and_no_events) {
  given<account>().when(bank::GetBalance{}).then_no_events().then_reply(balance(0));
}

BOOST_AUTO_TEST_CASE(context_and_stop) {
  given<unruly>().when(bank::Open{}, context_of("ann")).then_no_events();
  given<unruly>()
      .when(bank::Open{}, context_of("ann", 1us))
      .then(make<bank::Opened>([](auto& e) { e.set_owner("ann"); }))
      .then_stop();
}

BOOST_AUTO_TEST_CASE(what_the_decider_throws_passes_through) {
  BOOST_CHECK_THROW(given<unruly>().when(bank::Open{}), std::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(failures)

BOOST_AUTO_TEST_CASE(another_event) {
  BOOST_TEST(failure([] { given<account>(opened).when(deposit(5)).then(opened, deposited(4)); }) ==
             R"(expected:
  event bank.Opened {}
  event bank.Deposited { cents: 4 }
actual:
  event bank.Deposited { cents: 5 }
  reply bank.Balance { cents: 5 })");
}

BOOST_AUTO_TEST_CASE(events_of_another_type_or_order_or_number) {
  const auto outcome = given<account>(opened).when(deposit(5));
  BOOST_TEST(failure([&] { outcome.then(deposited(5)); }) == "");
  BOOST_TEST(failure([&] { outcome.then(withdrawn(5)); }) != "");
  BOOST_TEST(failure([&] { outcome.then(deposited(5), deposited(5)); }) != "");
  BOOST_TEST(failure([&] { outcome.then_no_events(); }).starts_with("expected:\n  no events\nactual:\n"));
}

BOOST_AUTO_TEST_CASE(a_rejection_instead) {
  const auto outcome = given<account>().when(deposit(5));
  const auto actual = "actual:\n  rejected: the account is not open (code rejected)"s;
  BOOST_TEST(failure([&] { outcome.then(deposited(5)); }) ==
             "expected:\n  event bank.Deposited { cents: 5 }\n" + actual);
  BOOST_TEST(failure([&] { outcome.then_reply(balance(5)); }) ==
             "expected:\n  reply bank.Balance { cents: 5 }\n" + actual);
  BOOST_TEST(failure([&] { outcome.then_reply([](const bank::Balance&) { return true; }); }) ==
             "expected:\n  a reply\n" + actual);
  BOOST_TEST(failure([&] { outcome.then_rejected("another reason"); }) ==
             "expected:\n  rejected: another reason\n" + actual);
  BOOST_TEST(failure([&] { outcome.then_rejected([](const eventcore::rejection&) { return false; }); }) ==
             "not as expected: the rejection\n" + actual);
}

BOOST_AUTO_TEST_CASE(no_rejection) {
  const auto outcome = given<account>(opened).when(deposit(5));
  BOOST_TEST(
      failure([&] { outcome.then_rejected(); }).starts_with("expected:\n  rejected\nactual:\n  event"));
  BOOST_TEST(
      failure([&] { outcome.then_rejected("no"); }).starts_with("expected:\n  rejected: no\nactual:\n"));
  BOOST_TEST(failure([&] { outcome.then_rejected([](const eventcore::rejection&) { return true; }); }) != "");
}

BOOST_AUTO_TEST_CASE(another_reply_or_state) {
  const auto outcome = given<account>(deposited(7)).when(bank::GetBalance{});
  const auto actual = "actual:\n  reply bank.Balance { cents: 7 }"s;
  BOOST_TEST(failure([&] { outcome.then_reply(balance(6)); }) ==
             "expected:\n  reply bank.Balance { cents: 6 }\n" + actual);
  BOOST_TEST(failure([&] { outcome.then_reply([](const bank::Balance& b) { return b.cents() == 6; }); }) ==
             "not as expected: the reply\n" + actual);
  BOOST_TEST(failure([&] { outcome.then_state([](const account::state& s) { return s.open; }); }) ==
             "not as expected: the state after these events\n" + actual);
}

BOOST_AUTO_TEST_CASE(no_stop) {
  BOOST_TEST(failure([] { given<unruly>().when(bank::Open{}, context_of("ann")).then_stop(); }) ==
             "expected:\n  stop\nactual:\n  neither events nor a reply");
}

BOOST_AUTO_TEST_CASE(a_decide_that_is_not_pure) {
  unruly::decided = 0;
  BOOST_TEST(failure([] { given<unruly>().when(withdraw(1)); }) ==
             "decide is not pure: it came to two things, given the same state, command and context.\n"
             "once:\n  reply bank.Balance {}\nagain:\n  reply bank.Balance { cents: 1 }");
}

BOOST_AUTO_TEST_CASE(an_evolve_that_is_not_pure) {
  BOOST_TEST(failure([] { given<unruly>().when(deposit(1)); }).starts_with("evolve is not pure: "));
}

BOOST_AUTO_TEST_CASE(a_given_event_that_cannot_be_serialised) {
  const auto garbled = make<bank::Opened>([](auto& e) { e.set_owner("\xc3\x28"); });
  BOOST_CHECK_THROW(given<account>(garbled).when(bank::GetBalance{}), std::runtime_error);
}

BOOST_AUTO_TEST_SUITE_END()
