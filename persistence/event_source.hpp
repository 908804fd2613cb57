#pragma once

#include <eventcore/persistence/journal.hpp>

#include <functional>
#include <memory>
#include <span>
#include <string>

namespace eventcore {

/// Events that a feed delivered, in the order of their positions.
struct delivered_events {
  /// Those that the filter admits; there may be none. They stay valid until the feed is read again.
  std::span<const recorded_event* const> events;
  /// Everything up to here was looked at; the next page begins behind it.
  log_position last = 0;
  /// There is more to be read now.
  bool more = false;
};

/// Reads the events of one service from a position on, without a gap. Used by one thread at a time.
class event_feed {
public:
  virtual ~event_feed() = default;

  /// Delivers what is there, `limits` at most, and never waits for more: `on_more` tells of it. After an error nothing was
  /// passed over, and a later call may succeed. Errors: those of `journal_reader::read_log`, or of what lies between; the
  /// pointers and `last` are then worth nothing. After `unreachable` it goes on, and `on_more` tells when; after others, open it anew.
  virtual result<delivered_events> read(read_limits limits) = 0;
};

/// A service whose events others read: a journal of this process, or a service that is reached over the network. Thread-safe.
class event_source {
public:
  /// Which history the positions of its events are positions in.
  struct history {
    uuid journal;
    uuid incarnation;

    friend bool operator==(const history&, const history&) = default;
  };

  virtual ~event_source() = default;

  /// Names the service for those who keep cursors: it is the same after a restart.
  virtual const std::string& name() const noexcept = 0;

  /// The history that feeds which are opened from now on belong to. Error: it is not known, because the service is not
  /// reached, say.
  virtual result<history> current_history() = 0;

  /// The last durable position, as far as it is known here.
  virtual result<log_position> head() = 0;

  /// A feed from position `from` on. A feed whose history ends answers `wrong_journal`. `on_more` is called on any thread, at least
  /// once when there are new events after a read that said there is no more, and not after the feed's end; it must not block
  /// or throw. The source outlives its feeds.
  virtual std::unique_ptr<event_feed> open(log_position from, log_filter filter,
                                           std::function<void()> on_more) = 0;
};

/// The events of a journal that this process writes, which outlives the source. Without a name it has that of the journal's
/// service, or `journal` if that is not said.
std::shared_ptr<event_source> make_journal_source(journal& from, std::string name = {});

} // namespace eventcore
