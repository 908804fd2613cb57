#pragma once

#include <eventcore/actors/fold.hpp>
#include <eventcore/actors/saga_definition.hpp>

#include <eventcore/actors/internal/saga.pb.h>

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace eventcore::internal {

/// The due time of a stuck saga's timer: it never fires, but lists the saga among the unfinished ones.
inline constexpr std::int64_t never_us = std::numeric_limits<std::int64_t>::max();

/// The owner of the timers of the sagas of a category. Each unfinished saga has exactly one timer, and no other has one: the
/// journal's timers are the list of unfinished sagas.
std::string saga_timer_owner(std::string_view category);
std::string saga_timer(std::string_view category, std::string_view id);
/// The category and the id in a saga's timer; nothing if it is another's.
std::optional<std::pair<std::string_view, std::string_view>> saga_of_timer(std::string_view name);

/// `<saga's stream>/<step>`, or `.../undo`; a compensation that was refused is tried again as `.../undo#2` and so on, because the
/// answer to a key is for ever.
std::string saga_request_key(std::string_view category, const std::string& id, const std::string& step,
                             bool undo, std::uint32_t refusals = 0);

bool is_final(SagaProgress::Phase phase);

/// The fold of a saga's stream; the same for all sagas. `eventcore` the tool folds with it, too.
struct saga_fold {
  using state = SagaProgress;
  static constexpr std::string_view category = "saga"; // replaced by the saga's own
  using events =
      eventcore::events<SagaStarted, SagaStepRequested, SagaStepConfirmed, SagaStepDelayed, SagaStepFailed,
                        SagaCompensationRequested, SagaCompensationDelayed, SagaStepCompensated,
                        SagaCompensationFailed, SagaOperated, SagaWoken, SagaCompleted, SagaCompensated>;

  static void evolve(state& s, const SagaStarted& e);
  static void evolve(state& s, const SagaStepRequested& e);
  static void evolve(state& s, const SagaStepConfirmed& e);
  static void evolve(state& s, const SagaStepDelayed& e);
  static void evolve(state& s, const SagaStepFailed& e);
  static void evolve(state& s, const SagaCompensationRequested& e);
  static void evolve(state& s, const SagaCompensationDelayed& e);
  static void evolve(state& s, const SagaStepCompensated& e);
  static void evolve(state& s, const SagaCompensationFailed& e);
  static void evolve(state& s, const SagaOperated& e);
  static void evolve(state& s, const SagaWoken& e);
  static void evolve(state& s, const SagaCompleted& e);
  static void evolve(state& s, const SagaCompensated& e);
};

/// Why an operator's action is impossible in this state; nothing if it is possible. Needs no definition.
std::optional<rejection> check_operation(const SagaProgress& saga, SagaOperated::Action action);

} // namespace eventcore::internal
