#pragma once

#include <eventcore/actors/publisher.hpp>
#include <eventcore/actors/subscription.hpp>
#include <eventcore/runtime/federation_rules.hpp>
#include <eventcore/runtime/federation_target.hpp>
#include <eventcore/runtime/transformations.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace eventcore {

class node;

struct federation_options {
  eventcore::transformations transformations;
  /// Tries of an event that fails after the first one, the first after `backoff`, then doubled, `max_backoff` at most. Then it is
  /// parked in the dead-letter stream `deadletter-federation/<target>` of the source's journal.
  std::size_t retries = 3;
  std::chrono::milliseconds backoff{100};
  std::chrono::milliseconds max_backoff{30'000};
};

/// How it stands with one target. Counters since the start of the hub.
struct federation_stats {
  std::string target;
  bool available =
      true; ///< false: it cannot be reached, or does not take events, and is asked again and again
  log_position position = 0;   ///< where the target stands, as far as is known
  std::uint64_t delivered = 0; ///< events that it took
  std::uint64_t missed =
      0; ///< events that it lacked after it was restored from a backup, and that could not be sent again
  std::string last_error;          ///< why it is not available; empty if it is
  subscription_stats subscription; ///< what was handled, retried and parked, and how far behind it is
};

/// Sends the published events of a node's service to other services, as rules say (spec 27 to 30).
///
/// Each target has a subscription of its own, `federation/<target>`, so what becomes of one is nothing to the others. A target
/// gets each event exactly once, those of one stream in order; one that is away for a while gets all of them when it is back. An
/// event that cannot be transformed, or is refused, is tried again and then parked; the events after it go on.
///
/// Cheap to copy; the copies are one hub. Thread-safe. It lives as long as its node, also without a handle.
class federation_hub {
public:
  using targets = std::map<std::string, std::shared_ptr<federation_target>, std::less<>>;

  /// Checks the rules against targets and transformations: they name no other. Rules of other sources are allowed, so that all
  /// services can share a file, but there must be one for this service. Errors: those of the rules, `unknown_source`, and those of
  /// the subscriptions.
  static result<federation_hub> start(node& source, publisher published, const federation_rules& rules,
                                      const targets& to, federation_options options = {});

  /// Targets that get events of this service, sorted.
  std::vector<std::string> target_names() const;

  /// Errors: `unknown_target`, those of `subscription::stats`.
  result<federation_stats> stats(std::string_view target, std::chrono::nanoseconds within) const;

  /// Waits until `target` has all up to `position`, or has it parked. Errors: `unknown_target`, `outcome_unknown`.
  result<void> reached(std::string_view target, log_position position, std::chrono::nanoseconds within) const;

  /// Tries parked events of a target again, or one; see `subscription::replay_dead_letters`. An event that comes late stands behind
  /// the later ones of its stream. Error: `unknown_target`; those of the journal.
  result<std::size_t> replay_dead_letters(std::string_view target,
                                          std::optional<log_position> position = {}) const;

  /// Ends the deliveries. They go on where they were when a hub is started again.
  result<void> stop(std::chrono::nanoseconds within) const;

private:
  struct impl;
  explicit federation_hub(std::shared_ptr<const impl> content)
      : impl_{std::move(content)} {}

  std::shared_ptr<const impl> impl_;
};

} // namespace eventcore
