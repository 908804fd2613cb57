#include <eventcore/runtime/internal/federation/federation_router.hpp>

#include <eventcore/runtime/internal/federation/event_forms.hpp>

#include <google/protobuf/message.h>

#include <algorithm>

namespace eventcore::internal {

error at_event(const recorded_event& e, const error& why) {
  return {why.code(), "stream " + e.stream + ", version " + std::to_string(e.version) + ", position " +
                          std::to_string(e.position) + ", type " + e.type + ": " + why.message()};
}

federation_router::federation_router(std::shared_ptr<const federation_plan> plan, journal_reader& from,
                                     std::string target)
    : plan_{std::move(plan)}
    , target_{std::move(target)}
    , decoder_{from} {}

result<std::optional<federated_event>> federation_router::route(const recorded_event& e) {
  if (!plan_->publisher.publishes(e))
    return std::optional<federated_event>{};
  const auto& to_do = steps_for(e.type);
  if (!to_do)
    return std::optional<federated_event>{};
  auto envelope = plan_->publisher.envelope(e);
  if (!envelope)
    return at_event(e, envelope.error());
  auto type = decoder_.type_of(e);
  if (!type)
    return type.error();
  federated_event routed;
  if (to_do->empty()) {
    routed.event = *std::move(envelope);
  } else {
    event_draft draft{*std::move(envelope), [&] { return decoder_.decode(e); }};
    if (auto done = transform(draft, *to_do); !done)
      return done.error();
    routed.event = std::move(draft.event());
    if (const auto* payload = draft.changed_payload()) {
      if (!payload->IsInitialized())
        return at_event(e, make_error(federation_errc::transformation_failed,
                                      "a transformation left required fields of the payload empty: " +
                                          payload->InitializationErrorString()));
      type = payload->GetDescriptor();
      payload->SerializeToString(routed.event.mutable_payload());
    } else {
      routed.event.set_payload(e.payload);
    }
  }
  auto form = form_of(**type, routed.event.event_type());
  if (!form)
    return at_event(e, form.error());
  routed.form = *std::move(form);
  return std::optional{std::move(routed)};
}

const std::optional<federation_router::steps>& federation_router::steps_for(const std::string& type) {
  if (const auto known = steps_.find(type); known != steps_.end())
    return known->second;
  auto& to_do = steps_[type];
  const auto routes = plan_->rules.routes(plan_->publisher.service_id(), type);
  const auto route = std::ranges::find(routes, target_, &federation_route::target);
  if (route != routes.end()) {
    to_do.emplace();
    for (const auto& name : route->transformations)
      to_do->push_back({name, *plan_->transformations.find(name)}); // checked when the hub started
  }
  return to_do;
}

result<std::shared_ptr<const event_form>> federation_router::form_of(const google::protobuf::Descriptor& type,
                                                                     const std::string& name) {
  auto& known = forms_[{&type, name}];
  if (!known) {
    auto form = describe_form(type, name);
    if (!form)
      return form.error();
    known = std::make_shared<const event_form>(*std::move(form));
  }
  return known;
}

} // namespace eventcore::internal
