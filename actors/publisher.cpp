#include <eventcore/actors/publisher.hpp>

#include <eventcore/actors/internal/saved_answers.hpp>
#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/persistence/schema.hpp>

#include <google/protobuf/descriptor.h>

#include <algorithm>

namespace eventcore {

namespace {

class category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.publish"; }

  std::string message(int value) const override {
    switch (static_cast<publish_errc>(value)) {
    case publish_errc::unknown_event_type:
      return "the event type has no topic";
    case publish_errc::invalid_topic:
      return "the text is no topic";
    case publish_errc::malformed_envelope:
      return "what came is no published event";
    case publish_errc::unknown_topic:
      return "no published event has the topic";
    }
    return "unknown publishing error " + std::to_string(value);
  }
};

/// What a `log_filter` or a `stream_id` calls a category.
std::string_view category_of(std::string_view stream) {
  return stream.substr(0, stream.find('-'));
}

timestamp system_now() {
  return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
}

error unmapped(const std::string& types, std::string_view more) {
  return make_error(publish_errc::unknown_event_type,
                    "unknown event type " + types + ": " + std::string{more});
}

} // namespace

const std::error_category& publish_category() noexcept {
  static const category instance;
  return instance;
}

// -- publication

publication& publication::map(const std::string& topic, const google::protobuf::Descriptor& type) {
  for (const auto& former : former_names_of(type))
    map(topic, former);
  return map(topic, type.full_name());
}

publication& publication::map(const std::string& topic, const std::string& type) {
  if (auto& known = topics[type]; std::ranges::find(known, topic) == known.end())
    known.push_back(topic);
  return *this;
}

publication& publication::publish(const fold_type& type) {
  auto& types = categories[std::string{type.category}];
  for (const auto& event : type.events)
    types.insert(event.prototype->GetDescriptor()->full_name());
  return *this;
}

// -- publisher

publisher::publisher(publication content, std::string service_id, std::function<timestamp()> now)
    : content_{std::move(content)}
    , service_id_{std::move(service_id)}
    , now_{std::move(now)} {}

result<publisher> publisher::create(publication content, std::string service_id,
                                    std::function<timestamp()> now) {
  for (const auto& [type, topics] : content.topics)
    for (const auto& topic : topics)
      // The same rules, for the same reason: patterns and logs are safe from such names.
      if (auto valid = stream_id::parse(topic); !valid)
        return make_error(publish_errc::invalid_topic,
                          internal::quoted(topic) + ", to which " + type +
                              " is mapped, is no topic: it has 1 to 255 bytes of UTF-8, no control "
                              "characters and none of * ? [ ]");
  std::string missing;
  for (const auto& [name, types] : content.categories)
    for (const auto& type : types)
      if (!content.topics.contains(type))
        missing += (missing.empty() ? "" : ", ") + type + " (category " + name + ")";
  if (!missing.empty())
    return unmapped(missing, "a published category has a topic for each of its event types; map it to one");
  return publisher{std::move(content), std::move(service_id), now ? std::move(now) : system_now};
}

result<std::span<const std::string>> publisher::topics_of(std::string_view event_type) const {
  const auto found = content_.topics.find(event_type);
  if (found == content_.topics.end())
    return unmapped(std::string{event_type}, "service " + service_id_ + " maps it to no topic");
  return std::span<const std::string>{found->second};
}

bool publisher::publishes(const recorded_event& e) const {
  return content_.categories.contains(category_of(e.stream)) && !internal::is_answer_carrier(e);
}

result<DistributedEvent> publisher::envelope(const recorded_event& e) const {
  auto topics = topics_of(e.type);
  if (!topics)
    return topics.error();
  return to_distributed(e, service_id_, *topics, now_());
}

std::vector<std::string> publisher::categories() const {
  std::vector<std::string> names;
  for (const auto& [name, types] : content_.categories)
    names.push_back(name);
  return names;
}

result<log_filter> publisher::filter_of(std::span<const std::string> topics) const {
  std::set<std::string> known;
  log_filter filter{categories(), {}};
  if (!filter.categories.empty())
    for (const auto& [type, its] : content_.topics) {
      known.insert(its.begin(), its.end());
      if (std::ranges::find_first_of(its, topics) != its.end())
        filter.types.push_back(type);
    }
  std::string there;
  for (const auto& topic : known)
    there += (there.empty() ? "" : ", ") + topic;
  const auto unknown = [&](const std::string& what) {
    return make_error(publish_errc::unknown_topic, what + "; service " + service_id_ + " has " +
                                                       (there.empty() ? "no topics" : "the topics " + there));
  };
  for (const auto& topic : topics)
    if (!known.contains(topic))
      return unknown("unknown topic " + internal::quoted(topic));
  // Without types the filter would admit all events.
  if (filter.types.empty())
    return unknown("no topic was named");
  return filter;
}

} // namespace eventcore
