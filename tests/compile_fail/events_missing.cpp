// expect: eventcore: the decider has no using events = eventcore::events<...>
// expect: <till>

#include <eventcore/actors/decider.hpp>

#include "bank.pb.h"

#include <string_view>

struct till : eventcore::decider<till> {
  static constexpr std::string_view category = "till";
  using commands = eventcore::commands<bank::Deposit>;
  struct state {};
  static void evolve(state&, const bank::Deposited&) {}
  static effect<bank::Balance> decide(const state&, const bank::Deposit&);
};

const auto& table = eventcore::entity_type_of<till>();
