#pragma once

#include <eventcore/actors/internal/handler_worker.hpp>
#include <eventcore/actors/internal/multi_stream_actor.hpp>
#include <eventcore/actors/internal/subscription_feed.hpp>
#include <eventcore/actors/internal/subscription_names.hpp>
#include <eventcore/actors/internal/telemetry.hpp>
#include <eventcore/actors/subscriber.hpp>

#include <deque>
#include <map>

namespace eventcore::internal {

/// Journal's writer, or the source, to a subscription: there are new events, or the source is reached again.
struct feed_more {};

/// Subscription to itself: look after what takes time.
struct subscription_tick {};

/// Subscription to itself: an event's pause is over.
struct retry_lane {
  std::size_t lane = 0;
  std::uint64_t number = 0;
};

/// Subscription to itself: the journal, or the source, can be read, or the journal written, again, perhaps.
struct retry_journal {
  bool writing = false;
  std::uint64_t number = 0; ///< of the trouble
};

/// Answered with an empty message, as `await_position` is.
struct resume_subscription {};

/// To a subscription: letters are to be replayed, read its dead-letter stream.
struct look_at_letters {};

/// Answered when all up to `position` is handled.
struct await_position {
  log_position position = 0;
};

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::subscription_stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::feed_more)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::subscription_tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::retry_lane)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::retry_journal)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::resume_subscription)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::look_at_letters)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::await_position)

namespace eventcore::internal {

/// Feeds the workers of one subscription, moves its cursor, and knows what to do when a handler fails. It runs no handler
/// itself, so it answers whatever they do.
///
/// Events come in chunks, two in hand at most. Each chunk is dealt out to the lanes by the hash of the stream; a lane has one
/// worker and works its share off in order. What fails, or answers with a command, holds its own lane until that is settled.
/// All before the lowest unfinished event is handled, and the cursor follows it now and then.
///
/// One commit is in flight at a time: a lazy move of the cursor, a dead letter, or a reaction's command.
///
/// A letter that is to be replayed goes to the lane of its stream between two events, as a share of its own.
class subscription_actor final : public caf::event_based_actor {
public:
  struct start {
    subscriber_type type;
    subscription_options options;
    log_position
        first; ///< to be handled; with a source and without a cursor, that is found when it is reached
    log_position cursor;  ///< as the journal has it
    bool create;          ///< it has no cursor yet
    log_position history; ///< `history_of` the cursor, if it has one
    std::shared_ptr<const host_directory> hosts;
    subscription_name name;
  };

  subscription_actor(caf::actor_config& config, eventcore::journal& journal, start how);
  ~subscription_actor() override;

  const char* name() const override { return "eventcore.subscription"; }

  caf::invoke_message_result consume(caf::mailbox_element& element) override;

protected:
  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  using steady = caf::actor_clock::time_point;

  struct chunk_in_hand {
    event_chunk content;
    std::vector<std::vector<const recorded_event*>> shares; ///< by lane, if they are not all of the content
    std::size_t open = 0;                                   ///< lanes that are not through
    std::shared_ptr<event_source> source{}; ///< its name is with the events, for whoever still handles them
    recorded_event letter{};
    std::string letter_source{}; ///< empty: the own journal
  };
  using chunk_ptr = std::shared_ptr<chunk_in_hand>;

  /// A lane's share of a chunk.
  struct share {
    chunk_ptr chunk;
    std::span<const recorded_event* const> events;
    std::size_t done = 0;
    std::uint32_t attempt = 1;              ///< of the next event
    std::optional<stream_version> letter{}; ///< of the wish that this event be replayed
  };

  struct lane {
    std::size_t index = 0;
    std::unique_ptr<handler_worker> worker; ///< null: to be started
    std::uint64_t worker_number = 0;
    bool ending = false;
    std::deque<share> shares;
    enum class phase : std::uint8_t {
      idle,
      running,  ///< the worker has a task
      pausing,  ///< before a retry
      settling, ///< waits to commit what the next event came to, or for the commit
      stopped,
    } at = phase::idle;
    std::uint64_t number = 0; ///< of the task, or of the pause
    std::shared_ptr<handler_run> run;
    std::optional<error> failure;   ///< of the next event
    std::optional<reaction> answer; ///< that the next event came to
    std::size_t breakdowns = 0;     ///< in a row
    // The look-out for handlers that do not return.
    std::size_t seen_done = 0;
    steady seen_at{};
    bool reported = false;
  };

  // -- feeding
  void open_feed(log_position next);
  void pump();
  bool has_room() const;
  void deal(chunk_ptr chunk);
  void retire_chunks();
  bool wants(const recorded_event& event) const;
  void work(lane& l);
  void on_report(worker_report& report);
  void on_gone(const worker_gone& gone);
  void advance(lane& l, std::size_t events);
  const recorded_event& next_event(const lane& l) const;
  void went_on();

  // -- the source, if there is one
  bool bind();
  void reading_failed(const error& why);
  void retry_reading();
  error other_history(const event_source::history& now) const;
  std::string_view source_name() const;

  // -- failures
  void on_failure(lane& l, error why, bool hopeless);
  void on_breakdown(lane& l, const std::string& why);
  void pause(lane& l, std::chrono::milliseconds time);
  void stand_still(error why);
  /// What keeps the journal or the source from being read, or the journal from being written.
  struct trouble {
    bool waits = false; ///< until `retry_journal` of this number
    std::uint64_t number = 0;
    std::optional<error> why{}; ///< until it works again
    std::chrono::milliseconds backoff{0};
    timestamp since{};
  };
  void failed(trouble& with, const error& why) { failed(with, why, options_.max_backoff); }
  void failed(trouble& with, const error& why, std::chrono::milliseconds longest);

  // -- commits
  struct in_flight {
    cursor_move move{};                        ///< without a name: none
    std::optional<std::size_t> lane{};         ///< whose next event is settled by it
    std::optional<caf::message_id> reaction{}; ///< of the answer that is awaited
  };
  const recorded_event* lowest_unfinished() const;
  log_position handled_through() const;
  bool may_commit() const;
  void settle();
  void create_cursor();
  void move_cursor();
  void park(lane& l);
  void react(lane& l);
  void submit(commit c, in_flight what);
  void on_outcomes();
  void on_answer(caf::message content);
  bool is_done(const in_flight& what);
  error cursor_moved() const;

  // -- dead letters
  void read_letters();
  result<void> read_letter(log_position position, chunk_in_hand& to);
  void start_letter();
  void resolve(lane& l);
  void end_letter(lane& l);

  // -- time and end
  void tick();
  void arm_tick();
  void look_out(lane& l, steady now);
  void answer_waiting();
  subscription_stats stats() const;
  void publish() const;
  void begin_stop(bool at_once);
  void leave_if_done();

  eventcore::journal& journal_;
  subscriber_type type_;
  subscription_options options_;
  std::shared_ptr<const host_directory> hosts_;
  subscription_name name_;
  std::string cursor_name_;
  stream_id letter_stream_;
  bool admits_letters_; ///< of other subscriptions
  std::shared_ptr<outcome_list> outcomes_;
  std::optional<event_source::history>
      history_;                 ///< of the log that is followed; with a source: once it was reached
  log_position stored_history_; ///< `history_of` the cursor, if there is one
  std::unique_ptr<subscription_feed> feed_; ///< null: the source is to be bound
  bool at_end_ = false;                     ///< the feed tells when there is more

  std::vector<lane> lanes_;
  std::deque<chunk_ptr> chunks_; ///< in hand
  std::size_t events_in_hand_ = 0;
  std::size_t bytes_in_hand_ = 0;
  std::vector<chunk_ptr> spare_;
  log_position completed_; ///< the end of the last chunk that is done
  std::uint64_t numbers_ = 0;

  log_position cursor_; ///< as the journal has it
  bool create_;         ///< it has none yet
  std::optional<in_flight> committing_;
  trouble reading_;
  trouble writing_;
  std::optional<error> stood_still_; ///< why
  std::optional<stream_cursor> letters_read_;
  std::map<log_position, stream_version> letters_; ///< to be replayed, with the wishes
  std::map<log_position, stream_version> foreign_; ///< letters that hold events of sources
  bool letter_in_hand_ = false;
  bool ticking_ = false;
  bool stopping_ = false;

  subscription_stats stats_;
  std::shared_ptr<subscription_metrics> metrics_; ///< null: nothing is counted
  std::multimap<log_position, reply_address> waiting_;
  std::vector<reply_address> stop_requests_;
  log_limiter warnings_;
};

/// `first`, doubled so many times, `longest` at most.
std::chrono::milliseconds doubled(std::chrono::milliseconds first, std::size_t times,
                                  std::chrono::milliseconds longest);

/// Errors: see `subscription_errc`; those of reading the cursor.
result<subscription> start_subscription(caf::actor_system& system, journal& journal, subscriber_type type,
                                        const subscription_options& options,
                                        std::shared_ptr<const host_directory> hosts,
                                        const std::shared_ptr<subscription_directory>& names);

} // namespace eventcore::internal
