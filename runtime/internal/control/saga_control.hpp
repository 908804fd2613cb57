#pragma once

#include <eventcore/actors/saga_host.hpp>
#include <eventcore/runtime/internal/control/control_server.hpp>

#include <functional>

namespace eventcore::internal {

/// The name of the request that carries out an operator's decision about a saga: `category`, `id`, `action` and `why`, all text.
/// The answer is the saga's `phase`. Errors: those of `saga_handle::operate`; `not_run_here`.
inline constexpr auto operate_saga_request = "sagas.operate";

/// `find` returns what runs the sagas of a category in this node, or an empty handle.
control_handler operate_sagas(std::function<saga_handle(std::string_view category)> find);

} // namespace eventcore::internal
