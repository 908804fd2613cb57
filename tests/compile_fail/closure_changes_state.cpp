// expect: eventcore: reply() takes a Protobuf message; then_reply() takes one, or a function
// expect: <till,

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
    return persist(bank::Deposited{}).then_reply([](state&) { return bank::Balance{}; });
  }
};

const auto& table = eventcore::entity_type_of<till>();
