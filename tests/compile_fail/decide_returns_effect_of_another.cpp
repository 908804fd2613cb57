// expect: eventcore: decide must return an effect<Reply> of its decider
// expect: <till, bank::Deposit>

#include <eventcore/actors/decider.hpp>

#include "bank.pb.h"

#include <string_view>

struct safe : eventcore::decider<safe> {
  using events = eventcore::events<bank::Deposited>;
  struct state {};
};

struct till : eventcore::decider<till> {
  static constexpr std::string_view category = "till";
  using commands = eventcore::commands<bank::Deposit>;
  using events = eventcore::events<bank::Deposited>;
  struct state {};
  static void evolve(state&, const bank::Deposited&) {}
  static eventcore::effect<safe, bank::Balance> decide(const state&, const bank::Deposit&);
};

const auto& table = eventcore::entity_type_of<till>();
