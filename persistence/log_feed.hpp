#pragma once

#include <eventcore/persistence/journal.hpp>

#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace eventcore {

/// Events that a feed handed out, in order. They stay valid and unchanged as long as the chunk is not read into again; use
/// one chunk again and again: it keeps its memory. Movable, which leaves its events where they are.
class log_chunk {
public:
  /// Those that the feed's filter admits; there may be none.
  std::span<const recorded_event* const> events() const noexcept { return events_; }
  /// The positions that were looked at. `last() < first()`: none.
  log_position first() const noexcept { return first_; }
  log_position last() const noexcept { return last_; }
  /// Of the events' streams, types and payloads.
  std::size_t bytes() const noexcept { return bytes_; }
  /// Gives up the events, and the memory that is shared with others.
  void clear() noexcept;

private:
  friend class log_feed;

  std::vector<const recorded_event*> events_;
  log_position first_ = 1;
  log_position last_ = 0;
  std::size_t bytes_ = 0;
  event_page own_;                           // what came from disk
  std::shared_ptr<const event_page> shared_; // what came from memory
};

/// Reads the log of a journal that this process writes, from a position on, without gap or repeat: from memory what was
/// committed a short time ago, once for all who follow, else from disk. Holds nothing of the database between reads, so a
/// slow reader slows nobody else.
///
/// Used by one thread at a time.
class log_feed {
public:
  /// `from` outlives the feed. `on_more` is called once, on the journal's writer thread, when there are new events after a
  /// read that found the end; it must not block or throw. It may also be called without need.
  log_feed(journal& from, log_position next, log_filter filter, std::function<void()> on_more);
  log_feed(const log_feed&) = delete;
  ~log_feed();

  /// Reads the next page, `limits` at most. True: there is more to be read now. Errors: those of `read_log`; `next()` then
  /// stands at the position that cannot be read, and nothing was passed over.
  result<bool> read(log_chunk& chunk, read_limits limits = {});

  /// The position that is looked at next.
  log_position next() const noexcept { return next_; }
  /// The last durable position, as far as the feed knows.
  log_position head() const noexcept;

private:
  struct signal;

  journal& journal_;
  log_position next_;
  bool knows_head_ = false;
  log_filter filter_;
  std::shared_ptr<signal> signal_;
  tail_subscription following_;
  tail_subscription kept_;
};

} // namespace eventcore
