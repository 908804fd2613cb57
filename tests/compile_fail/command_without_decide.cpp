// expect: eventcore: the decider has no static decide(const state&, const Command&)
// expect: <till, bank::Withdraw>

#include <eventcore/actors/decider.hpp>

#include "bank.pb.h"

#include <string_view>

struct till : eventcore::decider<till> {
  static constexpr std::string_view category = "till";
  using commands = eventcore::commands<bank::Deposit, bank::Withdraw>;
  using events = eventcore::events<bank::Deposited>;
  struct state {};
  static void evolve(state&, const bank::Deposited&) {}
  static effect<bank::Balance> decide(const state&, const bank::Deposit&) {
    return persist(bank::Deposited{}).then_reply(bank::Balance{});
  }
};

const auto& table = eventcore::entity_type_of<till>();
