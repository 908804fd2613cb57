#pragma once

#include <eventcore/actors/fold.hpp>
#include <eventcore/actors/saga_definition.hpp>

#include <eventcore/actors/internal/saga.pb.h>

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

/// The state of a saga. `SagaProgress` is its form in snapshots and in answers, and would take several allocations for each
/// event that changes it.
struct saga_state {
  struct step {
    std::string name;
    SagaProgress::Step::State state = SagaProgress::Step::WAITING;
    std::uint32_t attempts = 0; ///< of the request, then of the compensation
    std::uint32_t undo_refusals = 0;
    bool in_doubt = false;
    bool sent_again = false;
    std::int64_t due_us = 0; ///< deadline of the attempt, or time of the next one
    std::string reply_type;
    std::string reply;
    std::string why;
  };
  /// As it was recorded.
  struct request {
    std::string target;
    std::string id;
    std::string type;
    std::string content;
  };

  SagaProgress::Phase phase = SagaProgress::NOT_STARTED;
  std::string id;
  std::string input_type;
  std::string input;
  std::vector<step> steps;
  request open_request; ///< of the one step that is requested or delayed
  std::string failed_step;
  std::string why;
  std::int64_t timer_us = 0; ///< of the timer in the journal; 0: there is none
  std::string traceparent;   ///< of its start; empty: it is not traced
};

/// The fold of a saga's stream; the same for all sagas. `eventcore` the tool folds with it, too.
struct saga_fold {
  using state = saga_state;
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

  static SagaProgress to_snapshot(const state& s);
  static state from_snapshot(const SagaProgress& saved);
};

/// Why an operator's action is impossible in this state; nothing if it is possible. Needs no definition.
std::optional<rejection> check_operation(const saga_state& saga, SagaOperated::Action action);

} // namespace eventcore::internal
