#pragma once

#include <eventcore/actors/host.hpp>
#include <eventcore/actors/saga.hpp>
#include <eventcore/persistence/journal.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eventcore {

/// Bounds of the sagas of one definition.
struct saga_options {
  /// After a start, the unfinished sagas are woken this many at a time.
  std::size_t max_waking = 64;
  /// Sagas whose start is not answered yet; more are answered `overloaded`.
  std::size_t max_starting = 16'384;
  host_options host{};
};

/// How far a saga is.
enum class saga_phase : std::uint8_t {
  not_started, ///< there is no saga of this id
  running,
  compensating,
  stuck,       ///< a compensation failed for good: an operator must retry or skip it
  completed,   ///< final: all steps are confirmed
  compensated, ///< final: all that was done is undone
};

std::string_view to_string(saga_phase phase) noexcept;

/// What an operator can do with a saga.
enum class saga_action : std::uint8_t {
  retry = 1, ///< a stuck saga tries its compensation again; one that waits before a retry tries at once
  skip,      ///< a stuck saga takes its compensation as done
  abort,     ///< a running saga is compensated; the open step counts as in doubt
};

/// `retry`, `skip` or `abort`.
std::string_view to_string(saga_action action) noexcept;
std::optional<saga_action> saga_action_of(std::string_view text) noexcept;

/// A saga as its events tell it.
struct saga_status {
  struct step {
    std::string name;
    std::string
        state; ///< waiting, requested, delayed, confirmed, failed, undo_requested, undo_delayed, undone, undo_failed
    std::uint32_t attempts = 0; ///< of what was requested last
    bool in_doubt = false;
    std::string why; ///< the last failure
  };

  std::string id;
  saga_phase phase = saga_phase::not_started;
  std::vector<step> steps;
  std::string failed_step; ///< that turned it to compensation
  std::string why;         ///< it failed
  timestamp due{};         ///< when its timer fires next; the epoch: it has none
};

/// Counters since the start of the node.
struct saga_stats {
  std::uint64_t started = 0;
  std::uint64_t completed = 0;
  std::uint64_t compensated = 0;
  std::uint64_t stuck = 0;       ///< how often one became stuck
  std::uint64_t requests = 0;    ///< sent to participants, compensations included
  std::uint64_t resumed = 0;     ///< woken after the start, or because an answer could not be recorded
  std::size_t still_to_wake = 0; ///< of those found so far
};

/// A handle of what runs the sagas of a definition, without types. Cheap to copy; empty when default made. Thread-safe. Must not
/// be used after the node's end.
///
/// All functions wait for the answer for at most `within`. Errors: `rejected`, with a reason for programs; those of entities.
class saga_handle {
public:
  struct impl;

  saga_handle() = default;
  explicit saga_handle(std::shared_ptr<impl> content)
      : impl_{std::move(content)} {}

  explicit operator bool() const noexcept { return impl_ != nullptr; }
  impl& content() const noexcept { return *impl_; }

  /// Starts saga `id`. When this returns, its start and its first request are durable. A repeat with the same input changes
  /// nothing; with another one it is `rejected` (`already_started`). The answer is the saga's phase.
  result<saga_phase> start(std::string_view id, std::unique_ptr<google::protobuf::Message> input,
                           std::chrono::nanoseconds within, command_context context = {}) const;

  /// Confirms a step that is `confirmed_later`, with an optional reply for later steps to read. `rejected`
  /// (`step_not_open`) if it is not open: confirmed already, or given up.
  result<saga_phase> confirm(std::string_view id, std::string_view step,
                             std::unique_ptr<google::protobuf::Message> reply,
                             std::chrono::nanoseconds within) const;
  /// Fails such a step for good.
  result<saga_phase> fail(std::string_view id, std::string_view step, std::string why,
                          std::chrono::nanoseconds within) const;

  result<saga_status> status(std::string_view id, std::chrono::nanoseconds within) const;
  /// Waits until the saga is in a final phase, or stuck.
  result<saga_phase> finished(std::string_view id, std::chrono::nanoseconds within) const;

  /// An operator's decision, recorded with `why`. `rejected` if it is impossible in the saga's phase.
  result<saga_phase> operate(std::string_view id, saga_action action, std::string why,
                             std::chrono::nanoseconds within) const;

  result<saga_stats> stats(std::chrono::nanoseconds within) const;

private:
  std::shared_ptr<impl> impl_;
};

/// A handle of what runs the sagas of definition `S`.
template <class S>
class saga_host : public saga_handle {
public:
  saga_host() = default;
  explicit saga_host(saga_handle untyped)
      : saga_handle{std::move(untyped)} {}

  result<saga_phase> start(std::string_view id, typename S::input input, std::chrono::nanoseconds within,
                           command_context context = {}) const {
    return saga_handle::start(id, std::make_unique<typename S::input>(std::move(input)), within,
                              std::move(context));
  }
};

/// A saga that has not ended.
struct unfinished_saga {
  std::string category;
  std::string id;
  timestamp due{}; ///< when its timer fires next; `timestamp::max()`: never by itself, as a stuck one's
};

/// Where the timers of stuck sagas begin. Behind it are also those for which an operator has decided while they did not run.
inline durable_timer before_stuck_sagas() {
  return {timestamp::max(), {}};
}

/// Unfinished sagas of all categories, stuck ones included, read from the journal's timers: `limit` at most, of those
/// behind `after`, which is moved on. An empty answer is the end. Next to a node that writes, one whose timer is moved meanwhile
/// can be missed or come twice.
result<std::vector<unfinished_saga>> list_unfinished_sagas(journal_reader& journal, durable_timer& after,
                                                           std::size_t limit = 1'024);

/// The ids of those of one category.
result<std::vector<std::string>> list_unfinished_sagas(journal_reader& journal, std::string_view category,
                                                       durable_timer& after, std::size_t limit = 1'024);

/// Whether the journal holds a saga of this category, be it ended. Where there is none, it takes a look at the whole log.
result<bool> has_sagas(journal_reader& journal, std::string_view category);

/// A saga as the journal has it, read without its definition. Errors: `rejected` (`no_such_saga`); those of the journal.
result<saga_status> read_saga(journal_reader& journal, std::string_view category, std::string_view id);

/// An operator's decision, written into a journal whose sagas do not run. It is carried out when they do. Errors: `rejected`
/// if it is impossible in the saga's phase; those of the journal.
result<void> operate_saga(journal& journal, std::string_view category, std::string_view id,
                          saga_action action, std::string why);

} // namespace eventcore
