#pragma once

#include <eventcore/actors/internal/host_actor.hpp>
#include <eventcore/actors/multi_stream_host.hpp>

#include <list>
#include <random>
#include <unordered_map>

namespace eventcore::internal {

/// The hosts of a node by category, what runs its multi-stream commands, and the other participants of its sagas by name. Thread-safe.
class host_directory {
public:
  void add(std::string_view category, caf::actor host);
  /// Empty: there is none.
  caf::actor find(std::string_view category) const;

  void add(const multi_stream_type& type, caf::actor commands);
  /// Empty: nobody runs them.
  caf::actor find(const multi_stream_type& type) const;

  void add_participant(std::string_view name, caf::actor participant);
  /// The participant, else the host of this category. Empty: there is none.
  caf::actor find_participant(std::string_view name) const;
  void clear();

private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, caf::actor> hosts_;
  std::unordered_map<const multi_stream_type*, caf::actor> commands_;
  std::unordered_map<std::string, caf::actor> participants_;
};

/// Journal's writer to the commands' actor: outcomes wait to be taken.
struct outcomes_wait {};

/// The commands' actor to itself: what was decided since is to be submitted.
struct submit_decided {};

/// The commands' actor to itself: a command's pause is over, or it has more to read.
struct resume_command {
  std::uint64_t id;
};

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::multi_stream_stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::outcomes_wait)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::submit_decided)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::resume_command)

namespace eventcore::internal {

/// Collects the outcomes of commits on the writer thread. However many there are, one message tells the actor.
class outcome_list final : public commit_listener {
public:
  explicit outcome_list(caf::weak_actor_ptr owner)
      : owner_{std::move(owner)} {}
  void on_commit(std::uint64_t ticket, const result<committed>& outcome) noexcept override;
  struct outcome {
    std::uint64_t ticket;
    committed where;
    std::optional<error> why; ///< it failed
  };
  std::vector<outcome> take();

private:
  std::mutex mutex_;
  bool told_ = false;
  std::vector<outcome> outcomes_;
  caf::weak_actor_ptr owner_;
};

/// Runs the commands of one multi-stream decider.
///
/// Commands that share a stream run one after the other, in the order of their arrival: each waits in a queue at all of its
/// streams and runs when it is the first in all of them, so there is no deadlock; one that discovers a stream leaves its
/// places and queues again for all. The others run side by side, each commit in flight while others are decided.
///
/// A stream's state stays in memory. Whatever another writer does is found by the version check. A command that lost because
/// it was decided from memory looks at the journal and is decided again at once; from then on each decision on these
/// streams looks first. One that lost nevertheless pauses and tries again.
///
/// After a commit the entities that live on its streams are told, and the next command on such a stream waits until they have
/// decided what waited for them. A command's last try holds them (see `hold_stream`), in the order of the streams' names.
class multi_stream_actor final : public caf::event_based_actor {
public:
  multi_stream_actor(caf::actor_config& config, const multi_stream_type& type, eventcore::journal& journal,
                     std::shared_ptr<const host_directory> hosts, const multi_stream_options& options,
                     std::function<timestamp()> now);
  ~multi_stream_actor() override;

  const char* name() const override { return "eventcore.multi_stream"; }

protected:
  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  struct slot;
  struct use;
  struct task;

  // -- commands
  void on_command(caf::mailbox_element& element);
  /// Runs what the user wrote. False: it threw, and the command has failed.
  template <class F>
  bool guarded(task& t, F f);
  /// Whether the deadline has passed; then the command has failed.
  bool is_late(task& t);
  void declare(task& t);
  void join_queues(task& t, std::vector<declared_stream> streams);
  void run_ready();
  void start(task& t);
  void hold(task& t);
  void read(task& t);
  /// False: it has more to read, or the command has failed.
  bool bring_up_to_date(task& t, use& u);
  static void show(use& u);
  void look_and_decide_again(task& t);
  /// Whether the command found streams that it does not have yet; then it queues for them, or has failed.
  bool discovers(task& t);
  /// Whether the command was answered before; then it is answered so again.
  bool is_repeat(task& t);
  void decide(task& t);
  void submit();
  static fold_state& next_of(use& u);
  /// False: the command has failed.
  bool prepare(task& t, multi_stream_decision decided, commit& c);
  /// Fails the command, unless it was decided from memory: then what went wrong may be no more true.
  void fail_decided(task& t, error why);
  void fail(task& t, error why);
  void fail(task& t, entity_errc code, std::string why);
  void answer(task& t);
  void observe(const task& t);

  // -- commits
  void on_outcomes();
  void on_committed(task& t, const committed& where);
  void on_conflict(task& t, const error& why);
  void tell_entity(slot& s);

  // -- streams
  slot& slot_of(const declared_stream& wanted);
  void leave_queues(task& t);
  void let_next_start(slot& s);
  void save_if_due(slot& s);

  // -- the end
  void begin_stop(bool at_once);
  void quit_if_stopped();

  const multi_stream_type& type_;
  eventcore::journal& journal_;
  std::shared_ptr<const host_directory> hosts_;
  multi_stream_options options_;
  std::function<timestamp()> now_;
  std::shared_ptr<outcome_list> outcomes_;
  std::minstd_rand random_;
  std::unordered_map<std::uint64_t, std::unique_ptr<task>> tasks_;
  std::unordered_map<std::string_view, std::unique_ptr<slot>> slots_;
  std::list<slot*> idle_;            ///< slots that nobody waits at; the one used last in front
  std::vector<std::uint64_t> ready_; ///< tasks that may be the first in all of their queues
  struct decided_commit {
    commit content;
    writer_credit credit;
    std::uint64_t id;
  };
  std::vector<decided_commit> decided_; ///< submitted together, so that a transaction takes many
  multi_stream_stats stats_;
  std::shared_ptr<const telemetry> telemetry_;
  std::shared_ptr<multi_stream_metrics> metrics_;
  log_limiter warnings_;
  bool stopping_ = false;
  std::vector<reply_address> stop_requests_;
};

multi_stream_handle start_multi_stream(caf::actor_system& system, journal& journal,
                                       const multi_stream_type& type,
                                       std::shared_ptr<const host_directory> hosts,
                                       const multi_stream_options& options = {},
                                       std::function<timestamp()> now = {});

} // namespace eventcore::internal
