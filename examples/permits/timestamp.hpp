#pragma once

#include <eventcore/persistence/event.hpp>

#include <optional>
#include <string_view>

namespace permits {

/// Reads `2011-10-11 13:45:40`, with `T` in the middle if liked, then an optional fraction of 1 to 9 digits
/// (kept to the microsecond) and an optional zone: `Z`, `+02:00`, `+0200` or `+02`. Without a zone it is UTC.
/// Years 0001 to 9999 (in UTC). Nothing for any other text, and for dates and times of day that do not exist
/// (leap seconds included).
std::optional<eventcore::timestamp> parse_timestamp(std::string_view text);

} // namespace permits
