#pragma once

#include <eventcore/actors/internal/saved_answers.hpp>
#include <eventcore/persistence/journal.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace eventcore::internal {

/// A stream folded up to a version: the user's state, and the answers to repeated commands.
class fold_state {
public:
  /// The state of a stream without events. Throws what the user's constructor throws.
  explicit fold_state(const fold_type& type)
      : type_{&type}
      , state_{type.new_state()} {}
  fold_state(fold_state&& other) noexcept { *this = std::move(other); }
  fold_state& operator=(fold_state&& other) noexcept;
  ~fold_state() {
    if (state_)
      type_->delete_state(state_);
  }

  bool can_clone() const noexcept { return type_->copy_state != nullptr; }
  /// Requires `can_clone()`. Throws what the user's copy constructor throws.
  fold_state clone() const;

  void* get() noexcept { return state_; }
  const void* get() const noexcept { return state_; }

  /// Takes in the next event of the stream. Nothing, or why that is impossible (the state is then worth nothing).
  std::optional<std::string> apply(const recorded_event& event, const answer_options& limits);
  /// Takes in an event that is about to be persisted.
  std::optional<std::string> apply(const new_event& event);

  void remember(const answer_options& limits, std::string_view key, std::string_view content,
                timestamp given_at);
  std::optional<std::string_view> find_answer(const answer_options& limits, std::string_view key,
                                              timestamp now) const {
    return answers_ ? answers_->find(limits, key, now) : std::nullopt;
  }

  /// What to save. Requires a snapshot form. Throws what the user's function throws.
  snapshot save() const;
  /// Nothing, or why `s` cannot be taken (the state is then worth nothing).
  std::optional<std::string> load(const snapshot& s, const answer_options& limits);

  stream_version version = 0;
  log_position position = 0; ///< of the event at `version`, 0 if not known

private:
  fold_state() = default;
  std::optional<std::string> apply(std::string_view name, std::uint32_t schema_version,
                                   std::string_view payload);

  const fold_type* type_ = nullptr;
  void* state_ = nullptr;
  std::unique_ptr<saved_answers> answers_;
  std::uint16_t last_event_ =
      0; ///< place of the name that came last in `names`: the next one is often the same
};

/// The state of the newest snapshot that can be used, else of an empty stream. `passed_over` hears of each that cannot.
fold_state restore(journal_reader& journal, const stream_id& stream, const fold_type& type,
                   const answer_options& limits, const std::function<void(const std::string&)>& passed_over);

} // namespace eventcore::internal
