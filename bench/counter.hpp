#pragma once

#include "bench.pb.h"

#include <eventcore/actors/decider.hpp>

/// The smallest entity that does something: one event for each command, a reply from the state.
struct counter : eventcore::decider<counter> {
  static constexpr std::string_view category = "counter";
  using commands = eventcore::commands<bench::Add, bench::GetTotal>;
  using events = eventcore::events<bench::Added>;
  struct state {
    std::int64_t total = 0;
  };

  static void evolve(state& s, const bench::Added& e) { s.total += e.amount(); }

  static effect<bench::Total> decide(const state&, const bench::Add& c) {
    return persist(eventcore::make<bench::Added>([&](auto& e) { e.set_amount(c.amount()); }))
        .then_reply(total);
  }
  static effect<bench::Total> decide(const state& s, const bench::GetTotal&) { return total(s); }

  static bench::Total total(const state& s) {
    return eventcore::make<bench::Total>([&](auto& t) { t.set_amount(s.total); });
  }
};
