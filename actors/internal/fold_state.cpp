#include <eventcore/actors/internal/fold_state.hpp>

#include <eventcore/actors/internal/stored_event.hpp>

#include "eventcore/actors/internal/answer.pb.h"

namespace eventcore::internal {

fold_state& fold_state::operator=(fold_state&& other) noexcept {
  std::swap(type_, other.type_);
  std::swap(state_, other.state_);
  std::swap(answers_, other.answers_);
  std::swap(last_event_, other.last_event_);
  version = other.version;
  position = other.position;
  return *this;
}

fold_state fold_state::clone() const {
  fold_state copy;
  copy.type_ = type_;
  copy.state_ = type_->copy_state(state_);
  if (answers_)
    copy.answers_ = std::make_unique<saved_answers>(*answers_);
  copy.last_event_ = last_event_;
  copy.version = version;
  copy.position = position;
  return copy;
}

std::optional<std::string> fold_state::apply(const recorded_event& event, const answer_options& limits) {
  if (!is_answer_carrier(event))
    if (auto why = apply(event.type, event.schema_version, event.payload))
      return why;
  if (!event.answer.key.empty())
    remember(limits, event.answer.key, event.answer.content, event.occurred_at);
  version = event.version;
  position = event.position;
  return std::nullopt;
}

std::optional<std::string> fold_state::apply(const new_event& event) {
  return apply(event.type->full_name(), event.schema_version, event.payload);
}

std::optional<std::string> fold_state::apply(std::string_view name, std::uint32_t schema_version,
                                             std::string_view payload) {
  return apply_event(*type_, state_, last_event_, name, schema_version, payload, "evolve()");
}

void fold_state::remember(const answer_options& limits, std::string_view key, std::string_view content,
                          timestamp given_at) {
  if (!answers_)
    answers_ = std::make_unique<saved_answers>();
  answers_->put(limits, key, content, given_at);
}

snapshot fold_state::save() const {
  SavedState saved;
  saved.set_state(type_->snapshot.save(state_));
  if (answers_)
    answers_->save(saved);
  return {version, position, type_->snapshot.type, type_->snapshot.version, saved.SerializeAsString()};
}

std::optional<std::string> fold_state::load(const snapshot& s, const answer_options& limits) {
  if (s.type_version != type_->snapshot.version)
    return "is of state version " + std::to_string(s.type_version) + ", not " +
           std::to_string(type_->snapshot.version);
  SavedState saved;
  if (!saved.ParseFromString(s.state))
    return "does not parse";
  auto why = guarded("loading it", [&]() -> std::optional<std::string> {
    return type_->snapshot.load(state_, saved.state())
               ? std::nullopt
               : std::optional<std::string>{"holds no state that parses as " + s.type};
  });
  if (why)
    return why;
  for (auto& answer : saved.answers())
    remember(limits, answer.key(), answer.content(),
             timestamp{std::chrono::microseconds{answer.given_at_us()}});
  version = s.version;
  position = s.position;
  return std::nullopt;
}

fold_state restore(journal_reader& journal, const stream_id& stream, const fold_type& type,
                   const answer_options& limits, const std::function<void(const std::string&)>& passed_over) {
  auto up_to = ~stream_version{0};
  while (type.snapshot.save && up_to > 0) {
    auto found = journal.load_snapshot(stream, type.snapshot.type, up_to);
    if (!found)
      passed_over("the snapshots of " + stream.str() + " cannot be read: " + found.error().message());
    if (!found || !*found)
      break;
    fold_state state{type};
    auto why = state.load(**found, limits);
    if (auto head = journal.head_of(stream); !why && head && head->version < state.version)
      why = "is newer than its stream, which ends at version " + std::to_string(head->version);
    if (!why)
      return state;
    passed_over("the snapshot of " + stream.str() + " at version " + std::to_string((*found)->version) + ' ' +
                *why + "; an older one or the events take its place");
    up_to = (*found)->version - 1;
  }
  return fold_state{type};
}

} // namespace eventcore::internal
