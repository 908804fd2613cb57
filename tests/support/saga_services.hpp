#pragma once

#include "account.hpp"

#include <eventcore/actors/caf.hpp>

#include <caf/all.hpp>

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace eventcore::test {

/// What one service did for a step of a saga.
struct effect {
  bool done = false;
  bool undone = false; ///< and never to be done from now on
  unsigned times = 0;  ///< it was done
};

/// A request as a service got it, to be answered now, later, twice or never.
struct service_request {
  std::string saga;
  std::size_t step;
  bool undo;
  std::string key;
  std::function<void(caf::message)> answer;
};

/// Services that keep their side of the bargain (spec 21): a repeat of a key gets the first answer and has no further effect,
/// and what was undone is never done. All else that can go wrong, goes wrong: what they do and what they say of it
/// are two throws of the dice.
class saga_services {
public:
  explicit saga_services(std::function<std::size_t(std::size_t)> roll)
      : roll_{std::move(roll)} {}

  std::map<std::string, std::vector<effect>> effects; ///< by saga and step
  /// Steps whose services have said yes to the request and are to confirm it, too.
  std::deque<std::pair<std::string, std::size_t>> to_confirm;
  bool calm = false; ///< nothing goes wrong any more

  struct counts {
    std::size_t refused = 0, nothing = 0, lies = 0, silence = 0, late = 0, twice = 0, repeats = 0,
                undone_unseen = 0;
  };
  counts seen;

  bool refused(const std::string& saga, std::size_t step, bool undo) const {
    return refusals_.contains({saga, step, undo});
  }

  void take(service_request r, bool confirmed_later) {
    auto what = calm ? 0 : roll_(16);
    switch (what) {
    case 6: // it has no time, and does not look at the key
    case 7:
      ++seen.nothing;
      return r.answer(error_of(entity_errc::overloaded));
    case 8: // lost on the way there, or on the way back
      ++seen.silence;
      return;
    case 9:
      ++seen.silence;
      decide(r);
      return;
    case 10: // nobody knows
      ++seen.lies;
      return r.answer(error_of(entity_errc::outcome_unknown));
    case 11:
      ++seen.lies;
      decide(r);
      return r.answer(error_of(entity_errc::outcome_unknown));
    case 12: { // decided now, said later
      ++seen.late;
      auto yes = decide(r);
      later_.push_back([this, r, yes, confirmed_later] { say(r, yes, confirmed_later); });
      return;
    }
    case 13: // decided later
      ++seen.late;
      later_.push_back([this, r, confirmed_later] { say(r, decide(r), confirmed_later); });
      return;
    case 14: {
      ++seen.twice;
      auto yes = decide(r);
      say(r, yes, confirmed_later);
      r.answer(yes ? error_of(entity_errc::rejected) : reply(0));
      return;
    }
    case 15: { // it says yes in a way that nobody expects
      auto yes = decide(r);
      if (!yes)
        return say(r, yes, confirmed_later);
      ++seen.lies;
      return r.answer(caf::make_message(std::string{"yes"}));
    }
    default:
      say(r, decide(r), confirmed_later);
    }
  }

  /// One of the things that were to come later.
  void do_one_late() {
    if (later_.empty())
      return;
    auto i = later_.begin() + static_cast<std::ptrdiff_t>(roll_(later_.size()));
    auto thing = std::move(*i);
    later_.erase(i);
    thing();
  }
  bool has_late() const { return !later_.empty(); }

  /// The service fails what it was to confirm: it takes the effect back itself, and from now on its answer is no.
  void take_back(const std::string& saga, std::size_t step) {
    auto& e = effect_of(saga, step);
    e.done = false;
    e.undone = true;
    refusals_.emplace(saga, step, false);
    for (auto& [key, first] : first_answers_)
      if (first.saga == saga && first.step == step && !first.undo)
        first.yes = false;
  }

  static caf::message reply(std::int64_t cents) {
    return caf::make_message(make<bank::Balance>([&](auto& b) { b.set_cents(cents); }));
  }
  static caf::message error_of(entity_errc code) {
    return caf::make_message(to_caf_error(make_error(code, "so it is")));
  }
  effect& effect_of(const std::string& saga, std::size_t step) {
    auto& all = effects[saga];
    all.resize(std::max(all.size(), step + 1));
    return all[step];
  }

private:
  struct first_answer {
    std::string saga;
    std::size_t step;
    bool undo;
    bool yes;
  };

  /// Whether the service says yes to it, by the rules of idempotency.
  bool decide(const service_request& r) {
    if (auto known = first_answers_.find(r.key); known != first_answers_.end()) {
      ++seen.repeats;
      return known->second.yes;
    }
    auto& e = effect_of(r.saga, r.step);
    auto yes = (r.undo || !e.undone) && (calm || roll_(r.undo ? 10 : 8) != 0);
    if (!yes) {
      ++seen.refused;
      refusals_.emplace(r.saga, r.step, r.undo);
    } else if (r.undo) {
      seen.undone_unseen += !e.done;
      e.done = false;
      e.undone = true;
    } else {
      e.done = true;
      ++e.times;
    }
    first_answers_[r.key] = {r.saga, r.step, r.undo, yes};
    return yes;
  }

  void say(const service_request& r, bool yes, bool confirmed_later) {
    if (yes && confirmed_later && !r.undo)
      to_confirm.emplace_back(r.saga, r.step);
    r.answer(yes ? reply(static_cast<std::int64_t>(r.step)) : error_of(entity_errc::rejected));
  }

  std::function<std::size_t(std::size_t)> roll_;
  std::set<std::tuple<std::string, std::size_t, bool>> refusals_;
  std::map<std::string, first_answer> first_answers_;
  std::deque<std::function<void()>> later_;
};

} // namespace eventcore::test
