#include <eventcore/runtime/internal/control/saga_control.hpp>

#include <nlohmann/json.hpp>

namespace eventcore::internal {

control_handler operate_sagas(std::function<saga_handle(std::string_view category)> find) {
  return [find = std::move(find)](const nlohmann::json& request) -> result<nlohmann::json> {
    const auto text = [&](const char* name) { return request.at(name).get<std::string>(); };
    const auto action = saga_action_of(text("action"));
    if (!action)
      return make_error(control_errc::refused, "a saga can be told to retry, skip or abort")
          .with_reason("unknown_action", {});
    const auto sagas = find(text("category"));
    if (!sagas)
      return make_error(control_errc::refused,
                        "the node does not run the sagas of category " + text("category") +
                            "; ask again when it does, or end it and decide on its journal alone")
          .with_reason("not_run_here", {});
    const auto phase = sagas.operate(text("id"), *action, text("why"), control_handler_limit);
    if (!phase)
      return phase.error();
    return nlohmann::json{{"phase", to_string(*phase)}};
  };
}

} // namespace eventcore::internal
