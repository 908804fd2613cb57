#include "permit.hpp"

#include "timestamp.hpp"

#include <google/protobuf/util/time_util.h>

#include <algorithm>

namespace permits {

using google::protobuf::util::TimeUtil;

void permit::evolve(state& s, const ActivityRecorded& e) {
  const eventcore::timestamp at{std::chrono::microseconds{TimeUtil::TimestampToMicroseconds(e.at())}};
  s.instances.insert(e.instance());
  ++s.events_by_activity[e.activity()];
  ++s.events;
  s.first = std::min(s.first.value_or(at), at);
  s.last = std::max(s.last.value_or(at), at);
}

permit::effect<Recorded> permit::decide(const state& s, const RecordActivity& c) {
  if (c.activity().empty())
    return reject("empty_activity", "the row names no activity");
  if (c.instance().empty())
    return reject("missing_instance", "the row names no task instance, so a repeat could not be told");
  if (s.instances.contains(c.instance()))
    return reject("duplicate_instance", "task instance " + c.instance() + " is recorded already");
  const auto at = parse_timestamp(c.timestamp());
  if (!at)
    return reject("bad_timestamp", "\"" + c.timestamp() + "\" is no time such as 2011-10-11 13:45:40.276");
  return persist(eventcore::make<ActivityRecorded>([&](auto& e) {
           e.set_activity(c.activity());
           e.set_instance(c.instance());
           *e.mutable_at() = TimeUtil::MicrosecondsToTimestamp(at->time_since_epoch().count());
           e.set_resource(c.resource());
           e.set_row(c.row());
         }))
      .then_reply(Recorded{});
}

permit::effect<Summary> permit::decide(const state& s, const GetSummary&) {
  return eventcore::make<Summary>([&](auto& summary) {
    summary.set_events(s.events);
    summary.mutable_events_by_activity()->insert(s.events_by_activity.begin(), s.events_by_activity.end());
    if (s.first)
      *summary.mutable_first() = TimeUtil::MicrosecondsToTimestamp(s.first->time_since_epoch().count());
    if (s.last)
      *summary.mutable_last() = TimeUtil::MicrosecondsToTimestamp(s.last->time_since_epoch().count());
  });
}

} // namespace permits
