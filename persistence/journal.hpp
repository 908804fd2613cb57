#pragma once

#include <eventcore/persistence/commit.hpp>
#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/event.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace eventcore {

/// When a commit counts as done.
enum class durability : std::uint8_t {
  /// Its events are on disk (fsync). Nothing acknowledged is ever lost.
  fsync,
  /// It was validated and will be on disk within `journal_options::relaxed_interval`. A crash of the process or the
  /// machine may lose what was acknowledged in that time, but never tears, reorders or corrupts anything.
  relaxed,
};

/// How commits get from the queue into the journal.
enum class writer_mode : std::uint8_t {
  thread,  ///< by a thread of the journal's own
  stepped, ///< only when somebody calls `journal::step`; for deterministic tests
};

/// Options that every backend understands.
struct journal_options {
  eventcore::durability durability = durability::fsync;
  std::chrono::microseconds relaxed_interval{5'000};
  writer_mode writer = writer_mode::thread;

  /// Owner of the journal; written when it is created. Empty: not said.
  std::string service;
  /// The categories of streams that the service owns (spec 1). A commit with events for a stream of any other is refused
  /// with `not_owned`. Empty: all.
  std::vector<std::string> categories;
  /// Refuse to open any other journal than this one. Nil: any.
  uuid expected_id;

  /// Credit: commits and bytes that may wait for the writer at one time.
  std::size_t max_pending_commits = 65'536;
  std::size_t max_pending_bytes = 256u << 20;
  /// A larger commit is refused with `too_large`.
  std::size_t max_commit_bytes = 16u << 20;
  /// Events and timer changes.
  std::size_t max_commit_events = 65'536;
  /// At most this much is written in one transaction (a single commit may exceed it).
  std::size_t max_group_bytes = 8u << 20;
  std::size_t max_group_events = 8'192;
  /// The newest events that are kept in memory while somebody follows the log (see `journal::keep_tail`), in bytes, about.
  std::size_t tail_bytes = 64u << 20;
  /// Stream heads that the writer remembers (about 100 bytes each); others are looked up.
  std::size_t cached_heads = 262'144;

  /// Microseconds since the Unix epoch; the system's clock where empty. Called from any thread.
  event_id_generator::clock clock;
};

/// What a journal says of itself.
struct journal_info {
  std::uint32_t format_version = 0;
  uuid id; ///< made once, when the journal is created
  uuid
      incarnation; ///< changes when a backup is restored: cursors and peers of the old history are then refused
  std::string service;
  timestamp created_at;
  std::string folder{}; ///< the path of its files; empty: it has none
};

/// Where a stream ends.
struct stream_head {
  std::string stream;
  stream_version version = 0;
  log_position position = 0; ///< of the last event
};

/// Bounds of one page. A page holds at least one event if there is one, however large.
struct read_limits {
  std::size_t events = 1'024;
  std::size_t bytes = 1u << 20;
};

/// A place in a stream, and, after a page was read, the place where the next page starts.
struct stream_cursor {
  stream_id stream;
  stream_version next = 1;
  /// A position before `next` and not before any event of a smaller version; 0 if unknown. Set by reads, saves a search.
  log_position after = 0;
  /// Set by a read that answers `corrupt`: `{stream, next + 1, damaged_at}` goes on behind the event that is damaged or
  /// missing. 0 if it is not known where to go on.
  log_position damaged_at = 0;
};

/// Which events of the log a reader wants: any of the categories and any of the types; an empty list admits all.
struct log_filter {
  std::vector<std::string> categories;
  std::vector<std::string> types;
};

/// A saved state of a stream, which spares its readers the events before: an optimisation, which may be missing or be
/// deleted at any time.
struct snapshot {
  stream_version version = 0;
  log_position position = 0; ///< of the event at `version`
  std::string
      type; ///< name of the state's form, 1 to 255 bytes; each form of a stream has snapshots of its own
  std::uint32_t type_version = 0; ///< of that form; only the user compares it
  std::string state;              ///< 16 MiB at most
};

/// A timer that stays in the journal until a commit moves or cancels it. Ordered by time, then by the name's bytes.
struct durable_timer {
  /// `timestamp::max()`: it is listed, and never due by itself.
  timestamp due{};
  std::string name; ///< as in `timer_change`

  friend auto operator<=>(const durable_timer&, const durable_timer&) = default;
};

/// A type of which at least one event was written, with what is needed to decode it.
struct event_type_info {
  std::string name;
  log_position first_position = 0; ///< of the first event written with this form of the type
  std::string descriptors;         ///< a serialised google.protobuf.FileDescriptorSet, dependencies first
};

/// The reading half of a journal. Thread-safe. Reads see what is durable, never hold a transaction over their return, and
/// copy out of the database. Errors besides the named ones: `corrupt` (names position, and stream, version and type as far
/// as they can be read), `io_error`, `closed`.
class journal_reader {
public:
  virtual ~journal_reader() = default;

  virtual const journal_info& info() const noexcept = 0;

  /// The last durable position; 0 for an empty journal.
  virtual result<log_position> head() = 0;

  /// The end of a stream; version 0 if it has no events.
  virtual result<stream_head> head_of(const stream_id& stream) = 0;

  /// Clears `page` and fills it with the stream's next events, oldest first; moves `where` behind them. An empty page is
  /// the stream's end. A missing version in between is `corrupt`. On `corrupt` the page is empty, and `where` stands at the
  /// damaged or missing version.
  virtual result<void> read_stream(stream_cursor& where, event_page& page, read_limits limits = {}) = 0;

  /// Clears `page` and fills it with the next events from position `next` on that `filter` admits; moves `next` behind the
  /// last position looked at. Looks at no more than 64 times `limits.events` positions, so a page may be empty
  /// before the log's end: at the end, `next` is `head() + 1`. On `corrupt` the page is
  /// empty, and `next` stands at the damaged position.
  virtual result<void> read_log(log_position& next, event_page& page, const log_filter& filter = {},
                                read_limits limits = {}) = 0;

  /// Streams in an order of the journal's own, `limit` at most. `token` is empty for the first call and is moved on by each;
  /// an empty answer is the end.
  virtual result<std::vector<stream_head>> list_streams(std::string& token, std::size_t limit = 1'024) = 0;

  /// All forms of all types ever written, ordered by name, then by first position.
  virtual result<std::vector<event_type_info>> event_types() = 0;

  /// The newest snapshot of this stream and type with a version of at most `up_to`, including those that are still queued to
  /// be written. Passes over damaged ones. What cannot be read is not there; the only error is `closed`.
  virtual result<std::optional<snapshot>> load_snapshot(const stream_id& stream, const std::string& type,
                                                        stream_version up_to = ~stream_version{0}) = 0;

  /// A cursor's position; 0 if there is none of that name.
  virtual result<log_position> load_cursor(const std::string& name) = 0;

  /// The timers behind `after`, in their order, that are due at `until` or before; `limit` at most, which is at least 1. All
  /// timers are behind `{}`. Timers before a damaged one are read first.
  virtual result<std::vector<durable_timer>> read_timers(const durable_timer& after, timestamp until,
                                                         std::size_t limit = 1'024) = 0;
};

/// A share of the writer's queue, reserved before a command is decided so that `overloaded` is said before anything
/// happened. Given back on destruction or, once submitted, when the commit is answered. Movable.
class writer_credit {
public:
  /// For journals: `give_back` is called once with the reserved bytes.
  class source {
  public:
    virtual void give_back(std::size_t bytes) noexcept = 0;

  protected:
    ~source() = default;
  };

  writer_credit() = default;
  writer_credit(source& from, std::size_t bytes) noexcept
      : from_{&from}
      , bytes_{bytes} {}
  writer_credit(writer_credit&& other) noexcept
      : from_{std::exchange(other.from_, nullptr)}
      , bytes_{other.bytes_} {}
  writer_credit& operator=(writer_credit other) noexcept {
    std::swap(from_, other.from_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~writer_credit() {
    if (from_)
      from_->give_back(bytes_);
  }

  explicit operator bool() const noexcept { return from_ != nullptr; }
  std::size_t bytes() const noexcept { return bytes_; }
  /// For journals: takes over what is reserved; nothing is given back on destruction.
  std::size_t release() noexcept {
    from_ = nullptr;
    return bytes_;
  }

private:
  source* from_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Ends a notification when destroyed: afterwards its function is not running and will not be called again.
class tail_subscription {
public:
  tail_subscription() = default;
  explicit tail_subscription(std::shared_ptr<void> guard)
      : guard_{std::move(guard)} {}

private:
  std::shared_ptr<void> guard_;
};

/// How often a measured value was how large.
struct distribution {
  std::vector<double> bounds; ///< ascending
  std::vector<std::uint64_t>
      counts;     ///< of the values up to each bound and above the one before; those above all come last
  double sum = 0; ///< of the values
};

/// Counters since the journal was opened.
struct journal_stats {
  std::uint64_t commits = 0;      ///< commits that succeeded
  std::uint64_t conflicts = 0;    ///< commits refused with `conflict` or `epoch_closed`
  std::uint64_t failures = 0;     ///< commits that ended otherwise
  std::uint64_t events = 0;       ///< events written
  std::uint64_t event_bytes = 0;  ///< encoded size of these events
  std::uint64_t transactions = 0; ///< write transactions, one sync each
  std::size_t pending_commits = 0;
  std::size_t pending_bytes = 0;
  std::size_t max_pending_commits = 0; ///< `journal_options` has these two
  std::size_t max_pending_bytes = 0;
  std::uint64_t overloaded = 0; ///< reservations that were refused
  /// When the last one was refused, and when the last transaction was written and synced; the epoch: never.
  std::chrono::steady_clock::time_point last_overload{};
  std::chrono::steady_clock::time_point last_success{};
  distribution sync_seconds; ///< of a transaction: to write it out and sync
  distribution batch;        ///< commits that succeeded in one transaction
  std::vector<std::pair<std::string, std::uint64_t>>
      events_by_type; ///< written ones, by the type's full name
  std::uint64_t snapshots_written =
      0; ///< one replaced while it was queued is counted neither here nor as dropped
  std::uint64_t snapshots_dropped = 0;
  std::uint64_t snapshots_damaged = 0; ///< how often `load_snapshot` passed over a damaged one
};

/// A journal: the durable total order of all events of one node. Thread-safe unless said otherwise.
///
/// All commits go through one writer. It takes all that wait, checks each against the streams as they then are, writes those
/// that pass in one transaction, syncs once, and answers: a conflict fails its own commit alone.
class journal : public journal_reader {
public:
  /// Closes the journal as `close` does.
  ~journal() override = default;

  /// Reserves credit for one commit of about `bytes` (it may turn out larger: `submit` then charges the difference). Error:
  /// `overloaded`, naming the bound; `closed`.
  virtual result<writer_credit> reserve(std::size_t bytes = 1'024) = 0;

  /// Queues `c`. The answer comes through `listener->on_commit(ticket, ...)`, always, exactly once; before `submit` returns
  /// when the commit breaks a bound (`invalid_argument`, `too_large`, `not_owned`, `closed`). Other answers: success, `conflict`,
  /// `epoch_closed`, `disk_full`, `outcome_unknown`. An empty `listener` is allowed.
  virtual void submit(commit c, writer_credit credit, std::shared_ptr<commit_listener> listener,
                      std::uint64_t ticket) = 0;

  /// Reserves, submits and waits. Not for the writer thread, and not for `writer_mode::stepped`. Errors: those of both.
  result<committed> commit_and_wait(commit c);

  /// Queues `s` to be written and returns at once. It replaces the one of the same stream, type and version; once it is
  /// written, the newest `keep` (at least 1) snapshots of this stream and type are kept and older ones deleted. The caller
  /// sees to it that the events up to `s.version` are durable.
  ///
  /// Never an error: a snapshot is dropped, and counted, if it breaks a bound, if 65,536 of them or 64 MiB wait already, if
  /// the disk is full or the write fails, and if the journal is closed.
  virtual void save_snapshot(const stream_id& stream, snapshot s, std::size_t keep = 2) = 0;

  /// Returns when what was queued before is written durably or dropped. In `writer_mode::stepped` it writes that itself.
  virtual void flush_snapshots() = 0;

  /// Calls `on_durable(head)` on the writer thread after each transaction that wrote events. It must not block or throw.
  virtual tail_subscription follow_tail(std::function<void(log_position)> on_durable) = 0;

  /// While one of these lives, the newest events stay in memory when they are committed (`journal_options::tail_bytes`).
  virtual tail_subscription keep_tail() = 0;

  /// Events in memory, durable and in a row, `position` among them; all who ask get the same page. Null: `position` is not
  /// in memory, because it is too old, nobody kept the tail then, or it is not written yet. Never reads from disk.
  /// `log_feed` reads by this where it can.
  virtual std::shared_ptr<const event_page> recent(log_position position) = 0;

  /// Calls `on_set(earliest)` on the writer thread after each transaction that set timers, with the first time for which it
  /// set one. It must not block or throw.
  virtual tail_subscription follow_timers(std::function<void(timestamp earliest)> on_set) = 0;

  virtual journal_stats stats() const = 0;

  /// Does what the writer thread would do next: one transaction with what waits now, and one with the queued snapshots.
  /// Returns the number of commits answered. Only for `writer_mode::stepped`; one thread at a time.
  virtual std::size_t step() = 0;

  /// Refuses new commits, finishes those that wait and the queued snapshots, and releases the files. Later calls answer `closed`. Idempotent.
  virtual void close() = 0;
};

} // namespace eventcore
