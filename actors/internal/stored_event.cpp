#include <eventcore/actors/internal/stored_event.hpp>

#include <algorithm>
#include <memory>

namespace eventcore::internal {

namespace {

std::optional<std::string> lift_and_evolve(const fold_type& type, const fold_type::event& row, void* state,
                                           std::uint32_t version, std::string_view payload) {
  auto lifts = type.lifts.steps().find(row.prototype->GetTypeName());
  if (lifts == type.lifts.steps().end() || !lifts->second.contains(version))
    return "has schema version " + std::to_string(version) + ", and there is no upcaster that lifts it to " +
           std::to_string(row.schema_version) + "; add one to upcast()";
  auto step = lifts->second.find(version);
  std::unique_ptr<google::protobuf::Message> event{step->second.from->New()};
  if (!event->ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return "has a payload that does not parse as " + event->GetTypeName() + ", which its upcaster takes";
  for (; step != lifts->second.end(); ++step) {
    auto lifted = guarded("its upcaster", [&]() -> std::optional<std::string> {
      event = step->second.apply(*event);
      return std::nullopt;
    });
    if (lifted)
      return *lifted + " (from schema version " + std::to_string(step->first) + ")";
  }
  row.evolve(state, *event);
  return std::nullopt;
}

} // namespace

std::string describe(const recorded_event& event) {
  return "event " + std::to_string(event.version) + " of stream " + event.stream + " at position " +
         std::to_string(event.position) + " of type " + event.type;
}

const fold_type::event* find_event(const fold_type& type, std::string_view name, std::uint16_t& last) {
  auto& names = type.names;
  if (last >= names.size() || names[last].first != name) {
    auto i =
        std::ranges::lower_bound(names, name, {}, [](auto& entry) { return std::string_view{entry.first}; });
    if (i == names.end() || i->first != name)
      return nullptr;
    last = static_cast<std::uint16_t>(i - names.begin());
  }
  return &type.events[names[last].second];
}

std::optional<std::string> evolve_stored(const fold_type& type, const fold_type::event& row, void* state,
                                         std::uint32_t schema_version, std::string_view payload) {
  if (schema_version > row.schema_version)
    return "has schema version " + std::to_string(schema_version) + ", but this program knows only up to " +
           std::to_string(row.schema_version) + "; run the program version that wrote it, or a newer one";
  if (schema_version < row.schema_version)
    return lift_and_evolve(type, row, state, schema_version, payload);
  if (!row.replay(state, payload))
    return "has a payload that does not parse";
  return std::nullopt;
}

std::optional<std::string> apply_event(const fold_type& type, void* state, std::uint16_t& last,
                                       std::string_view name, std::uint32_t schema_version,
                                       std::string_view payload, const char* function) {
  const auto* row = find_event(type, name, last);
  if (!row)
    return "is unknown to the decider; add the type to its events, or run the program version that wrote "
           "it";
  return guarded(function, [&] { return evolve_stored(type, *row, state, schema_version, payload); });
}

} // namespace eventcore::internal
