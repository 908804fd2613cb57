#pragma once

#include <eventcore/actors/host.hpp>
#include <eventcore/actors/multi_stream_host.hpp>
#include <eventcore/actors/projection_host.hpp>
#include <eventcore/actors/publisher.hpp>
#include <eventcore/actors/saga_host.hpp>
#include <eventcore/actors/subscriber.hpp>
#include <eventcore/actors/subscription.hpp>
#include <eventcore/runtime/health.hpp>
#include <eventcore/runtime/members.hpp>
#include <eventcore/runtime/node_options.hpp>
#include <eventcore/runtime/service.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace caf {
class actor;
class actor_system;
} // namespace caf

namespace eventcore {

class event_source;
class federation_target;
class service_registry;

/// One running eventcore in this process: an actor system, a journal, the hosts of its entities, subscriptions and
/// projections. On a journal in a folder it listens on the Unix socket `control.sock` there, over which `eventcore sagas` carries
/// out an operator's decisions; only its own user can open it. If the socket cannot be made, that is logged as an error, and the
/// node runs without.
///
/// Thread-safe, except for construction and destruction. Destruction stops the node, if `stop` has not, and closes the journal.
class node {
public:
  /// For `main`: reads the options from the command line and the file that it names (see `read_command_line`; `--help` lists them).
  /// Prints the help and exits with 0 if asked to, exits with 2 on bad usage and with 1 if the journal cannot be opened, each
  /// with a message on stderr.
  node(int argc, char** argv);

  /// Errors: those of `open_lmdb_journal`.
  static result<node> open(node_options options);

  /// A node on a journal that the caller opened, such as one in memory.
  node(std::unique_ptr<eventcore::journal> journal, node_options options = {});

  node(node&&) noexcept;
  node& operator=(node&&) noexcept;
  ~node();

  /// The host of decider `D`, started by the first call. `options` of later calls are ignored. Throws `std::logic_error` if
  /// the decider's upcasters contradict each other (see `upcasters`).
  template <class D>
  eventcore::host<D> host(const host_options& options = {}) {
    return eventcore::host<D>{start_host(entity_type_of<D>(), options)};
  }

  /// What runs the commands of multi-stream decider `D`, started by the first call. `options` of later calls are ignored.
  /// Throws as `host` does.
  template <class D>
  multi_stream_host<D> multi_stream(const multi_stream_options& options = {}) {
    return multi_stream_host<D>{start_multi_stream(multi_stream_type_of<D>(), options)};
  }

  /// What runs the sagas of definition `S`, started by the first call, which also wakes all that are unfinished. Host the
  /// deciders and add the participants that its requests go to before. `options` of later calls are ignored. Throws
  /// `std::logic_error` if the definition is wrong, or if nobody takes its requests.
  template <class S>
  saga_host<S> saga(const saga_options& options = {}) {
    return saga_host<S>{start_sagas(saga_type_of<S>(), options)};
  }

  /// Projection `P`, started by the first call. `options` of later calls are ignored. Its view lies in
  /// `projections/<name>` of the journal's folder unless `options.folder` is given, and is made of the node's own journal, named
  /// by its service (`journal` if there is none), unless `options.sources` are given; these must outlive the node. Errors: those of
  /// `open_projection`; `invalid_argument` if neither the journal nor the options name a folder.
  template <class P>
  result<projection_host<P>> project(projection_options options = {}) {
    auto started = start_projection(projection_type_of<P>(), std::move(options));
    if (!started)
      return started.error();
    return projection_host<P>{*std::move(started)};
  }

  /// Makes an actor known to sagas by `name`: it takes `(eventcore::command_context, Command)`, or
  /// `(std::string, eventcore::command_context, Command)` if the step addresses an id, and answers each request. Throws
  /// `std::logic_error` if the name is taken.
  void add_participant(const std::string& name, const caf::actor& to);
  /// The same for what runs a multi-stream decider.
  void add_participant(const std::string& name, const multi_stream_handle& to);

  /// Starts subscriber `S`, whose objects `make` makes, one for each worker; without it they are default constructed. Host
  /// the deciders that its handlers answer with commands for before. Errors: `subscription_errc`, those of the journal. Throws
  /// as `host` does.
  template <class S, class Make>
  result<subscription> subscribe(const subscription_options& options, Make make) {
    return subscribe(subscriber_type_of<S>(std::move(make)), options);
  }
  template <class S>
  result<subscription> subscribe(const subscription_options& options) {
    return subscribe(subscriber_type_of<S>(), options);
  }
  result<subscription> subscribe(subscriber_type type, const subscription_options& options);

  /// The id of the service that runs here (spec 7): `journal.service` of the options, or what it was when the journal was made; else
  /// the environment variable SERVICE_ID; else the node's name. Error: it is none (see `service_id_of`).
  result<std::string> service_id() const;

  /// Checks what the service publishes, under its id. Errors: those of `service_id` and `publisher::create`.
  result<publisher> publish(publication content) const;

  // -- cluster

  /// Service `name` (see `service_handle`): the one of this node, an actor that it exports, or one of another node. Calls to
  /// others wait for `join`; without a cluster they are answered `unreachable`.
  service_handle service(const std::string& name);

  /// Makes an actor a service of its own: others reach it by `service(name)`, as does this node. It takes what hosts or
  /// multi-stream deciders take, and answers each request. Throws `std::logic_error` if the name is taken.
  void export_actor(const std::string& name, const caf::actor& actor);

  /// Lets other nodes read the journal's events: see `remote_events`. Personal data included.
  void offer_events();
  /// Lets other services' federation hubs append events to the journal: see `remote_target`.
  void accept_events();

  /// From now on the node listens, connects to its peers, and tells them what it offers: what was hosted, exported and offered
  /// before, and later. Commands of peers that come before their host is started would be answered `unknown_command`, so start
  /// the hosts before. Errors: `not_joined` without `node_options::cluster`; `invalid_options` if these are wrong (a
  /// listener without TLS on an address that is not loopback, say), or the address cannot be had.
  result<void> join();

  /// Where the node listens, `host:port`; empty: it does not.
  std::string cluster_address() const;

  /// The other nodes that are known, in the order of their addresses.
  std::vector<member_info> members() const;

  /// Who runs which service: Consul or `cluster_options::registry`, or where there is none, what the nodes told each other. Lives as long
  /// as the node.
  service_registry& registry();

  /// The events of service `name`, whose node offers them (`offer_events`), for subscriptions (`subscription_options::source`),
  /// projections and all who keep cursors. Credit is given page by page; a lost connection is made again, and goes on behind the
  /// last event that was read. Feeds answer `unreachable` while the service is not reached, `not_offered` if it does not offer
  /// events, and `wrong_journal` after a backup was restored there.
  std::shared_ptr<event_source> remote_events(const std::string& name);

  /// The way for a federation hub to service `name`, whose node accepts events (`accept_events`).
  std::shared_ptr<federation_target> remote_target(const std::string& name);

  /// Leaves the cluster in order: takes no more calls of peers (they are told, and hold theirs), lets those under way finish, for
  /// at most `within`, and closes all connections. Before, it withdraws itself from its registry, which may take as long as that
  /// takes to answer. The end of the node does it, too.
  void leave(std::chrono::nanoseconds within);

  // -- the end

  /// Ends what the node does, in this order: other nodes are told, and hold their commands; projections and subscriptions finish what
  /// they have in hand; sagas stop, and go on when they are started again; the node leaves its cluster; hosts refuse new commands (`stopped`, and nothing happened), and answer
  /// those that they have when they are durable. All of it takes `node_options::stop_within` at most; what is not done by
  /// then is logged. Handles can still be used, and answer `stopped`. Again changes nothing.
  void stop();

  /// Waits until the process gets SIGTERM or SIGINT, then stops the node. Returns the signal. For one thread of one node of a process,
  /// `main` as a rule; the rest of a program's end, such as that of its own threads, comes after it.
  int run_until_signal();

  /// From now on SIGTERM and SIGINT no longer end the process, but are kept for `run_until_signal`, however often they come:
  /// the way out is bounded in time. `run_until_signal` does it itself; a program that says that it is ready before does it
  /// before that.
  static void keep_signals();

  // -- parts

  /// Adds to what makes the node ready, or not (`/health/ready`). A check of the same name is replaced.
  void add_health_check(std::string name, health_check check);

  /// Adds a gauge to `/metrics`, by names as Prometheus wants them. `value` is called from any thread, and must not block.
  void add_gauge(std::string name, std::string help, std::map<std::string, std::string> labels,
                 std::function<double()> value);

  /// What `/health/ready` says.
  health_report health() const;

  /// `host:port` of `/metrics` and `/health`; empty: nobody listens (see `admin_options`).
  std::string admin_address() const;

  eventcore::journal& journal() noexcept;

  /// The actor system, for CAF users: `#include <caf/all.hpp>` to use it.
  caf::actor_system& system() noexcept;

private:
  struct impl;
  explicit node(std::unique_ptr<impl> content) noexcept;
  host_handle start_host(const entity_type& type, const host_options& options);
  multi_stream_handle start_multi_stream(const multi_stream_type& type, const multi_stream_options& options);
  saga_handle start_sagas(const saga_type& type, const saga_options& options);
  result<projection_handle> start_projection(const projection_type& type, projection_options options);

  std::unique_ptr<impl> impl_;
};

} // namespace eventcore
