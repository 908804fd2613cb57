// expect: eventcore: persist() got something that is none of the decider's events<...>
// expect: <till, bank::Withdrawn>

#include <eventcore/actors/decider.hpp>

#include "bank.pb.h"

#include <string_view>

struct till : eventcore::decider<till> {
  static constexpr std::string_view category = "till";
  using commands = eventcore::commands<bank::Deposit>;
  using events = eventcore::events<bank::Deposited>;
  struct state {};
  static void evolve(state&, const bank::Deposited&) {}
  static effect<bank::Balance> decide(const state&, const bank::Deposit&) {
    return persist(bank::Withdrawn{}).then_reply(bank::Balance{});
  }
};

const auto& table = eventcore::entity_type_of<till>();
