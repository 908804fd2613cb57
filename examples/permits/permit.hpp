#pragma once

#include "permits.pb.h"

#include <eventcore/actors/decider.hpp>
#include <eventcore/persistence/event.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

namespace permits {

/// One case of a permit application: records every task instance once and counts what took place.
///
/// Rejections: `duplicate_instance`, `missing_instance`, `empty_activity`, `bad_timestamp`. Activities may be
/// recorded in any order of time.
struct permit : eventcore::decider<permit> {
  static constexpr std::string_view category = "permit";
  using commands = eventcore::commands<RecordActivity, GetSummary>;
  using events = eventcore::events<ActivityRecorded>;

  struct state {
    std::unordered_set<std::string> instances;
    std::map<std::string, std::uint64_t> events_by_activity;
    std::uint64_t events = 0;
    std::optional<eventcore::timestamp> first;
    std::optional<eventcore::timestamp> last;
  };

  static void evolve(state& s, const ActivityRecorded& e);

  static effect<Recorded> decide(const state& s, const RecordActivity& c);
  static effect<Summary> decide(const state& s, const GetSummary&);
};

} // namespace permits
