#pragma once

#include <eventcore/actors/decider.hpp>

#include "bank.pb.h"

#include <cstdint>
#include <string_view>

/// The decider that tests decide with.
struct account : eventcore::decider<account> {
  static constexpr std::string_view category = "account";
  using commands = eventcore::commands<bank::Open, bank::Deposit, bank::Withdraw, bank::GetBalance>;
  using events = eventcore::events<bank::Opened, bank::Deposited, bank::Withdrawn>;
  struct state {
    bool open = false;
    std::int64_t cents = 0;
    friend bool operator==(const state&, const state&) = default;
  };

  static void evolve(state& s, const bank::Opened&) { s.open = true; }
  static void evolve(state& s, const bank::Deposited& e) { s.cents += e.cents(); }
  static void evolve(state& s, const bank::Withdrawn& e) { s.cents -= e.cents(); }

  static effect<no_reply> decide(const state& s, const bank::Open& c) {
    if (s.open)
      return reject("already_open", "the account is open already", "owner " + c.owner());
    return persist(eventcore::make<bank::Opened>([&](auto& e) { e.set_owner(c.owner()); }));
  }
  static effect<bank::Balance> decide(const state& s, const bank::Deposit& c) {
    if (!s.open)
      return reject("the account is not open");
    return persist(eventcore::make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); }))
        .then_reply(balance);
  }
  static effect<bank::Balance> decide(const state& s, const bank::Withdraw& c) {
    if (s.cents < c.cents())
      return reject("insufficient funds");
    return persist(eventcore::make<bank::Withdrawn>([&](auto& e) { e.set_cents(c.cents()); }))
        .then_reply(balance);
  }
  static effect<bank::Balance> decide(const state& s, const bank::GetBalance&) { return balance(s); }

  static bank::Balance balance(const state& s) {
    return eventcore::make<bank::Balance>([&](auto& b) { b.set_cents(s.cents); });
  }
};
