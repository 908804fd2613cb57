#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace caf {
class actor;
class actor_system;
} // namespace caf

namespace shop {

/// What goes wrong with a request to a participant on purpose.
enum class fault : std::uint8_t {
  none,
  fail, ///< it is refused, and has no effect
  slow, ///< it takes effect, and is answered too late or never
  lie,  ///< it takes effect, and is answered as if it had failed
};

/// The share of orders that meet a fault, by participant: order, payment, inventory, shipping.
using fault_rates = std::map<std::string, double, std::less<>>;

/// Which faults there are. The same order meets the same faults in every run.
class faults {
public:
  fault_rates fail, slow, lie;
  fault_rates stick; ///< of the orders whose compensation is refused
  std::uint64_t seed = 1;

  fault of(std::string_view participant, std::string_view order) const;
  /// Whether every attempt of the order is slow or a lie, not the first one only.
  bool every_time(std::string_view participant, std::string_view order) const;
  /// Whether the participant refuses to undo what it did for the order, so that its saga is stuck.
  bool sticks(std::string_view participant, std::string_view order) const;
  bool any(std::string_view participant) const;
};

/// Reads `0.2` (all participants) or `payment=0.2,shipping=0.1` into `rates`. Returns what is wrong; empty if nothing is.
std::string parse_rates(const std::string& text, fault_rates& rates);

/// An actor in front of a participant that meets the sagas' requests with faults. Compensations pass, unless they stick.
caf::actor start_faulty(caf::actor_system& system, std::string participant, const caf::actor& target,
                        const faults& which);

/// The id of the saga whose request has this idempotency key; `undo` says whether it is a compensation.
std::string_view saga_of(std::string_view key, bool& undo);

} // namespace shop
