#include <eventcore/actors/decider.hpp>
#include <eventcore/runtime/node.hpp>

#include "bank.pb.h"

#include <iostream>

using namespace std::literals;
using eventcore::make;

struct account : eventcore::decider<account> { // pure, testable without a runtime
  static constexpr std::string_view category = "account";
  using commands = eventcore::commands<bank::Open, bank::Deposit, bank::Withdraw, bank::GetBalance>;
  using events = eventcore::events<bank::Opened, bank::Deposited, bank::Withdrawn>;
  struct state {
    bool open = false;
    std::int64_t cents = 0;
  };

  static void evolve(state& s, const bank::Opened&) { s.open = true; }
  static void evolve(state& s, const bank::Deposited& e) { s.cents += e.cents(); }
  static void evolve(state& s, const bank::Withdrawn& e) { s.cents -= e.cents(); }

  static effect<bank::Balance> decide(const state& s, const bank::Open&) {
    if (s.open)
      return balance(s); // nothing to do, so nothing to persist
    return persist(bank::Opened{}).then_reply(balance);
  }
  static effect<bank::Balance> decide(const state& s, const bank::Deposit& c) {
    if (!s.open)
      return reject("the account is not open");
    return persist(make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); })).then_reply(balance);
  }
  static effect<bank::Balance> decide(const state& s, const bank::Withdraw& c) {
    if (s.cents < c.cents())
      return reject("insufficient funds");
    return persist(make<bank::Withdrawn>([&](auto& e) { e.set_cents(c.cents()); })).then_reply(balance);
  }
  static effect<bank::Balance> decide(const state& s, const bank::GetBalance&) { return balance(s); }

  static bank::Balance balance(const state& s) {
    return make<bank::Balance>([&](auto& b) { b.set_cents(s.cents); });
  }
};

int main(int argc, char** argv) {
  eventcore::node node{argc, argv}; // journal in ./data, everything else by default
  auto accounts = node.host<account>();
  accounts.tell("alice", bank::Open{});
  accounts.tell("alice", make<bank::Deposit>([](auto& c) { c.set_cents(700); }));
  auto answer = accounts.ask("alice", make<bank::Withdraw>([](auto& c) { c.set_cents(500); }), 2s);
  std::cout << (answer ? std::to_string(answer->cents()) : answer.error().message()) << '\n';
  return answer ? 0 : 1;
}
