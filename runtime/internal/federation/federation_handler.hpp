#pragma once

#include <eventcore/actors/event_handler.hpp>
#include <eventcore/persistence/journal.hpp>
#include <eventcore/runtime/federation_hub.hpp>
#include <eventcore/runtime/internal/federation/federation_router.hpp>

#include <mutex>
#include <optional>
#include <set>

namespace eventcore::internal {

/// What a way's handler tells those who look on. Thread-safe.
class federation_progress {
public:
  federation_stats get() const {
    std::lock_guard lock{mutex_};
    return stats_;
  }
  template <class F>
  void change(F f) {
    std::lock_guard lock{mutex_};
    f(stats_);
  }

private:
  mutable std::mutex mutex_;
  federation_stats stats_;
};

/// Of the way to `target`.
inline std::string federation_subscription(std::string_view target) {
  return "federation/" + std::string{target};
}

/// How long a handler waits for a target that does not take events.
struct federation_pauses {
  std::chrono::milliseconds first{50};
  std::chrono::milliseconds longest{5'000};
};

/// Feeds one target from a subscription of its own, and waits for it on the subscription's thread.
///
/// The target says where it stands, and that is what counts: what it has already is passed over, and what it lacks, because the
/// subscription's cursor is farther than it is, is read from the journal again, but for what is parked. What comes again and is parked
/// is passed over as well. While the target cannot be reached, no event fails: the handler waits, and wants to be called again. An
/// event fails if it cannot be routed or is refused.
class federation_handler final : public event_handler {
public:
  /// `from`, the source's journal, outlives the handler. `filter` is the subscription's.
  federation_handler(std::shared_ptr<const federation_plan> plan, journal& from, log_filter filter,
                     std::string target, std::shared_ptr<federation_target> to,
                     std::shared_ptr<federation_progress> progress, const federation_pauses& pauses = {});

  handled handle(std::span<const recorded_event* const> events, handler_run& run) override;

private:
  handled deliver_late(std::span<const recorded_event* const> events, handler_run& run);
  bool find_parked(handler_run& run);
  bool find_position(handler_run& run);
  bool catch_up(log_position to, handler_run& run);
  handled deliver(std::span<const recorded_event* const> events, handler_run& run, bool reports);
  void target_failed(const error& why, handler_run& run, std::size_t done);
  void target_works();

  std::shared_ptr<const federation_plan> plan_;
  journal& journal_;
  const log_filter filter_;
  const std::string target_;
  const federation_source source_;
  std::shared_ptr<federation_target> to_;
  std::shared_ptr<federation_progress> progress_;
  const federation_pauses pauses_;
  federation_router router_;
  std::optional<std::set<log_position>> parked_; ///< when this handler began
  std::optional<log_position> stands_;           ///< where the target stands; nothing: it must be asked
  bool caught_up_ = false;          ///< since it was asked: it lacks nothing before the events that come next
  std::chrono::milliseconds pause_; ///< when it fails next
  std::string last_failure_;        ///< of the target; empty: it works
  std::chrono::steady_clock::time_point quiet_until_{}; ///< until then it is not logged
  bool failure_logged_ = false;
};

} // namespace eventcore::internal
