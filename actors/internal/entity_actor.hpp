#pragma once

#include <eventcore/actors/entity_type.hpp>
#include <eventcore/actors/host.hpp>
#include <eventcore/actors/internal/caf_compat.hpp>
#include <eventcore/actors/internal/fold_state.hpp>
#include <eventcore/actors/internal/telemetry.hpp>
#include <eventcore/persistence/journal.hpp>

#include <atomic>
#include <functional>
#include <limits>

namespace eventcore::internal {

// -- messages between a host and its entities

/// Host to entity: the recovery may begin.
struct permit_granted {};

/// Host to entity: leave if nothing waits, else answer `stay`. The host keeps further commands back until it
/// knows.
struct leave_order {};

/// Host to an entity actor that has left its stream: be the entity of this one. The backlog is open again.
struct begin_stream {
  stream_id stream;
  bool permit = false;
};

/// Host to entity: answer what is in flight, refuse what was not taken up, then quit.
struct stop_order {
  /// Do not wait for the journal: what is in flight is answered `outcome_unknown`.
  bool at_once = false;
};

/// Host to entity: report `drained` when nothing waits and nothing is in flight.
struct drain_order {};

/// A multi-stream command to a host, and the host to its entity: a commit that was not the entity's own took the stream to
/// `version`. Answered, with an empty message, when the entity has taken that in and decided what waited for it.
struct stream_changed {
  std::string id;
  stream_version version = 0;
};

/// Journal's writer to entity: outcomes wait to be taken.
struct commits_done {};

/// Entity to itself: read the next events, now that others had their turn.
struct continue_recovery {};

enum class entity_news : std::uint8_t {
  permit_wanted,   ///< it has to recover once more
  permit_returned, ///< it is ready, or could not be recovered
  stay,            ///< it does not leave: something waits
  drained,         ///< as a `drain_order` asked
  left, ///< its last message of this stream: the actor can have another one; its permit is given back, too
  gone, ///< the same, and the actor has ended
};

/// Entity to host.
struct entity_report {
  entity_news what;
  std::string id;
};

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::permit_granted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::leave_order)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::begin_stream)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::stop_order)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::drain_order)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::stream_changed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::commits_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::continue_recovery)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::entity_report)

namespace eventcore::internal {

/// Lets one message a second through; counts the others. Thread-safe.
class log_limiter {
public:
  /// The number of messages suppressed since the last one, or nothing if this one is to be suppressed, too.
  std::optional<std::uint64_t> admit();

private:
  std::atomic<std::chrono::steady_clock::rep> next_{
      std::numeric_limits<std::chrono::steady_clock::rep>::min()};
  std::atomic<std::uint64_t> suppressed_{0};
};

/// What all entities of a host share.
struct entity_env {
  const entity_type& type;
  eventcore::journal& journal;
  host_options options;
  std::function<timestamp()> now;
  caf::actor host;
  mutable log_limiter warnings{};
  mutable log_limiter snapshot_warnings{};
  mutable std::atomic<std::uint64_t> snapshots_saved{0};
  mutable std::atomic<std::uint64_t> snapshots_too_large{0};
  mutable std::atomic<std::uint64_t> snapshots_passed_over{0};
  std::shared_ptr<const internal::telemetry> telemetry{}; ///< null: nobody looks
  std::shared_ptr<host_metrics>
      metrics{};                    ///< null: nothing is counted; else a row for each of the type's commands
  std::vector<bool> begins_trace{}; ///< by row: a command that nothing caused begins one

  bool traces() const noexcept { return telemetry && telemetry->traces(); }
};

/// Hands `state` to the journal as a snapshot, or counts and logs why not.
void save_snapshot(const entity_env& env, const stream_id& stream, snapshot s);

/// The answer to a command whose commit was in vain because one of its cursors does not stand where it is expected. Nothing: they do.
std::optional<error> find_moved(journal_reader& journal, const std::vector<cursor_move>& cursors);

/// Logs a failure that no caller hears of: a rejection at level debug, all else as a warning.
void log_unheard(const entity_env& env, std::string_view id, const error& e);

/// The row of a command's type in its decider's table; the one behind the last if the decider does not take it.
std::size_t row_of(const entity_type& type, const std::type_info& command);

/// One command from its arrival until its answer.
struct command_record {
  static constexpr auto no_row = std::numeric_limits<std::uint32_t>::max();

  caf::message content;
  reply_address to;
  /// The answer, held until what it saw is durable: `failure`, else `reply`, else nothing but success.
  std::unique_ptr<google::protobuf::Message> reply;
  std::unique_ptr<error> failure;
  /// Why its commit failed. Null: it did not, or not yet.
  std::unique_ptr<error> commit_failure;
  /// Of its commit; 0 if it has none.
  std::uint64_t ticket = 0;
  std::uint32_t conflicts = 0;
  bool stop = false;
  bool moves_cursors = false;
  bool looked_for_trace = false;
  std::uint32_t row = no_row;                      ///< of its type, once it was decided
  std::chrono::steady_clock::time_point arrived{}; ///< if commands are counted
  std::unique_ptr<open_span> span;                 ///< if it is traced
  std::unique_ptr<command_record> next;

  void forget_decision() noexcept {
    reply.reset();
    failure.reset();
    ticket = 0;
    stop = false;
    if (span)
      span->events = 0;
  }
};

/// A FIFO of records that costs two words when empty.
class record_queue {
public:
  record_queue() = default;
  record_queue(record_queue&& other) noexcept
      : head_{std::move(other.head_)}
      , tail_{std::exchange(other.tail_, nullptr)} {}
  record_queue& operator=(record_queue&& other) noexcept {
    std::swap(head_, other.head_);
    std::swap(tail_, other.tail_);
    return *this;
  }
  ~record_queue() {
    while (head_)
      pop();
  }

  bool empty() const noexcept { return head_ == nullptr; }
  command_record* front() const noexcept { return head_.get(); }

  void push(std::unique_ptr<command_record> record) noexcept {
    auto* last = record.get();
    (tail_ ? tail_->next : head_) = std::move(record);
    tail_ = last;
  }

  /// Null if empty.
  std::unique_ptr<command_record> pop() noexcept {
    auto first = std::move(head_);
    if (first)
      head_ = std::move(first->next);
    if (!head_)
      tail_ = nullptr;
    return first;
  }

  /// Puts all of `others` behind the last one.
  void append(record_queue others) noexcept {
    if (others.empty())
      return;
    (tail_ ? tail_->next : head_) = std::move(others.head_);
    tail_ = std::exchange(others.tail_, nullptr);
  }

private:
  std::unique_ptr<command_record> head_;
  command_record* tail_ = nullptr;
};

/// Collects the outcomes of one entity's commits on the writer thread, for the entity to take. However many
/// there are, one message tells the entity until it takes them.
class commit_outcomes final : public commit_listener {
public:
  struct batch {
    std::size_t answered = 0;
    /// All tickets up to this one that are not in `failures` succeeded, since this object was made.
    std::uint64_t succeeded_through = 0;
    std::vector<std::pair<std::uint64_t, error>> failures; ///< by ticket
    log_position last_position = 0;    ///< of the last event of `succeeded_through`, if it is set
    log_position watched_position = 0; ///< as above, of the watched ticket
  };

  explicit commit_outcomes(caf::weak_actor_ptr entity)
      : entity_{std::move(entity)} {}

  void on_commit(std::uint64_t ticket, const result<committed>& outcome) noexcept override;
  batch take();
  /// Keeps the position of this ticket's last event; forgets the ticket watched before.
  void watch(std::uint64_t ticket);
  /// The entity hears nothing from now on.
  void detach();

private:
  std::mutex mutex_;
  bool told_ = false;
  std::uint64_t watched_ = 0;
  batch batch_;
  caf::weak_actor_ptr entity_;
};

/// How many commands were sent to an entity and are not answered: its host counts up, the entity down. An entity at which none
/// waits closes it and leaves; from then on its host keeps commands back.
class entity_backlog {
public:
  std::size_t size() const noexcept {
    const auto n = commands_.load(std::memory_order_relaxed);
    return n < closed ? n : 0;
  }
  /// False: it is closed.
  bool add() noexcept { return commands_.fetch_add(1, std::memory_order_relaxed) < closed; }
  void remove() noexcept { commands_.fetch_sub(1, std::memory_order_relaxed); }
  /// False: a command waits.
  bool close() noexcept {
    std::size_t none = 0;
    return commands_.compare_exchange_strong(none, closed, std::memory_order_relaxed);
  }
  void open() noexcept { commands_.store(0, std::memory_order_relaxed); }

private:
  static constexpr auto closed = ~(std::numeric_limits<std::size_t>::max() >> 1);
  std::atomic<std::size_t> commands_{0};
};

/// What an entity actor knows of the stream that it serves. It forgets all of it when it leaves.
struct entity_activation {
  enum class phase : std::uint8_t { awaiting_permit, recovering, running, draining, failed, left };

  entity_activation(stream_id stream, phase at, bool permit)
      : stream_{std::move(stream)}
      , phase_{at}
      , permit_{permit} {}

  stream_id stream_;
  std::optional<fold_state> state_; ///< its version runs ahead of what is durable
  phase phase_;
  bool permit_;
  bool stopping_ = false;
  bool leave_wanted_ = false;
  bool drain_wanted_ = false;
  bool lost_once_ = false; ///< to another writer
  stream_version recovered_version_ = 0;
  stream_version saved_version_ = 0; ///< of the newest snapshot that is saved or about to be
  std::size_t in_flight_ = 0;        ///< commits without an answer
  std::shared_ptr<writer_epoch> epoch_;
  record_queue pending_; ///< decided, not answered
  record_queue waiting_; ///< not taken up, or to be decided again
  std::unique_ptr<stream_cursor> cursor_;
  std::unique_ptr<fold_state> base_;                          ///< durable; where the next recovery begins
  std::unique_ptr<std::pair<std::uint64_t, snapshot>> taken_; ///< to be saved when its ticket succeeded
  std::vector<reply_address> notices_;
  std::unique_ptr<std::string> recovery_failure_;
  std::chrono::milliseconds backoff_{0};
  std::chrono::steady_clock::time_point retry_at_{};
};

/// The only writer of one stream: rebuilds a decider's state from the stream, decides commands one after the
/// other, applies their events at once, submits them without waiting for the commits before, and holds every
/// answer until all that it depends on is durable.
///
/// Life: `awaiting_permit -> recovering -> running`. When a commit fails, or a decider throws in the midst of
/// a change, the state in memory is worth nothing: `running -> draining` until every commit in flight is
/// answered, then it recovers once more and decides the commands again that were not answered. A recovery
/// that fails leads to `failed`; the first command after the back-off time starts another one. It leaves when its host
/// says so or an effect asked for it, and nothing waits: `left`, until its host has another stream for the actor, because
/// the birth and death of an actor costs as much as several commands. It quits when its host says `stop` and all is
/// answered.
///
/// An entity that lost to another writer once keeps a copy of the durable state that it recovered to (where states can be
/// copied), so that the next conflict costs the events since, and not the stream.
class entity_actor final : public caf::event_based_actor, private entity_activation {
public:
  /// With `permit` it recovers at once, else when it is granted.
  entity_actor(caf::actor_config& config, std::shared_ptr<const entity_env> env, stream_id stream,
               bool permit);
  ~entity_actor() override;

  const char* name() const override { return "eventcore.entity"; }

  entity_backlog backlog;

protected:
  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  // -- commands
  void on_command(caf::mailbox_element& element);
  bool can_decide();
  void take_up(std::unique_ptr<command_record> record);
  void take_up_waiting();
  /// What the answer depends on.
  enum class basis : std::uint8_t {
    nothing,      ///< the command was refused before it was decided
    state,        ///< the state in memory
    broken_state, ///< the same, and the state was damaged by an exception
  };
  basis decide(command_record& record);
  /// Whether the state, with no commit in flight, is that of the stream's end: no other writer was there.
  bool is_up_to_date();
  /// The context that the command is decided with: its own one, or `changed` with what it lacks.
  const command_context& complete(command_record& record, std::size_t row, const command_context* context,
                                  command_context& changed) const;
  void submit(command_record& record, stream_append append, std::vector<timer_change> timers,
              const command_context& context, writer_credit credit);
  /// Whether the command is a repeat; then it has the answer of the first one. `fingerprint` is set if it has a key.
  bool is_repeat(command_record& record, const entity_type::command& command, const command_view& view,
                 timestamp now, std::uint64_t& fingerprint);

  // -- answers
  void answer(command_record& record);
  void observe(const command_record& record) const;
  void refuse(command_record& record, entity_errc code, std::string message);
  void refuse_all(record_queue& records, entity_errc code, const std::string& message);

  // -- commits
  void on_commits_done();
  void drain();
  void finish_draining();

  // -- recovery
  void begin_recovery();
  void start_reading();
  /// Reads on from where the state is, which is durable.
  void catch_up();
  void recover();
  void become_ready();
  void fail_recovery(std::string why);

  // -- snapshots
  /// Takes a copy of the state to be saved when the commit that it ends with is durable.
  void take_snapshot_if_due();
  void save_taken_snapshot(const commit_outcomes::batch& done);
  void save_last_snapshot();
  /// Nothing, with a warning, if the user's function throws.
  std::optional<snapshot> try_to_save() const;

  // -- other writers
  void on_stream_changed(stream_version version);
  void answer_notices();
  void return_permit();

  // -- the end
  void on_leave();
  void on_stop(stop_order how);
  /// Whether it has left: nothing waited.
  bool leave();
  void leave_if_wanted();
  void report_if_drained();
  void report(entity_news what);
  std::string_view id() const;
  bool idle() const { return pending_.empty() && waiting_.empty(); }

  std::shared_ptr<const entity_env> env_;
  std::uint64_t last_ticket_ = 0;
  std::shared_ptr<commit_outcomes> outcomes_;
};

} // namespace eventcore::internal
