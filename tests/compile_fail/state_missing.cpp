// expect: eventcore: the decider has no default constructible type named state
// expect: <till>

#include <eventcore/actors/decider.hpp>

#include "bank.pb.h"

#include <string_view>

struct till : eventcore::decider<till> {
  static constexpr std::string_view category = "till";
  using commands = eventcore::commands<bank::Deposit>;
  using events = eventcore::events<bank::Deposited>;
};

const auto& table = eventcore::entity_type_of<till>();
