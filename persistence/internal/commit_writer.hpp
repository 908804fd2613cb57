#pragma once

#include <eventcore/persistence/internal/followers.hpp>
#include <eventcore/persistence/internal/head_cache.hpp>
#include <eventcore/persistence/internal/log_tail.hpp>
#include <eventcore/persistence/internal/store.hpp>

#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>

namespace eventcore::internal {

/// The one writer of a journal: a bounded queue of commits, and the group commit that works it off.
///
/// A step takes what waits, checks each commit against streams and cursors as they then are, writes those
/// that pass in one transaction of the store, ends it, and answers all. `submit`, `reserve` and `settle` are
/// thread-safe; steps are done by the writer's own thread or, in `writer_mode::stepped`, by the caller.
class commit_writer final : private writer_credit::source {
public:
  /// `backend` outlives the writer. Starts the thread, if any.
  commit_writer(store& backend, const journal_options& options, event_id last_id);
  ~commit_writer();

  result<writer_credit> reserve(std::size_t bytes);
  void submit(commit c, writer_credit credit, std::shared_ptr<commit_listener> listener,
              std::uint64_t ticket);
  tail_subscription follow_tail(std::function<void(log_position)> on_durable) {
    return tail_followers_.add(std::move(on_durable));
  }
  tail_subscription follow_timers(std::function<void(timestamp)> on_set) {
    return timer_followers_.add(std::move(on_set));
  }
  log_tail& tail() noexcept { return tail_; }
  journal_stats stats() const;
  std::size_t step();

  /// Refuses new commits and returns when the waiting ones are answered. Idempotent.
  void close();

  /// With relaxed durability: returns when what was acknowledged for `stream` is visible to readers.
  void settle(const std::string& stream);
  /// The same for all streams.
  void settle();

private:
  struct stream_item {
    stream_id stream;
    expected_version expected;
    std::size_t events;
  };
  struct event_item {
    const google::protobuf::Descriptor* type;
    std::size_t body_size;
  };
  struct job {
    std::size_t streams = 0; // how many items of the batch are this job's
    std::size_t events = 0;
    std::size_t cursors = 0;
    std::size_t timers = 0;
    std::size_t bytes = 0; // of encoded events
    std::shared_ptr<writer_epoch> epoch;
    std::size_t credit_bytes = 0;
    std::shared_ptr<commit_listener> listener;
    std::uint64_t ticket = 0;
    std::optional<result<committed>> outcome;
  };
  /// Jobs and what they consist of, one behind the other: batches keep their memory, so that nothing is
  /// allocated by the submitting thread to be freed by the writer's.
  struct batch {
    std::vector<job> jobs;
    std::vector<stream_item> streams;
    std::vector<event_item> events;
    std::vector<cursor_move> cursors;
    std::vector<timer_change> timers;
    std::string bodies;

    void clear();
  };
  /// Where a job's items begin.
  struct place {
    std::size_t stream = 0;
    std::size_t event = 0;
    std::size_t cursor = 0;
    std::size_t timer = 0;
    std::size_t body = 0;

    void pass(const job& j);
  };
  /// A type that was appended since the writer began.
  struct event_type {
    bool stored = false;    ///< in the journal, with its descriptor
    std::uint64_t open = 0; ///< events in the open transaction
    std::uint64_t* written; ///< in `events_by_type_`
  };
  using job_iterator = std::vector<job>::iterator;
  using clock = std::chrono::steady_clock;

  // -- the callers' side --
  void give_back(std::size_t bytes) noexcept override;
  bool owns(std::string_view category) const;
  std::optional<error> check_bounds(const commit& c) const;
  void enqueue(job j, commit&& content, std::string_view bodies, const std::vector<event_item>& events);

  // -- the writer's side --
  void run();
  std::size_t work_off(batch& work);
  job_iterator apply_group(const batch& work, job_iterator first, job_iterator last, place& at);
  result<void> open_transaction();
  result<committed> decide_fate(const batch& work, const job& j, const place& at);
  result<committed> apply(const batch& work, const job& j, place at);
  error broken(const error& why);
  result<stream_version*> version_of(const stream_id& stream);
  result<event_type*> remember_type(const google::protobuf::Descriptor* type);
  std::optional<error> end_transaction();
  void abort_transaction();
  void transaction_over(bool written);
  void forget();
  void refuse(job_iterator first, job_iterator last, const error& why);
  void settle_accounts(const batch& work, job_iterator first, job_iterator last, place at);
  void answer(job& j);

  store& store_;
  const journal_options options_;
  event_id_generator ids_;
  event_id_generator::clock now_;

  // The queue and what guards it.
  mutable std::mutex mutex_;
  std::condition_variable work_;    // something waits, or it is time to close
  std::condition_variable settled_; // a transaction ended
  batch queue_;
  bool idle_ = false;
  bool closing_ = false;
  bool hurry_ = false; // somebody waits for the open transaction's end
  std::unordered_set<std::string> unsettled_streams_;
  std::uint64_t transactions_begun_ = 0;
  std::uint64_t transactions_ended_ = 0;
  journal_stats stats_;
  std::map<std::string, std::uint64_t> events_by_type_;

  log_tail tail_;
  followers<log_position> tail_followers_;
  followers<timestamp> timer_followers_;

  std::atomic<std::size_t> pending_commits_{0};
  std::atomic<std::size_t> pending_bytes_{0};
  std::atomic<std::uint64_t> overloaded_{0};
  std::atomic<clock::rep> last_overload_{0};

  // The writer's own.
  batch taken_;
  head_cache heads_;
  std::unordered_map<const google::protobuf::Descriptor*, event_type> types_;
  std::vector<event_type*> open_types_;   ///< of which the open transaction has events
  std::vector<stream_version*> versions_; // of the commit being decided, one for each stream
  bool open_ = false;                     // a transaction is open
  std::optional<error> broken_;           // a write into it failed
  log_position head_before_ = 0;
  std::optional<timestamp> earliest_set_; // of the timers that the open transaction sets
  clock::time_point opened_at_;
  std::chrono::duration<double> sync_time_{0}; // of the last transaction
  std::size_t open_commits_ = 0;
  std::size_t open_events_ = 0;
  std::size_t open_bytes_ = 0;
  std::mutex stepping_;
  std::thread thread_;
};

} // namespace eventcore::internal
