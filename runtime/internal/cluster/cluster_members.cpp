#include <eventcore/runtime/internal/cluster/cluster_broker.hpp>

#include <eventcore/runtime/internal/cluster/handshake.hpp>
#include <eventcore/runtime/internal/cluster/remote_source.hpp>
#include <eventcore/runtime/internal/cluster/remote_target.hpp>
#include <eventcore/runtime/internal/cluster/tls.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

// The half of the broker that knows who is there: peers, their states, and time.

namespace eventcore::internal {

namespace {

using namespace std::chrono_literals;
using steady_clock = std::chrono::steady_clock;

constexpr auto tick_time = 50ms;
constexpr std::size_t max_peers = 1'000;
/// A peer that others told of, and that was not reached for so long, is forgotten.
constexpr auto forget_after = 10min;
constexpr auto refused_pause = 5s;

} // namespace

void cluster_broker::learn(const std::string& address, bool configured) {
  if (address.empty() || address == address_ || (!configured && peers_.size() >= max_peers))
    return;
  const auto [known, is_new] = peers_.try_emplace(address);
  auto& p = known->second;
  p.configured |= configured;
  if (!is_new)
    return;
  p.info.address = address;
  p.since = p.next_try = steady_clock::now();
  p.pause = env_->options.reconnect;
}

void cluster_broker::learn_from(const NodeHello& hello) {
  learn(hello.address(), false);
  for (const auto& address : hello.known())
    learn(address, false);
}

void cluster_broker::dial(const std::string& address, peer& p) {
  const auto where = host_port::parse(address);
  if (!where) {
    set_state(p, member_state::refused, where.error().message());
    p.next_try = time_point::max();
    return;
  }
  p.dialing = true;
  // Resolving a name can take long, so each attempt has a thread of its own, and ends by itself.
  system().spawn<caf::detached + caf::hidden>([to = caf::actor_cast<caf::actor>(this), address,
                                               where = *where, limit = env_->options.handshake_limit,
                                               tls = env_->options.tls] {
    block_broken_pipes();
    auto outcome = std::make_shared<result<socket_handle>>(connect_to(where, limit));
    std::shared_ptr<tls_session> session;
    if (*outcome && tls) {
      auto made = tls_session::make(*tls, (**outcome).get(), false);
      const auto agreed = made ? (*made)->connect(limit) : made.error();
      if (agreed)
        session = *std::move(made);
      else
        *outcome = agreed.error();
    }
    caf::anon_send(to, dialed{address, std::move(outcome), std::move(session)});
  });
}

void cluster_broker::retry_later(peer& p) {
  std::uniform_real_distribution<double> share{0.5, 1.0};
  auto pause = p.pause;
  if (p.info.state == member_state::refused)
    pause = std::max<std::chrono::milliseconds>(pause, refused_pause);
  p.next_try =
      steady_clock::now() + std::chrono::duration_cast<std::chrono::milliseconds>(pause * share(random_));
  p.pause = std::min(p.pause * 2, env_->options.max_reconnect);
}

void cluster_broker::set_state(peer& p, member_state state, const std::string& why) {
  if (p.info.state != state) {
    p.info.state = state;
    p.since = steady_clock::now();
  }
  if (state == member_state::connected) {
    spdlog::info("cluster: connected to node {} at {}, service {}", p.info.node, p.info.address,
                 p.info.service);
    p.logged.clear();
    return;
  }
  p.info.last_error = why;
  if (p.logged == why)
    return;
  p.logged = why;
  const auto* who = p.info.node.empty() ? "a peer" : p.info.node.c_str();
  spdlog::warn("cluster: {} at {} is {}: {}; tried again and again", who, p.info.address, to_string(state),
               why);
}

std::optional<std::string> cluster_broker::conflict_with_others(handle h, const connection& c,
                                                                const NodeHello& hello) {
  for (auto& [other, known] : connections_)
    if (other != h && known.peer && !known.leaving)
      if (auto conflict = conflict_of(hello, *known.peer))
        return conflict;
  if (c.is_caller)
    return std::nullopt;
  // The same process connects once more: what it had is broken, even if nobody noticed yet.
  std::vector<handle> stale;
  for (const auto& [other, known] : connections_)
    if (other != h && !known.is_caller && known.peer && known.peer->instance() == hello.instance())
      stale.push_back(other);
  for (auto other : stale)
    drop(other, "the node connected anew");
  return std::nullopt;
}

void cluster_broker::on_member(handle h, connection& c) {
  learn_from(*c.peer);
  if (c.tls)
    c.trusted_until = c.tls->trusted_until();
  const auto max_message =
      std::min<std::size_t>(env_->options.max_message,
                            c.peer->max_message() > 0 ? c.peer->max_message() : env_->options.max_message);
  if (!c.is_caller) {
    c.served =
        std::make_shared<served_peer>(served_peer::limits{env_->options.max_in_flight, max_message}, c.out);
    caf::actor_config config;
    c.answers_to = caf::make_actor<responder, caf::strong_actor_ptr>(
        system().next_actor_id(), system().node(), &system(), config, c.served);
    if (leaving_)
      c.out->write([](byte_buffer& buffer) { frame_writer{buffer, frame_kind::goodbye}; });
    return;
  }
  auto& p = peers_.at(c.address);
  for (const auto& [address, other] : peers_)
    if (address != c.address && other.connected && connections_.contains(*other.connected) &&
        connections_.at(*other.connected).peer &&
        connections_.at(*other.connected).peer->instance() == c.peer->instance()) {
      p.same_as = address;
      c.peer.reset();
      return close_soon(h, c);
    }
  p.same_as.clear();
  p.pause = env_->options.reconnect;
  p.info.node = c.peer->node();
  p.info.service = c.peer->service();
  p.info.journal = to_string(uuid_of(c.peer->journal()));
  p.info.incarnation = to_string(uuid_of(c.peer->incarnation()));
  ++p.info.connects;
  c.link = std::make_shared<peer_link>(c.peer->node(), uuid_of(c.peer->journal()),
                                       peer_link::limits{env_->options.max_in_flight,
                                                         env_->options.max_waiting_bytes,
                                                         max_message + frame_overhead / 2},
                                       c.out);
  set_state(p, member_state::connected, {});
  attach_services(c);
}

void cluster_broker::attach_services(connection& c) {
  auto& p = peers_.at(c.address);
  p.info.offers.assign(c.peer->offers().begin(), c.peer->offers().end());
  if (c.leaving)
    return;
  auto info = info_of(*c.peer);
  if (p.registration)
    info.registered_at = p.registration->registered_at;
  p.registration = std::move(info);
  register_peer(c);
  std::vector<std::shared_ptr<remote_service>> services;
  {
    std::lock_guard lock{env_->mutex};
    for (const auto& name : c.peer->offers())
      if (const auto known = env_->services.find(name); known != env_->services.end())
        services.push_back(known->second);
  }
  for (const auto& service : services)
    service->attach(c.link);
  attach_event_ways(c);
}

void cluster_broker::attach_event_ways(connection& c) {
  {
    std::lock_guard lock{env_->mutex};
    if (const auto found = env_->sources.find(c.peer->service()); found != env_->sources.end())
      c.source = found->second;
    if (const auto found = env_->targets.find(c.peer->service()); found != env_->targets.end())
      c.target = found->second;
  }
  if (c.source)
    c.source->connected(c.out, {uuid_of(c.peer->journal()), uuid_of(c.peer->incarnation())}, c.peer->head(),
                        c.peer->offers_events());
  if (c.target)
    c.target->connected(c.out, c.peer->accepts_events());
}

/// Or renews it.
void cluster_broker::register_peer(connection& c) {
  auto& p = peers_.at(c.address);
  if (c.leaving || !p.registration)
    return;
  if (auto entered = env_->registry->enter(*p.registration);
      !entered && p.logged != entered.error().message()) {
    p.logged = entered.error().message();
    spdlog::warn("cluster: a peer is not registered: {}", p.logged);
  }
}

void cluster_broker::on_lost(handle, connection& c, const std::string& why) {
  if (c.events)
    caf::anon_send_exit(c.events, caf::exit_reason::user_shutdown);
  if (c.source)
    c.source->lost(*c.out, why);
  if (c.target)
    c.target->lost(*c.out, why);
  if (c.served && !c.leaving && !leaving_)
    spdlog::info("cluster: node {} is not connected any more: {}", c.peer->node(), why);
  if (!c.is_caller) {
    if (const auto now = steady_clock::now(); !c.peer && now >= quiet_until_ && !leaving_ && !c.closing) {
      quiet_until_ = now + 1s;
      spdlog::warn("cluster: a connection from {} was ended: {}", c.address, why);
    }
    return;
  }
  if (c.link) {
    std::vector<std::shared_ptr<remote_service>> services;
    {
      std::lock_guard lock{env_->mutex};
      for (const auto& [name, service] : env_->services)
        services.push_back(service);
    }
    for (const auto& service : services)
      service->detach(*c.link);
    std::unordered_map<std::shared_ptr<remote_service>, std::vector<call_ptr>> by_service;
    for (auto& call : c.link->close()) {
      auto& calls = by_service[call->service];
      calls.push_back(std::move(call));
    }
    for (auto& [service, calls] : by_service)
      service->give_back(std::move(calls), "node " + c.link->node() + " was lost: " + why);
  }
  auto& p = peers_.at(c.address);
  p.connected.reset();
  p.registration.reset();
  if (p.is_self || leaving_)
    return;
  if (!p.same_as.empty())
    return;
  if (p.info.state == member_state::refused)
    set_state(p, member_state::refused, p.info.last_error.empty() || !c.closing ? why : p.info.last_error);
  else
    set_state(p, member_state::unreachable, c.leaving ? "it left the cluster" : why);
  retry_later(p);
}

std::vector<member_info> cluster_broker::members() const {
  std::vector<member_info> all;
  const auto now = steady_clock::now();
  for (const auto& [address, p] : peers_) {
    if (p.is_self || !p.same_as.empty())
      continue;
    auto& info = all.emplace_back(p.info);
    info.for_time = std::chrono::duration_cast<std::chrono::milliseconds>(now - p.since);
    if (p.connected)
      if (const auto c = connections_.find(*p.connected); c != connections_.end() && c->second.link)
        info.in_flight = c->second.link->in_flight();
  }
  return all;
}

// -- time

void cluster_broker::on_tick() {
  const auto now = steady_clock::now();
  // Who was stopped itself has not heard others, although they spoke.
  if (last_tick_ != time_point{} && now - last_tick_ > env_->options.silence / 2)
    for (auto& [h, c] : connections_)
      c.heard = now;
  last_tick_ = now;
  leave_if_done();
  look_after(now);
  std::vector<std::shared_ptr<remote_service>> services;
  {
    std::lock_guard lock{env_->mutex};
    for (const auto& [name, service] : env_->services)
      services.push_back(service);
  }
  for (const auto& service : services)
    service->sweep(now);
  for (auto i = peers_.begin(); i != peers_.end();) {
    auto& [address, p] = *i;
    if (!p.same_as.empty() && (!peers_.contains(p.same_as) || !peers_.at(p.same_as).connected))
      p.same_as.clear();
    const bool idle = !p.connected && !p.dialing && !p.is_self && p.same_as.empty() && !leaving_;
    if (idle && !p.configured && now - p.since > forget_after) {
      i = peers_.erase(i);
      continue;
    }
    if (idle && now >= p.next_try)
      dial(address, p);
    ++i;
  }
  // Without a sender: a message of the broker to itself that is in its mailbox at its end would keep it for ever.
  caf::delayed_anon_send(caf::actor_cast<caf::actor>(this), tick_time, cluster_tick{});
}

void cluster_broker::look_after(time_point now) {
  const auto& options = env_->options;
  const auto wall_clock = std::chrono::system_clock::now();
  std::vector<std::pair<handle, std::string>> ended;
  for (auto& [h, c] : connections_) {
    if (c.closing) {
      if (now >= *c.closing)
        ended.emplace_back(h, "it was closed");
      continue;
    }
    if (!c.peer) {
      if (now - c.since > options.handshake_limit)
        ended.emplace_back(h, "it did not say who it is within " +
                                  std::to_string(options.handshake_limit.count()) + " ms");
      continue;
    }
    if (now - c.heard > options.silence) {
      ended.emplace_back(h, "nothing was heard of it for " + std::to_string(options.silence.count()) + " ms");
      continue;
    }
    if (c.trusted_until && wall_clock > *c.trusted_until) {
      ended.emplace_back(h, "its certificate has expired since it connected");
      continue;
    }
    if (c.served && c.out->size() > options.max_waiting_bytes + max_frame_) {
      ended.emplace_back(h, "it does not take its answers");
      continue;
    }
    if (now - c.pinged >= options.heartbeat) {
      c.pinged = now;
      if (c.link)
        register_peer(c);
      const auto at = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
      c.out->write([&](byte_buffer& buffer) {
        frame_writer{buffer, frame_kind::ping}.number(static_cast<std::uint64_t>(at));
      });
    }
    if (c.served)
      c.served->sweep(now);
    if (c.link)
      for (auto& call : c.link->take_expired(now)) {
        const auto service = call->service;
        service->fail(std::move(call),
                      make_error(entity_errc::outcome_unknown,
                                 "service " + service->name() + " at node " + c.link->node() +
                                     " did not answer in time; repeat it with the same idempotency key"));
      }
  }
  for (const auto& [h, why] : ended)
    drop(h, why);
}

// -- the end

void cluster_broker::begin_leave() {
  if (!leaving_) {
    leaving_ = true;
    if (accepting_)
      close(*accepting_);
    accepting_.reset();
    for (auto& [h, c] : connections_)
      if (c.peer)
        c.out->write([](byte_buffer& buffer) { frame_writer{buffer, frame_kind::goodbye}; });
  }
  leave_if_done();
}

void cluster_broker::leave_if_done() {
  if (leave_requests_.empty())
    return;
  for (const auto& [h, c] : connections_)
    if ((c.served && c.served->in_flight() > 0) || c.writing || c.out->size() > 0)
      return;
  end();
}

void cluster_broker::end() {
  leaving_ = true;
  while (!connections_.empty())
    drop(connections_.begin()->first, "this node ends");
  for (auto& request : leave_requests_)
    request.deliver(ctrl(), caf::message{}, nullptr);
  leave_requests_.clear();
  quit();
}

} // namespace eventcore::internal
