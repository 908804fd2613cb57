#pragma once

#include <eventcore/actors/publisher.hpp>
#include <eventcore/persistence/event_decoder.hpp>
#include <eventcore/runtime/federation_rules.hpp>
#include <eventcore/runtime/federation_target.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace eventcore::internal {

/// `why`, with the event that it is about named before it.
error at_event(const recorded_event& e, const error& why);

/// What all ways of a hub share. Immutable.
struct federation_plan {
  eventcore::publisher publisher;
  federation_rules rules;
  eventcore::transformations transformations;
};

/// Makes of the events of a service what goes to one target: published events, transformed by the rules that send them there,
/// each with its form. The payload is decoded by the journal's own descriptors, and only where a transformation asks for it.
///
/// Not thread-safe.
class federation_router {
public:
  /// `from` outlives the router.
  federation_router(std::shared_ptr<const federation_plan> plan, journal_reader& from, std::string target);

  /// Nothing: the event does not go to this target. Errors, all naming the event: `unknown_event_type`, those of `transform`,
  /// `corrupt`.
  result<std::optional<federated_event>> route(const recorded_event& e);

private:
  using steps = std::vector<named_transformation>;

  const std::optional<steps>& steps_for(const std::string& type);
  result<std::shared_ptr<const event_form>> form_of(const google::protobuf::Descriptor& type,
                                                    const std::string& name);

  std::shared_ptr<const federation_plan> plan_;
  std::string target_;
  event_decoder decoder_;
  std::unordered_map<std::string, std::optional<steps>>
      steps_; ///< by event type; nothing: it does not go there
  std::map<std::pair<const google::protobuf::Descriptor*, std::string>, std::shared_ptr<const event_form>>
      forms_;
};

} // namespace eventcore::internal
