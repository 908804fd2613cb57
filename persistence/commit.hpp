#pragma once

#include <eventcore/persistence/event.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore {

/// What a stream's version must be for a commit to pass. Checked inside the write transaction.
class expected_version {
public:
  /// The stream must be at exactly `v`.
  static constexpr expected_version exact(stream_version v) noexcept { return {kind::exact, v}; }
  /// The stream must have no events.
  static constexpr expected_version none() noexcept { return {kind::exact, 0}; }
  /// The stream may be at any version.
  static constexpr expected_version any() noexcept { return {kind::any, 0}; }

  constexpr bool admits(stream_version found) const noexcept {
    return kind_ == kind::any || found == version_;
  }
  /// For messages: `version 7`, `no events` or `any version`.
  std::string describe() const;

private:
  enum class kind : std::uint8_t { exact, any };
  constexpr expected_version(kind k, stream_version v) noexcept
      : kind_{k}
      , version_{v} {}

  kind kind_;
  stream_version version_;
};

/// One incarnation of a writer's pipeline. A writer that submits a commit before the one before it is answered gives
/// both the same epoch: after one failure the journal refuses the rest with `epoch_closed`, although their expected
/// versions might match by chance (the ABA case). A closed epoch stays closed; go on with a new one.
///
/// Thread-safe.
class writer_epoch {
public:
  bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }
  void close() noexcept { closed_.store(true, std::memory_order_release); }

private:
  std::atomic<bool> closed_{false};
};

/// Streams of this category hold what subscriptions could not handle. Every journal owns it, whatever its
/// `journal_options::categories` are.
inline constexpr std::string_view dead_letter_category = "deadletter";

/// Events for one stream. Without events it is a read that takes part in the version check.
struct stream_append {
  stream_id stream;
  expected_version expected;
  std::vector<new_event> events;
  /// Stored with the first event, of which there must be one if the key is not empty.
  saved_answer answer{};
};

/// Moves a cursor by compare-and-set: from `expected` (0: the cursor does not exist yet) to `position`.
struct cursor_move {
  std::string name; ///< 1 to 255 bytes
  log_position expected = 0;
  log_position position = 0;
};

/// Sets, moves or cancels a durable timer. A timer is the pair of when it is due and its name: set twice for the same time
/// it is one timer, for two times it is two. A timer that is to be moved or cancelled and is not there (any more) is no error.
struct timer_change {
  std::string name; ///< `<owner>/<rest>`, UTF-8, at most 255 bytes; the owner is not empty and has no `/`
  timestamp from{}; ///< when it was due until now; the epoch: it was not set
  timestamp to{};   ///< when it is due from now on, not before the epoch; the epoch: it is cancelled
};

/// The owner in a timer's name; empty if there is none.
std::string_view timer_owner(std::string_view name) noexcept;

/// What is written together or not at all. Names at least one stream, cursor or timer, and each stream and cursor at most
/// once. Its timer changes happen in their order.
struct commit {
  std::vector<stream_append> appends;
  std::vector<cursor_move> cursors;
  std::vector<timer_change> timers;
  /// Stored with every event of the commit.
  event_metadata metadata;
  /// Stored with every event of the commit. The epoch (default) means: now, by the journal's clock.
  timestamp occurred_at{};
  /// Needed for pipelines only; null is an epoch of this commit's own.
  std::shared_ptr<writer_epoch> epoch;
};

/// Where a commit went. Its events stand in the log in the order of `commit::appends`, without foreign events between.
struct committed {
  log_position first = 0; ///< position of the first event, 0 if the commit had none
  log_position last = 0;  ///< position of the last event, 0 if the commit had none
};

/// Hears how commits ended. Called on the journal's writer thread, in the order of submission for one epoch, exactly once
/// for every submitted commit. Must not block, throw or call back into the journal, except to `reserve` and `submit`.
class commit_listener {
public:
  virtual ~commit_listener() = default;

  /// `ticket` is the number given to `submit`. Success: the events are durable (by the journal's durability option).
  virtual void on_commit(std::uint64_t ticket, const result<committed>& outcome) noexcept = 0;
};

} // namespace eventcore
