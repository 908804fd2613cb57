#pragma once

#include <eventcore/persistence/journal.hpp>

#include <string>
#include <string_view>

/// The form of a timer in the table of timers. The key is when it is due, in microseconds since the epoch as 8 big-endian
/// bytes, and its name: keys sort as timers do. The value is the key's checksum.
namespace eventcore::internal {

std::string timer_key(const durable_timer& timer);
std::string timer_value(std::string_view key);

/// Error: `corrupt`, naming the timer as far as it can be read.
result<durable_timer> parse_timer(std::string_view key, std::string_view value);

} // namespace eventcore::internal
