#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore {

enum class member_state : std::uint8_t {
  connecting,  ///< not reached yet, or asked who it is
  connected,   ///< calls go there
  unreachable, ///< lost, or never reached; it is tried again and again
  refused,     ///< reached, but it does not belong here; it is tried again, less and less often
};

std::string_view to_string(member_state state) noexcept;

/// Another node of the cluster, as this one sees it.
struct member_info {
  std::string address;             ///< `host:port` that this node connects to
  std::string node;                ///< its name; empty: it was never reached
  std::string service;             ///< that runs there
  std::vector<std::string> offers; ///< names of services and exported actors
  std::string journal;             ///< id
  std::string incarnation;         ///< of the journal
  member_state state = member_state::connecting;
  std::chrono::milliseconds for_time{0};   ///< it has been in this state
  std::chrono::microseconds round_trip{0}; ///< of the last heartbeat
  std::size_t in_flight = 0;               ///< calls to it that are not answered
  std::uint64_t connects = 0;              ///< how often it was connected
  std::string last_error;                  ///< why it is not connected; what it was the last time
};

} // namespace eventcore
