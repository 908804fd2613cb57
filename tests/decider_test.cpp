#include <eventcore/actors/decider.hpp>

#include "support/account.hpp"

#include <google/protobuf/descriptor.pb.h>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

using namespace std::literals;
using eventcore::decision;
using eventcore::entity_type;
using eventcore::entity_type_of;
using eventcore::make;

namespace {

bank::Open open(std::string_view owner) {
  return make<bank::Open>([&](auto& c) { c.set_owner(std::string{owner}); });
}
bank::Deposit deposit(std::int64_t cents) {
  return make<bank::Deposit>([&](auto& c) { c.set_cents(cents); });
}
bank::Withdraw withdraw(std::int64_t cents) {
  return make<bank::Withdraw>([&](auto& c) { c.set_cents(cents); });
}
bank::Deposited deposited(std::int64_t cents) {
  return make<bank::Deposited>([&](auto& e) { e.set_cents(cents); });
}
bank::Withdrawn withdrawn(std::int64_t cents) {
  return make<bank::Withdrawn>([&](auto& e) { e.set_cents(cents); });
}
bank::Balance balance(std::int64_t cents) {
  return make<bank::Balance>([&](auto& b) { b.set_cents(cents); });
}

/// A state of `D`, used through nothing but the type's table.
template <class D>
class entity {
public:
  entity()
      : state_{type.new_state(), type.delete_state} {}

  template <class Command>
  decision decide(const Command& command, const eventcore::command_context& context = {}) {
    for (const auto& row : type.commands)
      if (*row.cpp_type == typeid(Command))
        return row.decide(state_.get(), command, context, evolving);
    throw std::logic_error{"not in the table"};
  }

  bool replay(std::string_view event, std::string_view payload) {
    for (const auto& row : type.events)
      if (row.prototype->GetTypeName() == event)
        return row.replay(state_.get(), payload);
    throw std::logic_error{"not in the table"};
  }

  typename D::state& state() { return *static_cast<typename D::state*>(state_.get()); }

  const entity_type& type = entity_type_of<D>();
  bool evolving = false;

private:
  std::unique_ptr<void, void (*)(void*) noexcept> state_;
};

std::int64_t cents_of(const decision& decided) {
  return dynamic_cast<const bank::Balance&>(*decided.reply).cents();
}

std::vector<std::string> types_of(const decision& decided) {
  std::vector<std::string> names;
  for (const auto& event : decided.events)
    names.push_back(event.type->full_name());
  return names;
}

/// A decider whose `decide` is what the test needs.
struct free_decider : eventcore::decider<free_decider> {
  static constexpr std::string_view category = "free";
  using commands = eventcore::commands<bank::Deposit, bank::Open>;
  using events = eventcore::events<bank::Withdrawn, bank::Deposited, bank::Opened,
                                   google::protobuf::UninterpretedOption::NamePart>;
  struct state {
    std::string log;
    std::int64_t cents = 0;
  };

  static void evolve(state& s, const bank::Deposited& e) {
    if (e.cents() < 0)
      throw std::runtime_error{"evolve threw"};
    s.log += "+" + std::to_string(e.cents());
    s.cents += e.cents();
  }
  static void evolve(state& s, const bank::Withdrawn& e) {
    s.log += "-" + std::to_string(e.cents());
    s.cents -= e.cents();
  }
  static void evolve(state& s, const bank::Opened& e) { s.log += e.owner(); }
  static void evolve(state& s, const google::protobuf::UninterpretedOption::NamePart&) { s.log += "named"; }

  using deposit_function = effect<bank::Balance> (*)(const state&, const bank::Deposit&,
                                                     const eventcore::command_context&);
  using open_function = effect<no_reply> (*)(const state&, const bank::Open&);
  inline static deposit_function on_deposit = nullptr;
  inline static open_function on_open = nullptr;

  static effect<bank::Balance> decide(const state& s, const bank::Deposit& c,
                                      const eventcore::command_context& context) {
    return on_deposit(s, c, context);
  }
  static effect<no_reply> decide(const state& s, const bank::Open& c) { return on_open(s, c); }

  static bank::Balance balance(const state& s) { return ::balance(s.cents); }
};

using base = eventcore::decider<free_decider>;
using state = free_decider::state;
using balance_effect = base::effect<bank::Balance>;
using silent_effect = base::effect<eventcore::no_reply>;
using context = eventcore::command_context;

decision deposited_with(entity<free_decider>& e, free_decider::deposit_function f, std::int64_t cents = 0) {
  free_decider::on_deposit = f;
  return e.decide(deposit(cents));
}

decision opened_with(entity<free_decider>& e, free_decider::open_function f) {
  free_decider::on_open = f;
  return e.decide(open("ann"));
}

static_assert(eventcore::handles<account, bank::Deposit>);
static_assert(!eventcore::handles<account, bank::Deposited>);
static_assert(eventcore::replies<account, bank::Deposit>);
static_assert(!eventcore::replies<account, bank::Open>);
static_assert(std::is_same_v<eventcore::reply_of<account, bank::GetBalance>, bank::Balance>);
static_assert(std::is_same_v<eventcore::reply_of<account, bank::Open>, eventcore::no_reply>);

// spec 4, and the category ends at the first dash
using eventcore::internal::valid_category;
static_assert(valid_category("a") && valid_category("a_b.c d/42"));
static_assert(valid_category("a_name_of_64_characters_________________________________________"));
static_assert(!valid_category("a_name_of_65_characters__________________________________________"));
static_assert(!valid_category("") && !valid_category("a-b") && !valid_category("a\tb") &&
              !valid_category("\x7f"));
static_assert(!valid_category("a*") && !valid_category("a?") && !valid_category("[a") &&
              !valid_category("a]"));
static_assert(!valid_category("\u00e4"));

} // namespace

BOOST_AUTO_TEST_SUITE(table)

BOOST_AUTO_TEST_CASE(there_is_one_and_it_names_everything) {
  const auto& type = entity_type_of<account>();
  BOOST_TEST(&type == &entity_type_of<account>());
  BOOST_TEST(type.category == "account");
  BOOST_REQUIRE(type.commands.size() == 4u);
  for (const auto& row : type.commands) {
    BOOST_TEST((typeid(*row.prototype) == *row.cpp_type));
    BOOST_TEST((row.reply != nullptr) == (row.prototype->GetTypeName() != "bank.Open"));
  }
}

BOOST_AUTO_TEST_CASE(events_are_sorted_by_name) {
  std::vector<std::string> names;
  for (const auto& row : entity_type_of<free_decider>().events)
    names.push_back(row.prototype->GetTypeName());
  const std::vector<std::string> expected{"bank.Deposited", "bank.Opened", "bank.Withdrawn",
                                          "google.protobuf.UninterpretedOption.NamePart"};
  BOOST_TEST(names == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_command_persists_evolves_and_replies) {
  entity<account> e;
  auto opened = e.decide(open("ann"));
  BOOST_TEST(!opened.reply);
  BOOST_REQUIRE(opened.events.size() == 1u);
  BOOST_TEST(opened.events[0].type == bank::Opened::descriptor());
  BOOST_TEST(opened.events[0].schema_version == 1u);
  BOOST_TEST(opened.events[0].payload ==
             make<bank::Opened>([](auto& m) { m.set_owner("ann"); }).SerializeAsString());

  auto paid = e.decide(deposit(700));
  BOOST_TEST(cents_of(paid) == 700);
  BOOST_TEST(paid.events[0].payload == deposited(700).SerializeAsString());
  BOOST_TEST(cents_of(e.decide(withdraw(500))) == 200);
  BOOST_TEST(e.state().cents == 200);
}

BOOST_AUTO_TEST_CASE(a_query_has_no_events_and_leaves_the_state_alone) {
  entity<account> e;
  auto answer = e.decide(bank::GetBalance{});
  BOOST_TEST(answer.events.empty());
  BOOST_TEST(cents_of(answer) == 0);
  BOOST_TEST(!e.evolving);
}

BOOST_AUTO_TEST_CASE(a_rejection_changes_nothing) {
  entity<account> e;
  e.evolving = true;
  auto no = e.decide(withdraw(1));
  BOOST_TEST(no.events.empty());
  BOOST_TEST(!no.reply);
  BOOST_REQUIRE(no.rejected.has_value());
  BOOST_TEST(no.rejected->code == "rejected");
  BOOST_TEST(no.rejected->message == "insufficient funds");
  BOOST_TEST(no.rejected->details == "");
  BOOST_TEST(!e.evolving);
  BOOST_TEST(e.state().cents == 0);
}

BOOST_AUTO_TEST_CASE(a_rejection_can_have_code_and_details) {
  entity<account> e;
  e.decide(open("ann"));
  auto no = e.decide(open("bob"));
  BOOST_REQUIRE(no.rejected.has_value());
  BOOST_TEST(no.rejected->code == "already_open");
  BOOST_TEST(no.rejected->message == "the account is open already");
  BOOST_TEST(no.rejected->details == "owner bob");
}

BOOST_AUTO_TEST_CASE(replay_rebuilds_the_state) {
  entity<account> e;
  BOOST_TEST(e.replay("bank.Opened", ""));
  BOOST_TEST(e.replay("bank.Deposited", deposited(700).SerializeAsString()));
  BOOST_TEST(e.replay("bank.Withdrawn", withdrawn(500).SerializeAsString()));
  // The scratch message of the last replay must not shine through.
  BOOST_TEST(e.replay("bank.Deposited", ""));
  BOOST_TEST(e.state().open);
  BOOST_TEST(e.state().cents == 200);
}

BOOST_AUTO_TEST_CASE(a_payload_that_does_not_parse_is_said_and_not_evolved) {
  entity<account> e;
  BOOST_TEST(!e.replay("bank.Deposited", "\x08"sv));          // a field without its value
  BOOST_TEST(!e.replay("bank.Opened", "\x0a\x02\xc3\x28"sv)); // not UTF-8
  BOOST_TEST(!e.state().open);
  BOOST_TEST(e.state().cents == 0);
}

BOOST_AUTO_TEST_CASE(replay_passes_on_what_evolve_throws) {
  entity<free_decider> e;
  BOOST_CHECK_THROW(e.replay("bank.Deposited", deposited(-1).SerializeAsString()), std::runtime_error);
}

BOOST_AUTO_TEST_CASE(states_start_as_their_default_and_are_independent) {
  entity<account> a;
  entity<account> b;
  a.replay("bank.Deposited", deposited(1).SerializeAsString());
  BOOST_TEST(b.state().cents == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(effects)

BOOST_AUTO_TEST_CASE(several_events_are_evolved_in_order_and_the_reply_comes_last) {
  entity<free_decider> e;
  auto decided =
      deposited_with(e, [](const state& s, const bank::Deposit&, const context&) -> balance_effect {
        const auto before = s.cents;
        return base::persist(deposited(5), withdrawn(2), deposited(1))
            .then_reply([before, &s](const state& after) {
              // The state that decide saw is the one that evolves: its reference shows the state after.
              return balance(before == 0 && &after == &s && s.log == "+5-2+1" ? after.cents : -1);
            });
      });
  const std::vector<std::string> expected{"bank.Deposited", "bank.Withdrawn", "bank.Deposited"};
  BOOST_TEST(types_of(decided) == expected, boost::test_tools::per_element());
  BOOST_TEST(cents_of(decided) == 4);
}

BOOST_AUTO_TEST_CASE(vectors_and_mixed_events_keep_their_order) {
  entity<free_decider> e;
  deposited_with(e, [](const state&, const bank::Deposit&, const context&) -> balance_effect {
    std::vector<eventcore::event_of<free_decider>> mixed{withdrawn(2), deposited(3)};
    std::vector<bank::Deposited> same{deposited(4), deposited(5)};
    return base::persist(deposited(1), std::move(mixed), same, withdrawn(6)).then_reply(balance(0));
  });
  BOOST_TEST(e.state().log == "+1-2+3+4+5-6");
}

BOOST_AUTO_TEST_CASE(an_empty_vector_persists_nothing) {
  entity<free_decider> e;
  auto decided = deposited_with(e, [](const state&, const bank::Deposit&, const context&) -> balance_effect {
    return base::persist(std::vector<bank::Deposited>{}).then_reply(free_decider::balance);
  });
  BOOST_TEST(decided.events.empty());
  BOOST_TEST(cents_of(decided) == 0);
  BOOST_TEST(!e.evolving);
}

BOOST_AUTO_TEST_CASE(replies_can_be_ready_values) {
  entity<free_decider> e;
  auto with_event =
      deposited_with(e, [](const state&, const bank::Deposit& c, const context&) -> balance_effect {
        return base::persist(deposited(c.cents())).then_reply(balance(41));
      });
  BOOST_TEST(cents_of(with_event) == 41);
  auto without = deposited_with(e, [](const state&, const bank::Deposit&, const context&) -> balance_effect {
    return base::reply(balance(42));
  });
  BOOST_TEST(cents_of(without) == 42);
  BOOST_TEST(without.events.empty());
}

BOOST_AUTO_TEST_CASE(closures_may_be_larger_than_two_pointers) {
  entity<free_decider> e;
  auto decided = deposited_with(
      e,
      [](const state&, const bank::Deposit& c, const context&) -> balance_effect {
        const std::string text = "a text that does not fit into a small buffer";
        return base::persist(deposited(c.cents())).then_reply([text, c, more = c.cents()](const state& s) {
          return balance(s.cents + more + static_cast<std::int64_t>(text.size()) + c.cents());
        });
      },
      1);
  BOOST_TEST(cents_of(decided) == 3 + 44);
}

BOOST_AUTO_TEST_CASE(a_command_without_reply_may_come_to_nothing) {
  entity<free_decider> e;
  auto decided =
      opened_with(e, [](const state&, const bank::Open&) -> silent_effect { return base::nothing(); });
  BOOST_TEST(decided.events.empty());
  BOOST_TEST(!decided.reply);
  BOOST_TEST(!decided.rejected.has_value());
  BOOST_TEST(!decided.stop);
}

BOOST_AUTO_TEST_CASE(effects_can_stop_the_entity) {
  entity<free_decider> e;
  auto after_reply =
      deposited_with(e, [](const state&, const bank::Deposit&, const context&) -> balance_effect {
        return base::persist(deposited(1)).then_reply(balance(1)).then_stop();
      });
  BOOST_TEST(after_reply.stop);
  BOOST_TEST(after_reply.events.size() == 1u);
  BOOST_TEST(cents_of(after_reply) == 1);

  auto silent = opened_with(e, [](const state&, const bank::Open&) -> silent_effect {
    return base::persist(deposited(1)).then_stop();
  });
  BOOST_TEST(silent.stop);
  BOOST_TEST(silent.events.size() == 1u);
  BOOST_TEST(opened_with(e, [](const state&, const bank::Open&) -> silent_effect {
               return base::nothing().then_stop();
             }).stop);

  auto answered = deposited_with(e, [](const state&, const bank::Deposit&, const context&) -> balance_effect {
    return base::reply(balance(1)).then_stop();
  });
  BOOST_TEST(answered.stop);
  BOOST_TEST(!deposited_with(e, [](const state&, const bank::Deposit&, const context&) -> balance_effect {
                return balance(1);
              }).stop);
}

BOOST_AUTO_TEST_CASE(the_context_reaches_decide) {
  entity<free_decider> e;
  free_decider::on_deposit = [](const state&, const bank::Deposit&, const context& c) -> balance_effect {
    return balance(c.now.time_since_epoch().count() + (c.metadata.tenant == "acme" ? 1 : 0));
  };
  context c;
  c.now = eventcore::timestamp{1000us};
  c.metadata.tenant = "acme";
  BOOST_TEST(cents_of(e.decide(deposit(1), c)) == 1001);
}

BOOST_AUTO_TEST_SUITE_END()

// The caller must know whether the state is still the one from before.
BOOST_AUTO_TEST_SUITE(exceptions)

BOOST_AUTO_TEST_CASE(decide_throws_before_the_state_changes) {
  entity<free_decider> e;
  e.evolving = true;
  BOOST_CHECK_THROW(deposited_with(e,
                                   [](const state&, const bank::Deposit&, const context&) -> balance_effect {
                                     throw std::runtime_error{"decide threw"};
                                   }),
                    std::runtime_error);
  BOOST_TEST(!e.evolving);
}

BOOST_AUTO_TEST_CASE(evolve_throws_with_the_state_changed_in_part) {
  entity<free_decider> e;
  BOOST_CHECK_THROW(deposited_with(e,
                                   [](const state&, const bank::Deposit&, const context&) -> balance_effect {
                                     return base::persist(deposited(1), deposited(-1)).then_reply(balance(0));
                                   }),
                    std::runtime_error);
  BOOST_TEST(e.evolving);
  BOOST_TEST(e.state().log == "+1");
}

BOOST_AUTO_TEST_CASE(a_reply_throws_with_the_state_changed) {
  entity<free_decider> e;
  BOOST_CHECK_THROW(
      deposited_with(e,
                     [](const state&, const bank::Deposit&, const context&) -> balance_effect {
                       return base::persist(deposited(1)).then_reply([](const state&) -> bank::Balance {
                         throw std::runtime_error{"the reply threw"};
                       });
                     }),
      std::runtime_error);
  BOOST_TEST(e.evolving);
}

BOOST_AUTO_TEST_CASE(an_event_without_a_required_field_is_named_before_the_state_changes) {
  entity<free_decider> e;
  auto persist_unnamed = [](const state&, const bank::Open&) -> silent_effect {
    return base::persist(deposited(1), google::protobuf::UninterpretedOption::NamePart{});
  };
  BOOST_CHECK_EXCEPTION(opened_with(e, persist_unnamed), std::runtime_error, [](const auto& error) {
    const std::string_view what = error.what();
    return what.find("google.protobuf.UninterpretedOption.NamePart") != what.npos &&
           what.find("name_part") != what.npos;
  });
  BOOST_TEST(!e.evolving);
  BOOST_TEST(e.state().log == "");
}

// Protobuf would serialise it, but never parse it again, and the entity could not be rebuilt.
BOOST_AUTO_TEST_CASE(an_event_with_text_that_is_not_utf8_is_named_before_the_state_changes) {
  entity<free_decider> e;
  auto persist_garbled = [](const state&, const bank::Open&) -> silent_effect {
    return base::persist(make<bank::Opened>([](auto& m) { m.set_owner("\xc3\x28"); }));
  };
  BOOST_CHECK_EXCEPTION(opened_with(e, persist_garbled), std::runtime_error, [](const auto& error) {
    const std::string_view what = error.what();
    return what.find("bank.Opened") != what.npos && what.find("UTF-8") != what.npos;
  });
  BOOST_TEST(!e.evolving);
  BOOST_TEST(e.state().log == "");
}

BOOST_AUTO_TEST_SUITE_END()
