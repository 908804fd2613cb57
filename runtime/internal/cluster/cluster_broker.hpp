#pragma once

#include <eventcore/runtime/internal/cluster/cluster_env.hpp>
#include <eventcore/runtime/internal/cluster/served_peer.hpp>
#include <eventcore/runtime/internal/sockets.hpp>
#include <eventcore/runtime/members.hpp>

#include <eventcore/runtime/internal/cluster/cluster.pb.h>

#include <caf/io/all.hpp>
#include <caf/io/network/default_multiplexer.hpp>

#include <map>
#include <optional>
#include <random>
#include <set>
#include <unordered_map>

namespace eventcore::internal {

class tls_session;

// -- to the broker

/// There is something in the outbox of this connection.
struct outbox_filled {
  caf::io::connection_handle connection;
};

/// What became of an attempt to connect.
struct dialed {
  std::string address;
  std::shared_ptr<result<socket_handle>> outcome;
  std::shared_ptr<tls_session> tls{}; ///< null: it is not encrypted
};

struct cluster_tick {};

/// What this node offers has changed.
struct offers_changed {};

/// Calls to this service go out from here from now on.
struct service_added {
  std::shared_ptr<remote_service> service;
};

/// Nodes may be at these addresses, a registry says.
struct addresses_found {
  std::vector<std::string> addresses;
};

/// Somebody here reads events of another service, or sends some to it.
struct event_ways_changed {};

/// Answered with `std::vector<member_info>`.
struct get_members {};

/// Peers are told that this node leaves: what they ask for from now on is refused, and they hold it.
struct announce_leave {};

/// Answered, with an empty message, when all that peers asked for is answered and sent, and all connections are closed.
struct leave_cluster {};

/// No matter what is under way. Answered with an empty message.
struct end_cluster {};

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::outbox_filled)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::dialed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::cluster_tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::offers_changed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::service_added)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::addresses_found)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::event_ways_changed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::get_members)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<eventcore::member_info>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::announce_leave)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::leave_cluster)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::end_cluster)

namespace eventcore::internal {

/// The network side of a node: connects to peers and is connected by them, shakes hands, hears whether they are alive, and passes
/// frames on.
///
/// A connection has a caller, who made it, and a server: calls and what belongs to them go one way, answers the other. So two
/// nodes that call each other have two connections, and neither has to be chosen.
///
/// What costs time is done elsewhere: commands and answers are serialised by those who send them, in their threads, into the
/// connection's outbox, and carried out by the actors that they are for.
class cluster_broker final : public caf::io::broker {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// `address` is where peers are told to connect to; empty: nowhere, and `listener` is empty.
  cluster_broker(caf::actor_config& config, std::shared_ptr<cluster_env> env,
                 std::shared_ptr<socket_handle> listener, std::string address);

  const char* name() const override { return "eventcore.cluster"; }

protected:
  caf::behavior make_behavior() override;

private:
  using handle = caf::io::connection_handle;

  struct served_route {
    std::string service;
    std::string type;
    // What was found last, for a command without an id and for one with it.
    std::uint64_t generation = 0;
    local_services::target targets[2]{};
  };

  struct connection {
    bool is_caller = false;
    std::string address; ///< of the caller's peer; of a server's peer for messages
    time_point since;
    time_point heard;
    time_point pinged{};
    bool has_magic = false;
    std::optional<NodeHello> peer{}; ///< it was taken as a member
    byte_buffer partial{};           ///< the beginning of a frame
    std::shared_ptr<outbox> out{};
    bool writing = false;
    bool leaving = false;                ///< the peer said that it ends
    std::optional<time_point> closing{}; ///< it ends when all is sent, but then at the latest
    std::shared_ptr<peer_link> link{};   ///< of a caller
    std::vector<const google::protobuf::Message*> answer_types{};
    std::shared_ptr<served_peer> served{}; ///< of a server
    caf::strong_actor_ptr answers_to{};
    std::vector<served_route> routes{};
    caf::actor events{}; ///< of a server; empty: none was needed yet
    std::shared_ptr<remote_source> source{};
    std::shared_ptr<remote_target> target{};
    std::string tls_failure() const;
    std::shared_ptr<const tls_session> tls{};                             ///< null: it is not encrypted
    std::optional<std::chrono::system_clock::time_point> trusted_until{}; ///< of a member
  };

  /// A node that this one connects to.
  struct peer {
    bool configured = false;
    bool is_self = false;
    std::string same_as{}; ///< another address that leads to the same process, and is connected
    bool dialing = false;
    std::optional<handle> connected{};
    member_info info{};
    time_point since{};
    time_point next_try{};
    std::chrono::milliseconds pause{0};
    std::optional<service_info> registration{}; ///< while it is connected
    std::string logged{};                       ///< the failure that was logged last
  };

  caf::io::network::default_multiplexer& network();

  // -- connections
  void add_connection(handle h, connection c);
  void on_accepted(handle h);
  void on_dialed(const dialed& d);
  void on_data(handle h, const byte_buffer& data);
  void on_sent(handle h, std::size_t remaining);
  void pump(handle h, connection& c);
  void close_soon(handle h, connection& c);
  /// Ends a connection; what was under way is told.
  void drop(handle h, const std::string& why);
  void say_hello(connection& c, const std::string& refusal = {});

  // -- frames. An error ends the connection.
  std::optional<std::string> take_frames(handle h, connection& c, std::string_view& data);
  std::optional<std::string> take_frame(handle h, connection& c, frame_kind kind, wire_reader content);
  std::optional<std::string> on_hello(handle h, connection& c, wire_reader content);
  std::optional<std::string> on_command(connection& c, wire_reader content);
  std::optional<std::string> on_answer(connection& c, wire_reader content);
  std::optional<std::string> on_events(connection& c, frame_kind kind, wire_reader content);

  // -- membership
  void learn(const std::string& address, bool configured);
  void learn_from(const NodeHello& hello);
  void dial(const std::string& address, peer& p);
  void retry_later(peer& p);
  void set_state(peer& p, member_state state, const std::string& why);
  void on_member(handle h, connection& c);
  void on_lost(handle h, connection& c, const std::string& why);
  std::optional<std::string> conflict_with_others(handle h, const connection& c, const NodeHello& hello);
  std::vector<member_info> members() const;
  void attach_services(connection& c);
  void register_peer(connection& c);
  void attach_event_ways(connection& c);

  // -- time
  void on_tick();
  void look_after(time_point now);
  void begin_leave();
  void leave_if_done();
  void end();

  std::shared_ptr<cluster_env> env_;
  std::shared_ptr<socket_handle> listener_;
  const std::string address_;
  const std::size_t max_frame_;
  std::unordered_map<handle, connection> connections_;
  std::map<std::string, peer> peers_; ///< by address
  std::mt19937 random_{std::random_device{}()};
  time_point last_tick_{};
  std::optional<caf::io::accept_handle> accepting_;
  bool leaving_ = false;
  std::vector<reply_address> leave_requests_;
  time_point quiet_until_{}; ///< strangers are not logged until then
};

} // namespace eventcore::internal
