#pragma once

#include <eventcore/actors/distributed_event.hpp>
#include <eventcore/actors/fold.hpp>
#include <eventcore/actors/publish_errc.hpp>
#include <eventcore/persistence/journal.hpp>

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore {

/// What a service publishes, as a program says it: which categories, and each of their event types under which topics.
///
///     eventcore::publication sales;
///     sales.map<shop::OrderCreated, shop::OrderCancelled>("orders");
///     sales.map<shop::OrderCreated>("new-orders");   // a type can have several topics
///     sales.publish<order>();                        // decider or fold: its category
struct publication {
  /// Types under their present and former names.
  template <class... Events>
  publication& map(const std::string& topic) {
    (map(topic, *Events::descriptor()), ...);
    return *this;
  }
  publication& map(const std::string& topic, const google::protobuf::Descriptor& type);
  /// A type by its full name, such as one that only old events have.
  publication& map(const std::string& topic, const std::string& type);

  template <class Fold>
  publication& publish() {
    return publish(fold_type_of<Fold>());
  }
  publication& publish(const fold_type& type);

  /// Topics by event type, in the order in which they were mapped.
  std::map<std::string, std::vector<std::string>, std::less<>> topics;
  /// The event types of the published categories.
  std::map<std::string, std::set<std::string>, std::less<>> categories;
};

/// Makes published events of a service's events (spec 5, 6). The journal is the outbox: who follows the journal and passes on
/// what `publishes` admits publishes exactly what is committed, in the order of the log.
///
/// Immutable, so thread-safe.
class publisher {
public:
  /// Checks `content`: at the start of a service, so that nothing is found wrong after a commit. Errors: `invalid_topic`;
  /// `unknown_event_type`, naming each event type of a published category that has no topic. An empty `now` is the system's
  /// clock; it is called from any thread.
  static result<publisher> create(publication content, std::string service_id,
                                  std::function<timestamp()> now = {});

  const std::string& service_id() const noexcept { return service_id_; }

  /// The topics of an event type. Error: `unknown_event_type`, naming it.
  result<std::span<const std::string>> topics_of(std::string_view event_type) const;

  /// Whether the event belongs to a published category. Events that eventcore itself adds to streams do not count.
  bool publishes(const recorded_event& e) const;

  /// The published form of `e`, as of now. Error: `unknown_event_type`.
  result<DistributedEvent> envelope(const recorded_event& e) const;

  /// Published categories, sorted.
  std::vector<std::string> categories() const;

  /// What a subscription to one or several topics reads. Error: `unknown_topic`.
  result<log_filter> filter_of(std::span<const std::string> topics) const;

private:
  publisher(publication content, std::string service_id, std::function<timestamp()> now);

  publication content_;
  std::string service_id_;
  std::function<timestamp()> now_;
};

} // namespace eventcore
