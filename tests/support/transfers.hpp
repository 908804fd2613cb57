#pragma once

#include "account.hpp"

#include <eventcore/actors/multi_stream.hpp>

/// The multi-stream decider that tests decide with.
struct transfers : eventcore::multi_stream_decider<transfers> {
  using commands = eventcore::commands<bank::Transfer>;
  using streams = eventcore::folds<account>;

  static void declare(stream_set& s, const bank::Transfer& c) {
    s.read<account>(c.from());
    s.read<account>(c.to());
  }

  static effect<bank::Balance> decide(const stream_states& s, const bank::Transfer& c) {
    auto& from = s.get<account>(c.from());
    if (from.cents < c.cents())
      return reject("insufficient funds");
    return append<account>(c.from(),
                           eventcore::make<bank::Withdrawn>([&](auto& e) { e.set_cents(c.cents()); }))
        .append<account>(c.to(), eventcore::make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); }))
        .then_reply(eventcore::make<bank::Balance>([&](auto& b) { b.set_cents(from.cents - c.cents()); }));
  }
};
