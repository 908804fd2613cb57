// expect: eventcore: the subscriber has no handle(const Event&)
// expect: <listener, bank::Withdrawn>

#include <eventcore/actors/subscriber.hpp>

#include "bank.pb.h"

struct listener : eventcore::subscriber<listener> {
  using events = eventcore::events<bank::Deposited, bank::Withdrawn>;
  void handle(const bank::Deposited&) {}
};

const auto type = eventcore::subscriber_type_of<listener>();
