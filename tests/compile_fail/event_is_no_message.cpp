// expect: eventcore: this event is no generated Protobuf message
// expect: <till, std::__cxx11::basic_string<char> >

#include <eventcore/actors/decider.hpp>

#include "bank.pb.h"

#include <string>
#include <string_view>

struct till : eventcore::decider<till> {
  static constexpr std::string_view category = "till";
  using commands = eventcore::commands<bank::Deposit>;
  using events = eventcore::events<bank::Deposited, std::string>;
  struct state {};
  static void evolve(state&, const bank::Deposited&) {}
  static effect<bank::Balance> decide(const state&, const bank::Deposit&) {
    return persist(bank::Deposited{}).then_reply(bank::Balance{});
  }
};

const auto& table = eventcore::entity_type_of<till>();
