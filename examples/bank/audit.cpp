#include "audit.hpp"

#include <eventcore/persistence/errc.hpp>

#include "bank.pb.h"

#include <unordered_map>

namespace bank {

namespace {

/// What happened to one transfer: it is sound when the same left once and arrived once.
struct trail {
  std::int64_t left = 0;
  std::int64_t arrived = 0;
  unsigned events = 0;
};

} // namespace

eventcore::result<audit> audit_journal(eventcore::journal_reader& journal) {
  audit found;
  std::unordered_map<std::uint64_t, trail> trails;
  eventcore::event_page page;
  eventcore::log_position next = 1;
  const eventcore::log_filter accounts{.categories = {"account"}, .types = {}};
  const auto end = journal.head();
  if (!end)
    return end.error();
  while (next <= *end) {
    if (auto read = journal.read_log(next, page, accounts); !read)
      return read.error();
    for (auto& event : page) {
      auto& balance = found.balances[event.stream];
      auto take = [&]<class Event>(Event parsed, auto effect) {
        if (event.type != Event::descriptor()->full_name())
          return true;
        if (!parsed.ParseFromString(event.payload))
          return false;
        effect(parsed);
        return true;
      };
      auto sound =
          take(Opened{}, [&](auto& e) { found.paid_in += e.cents(), balance += e.cents(); }) &&
          take(Deposited{},
               [&](auto& e) { ++found.deposits, found.paid_in += e.cents(), balance += e.cents(); }) &&
          take(Withdrawn{},
               [&](auto& e) {
                 auto& t = trails[e.transfer()];
                 t.left += e.cents(), ++t.events, balance -= e.cents();
               }) &&
          take(Received{}, [&](auto& e) {
            auto& t = trails[e.transfer()];
            t.arrived += e.cents(), ++t.events, balance += e.cents();
          });
      if (!sound)
        return eventcore::make_error(eventcore::journal_errc::corrupt, "the event at position " +
                                                                           std::to_string(event.position) +
                                                                           " does not parse");
    }
  }
  for (auto& [stream, balance] : found.balances)
    found.total += balance;
  found.transfers = trails.size();
  for (auto& [number, t] : trails)
    if (t.events != 2 || t.left != t.arrived)
      ++found.broken_transfers;
  return found;
}

} // namespace bank
