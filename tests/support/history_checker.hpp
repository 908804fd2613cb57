#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace eventcore::test {

// A model is the sequential, deterministic system that a history is held against:
//
//     struct model {
//       using state = ...;  // copyable, default constructed at the start, ordered by < and compared by ==
//       using input = ...;
//       using output = ...;
//       // Whether `in` may be answered with `out` in state `s`; if so, `s` becomes the state after it.
//       // Null: the answer is unknown, and any will do.
//       static bool step(state& s, const input& in, const output* out);
//       // Whether step never changes any state with this input and answer. False is always right, only slower.
//       static bool inert(const input& in, const output* out);
//       // For the text of a violation.
//       static std::string describe(const input& in, const output* out);
//       static std::string describe(const state& s);
//     };

/// One request as its client saw it. Times are ticks of one clock for the whole history; the operation took effect
/// at one moment from `invoked` to `completed`. Equal times of two operations order nothing.
///
/// Without `completed` nobody knows whether it took effect: the answer never came, or it was outcome_unknown. It may
/// then do so at any time from `invoked` on, or never. A request that surely changed nothing and told nothing of the
/// state (a conflict, an overload) does not belong in a history.
template <class Model>
struct operation {
  std::uint64_t invoked = 0;
  std::optional<std::uint64_t> completed;
  typename Model::input input;
  /// None: unknown, any is right.
  std::optional<typename Model::output> output;
};

namespace detail {

template <class Model>
const typename Model::output* answer(const operation<Model>& op) {
  return op.output ? &*op.output : nullptr;
}

template <class Model>
std::string to_text(const operation<Model>& op) {
  return Model::describe(op.input, answer(op)) + " [" + std::to_string(op.invoked) + ", " +
         (op.completed ? std::to_string(*op.completed) : "?") + "]";
}

/// The depth-first search of Wing and Gong. As Lowe does, it enters no pair of placed operations and state twice.
template <class Model>
class order_search {
public:
  explicit order_search(std::vector<operation<Model>> history)
      : ops_{std::move(history)} {
    std::stable_sort(ops_.begin(), ops_.end(),
                     [](const auto& a, const auto& b) { return a.invoked < b.invoked; });
    placed_.resize((ops_.size() + 63) / 64);
    for (const auto& op : ops_)
      completed_ += op.completed ? 1 : 0;
  }

  std::optional<std::string> violation() {
    for (const auto& op : ops_)
      if (op.completed && *op.completed < op.invoked)
        return to_text(op) + " completes before it is invoked";
    if (extend({}))
      return std::nullopt;
    return explain();
  }

private:
  using state = typename Model::state;

  bool placed(std::size_t i) const { return (placed_[i / 64] >> (i % 64) & 1) != 0; }
  void toggle(std::size_t i) { placed_[i / 64] ^= std::uint64_t{1} << (i % 64); }

  /// The operations that can come next: none that is left completed before they were invoked. Those that complete
  /// first stand first, as they are the likeliest; those without completion last.
  std::vector<std::size_t> candidates() const {
    std::vector<std::size_t> found;
    auto first_completion = never;
    for (std::size_t i = 0; i != ops_.size() && ops_[i].invoked <= first_completion; ++i)
      if (!placed(i)) {
        first_completion = std::min(first_completion, ops_[i].completed.value_or(never));
        found.push_back(i);
      }
    std::stable_sort(found.begin(), found.end(), [this](auto a, auto b) {
      return ops_[a].completed.value_or(never) < ops_[b].completed.value_or(never);
    });
    return found;
  }

  /// Whether the operations left can follow those placed, which led to `now`.
  bool extend(const state& now) {
    if (done_ == completed_)
      return true;
    if (!entered_.emplace(placed_, now).second)
      return false;
    auto next_ones = candidates();
    if (!deepest_ || done_ > deepest_->done)
      deepest_ = {done_, order_, next_ones.front(), now};
    for (auto i : next_ones) {
      const auto& op = ops_[i];
      auto next = now;
      if (!Model::step(next, op.input, answer(op)))
        continue;
      if (!op.completed && next == now) // the same as leaving it out
        continue;
      const bool last = op.completed && Model::inert(op.input, answer(op)); // wherever it fits, it fits here
      const std::size_t counts = op.completed ? 1 : 0;
      toggle(i);
      order_.push_back(i);
      done_ += counts;
      if (extend(next))
        return true;
      done_ -= counts;
      order_.pop_back();
      toggle(i);
      if (last)
        return false;
    }
    return false;
  }

  std::string explain() const {
    constexpr std::size_t shown = 12;
    const auto& order = deepest_->order;
    auto text = "no order of the operations is right; after " + std::to_string(deepest_->done) + " of " +
                std::to_string(completed_) + " completed ones there is no place for\n  " +
                to_text(ops_[deepest_->stuck]) + "\nin state\n  " + Model::describe(deepest_->now) +
                "\nafter";
    if (order.empty())
      return text + " nothing";
    if (order.size() > shown)
      text += "\n  ... " + std::to_string(order.size() - shown) + " earlier ones";
    for (auto i = order.size() - std::min(shown, order.size()); i != order.size(); ++i)
      text += "\n  " + to_text(ops_[order[i]]);
    return text;
  }

  static constexpr auto never = UINT64_MAX;

  /// The search's state with the most completed operations placed; `stuck` is the next that had to be.
  struct depth {
    std::size_t done;
    std::vector<std::size_t> order;
    std::size_t stuck;
    state now;
  };

  std::vector<operation<Model>> ops_; // by time of invocation
  std::size_t completed_ = 0;
  std::vector<std::uint64_t> placed_; // a bit for each operation
  std::vector<std::size_t> order_;    // the operations placed
  std::size_t done_ = 0;              // those of them that completed
  std::set<std::pair<std::vector<std::uint64_t>, state>> entered_;
  std::optional<depth> deepest_;
};

} // namespace detail

/// None if the history is linearizable: one total order of the operations exists in which each comes after all that
/// completed before it was invoked, and in which the model gives each the answer that it got. Otherwise a readable
/// text: the longest order found, and the operation that could not follow.
///
/// A hundred operations with ten at a time take milliseconds. Time and memory can double with each operation that
/// overlaps the same others, and with each without completion, as that one overlaps all that come later: a few of
/// these among a hundred can take a second or far more. Keep such histories short.
template <class Model>
std::optional<std::string> find_violation(std::vector<operation<Model>> history) {
  return detail::order_search<Model>{std::move(history)}.violation();
}

} // namespace eventcore::test
