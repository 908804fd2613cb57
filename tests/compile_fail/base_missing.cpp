// expect: eventcore: a decider derives from eventcore::decider of itself
// expect: <till>

#include <eventcore/actors/decider.hpp>

#include "bank.pb.h"

#include <string_view>

struct till : eventcore::decider<struct safe> {
  static constexpr std::string_view category = "till";
  using commands = eventcore::commands<bank::Deposit>;
  using events = eventcore::events<bank::Deposited>;
  struct state {};
  static void evolve(state&, const bank::Deposited&) {}
  static int decide(const state&, const bank::Deposit&);
};

const auto& table = eventcore::entity_type_of<till>();
