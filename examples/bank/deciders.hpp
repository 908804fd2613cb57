#pragma once

#include <eventcore/actors/multi_stream.hpp>

#include "bank.pb.h"

#include <cstdint>
#include <string_view>

namespace bank {

using eventcore::make;

/// An account. Its owner cannot overdraw it.
struct account : eventcore::decider<account> {
  static constexpr std::string_view category = "account";
  using commands = eventcore::commands<Open, Deposit, GetBalance>;
  using events = eventcore::events<Opened, Deposited, Withdrawn, Received>;
  struct state {
    bool open = false;
    std::int64_t cents = 0;
  };

  static void evolve(state& s, const Opened& e) { s = {true, e.cents()}; }
  static void evolve(state& s, const Deposited& e) { s.cents += e.cents(); }
  static void evolve(state& s, const Withdrawn& e) { s.cents -= e.cents(); }
  static void evolve(state& s, const Received& e) { s.cents += e.cents(); }

  static effect<Balance> decide(const state& s, const Open& c) {
    if (s.open)
      return balance(s);
    return persist(make<Opened>([&](auto& e) { e.set_cents(c.cents()); })).then_reply(balance);
  }
  static effect<Balance> decide(const state& s, const Deposit& c) {
    if (!s.open)
      return reject("not_open", "the account is not open");
    return persist(make<Deposited>([&](auto& e) { e.set_cents(c.cents()); })).then_reply(balance);
  }
  static effect<Balance> decide(const state& s, const GetBalance&) { return balance(s); }

  static SavedAccount to_snapshot(const state& s) {
    return make<SavedAccount>([&](auto& m) {
      m.set_open(s.open);
      m.set_cents(s.cents);
    });
  }
  static state from_snapshot(const SavedAccount& m) { return {m.open(), m.cents()}; }

private:
  static Balance balance(const state& s) {
    return make<Balance>([&](auto& b) { b.set_cents(s.cents); });
  }
};

/// Moves money between two accounts, all or nothing. The first one keeps the answer for the command's idempotency key.
struct transfers : eventcore::multi_stream_decider<transfers> {
  using commands = eventcore::commands<Transfer>;
  using streams = eventcore::folds<account>;

  static void declare(stream_set& s, const Transfer& c) {
    s.read<account>(c.from());
    s.read<account>(c.to());
  }

  static effect<Balance> decide(const stream_states& s, const Transfer& c) {
    auto& from = s.get<account>(c.from());
    if (!from.open || !s.get<account>(c.to()).open)
      return reject("not_open", "one of the accounts is not open");
    if (from.cents < c.cents())
      return reject("insufficient_funds", "the account holds less than that");
    auto fill = [&](auto& e) {
      e.set_cents(c.cents());
      e.set_transfer(c.number());
    };
    return append<account>(c.from(), make<Withdrawn>(fill))
        .append<account>(c.to(), make<Received>(fill))
        .then_reply(make<Balance>([&](auto& b) { b.set_cents(from.cents - c.cents()); }));
  }
};

/// How far a run has come, so that it can be resumed after a crash. Its state is the message that it replies.
struct run : eventcore::decider<run> {
  static constexpr std::string_view category = "run";
  using commands = eventcore::commands<BeginRun, ReportLane, GetRun>;
  using events = eventcore::events<RunBegun, LaneReported>;
  using state = Run;

  static void evolve(state& s, const RunBegun& e) { s.set_accounts(e.accounts()); }
  static void evolve(state& s, const LaneReported& e) { (*s.mutable_done())[e.lane()] = e.done(); }

  static effect<Run> decide(const state& s, const BeginRun& c) {
    if (s.accounts() == c.accounts())
      return s;
    if (s.accounts() != 0)
      return reject("other_run", "the journal holds a run with " + std::to_string(s.accounts()) +
                                     " accounts, not " + std::to_string(c.accounts()));
    return persist(make<RunBegun>([&](auto& e) { e.set_accounts(c.accounts()); }))
        .then_reply([](const state& after) { return after; });
  }
  static effect<no_reply> decide(const state&, const ReportLane& c) {
    return persist(make<LaneReported>([&](auto& e) {
      e.set_lane(c.lane());
      e.set_done(c.done());
    }));
  }
  static effect<Run> decide(const state& s, const GetRun&) { return s; }
};

} // namespace bank
