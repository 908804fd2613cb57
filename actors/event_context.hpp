#pragma once

#include <eventcore/persistence/event.hpp>

#include <string_view>

namespace eventcore {

/// What comes with an event that is handed to a user's function, besides its content. Valid during the call.
struct event_context {
  std::string_view source; ///< name of the service that it is from
  std::string_view stream;
  stream_version version = 0;
  log_position position = 0; ///< in the source's journal
  event_id id;
  timestamp occurred_at{};
  const event_metadata&
      metadata; ///< the event's; if its trace is recorded, with the handler's span as trace context
  std::uint32_t attempt = 1;      ///< 2 and more: a subscriber's handler failed before
  bool from_dead_letters = false; ///< a subscriber gave the event up before, and it is replayed

  /// The stream's name without its category: `4711` of `order-4711`.
  std::string_view key() const noexcept {
    const auto dash = stream.find('-');
    return dash == std::string_view::npos ? std::string_view{} : stream.substr(dash + 1);
  }
};

} // namespace eventcore
