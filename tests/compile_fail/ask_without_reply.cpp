// expect: eventcore: this command's effect has no reply; send it with tell()

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
  static effect<no_reply> decide(const state&, const bank::Deposit&) { return persist(bank::Deposited{}); }
};

void use(eventcore::host<till> tills) {
  static_cast<void>(tills.ask("1", bank::Deposit{}, std::chrono::seconds{1}));
}
