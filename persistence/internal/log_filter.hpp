#pragma once

#include <eventcore/persistence/internal/record_codec.hpp>
#include <eventcore/persistence/journal.hpp>

#include <algorithm>

namespace eventcore::internal {

/// How many positions a filtered read looks at, for each event that the page may hold.
constexpr std::size_t looks_per_event = 64;

/// Larger pages are cut to this.
constexpr std::size_t max_page_events = 1u << 20;

inline std::string_view category_of(std::string_view stream) {
  return stream.substr(0, stream.find('-'));
}

inline bool admits_all(const log_filter& filter) {
  return filter.categories.empty() && filter.types.empty();
}

inline bool admits(const log_filter& filter, std::string_view stream, std::string_view type) {
  auto one_of = [](const std::vector<std::string>& list, std::string_view what) {
    return list.empty() || std::ranges::find(list, what) != list.end();
  };
  return one_of(filter.categories, category_of(stream)) && one_of(filter.types, type);
}

inline std::size_t size_of(const recorded_event& event) {
  return event.payload.size() + event.stream.size() + event.type.size();
}

} // namespace eventcore::internal
