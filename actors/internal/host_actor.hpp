#pragma once

#include <eventcore/actors/internal/entity_actor.hpp>

#include <chrono>
#include <deque>
#include <list>
#include <span>
#include <string_view>
#include <unordered_map>

namespace eventcore::internal {

/// Answered with `host_stats`.
struct get_stats {};

/// Stops the host in order. Answered, with an empty message, when the last entity is gone.
struct stop_host {
  bool at_once = false; ///< see `stop_order`
};

/// Host to itself: look for idle entities.
struct sweep {};

/// Makes the entity of `id` finish what it has and keeps further commands back, for at most `lease`, until
/// `release_stream` or the end of the lease. Answered, with an empty message, when the entity has nothing in flight. Several
/// holders come one after the other, and between two of them the entity gets its commands.
struct hold_stream {
  std::string id;
  std::uint64_t holder = 0; ///< unique in the process
  std::chrono::nanoseconds lease{};
};

struct release_stream {
  std::string id;
  std::uint64_t holder = 0;
};

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::host_stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::get_stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::stop_host)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::sweep)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::hold_stream)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::release_stream)

namespace eventcore::internal {

/// Finds or starts the entity for each command's id and passes the command on, without copying it and with
/// its address for the answer. Passivates entities that are idle or too many.
///
/// No command is lost or overtaken when an entity leaves: from the moment that the host says `leave`, or finds that the
/// entity left by itself, it keeps commands for that id back, until the entity says `stay` (it gets them) or has left (the
/// next one gets them). Actors whose entities left are used again.
class host_actor final : public caf::event_based_actor {
public:
  host_actor(caf::actor_config& config, const entity_type& type, eventcore::journal& journal,
             const host_options& options, std::function<timestamp()> now);

  const char* name() const override { return "eventcore.host"; }

protected:
  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  enum class permit : std::uint8_t { none, wanted, held };

  struct entry {
    std::string id;
    caf::actor actor;
    std::uint64_t last_used = 0; ///< in ticks of the sweep
    permit recovery = permit::none;
    bool leaving = false;
    std::vector<caf::mailbox_element_ptr> kept; ///< commands that came while it was leaving or held
    struct hold {
      std::uint64_t holder;
      std::chrono::nanoseconds lease;
      reply_address to;
      bool granted = false;
    };
    std::vector<hold> holds{}; ///< the first one drains the entity or holds it

    entity_actor& entity() const {
      return static_cast<entity_actor&>(*caf::actor_cast<caf::abstract_actor*>(actor));
    }
  };
  using entries = std::list<entry>;

  // -- commands
  void on_command(caf::mailbox_element& element);
  std::optional<error> pass_on(entries::iterator e, caf::mailbox_element& element);
  /// Counts one more command at the entity. False: it has left, and its report is on its way.
  bool admit(entries::iterator e);
  void refuse(caf::mailbox_element& element, const error& why);

  // -- entities
  result<entries::iterator> start(const std::string& id);
  void start_actor(entry& e, stream_id stream);
  void ask_to_leave(entries::iterator e);
  void welcome_back(entries::iterator e);
  void on_report(const entity_report& report);
  void on_left(entries::iterator e);
  void on_gone(entries::iterator e);
  void take_permit_back(entry& e);
  void grant_permits();

  // -- time and end
  void on_sweep();
  void arm_sweep();
  void on_hold(const hold_stream& wish);
  void on_release(const std::string& id, std::uint64_t holder);
  void on_drained(entries::iterator e);
  void on_stream_changed(const stream_changed& news);
  void pass_on_kept(entries::iterator e);
  void begin_stop(stop_order how);
  void quit_if_stopped();
  void publish() const;

  std::shared_ptr<entity_env> env_;
  entries active_;  ///< the one used last in front
  entries leaving_; ///< told to leave, not gone yet
  std::unordered_map<std::string_view, entries::iterator> entities_;
  std::vector<caf::actor> spare_; ///< that have left their streams
  std::size_t permits_held_ = 0;
  std::size_t permits_wanted_ = 0;
  std::deque<std::string> permit_queue_; ///< ids; some may not want it any more
  std::uint64_t tick_ = 0;
  bool sweeping_ = false;
  bool stopping_ = false;
  std::vector<reply_address> stop_requests_;
  std::uint64_t activations_ = 0;
  std::uint64_t passivations_ = 0;
};

/// Starts the host of `type`. `now` is the time for commands that bring none; empty: the system's clock.
/// `journal` must outlive the host, which ends by `stop_actors` or an exit message only.
host_handle start_host(caf::actor_system& system, journal& journal, const entity_type& type,
                       const host_options& options = {}, std::function<timestamp()> now = {});

/// Stops hosts, or what runs multi-stream commands, in order: they refuse new commands and end when what is in flight is
/// answered, but no later than `within`; what is not answered then is answered `outcome_unknown`. Whether all were in time.
bool stop_actors(caf::actor_system& system, std::span<const caf::actor> actors,
                 std::chrono::nanoseconds within);

} // namespace eventcore::internal
