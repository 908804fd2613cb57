#pragma once

#include <eventcore/persistence/event.hpp>

#include <eventcore/actors/internal/saga.pb.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace eventcore::test {

/// A step of a saga, as far as the rules ask for it.
struct step_rules {
  std::string name;
  bool can_undo = true; ///< it has a compensation
  bool throws = false;  ///< its request cannot be made
  std::uint32_t retries = 0;
  std::uint32_t undo_retries = 0;
  std::chrono::milliseconds limit{};
  std::chrono::milliseconds backoff{}; ///< of both kinds of retries, and the longest pause
};

/// What the specification (16 to 22) says of the events of one saga, without any of the engine's code: takes them one by one
/// and names the first that is not allowed.
class saga_rules {
public:
  enum class phase { none, running, compensating, stuck, completed, compensated };
  enum class state {
    waiting,
    requested,
    delayed,
    confirmed,
    failed,
    undo_requested,
    undo_delayed,
    undone,
    undo_failed
  };

  struct step {
    state now = state::waiting;
    std::uint32_t attempts = 0;
    bool doubt = false;   ///< it may have had its effect
    bool skipped = false; ///< an operator took its compensation as done
    std::int64_t due = 0;
    unsigned requests = 0, undo_requests = 0; ///< recorded so far
    bool is_open() const {
      return now == state::requested || now == state::delayed || now == state::undo_requested ||
             now == state::undo_delayed;
    }
  };

  /// `refused` says whether a participant said no to a step, or to its compensation.
  saga_rules(const std::vector<step_rules>& definition, std::function<bool(std::size_t, bool undo)> refused)
      : definition_{definition}
      , refused_{std::move(refused)}
      , steps(definition.size()) {}

private:
  const std::vector<step_rules>& definition_;
  std::function<bool(std::size_t, bool)> refused_;

public:
  std::vector<step> steps;
  phase now = phase::none;
  bool operated_last = false; ///< its last event is an operator's: it goes on when it is woken

  bool is_final() const { return now == phase::completed || now == phase::compensated; }
  const step* open() const {
    auto i = std::ranges::find_if(steps, &step::is_open);
    return i == steps.end() ? nullptr : &*i;
  }

  /// Empty if `e` is allowed.
  std::string take(const recorded_event& e) {
    operated_last = false;
    at_ = e.occurred_at.time_since_epoch().count();
    auto type = e.type.substr(e.type.find('.') + 1);
    for (auto& [name, rule] : rules())
      if (name == type) {
        auto wrong = rule(*this, e);
        return wrong.empty() ? "" : type + " at version " + std::to_string(e.version) + ": " + wrong;
      }
    return "an event " + e.type;
  }

private:
  using rule = std::function<std::string(saga_rules&, const recorded_event&)>;

  static const std::vector<std::pair<std::string, rule>>& rules() {
    static const std::vector<std::pair<std::string, rule>> all{
        {"SagaStarted", on<SagaStarted>},
        {"SagaStepRequested", on<SagaStepRequested>},
        {"SagaStepConfirmed", on<SagaStepConfirmed>},
        {"SagaStepDelayed", on<SagaStepDelayed>},
        {"SagaStepFailed", on<SagaStepFailed>},
        {"SagaCompensationRequested", on<SagaCompensationRequested>},
        {"SagaCompensationDelayed", on<SagaCompensationDelayed>},
        {"SagaStepCompensated", on<SagaStepCompensated>},
        {"SagaCompensationFailed", on<SagaCompensationFailed>},
        {"SagaOperated", on<SagaOperated>},
        {"SagaWoken", on<SagaWoken>},
        {"SagaCompleted", on<SagaCompleted>},
        {"SagaCompensated", on<SagaCompensated>}};
    return all;
  }

  template <class Event>
  static std::string on(saga_rules& self, const recorded_event& e) {
    Event event;
    if (!event.ParseFromString(e.payload))
      return "it does not parse";
    if (self.is_final())
      return "the saga had ended";
    if constexpr (requires { event.step(); }) {
      auto i = std::ranges::find(self.definition_, event.step(), &step_rules::name);
      if (i == self.definition_.end())
        return "there is no step " + event.step();
      return self.apply(event, static_cast<std::size_t>(i - self.definition_.begin()));
    } else {
      return self.apply(event);
    }
  }

  std::string apply(const SagaStarted& e) {
    if (now != phase::none)
      return "it was started before";
    if (!std::ranges::equal(e.steps(), definition_, {}, {}, &step_rules::name))
      return "its steps are not those of the definition";
    now = phase::running;
    return {};
  }

  std::string apply(const SagaStepRequested& e, std::size_t i) {
    auto& s = steps[i];
    if (now != phase::running)
      return "the saga does not go forward";
    if (!std::all_of(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(i),
                     [](auto& before) { return before.now == state::confirmed; }))
      return "a step before it is not confirmed";
    ++s.requests;
    if (e.again())
      return s.now == state::requested && e.deadline_us() == s.due ? "" : "there is nothing to send again";
    if (s.now != (e.has_request() ? state::waiting : state::delayed))
      return "it does not wait for a request";
    s.now = state::requested;
    return attempt(s, e.deadline_us(), definition_[i], definition_[i].retries);
  }

  std::string apply(const SagaStepConfirmed&, std::size_t i) {
    if (now != phase::running || (steps[i].now != state::requested && steps[i].now != state::delayed))
      return "the step is not open";
    steps[i].now = state::confirmed;
    return {};
  }

  std::string apply(const SagaStepDelayed& e, std::size_t i) {
    auto& s = steps[i];
    if (s.now != state::requested || s.attempts > definition_[i].retries)
      return "there is nothing to try again";
    s.now = state::delayed;
    s.doubt |= e.in_doubt();
    return pause(s, e.retry_at_us(), definition_[i]);
  }

  std::string apply(const SagaStepFailed& e, std::size_t i) {
    auto& s = steps[i];
    auto last = s.now == state::requested && s.attempts == definition_[i].retries + 1;
    auto refused = (s.now == state::requested || s.now == state::delayed) && refused_(i, false);
    auto unmade = s.now == state::waiting && definition_[i].throws;
    if (now != phase::running || (!last && !refused && !unmade))
      return "there was neither a refusal nor the last attempt";
    s.now = state::failed;
    s.doubt |= e.in_doubt();
    now = phase::compensating;
    return {};
  }

  std::string apply(const SagaOperated& e) {
    operated_last = true;
    if (e.action() == SagaOperated::ABORT) {
      if (now != phase::running)
        return "there is nothing to abort";
      now = phase::compensating;
      for (auto& s : steps)
        if (s.is_open()) {
          s.now = state::failed;
          s.doubt = true;
        }
      return {};
    }
    for (auto& s : steps)
      if (s.now == state::undo_failed) {
        s.skipped = e.action() == SagaOperated::SKIP;
        s.now = s.skipped ? state::undone : state::confirmed;
        now = phase::compensating;
        return {};
      }
    if (e.action() == SagaOperated::RETRY && open() != nullptr &&
        (open()->now == state::delayed || open()->now == state::undo_delayed))
      return {};
    return "there is nothing to retry or to skip";
  }

  /// The step to be undone next; null if there is none.
  step* next_to_undo() {
    auto i = std::find_if(steps.rbegin(), steps.rend(), [](auto& s) {
      return s.now == state::confirmed || (s.now == state::failed && s.doubt);
    });
    return i == steps.rend() ? nullptr : &*i;
  }

  std::string apply(const SagaCompensationRequested& e, std::size_t i) {
    auto& s = steps[i];
    if (now != phase::compensating)
      return "the saga is not compensated";
    if (!definition_[i].can_undo)
      return "the step has no compensation";
    if (e.has_request() ? open() != nullptr || &s != next_to_undo() : s.now != state::undo_delayed)
      return "it is not this step's turn";
    if (e.has_request())
      s.attempts = 0;
    s.now = state::undo_requested;
    ++s.undo_requests;
    return attempt(s, e.deadline_us(), definition_[i], definition_[i].undo_retries);
  }

  std::string apply(const SagaCompensationDelayed& e, std::size_t i) {
    auto& s = steps[i];
    if (s.now != state::undo_requested || s.attempts > definition_[i].undo_retries)
      return "there is nothing to try again";
    s.now = state::undo_delayed;
    return pause(s, e.retry_at_us(), definition_[i]);
  }

  std::string apply(const SagaStepCompensated&, std::size_t i) {
    auto& s = steps[i];
    auto nothing_to_do = !definition_[i].can_undo && open() == nullptr && &s == next_to_undo();
    if (now != phase::compensating ||
        (s.now != state::undo_requested && s.now != state::undo_delayed && !nothing_to_do))
      return "its compensation is not open";
    s.now = state::undone;
    return {};
  }

  std::string apply(const SagaCompensationFailed&, std::size_t i) {
    auto& s = steps[i];
    if (s.now != state::undo_requested ||
        (s.attempts != definition_[i].undo_retries + 1 && !refused_(i, true)))
      return "there was neither a refusal nor the last attempt";
    s.now = state::undo_failed;
    now = phase::stuck;
    return {};
  }

  std::string apply(const SagaWoken&) { return {}; }

  std::string apply(const SagaCompleted&) {
    if (now != phase::running ||
        !std::ranges::all_of(steps, [](auto& s) { return s.now == state::confirmed; }))
      return "not all steps are confirmed";
    now = phase::completed;
    return {};
  }

  std::string apply(const SagaCompensated&) {
    if (now != phase::compensating || open() != nullptr || next_to_undo() != nullptr)
      return "something is not undone";
    now = phase::compensated;
    return {};
  }

  std::string attempt(step& s, std::int64_t deadline, const step_rules& d, std::uint32_t retries) {
    s.due = deadline;
    if (++s.attempts > retries + 1)
      return "this is one attempt too many";
    return deadline == at_ + std::chrono::microseconds{d.limit}.count() ? "" : "its time limit is wrong";
  }
  std::string pause(step& s, std::int64_t until, const step_rules& d) const {
    s.due = until;
    auto longest = std::chrono::microseconds{d.backoff}.count();
    return until >= at_ + longest / 2 && until <= at_ + longest ? "" : "its pause is wrong";
  }

  std::int64_t at_ = 0;
};

} // namespace eventcore::test
