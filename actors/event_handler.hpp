#pragma once

#include <eventcore/persistence/error.hpp>
#include <eventcore/persistence/event.hpp>

#include <google/protobuf/message.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace eventcore {

struct multi_stream_type;

namespace internal {
class telemetry;
} // namespace internal

/// A command that a handler answers an event with; `subscriber::to` makes it. Without `command`: nothing is to be done.
struct reaction {
  std::string category;                       ///< of the entity's stream; empty for a multi-stream command
  std::string id;                             ///< of the entity
  const multi_stream_type* decider = nullptr; ///< of the multi-stream command
  std::shared_ptr<const google::protobuf::Message> command;
  std::string traceparent{}; ///< of the span that the command is a child of; empty: the event's
};

/// What came of a run of events. `done` events are finished, from the first on. If there are more, `failure` or `reaction`
/// belongs to the next one; without both, the handler wants to be called again for the rest.
struct handled {
  std::size_t done = 0;
  std::size_t passed_over = 0; ///< of `done`: events of types that the handler does not declare
  std::optional<error> failure{};
  bool hopeless =
      false; ///< the failure will be the same however often it is tried: the event cannot be decoded
  std::optional<reaction> answer{};
};

/// How a run of events is to be handled, and how far it is. Shared by the thread that handles and the one that looks on.
class handler_run {
public:
  /// Before each event: how many of the run are finished. False: stop here.
  bool go_on(std::size_t done) noexcept {
    done_.store(done, std::memory_order_release);
    return !stop_.load(std::memory_order_relaxed) && (!limit_ || within_limit(done));
  }

  std::string_view subscription; ///< its name
  std::string_view source;       ///< name of the service that the events are from
  std::uint32_t attempt = 1;     ///< of the first event, from 1
  bool from_dead_letters = false;
  const internal::telemetry* telemetry = nullptr; ///< where spans are recorded; null: nowhere

  // -- for those who look on --
  std::size_t done() const noexcept { return done_.load(std::memory_order_acquire); }
  void stop() noexcept { stop_ = true; }
  /// The run ends, at the next event, after this time.
  void begin(std::optional<std::chrono::steady_clock::time_point> limit) noexcept {
    done_ = 0;
    limit_ = limit;
  }

private:
  bool within_limit(std::size_t done) const noexcept {
    return done % 8 != 0 || done == 0 || std::chrono::steady_clock::now() < *limit_;
  }

  std::atomic<std::size_t> done_{0};
  std::atomic<bool> stop_{false};
  std::optional<std::chrono::steady_clock::time_point> limit_;
};

/// What a subscription feeds: a `subscriber`, seen without its types, or a handler of runs, such as one that writes many events
/// in one transaction of its own. Used by one thread at a time.
class event_handler {
public:
  virtual ~event_handler() = default;

  /// Handles events, in order, from the first on; there is at least one. An exception means that the handler is broken: the
  /// subscription makes another one, which gets the same events again.
  virtual handled handle(std::span<const recorded_event* const> events, handler_run& run) = 0;
};

/// Makes the handler of a worker, on the worker's thread. An exception is tried again with back-off.
using handler_factory = std::function<std::unique_ptr<event_handler>()>;

} // namespace eventcore
