#pragma once

#include <eventcore/actors/event_handler.hpp>
#include <eventcore/persistence/journal.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace eventcore {

class event_source;

/// Where a subscription begins that has no cursor yet.
class start_from {
public:
  static constexpr start_from beginning() noexcept { return start_from{1}; }
  /// With the events that are committed after the subscription was made; after it reached its source for the first time, if it
  /// has one: behind the last position that is known of that here.
  static constexpr start_from now() noexcept { return start_from{0}; }
  /// With the event at `p`.
  static constexpr start_from position(log_position p) noexcept { return start_from{p > 0 ? p : 1}; }

  /// The first position to be handled, in a journal that ends at `head`.
  constexpr log_position first(log_position head) const noexcept { return first_ > 0 ? first_ : head + 1; }

private:
  explicit constexpr start_from(log_position first) noexcept
      : first_{first} {}

  log_position first_;
};

/// What becomes of an event that was tried often enough.
enum class on_failure : std::uint8_t {
  stop, ///< the subscription stands there, visibly, until it is resumed or started again
  skip, ///< counted and logged
  park, ///< put into the dead-letter stream `deadletter-<name>`, from where it can be replayed
};

/// Where handlers run.
enum class handler_place : std::uint8_t {
  own_thread, ///< they may wait; one that never returns harms its own subscription alone
  scheduler,  ///< among the actors, without a thread: only for handlers that never wait
};

struct subscription_options {
  /// 1 to 200 bytes, and such that `deadletter-<name>` is a stream id. A node runs one subscription of a name.
  std::string name;
  /// What it reads; types that are admitted and not declared by the subscriber are counted and passed over.
  log_filter filter{};
  /// Whose events: `node::remote_events("orders")`, say. Null: those of the node's own journal. All positions are then positions in
  /// the source's log. The cursor lies in the own journal, together with the source's name and history, so that a handler that answers
  /// with commands for entities here does so exactly once. A source that is not reached is waited for, visibly.
  std::shared_ptr<event_source> source{};
  start_from start = start_from::beginning();
  /// Keep no cursor in the journal: each start begins at `start`, and the subscriber sees to it that nothing is lost.
  bool keep_cursor = true;

  /// Tries after the first one, the first after `backoff`, then doubled, `max_backoff` at most.
  std::size_t retries = 3;
  std::chrono::milliseconds backoff{100};
  std::chrono::milliseconds max_backoff{30'000};
  eventcore::on_failure on_failure = eventcore::on_failure::stop;

  handler_place place = handler_place::own_thread;
  /// Workers that share the events, each with a subscriber of its own; a stream's events go to one of them, in order.
  std::size_t workers = 1;
  /// A handler that needs longer for one event is reported: `subscription_stats::stalled`, and in the log.
  std::chrono::milliseconds handler_limit{30'000};

  /// The cursor is moved after so many positions, or so much time: what was handled since is handled again after a crash.
  std::size_t cursor_every = 10'000;
  std::chrono::milliseconds cursor_within{200};
  /// Events in hand: two chunks of this size at most, however slow the handlers are.
  read_limits chunk{};
};

enum class subscription_state : std::uint8_t {
  catching_up,
  live, ///< it has read all there is
  retrying, ///< an event failed, or the journal or the source cannot be read or written; tried again with back-off
  stopped, ///< as `on_failure::stop` wants, because the cursor was moved by somebody else, or the source has another history
};

std::string_view to_string(subscription_state state) noexcept;

/// Counters since the start of the node.
struct subscription_stats {
  std::string name;
  subscription_state state = subscription_state::catching_up;
  log_position position = 0; ///< all up to here is handled
  log_position cursor = 0;   ///< all up to here is known to be handled after a crash, too
  log_position head = 0;     ///< of the journal; of the source, as far as it is known here
  std::uint64_t lag() const noexcept { return head > position ? head - position : 0; }

  std::uint64_t handled = 0;
  std::uint64_t passed_over = 0; ///< types that the filter admits and the subscriber does not declare
  std::uint64_t retries = 0;
  std::uint64_t skipped = 0;
  std::uint64_t parked = 0;
  std::uint64_t replayed = 0;       ///< dead letters, with success
  std::uint64_t replays_failed = 0; ///< they stay parked
  std::uint64_t rejected = 0;       ///< commands of reactions that a decider said no to
  std::uint64_t restarts = 0;       ///< of workers
  bool stalled = false;             ///< a handler has not returned for `handler_limit`
  std::string last_error;           ///< empty once the subscription went on
};

/// A handle of a running subscription: a durable, named reader of the log. Cheap to copy; empty when default made.
/// Thread-safe. Must not be used after the node's end.
///
/// It catches up from its cursor, then follows live, without a gap or a repeat at the seam. Events of one stream are handled in
/// their order. A slow one keeps nobody else waiting, neither other subscriptions nor those who write.
class subscription {
public:
  struct impl;

  subscription() = default;
  explicit subscription(std::shared_ptr<impl> content)
      : impl_{std::move(content)} {}

  explicit operator bool() const noexcept { return impl_ != nullptr; }
  impl& content() const noexcept { return *impl_; }

  /// Waits for the answer, at most `within`, as all functions here do.
  result<subscription_stats> stats(std::chrono::nanoseconds within) const;

  /// Waits until all up to `position` is handled. Error: `outcome_unknown` if that takes longer.
  result<void> reached(log_position position, std::chrono::nanoseconds within) const;

  /// A stopped subscription tries again where it stands; one that waits before a retry tries at once.
  result<void> resume(std::chrono::nanoseconds within) const;

  /// Tries a dead letter again, or all of them, soon: `want_dead_letters_replayed`, and the subscription looks. What it came to
  /// is to be seen in the dead letters. Not for actors. The number of letters.
  result<std::size_t> replay_dead_letters(std::optional<log_position> position = {}) const;

  /// Ends the subscription: the events in the handlers' hands are finished, the cursor is moved, and its name is free.
  result<void> stop(std::chrono::nanoseconds within) const;

private:
  std::shared_ptr<impl> impl_;
};

/// Takes over the cursor of a subscription that belongs to another history of the journal, after a backup was restored, or
/// sets it anew: all up to `position` counts as handled. The subscription must not be running.
///
/// With a `source`, the cursor is one in its log, in the history that it has now, and the source must be reached. Errors: those of the
/// journal and the source; `cursor_ahead`; `letters_open` if the history is another one than before, and there are dead letters
/// behind `position`, whose places in the log other events may take.
result<void> set_subscription_cursor(journal& journal, std::string_view name, log_position position,
                                     const std::shared_ptr<event_source>& source = nullptr);

} // namespace eventcore
