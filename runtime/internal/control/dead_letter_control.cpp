#include <eventcore/runtime/internal/control/dead_letter_control.hpp>

#include <eventcore/actors/dead_letters.hpp>
#include <eventcore/actors/internal/subscription_actor.hpp>

#include <nlohmann/json.hpp>

namespace eventcore::internal {

namespace {

std::optional<log_position> position_in(const nlohmann::json& request) {
  return request.contains("position") ? std::optional{request.at("position").get<log_position>()}
                                      : std::nullopt;
}

result<nlohmann::json> count(const result<std::size_t>& letters) {
  if (!letters)
    return letters.error();
  return nlohmann::json{{"letters", *letters}};
}

} // namespace

control_handler replay_letters(journal& journal, std::shared_ptr<const subscription_directory> running) {
  return [&journal, running = std::move(running)](const nlohmann::json& request) {
    const auto name = request.at("subscription").get<std::string>();
    auto wanted = want_dead_letters_replayed(journal, name, position_in(request));
    if (auto actor = running->find(name))
      caf::anon_send(actor, look_at_letters{});
    return count(wanted);
  };
}

control_handler drop_letters(journal& journal) {
  return [&journal](const nlohmann::json& request) {
    return count(
        drop_dead_letters(journal, request.at("subscription").get<std::string>(), position_in(request)));
  };
}

} // namespace eventcore::internal
