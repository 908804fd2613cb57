// expect: eventcore: the decider's commands<...> must name this command once
// expect: <till, bank::Withdraw>

#include <eventcore/actors/host.hpp>

#include "bank.pb.h"

#include <chrono>
#include <string_view>

struct till : eventcore::decider<till> {
  static constexpr std::string_view category = "till";
  using commands = eventcore::commands<bank::Deposit>;
  using events = eventcore::events<bank::Deposited>;
  struct state {};
  static void evolve(state&, const bank::Deposited&) {}
  static effect<bank::Balance> decide(const state&, const bank::Deposit&) {
    return persist(bank::Deposited{}).then_reply(bank::Balance{});
  }
};

void use(eventcore::host<till> tills) {
  static_cast<void>(tills.ask("1", bank::Withdraw{}, std::chrono::seconds{1}));
}
