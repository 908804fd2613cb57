#pragma once

#include <eventcore/persistence/journal.hpp>

#include "shop.pb.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace shop {

/// What the journals alone say of one order.
struct order_trail {
  enum class outcome : std::uint8_t { none, unfinished, stuck, completed, compensated };

  outcome ended = outcome::none;
  unsigned ends = 0; ///< final events of the saga
  eventcore::timestamp started_at{}, ended_at{};
  std::string failed_step;
  std::vector<std::string> to_undo;         ///< steps confirmed or in doubt, as they went
  std::vector<std::string> undo_requested;  ///< steps, as their compensations were first requested
  std::map<std::string, unsigned> undone;   ///< how often a step was compensated
  std::map<std::string, unsigned> effects;  ///< events of the services, by type
  std::map<std::string, std::int64_t> held; ///< units that are reserved, by SKU
  std::int64_t taken = 0;                   ///< cents, not cancelled

  unsigned count(const std::string& type) const;
  std::chrono::microseconds took() const { return ended_at - started_at; }
};

/// What the journals of all services say.
struct audit {
  std::map<std::string, order_trail> orders;
  std::map<std::string, std::int64_t> received; ///< units by SKU
  std::map<std::string, std::int64_t> left;     ///< units by SKU
  std::int64_t taken = 0;                       ///< cents that the gateway holds
};

/// Reads the journals of all services, without entities and snapshots. Error: a journal's, or a payload that does not parse.
eventcore::result<audit> audit_journals(std::span<eventcore::journal_reader* const> journals);

/// What is wrong with an order: a saga that did not end, or ended otherwise than its services' events say; compensations that
/// are missing, doubled or out of order; an effect that happened twice. Empty if nothing is.
std::string fault_in(const PlaceOrder& order, const order_trail& trail);

} // namespace shop
