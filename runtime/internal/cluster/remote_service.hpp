#pragma once

#include <eventcore/runtime/internal/cluster/local_services.hpp>
#include <eventcore/runtime/internal/cluster/peer_link.hpp>
#include <eventcore/runtime/service.hpp>

#include <atomic>
#include <deque>

namespace eventcore {
struct cluster_options;
}

namespace eventcore::internal {

/// A service as it is called from this node: finds out who takes a command, holds calls while nobody does and sends them again where
/// that is allowed, and sees to it that each call ends. Thread-safe.
class remote_service : public std::enable_shared_from_this<remote_service> {
public:
  using time_point = outgoing_call::time_point;

  remote_service(std::string name, std::shared_ptr<const local_services> local,
                 const cluster_options& options);

  const std::string& name() const noexcept { return name_; }

  /// A message for the service, in the thread of who sent it.
  void take(caf::mailbox_element& element, caf::execution_unit* context);

  // -- for the broker

  /// Calls can go there. Sends those that wait.
  void attach(std::shared_ptr<peer_link> link);
  void detach(const peer_link& link);
  /// The connection that they were sent on is lost. Those that may be sent again wait for another one.
  void give_back(std::vector<call_ptr> calls, const std::string& why);
  /// It says that it ends and did nothing: the call waits for another connection.
  void hold(call_ptr call);
  void sweep(time_point now);
  /// Answers what waits, and from now on everything, with `why`.
  void close(const error& why);
  /// From now on nodes are looked for, and patience counts.
  void begin(time_point now);

  // -- the end of a call

  void succeed(call_ptr call, caf::message answer);
  /// An error that the service answered, or why the call failed.
  void fail(call_ptr call, const error& why);
  /// The connection was lost with it, which says nothing of the service.
  void fail_in_doubt(call_ptr call, const std::string& why);

  service_stats stats() const;

private:
  void submit(call_ptr call, time_point now);
  /// True: it was kept. Else `why` says why not.
  bool keep(call_ptr& call, time_point now, std::optional<error>& why);
  /// Sends what waits, and takes out what has waited too long.
  std::vector<std::pair<call_ptr, error>> look_through(time_point now);
  void fail(std::vector<std::pair<call_ptr, error>> ended);
  std::shared_ptr<peer_link> choose(const outgoing_call& call) const;
  bool is_lost(time_point now) const;
  bool is_local() const;
  error overloaded() const;
  error too_large(const peer_link& link) const;
  error nobody() const;
  error in_doubt(const std::string& why) const;

  const std::string name_;
  const std::shared_ptr<const local_services> local_;
  const std::size_t max_message_;
  const std::size_t max_waiting_;
  const std::chrono::nanoseconds patience_;
  const std::chrono::nanoseconds call_limit_;
  const breaker breaker_;

  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<peer_link>> links_; ///< ordered by the node's name
  std::deque<call_ptr> waiting_;
  std::size_t waiting_bytes_ = 0;
  time_point lost_at_ = time_point::max(); ///< since when there is no link; max: nobody has looked yet
  std::string lost_why_;
  std::optional<error> closed_;
  /// What `local_` said last: the double of its generation then, and 1 more if the service is here.
  mutable std::atomic<std::uint64_t> local_answer_ = 0;
  std::atomic<std::uint64_t> calls_ = 0;
  std::atomic<std::uint64_t> repeated_ = 0;
};

/// The service as an actor. What is sent to it is not queued: the sender's thread passes it on.
class service_proxy final : public caf::monitorable_actor {
public:
  service_proxy(caf::actor_config& config, std::shared_ptr<remote_service> service)
      : monitorable_actor{config}
      , service_{std::move(service)} {}

  const char* name() const override { return "eventcore.service"; }
  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit* context) override;

private:
  std::shared_ptr<remote_service> service_;
};

} // namespace eventcore::internal
