// expect: eventcore: handle returns nothing, eventcore::result<void>, or a reaction
// expect: <listener, bank::Deposited>

#include <eventcore/actors/subscriber.hpp>

#include "bank.pb.h"

struct listener : eventcore::subscriber<listener> {
  using events = eventcore::events<bank::Deposited>;
  bool handle(const bank::Deposited&) { return true; }
};

const auto type = eventcore::subscriber_type_of<listener>();
