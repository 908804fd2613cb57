#pragma once

#include <eventcore/persistence/event_source.hpp>
#include <eventcore/persistence/log_feed.hpp>

#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace eventcore::internal {

/// Events that a subscription has in hand. They stay valid and unchanged until the chunk is filled again or cleared; one that is used
/// again keeps its memory.
class event_chunk {
public:
  std::span<const recorded_event* const> events() const noexcept { return events_; }
  /// All up to here was looked at.
  log_position last() const noexcept { return last_; }
  /// Of the events' streams, types and payloads.
  std::size_t bytes() const noexcept { return bytes_; }
  void clear() noexcept;

private:
  friend class own_log;
  friend class source_log;

  std::span<const recorded_event* const> events_;
  log_position last_ = 0;
  std::size_t bytes_ = 0;
  log_chunk log_;                      // of the own journal: nothing is copied
  std::vector<recorded_event> copies_; // of a source, whose events live until it is read again
  std::vector<const recorded_event*> pointers_;
};

/// Where a subscription reads its events.
class subscription_feed {
public:
  virtual ~subscription_feed() = default;

  /// Fills the chunk with the next page. True: there is more to be read now; else `on_more` tells of it. After an error nothing was
  /// passed over.
  virtual result<bool> read(event_chunk& to, read_limits limits) = 0;
  /// The last durable position, as far as it is known.
  virtual log_position head() = 0;
};

std::unique_ptr<subscription_feed> open_own_log(journal& from, log_position next, log_filter filter,
                                                std::function<void()> on_more);
std::unique_ptr<subscription_feed> open_source_log(std::shared_ptr<event_source> from, log_position next,
                                                   log_filter filter, std::function<void()> on_more);

} // namespace eventcore::internal
