// expect: eventcore: the decider has no using commands = eventcore::commands<...>
// expect: <till>

#include <eventcore/actors/decider.hpp>

#include "bank.pb.h"

#include <string_view>

struct till : eventcore::decider<till> {
  static constexpr std::string_view category = "till";
  using events = eventcore::events<bank::Deposited>;
  struct state {};
  static void evolve(state&, const bank::Deposited&) {}
  static effect<bank::Balance> decide(const state&, const bank::Deposit&) {
    return persist(bank::Deposited{}).then_reply(bank::Balance{});
  }
};

const auto& table = eventcore::entity_type_of<till>();
