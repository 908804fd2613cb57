#pragma once

#include <eventcore/persistence/journal.hpp>

#include <caf/all.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <string>

namespace eventcore::internal {

/// To a timer's owner: it is due.
struct timer_due {
  std::string name;
  timestamp due;
};

/// To the timer actor: timers named `<owner>/...` go to `to` from now on, those that were handed out before as well.
struct fire_timers {
  std::string owner;
  caf::actor to;
};

/// To the timer actor, by itself: something may be to do. Ignored unless it is the wake-up that was asked for last.
struct timers_wake {
  std::uint64_t number;
};

/// Journal's writer to the timer actor: timers were set.
struct timers_set {};

struct timer_options {
  /// A timer that is still in the journal this long after it was handed out is handed out again. By the steady clock.
  std::chrono::nanoseconds refire = std::chrono::seconds{10};
  /// Timers of one owner that were handed out and may still be in the journal.
  std::size_t max_outstanding = 4'096;
  /// Timers that are read, and so handed out, before the actor takes its next message.
  std::size_t chunk = 1'024;
};

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::timer_due)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::fire_timers)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::timers_wake)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::timers_set)

namespace eventcore::internal {

/// Fires the durable timers of a journal: sends `timer_due` to the owner's actor, at least once and not before it is due, in
/// the order of (due, name) for each owner. A timer stays in the journal until a commit of its owner moves or cancels
/// it; until then it is handed out again, now and then and after a restart, so owners must not mind to hear of one twice.
///
/// Reads only what is due. An owner that is slow, or not registered, keeps nobody else waiting: an owner that has
/// `max_outstanding` timers in hand gets more when the journal shows that some of them are gone.
///
/// Sleeps one second at most, so that a wall clock that jumps forward is noticed.
class timer_actor final : public caf::event_based_actor {
public:
  timer_actor(caf::actor_config& config, eventcore::journal& journal, const timer_options& options,
              std::function<timestamp()> now);
  ~timer_actor() override;

  const char* name() const override { return "eventcore.timers"; }

protected:
  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  using steady = caf::actor_clock::time_point;
  class alarm;

  struct owner {
    caf::actor to;
    /// All its timers up to here were handed out.
    durable_timer reached;
    /// What was handed out, and when, and may be in the journal still.
    std::map<durable_timer, steady> handed;
    /// When to look which of them are gone.
    steady check_at = steady::max();
    /// How long to wait until the next look for room.
    std::chrono::milliseconds pause{10};
  };

  void on_fire(const fire_timers& wish);
  void work();
  result<bool> hand_out_chunk(timestamp now, steady at);
  result<void> check(owner& o, steady at);
  void hand(owner& o, const durable_timer& timer, steady at);
  bool full(const owner& o) const { return o.handed.size() >= options_.max_outstanding; }
  void wake_at(steady when, steady at);

  journal& journal_;
  const timer_options options_;
  std::function<timestamp()> now_;
  std::map<std::string, owner, std::less<>> owners_;
  timestamp next_due_ = timestamp::max(); ///< of the timers that are known to be due soon
  std::uint64_t wakes_ = 0;               ///< number of the wake-up that was asked for last
  steady woken_at_ = steady::max();       ///< when it comes
  std::string last_failure_;
  std::shared_ptr<alarm> alarm_;
  tail_subscription subscription_;
};

/// A `timer_clock` that starts no earlier than the journal's last event. Who sets timers relative to now, sets them by the clock
/// of the timer actor: by another one, which may stand behind it, they could be due at once.
std::function<timestamp()> timer_time(journal& journal);

/// Starts the timer actor of a node. `journal` must outlive it; it ends by an exit message only. `now` is civil time; empty:
/// `timer_time`.
caf::actor start_timers(caf::actor_system& system, journal& journal, std::function<timestamp()> now = {},
                        const timer_options& options = {});

} // namespace eventcore::internal
