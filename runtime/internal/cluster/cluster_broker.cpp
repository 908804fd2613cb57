#include <eventcore/runtime/internal/cluster/cluster_broker.hpp>

#include <eventcore/runtime/internal/cluster/event_server.hpp>
#include <eventcore/runtime/internal/cluster/handshake.hpp>
#include <eventcore/runtime/internal/cluster/remote_source.hpp>
#include <eventcore/runtime/internal/cluster/remote_target.hpp>
#include <eventcore/runtime/internal/cluster/tls.hpp>

#include <spdlog/spdlog.h>

#include <sys/socket.h>

#include <algorithm>

namespace eventcore::internal {

namespace {

using namespace std::chrono_literals;
using steady_clock = std::chrono::steady_clock;

constexpr std::size_t read_size = std::size_t{32} << 10;
/// Of a peer that has not said who it is.
constexpr std::size_t max_hello = std::size_t{256} << 10;
/// Given to a connection to send what it has before it is closed.
constexpr auto close_limit = 1s;

} // namespace

cluster_broker::cluster_broker(caf::actor_config& config, std::shared_ptr<cluster_env> env,
                               std::shared_ptr<socket_handle> listener, std::string address)
    : caf::io::broker{config}
    , env_{std::move(env)}
    , listener_{std::move(listener)}
    , address_{std::move(address)}
    , max_frame_{env_->options.max_message + frame_overhead} {}

caf::behavior cluster_broker::make_behavior() {
  set_default_handler(caf::drop);
  set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  set_down_handler([](caf::scheduled_actor*, caf::down_msg&) {});
  set_exit_handler(
      [](caf::scheduled_actor* self, caf::exit_msg&) { static_cast<cluster_broker*>(self)->end(); });
  set_exception_handler([](caf::scheduled_actor*, std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      spdlog::critical("this node leaves its cluster after an unexpected exception: {}", e.what());
    } catch (...) {
      spdlog::critical("this node leaves its cluster after an unexpected exception");
    }
    return caf::make_error(caf::exit_reason::unhandled_exception);
  });
  block_broken_pipes();
  if (*listener_ && env_->options.tls) {
    auto doorman = caf::make_counted<tls_doorman>(network(), listener_->release(), *env_->options.tls);
    accepting_ = doorman->hdl();
    add_doorman(std::move(doorman));
  } else if (*listener_) {
    accepting_ = add_doorman(listener_->release());
  }
  for (const auto& address : env_->options.peers)
    learn(address, true);
  on_tick();
  return {
      [this](const caf::io::new_data_msg& m) { on_data(m.handle, m.buf); },
      [this](const caf::io::data_transferred_msg& m) { on_sent(m.handle, m.remaining); },
      [this](const outbox_filled& m) {
        if (const auto c = connections_.find(m.connection); c != connections_.end())
          pump(m.connection, c->second);
      },
      [this](const caf::io::new_connection_msg& m) { on_accepted(m.handle); },
      [this](const caf::io::connection_closed_msg& m) {
        const auto c = connections_.find(m.handle);
        const auto failure = c == connections_.end() ? "" : c->second.tls_failure();
        drop(m.handle, failure.empty() ? "the connection was closed" : failure);
      },
      [this](const caf::io::acceptor_closed_msg&) { accepting_.reset(); },
      [this](const dialed& m) { on_dialed(m); },
      [this](cluster_tick) { on_tick(); },
      [this](offers_changed) {
        for (auto& [h, c] : connections_)
          if (c.peer)
            say_hello(c);
      },
      [this](const service_added& m) {
        for (auto& [h, c] : connections_)
          if (c.link && !c.leaving && std::ranges::count(c.peer->offers(), m.service->name()) > 0)
            m.service->attach(c.link);
      },
      [this](const addresses_found& m) {
        for (const auto& address : m.addresses)
          learn(address, false);
      },
      [this](event_ways_changed) {
        for (auto& [h, c] : connections_)
          if (c.link && !c.leaving)
            attach_event_ways(c);
      },
      [this](get_members) { return members(); },
      [this](announce_leave) { begin_leave(); },
      [this](leave_cluster) -> caf::result<void> {
        leave_requests_.emplace_back(*current_mailbox_element());
        begin_leave();
        return caf::delegated<void>{};
      },
      [this](end_cluster) { end(); },
  };
}

std::string cluster_broker::connection::tls_failure() const {
  return tls ? tls->failure() : "";
}

caf::io::network::default_multiplexer& cluster_broker::network() {
  return static_cast<caf::io::network::default_multiplexer&>(backend());
}

// -- connections

void cluster_broker::add_connection(handle h, connection c) {
  c.since = c.heard = steady_clock::now();
  c.out = std::make_shared<outbox>([broker = caf::weak_actor_ptr{ctrl()}, h] {
    if (auto alive = caf::actor_cast<caf::actor>(broker))
      caf::anon_send(alive, outbox_filled{h});
  });
  connections_.insert_or_assign(h, std::move(c));
  ack_writes(h, true);
  configure_read(h, caf::io::receive_policy::at_most(read_size));
}

void cluster_broker::on_accepted(handle h) {
  const auto is_served = [](const auto& entry) { return !entry.second.is_caller; };
  const auto count = static_cast<std::size_t>(std::ranges::count_if(connections_, is_served));
  connection c;
  c.address = remote_addr(h) + ":" + std::to_string(remote_port(h));
  if (auto* encrypted = env_->options.tls ? dynamic_cast<tls_scribe*>(&*by_id(h)) : nullptr)
    c.tls = encrypted->session();
  add_connection(h, std::move(c));
  if (leaving_)
    return drop(h, "this node ends");
  if (count < env_->options.max_connections)
    return;
  // The oldest of those who have not said who they are makes place.
  auto oldest = h;
  for (const auto& [other, known] : connections_)
    if (!known.is_caller && !known.peer && known.since < connections_.at(oldest).since)
      oldest = other;
  drop(oldest,
       "there are " + std::to_string(count) + " connections already (cluster_options::max_connections)");
}

void cluster_broker::on_dialed(const dialed& d) {
  const auto known = peers_.find(d.address);
  if (known == peers_.end())
    return;
  auto& p = known->second;
  p.dialing = false;
  if (!*d.outcome) {
    set_state(p, member_state::unreachable, d.outcome->error().message());
    return retry_later(p);
  }
  if (leaving_)
    return;
  connection c;
  c.is_caller = true;
  c.address = d.address;
  handle h;
  if (d.tls) {
    c.tls = d.tls;
    auto added = caf::make_counted<tls_scribe>(network(), (**d.outcome).release(), d.tls);
    h = added->hdl();
    add_scribe(std::move(added));
  } else {
    h = add_scribe((**d.outcome).release());
  }
  p.connected = h;
  add_connection(h, std::move(c));
  auto& added = connections_.at(h);
  added.out->write([](byte_buffer& buffer) { wire_writer{buffer}.raw(wire_magic); });
  say_hello(added);
}

void cluster_broker::say_hello(connection& c, const std::string& refusal) {
  auto hello = make_hello(*env_, address_);
  for (const auto& [address, p] : peers_)
    if (!p.is_self && p.info.state == member_state::connected)
      hello.add_known(address);
  hello.set_refusal(refusal);
  c.out->write([&](byte_buffer& buffer) {
    frame_writer{buffer, frame_kind::hello}.raw(hello.SerializeAsString());
  });
}

void cluster_broker::pump(handle h, connection& c) {
  // While bytes are on their way, more are gathered.
  if (c.writing)
    return;
  if (c.out->take(wr_buf(h))) {
    c.writing = true;
    flush(h);
  } else if (c.closing) {
    drop(h, "it was closed");
  }
}

void cluster_broker::on_sent(handle h, std::size_t remaining) {
  const auto known = connections_.find(h);
  if (known == connections_.end() || remaining > 0)
    return;
  known->second.writing = false;
  pump(h, known->second);
}

void cluster_broker::close_soon(handle h, connection& c) {
  c.closing = steady_clock::now() + close_limit;
  pump(h, c);
}

void cluster_broker::drop(handle h, const std::string& why) {
  auto known = connections_.extract(h);
  if (known.empty())
    return;
  // Without this, a peer that does not close its side would keep the socket for ever.
  ::shutdown(static_cast<int>(h.id()), SHUT_RDWR);
  close(h);
  auto& c = known.mapped();
  on_lost(h, c, why);
  c.out->close();
}

// -- frames

void cluster_broker::on_data(handle h, const byte_buffer& data) {
  const auto known = connections_.find(h);
  if (known == connections_.end() || known->second.closing)
    return;
  auto& c = known->second;
  c.heard = steady_clock::now();
  std::string_view rest{data.data(), data.size()};
  byte_buffer gathered;
  if (!c.partial.empty()) {
    gathered.swap(c.partial);
    gathered.insert(gathered.end(), data.begin(), data.end());
    rest = {gathered.data(), gathered.size()};
  }
  std::optional<std::string> wrong;
  try {
    wrong = take_frames(h, c, rest);
  } catch (const std::exception& e) {
    wrong = std::string{"what it said could not be taken: "} + e.what();
  }
  if (wrong)
    return drop(h, *wrong);
  if (!connections_.contains(h))
    return;
  if (!gathered.empty() && rest.size() == gathered.size())
    c.partial.swap(gathered);
  else
    c.partial.assign(rest.begin(), rest.end());
}

std::optional<std::string> cluster_broker::take_frames(handle h, connection& c, std::string_view& data) {
  if (!c.has_magic) {
    const auto size = std::min(data.size(), wire_magic.size());
    if (data.substr(0, size) != wire_magic.substr(0, size))
      return "it does not speak the protocol of eventcore nodes, version " + std::to_string(wire_protocol);
    if (size < wire_magic.size())
      return std::nullopt;
    data.remove_prefix(size);
    c.has_magic = true;
  }
  while (data.size() >= 4) {
    std::size_t size = 0;
    for (int i = 0; i != 4; ++i)
      size |= static_cast<std::size_t>(static_cast<std::uint8_t>(data[i])) << (8 * i);
    if (const auto limit = c.peer ? max_frame_ : max_hello; size == 0 || size > limit)
      return "it sent a frame of " + std::to_string(size) + " bytes, and the limit is " +
             std::to_string(limit);
    if (data.size() < 4 + size) {
      if (c.partial.capacity() < 4 + size)
        c.partial.reserve(4 + size);
      return std::nullopt;
    }
    wire_reader content{data.substr(4, size)};
    data.remove_prefix(4 + size);
    const auto kind = static_cast<frame_kind>(content.byte());
    if (auto wrong = take_frame(h, c, kind, content))
      return wrong;
    if (!connections_.contains(h) || c.closing)
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<std::string> cluster_broker::take_frame(handle h, connection& c, frame_kind kind,
                                                      wire_reader content) {
  if (kind == frame_kind::hello)
    return on_hello(h, c, content);
  if (kind == frame_kind::refusal) {
    NodeRefusal refusal;
    refusal.ParseFromArray(content.rest().data(), static_cast<int>(content.rest().size()));
    return "it refused this node: " + refusal.message();
  }
  if (!c.peer)
    return "it did not say who it is";
  switch (kind) {
  case frame_kind::command:
    if (c.served)
      return on_command(c, content);
    break;
  case frame_kind::answer:
    if (c.link)
      return on_answer(c, content);
    break;
  case frame_kind::ping:
    c.out->write([&](byte_buffer& buffer) { frame_writer{buffer, frame_kind::pong}.raw(content.rest()); });
    content.number();
    if (c.source && !content.rest().empty())
      c.source->on_head(*c.out, content.number());
    return std::nullopt;
  case frame_kind::pong: {
    using std::chrono::microseconds;
    const microseconds asked{content.number()};
    const auto now = std::chrono::duration_cast<microseconds>(steady_clock::now().time_since_epoch());
    if (const auto p = peers_.find(c.address); p != peers_.end() && c.is_caller && asked <= now &&
                                               asked.count() > 0) // else it says what was not asked
      p->second.info.round_trip = now - asked;
    return std::nullopt;
  }
  case frame_kind::goodbye:
    c.leaving = true;
    if (c.link) {
      (void)env_->registry->withdraw(info_of(*c.peer).id);
      std::lock_guard lock{env_->mutex};
      for (const auto& [name, service] : env_->services)
        service->detach(*c.link);
    }
    return std::nullopt;
  default:
    return on_events(c, kind, content);
  }
  return "it sent a frame of kind " + std::to_string(static_cast<int>(kind)) + ", which is not expected";
}

std::optional<std::string> cluster_broker::on_events(connection& c, frame_kind kind, wire_reader content) {
  switch (kind) {
  case frame_kind::feed_open:
  case frame_kind::feed_credit:
  case frame_kind::feed_close:
  case frame_kind::position_question:
  case frame_kind::delivery:
    if (!c.served)
      break;
    if (!c.events)
      c.events = system().spawn<event_server>(env_, c.out);
    caf::anon_send(c.events, event_frame{kind, std::string{content.rest()}});
    return std::nullopt;
  case frame_kind::feed_page:
    if (auto page = read_feed_page(content); !page)
      return "it sent a malformed page of events";
    else if (c.source && !c.source->on_page(*c.out, *std::move(page)))
      return "it sent more pages of events than were asked for";
    return std::nullopt;
  case frame_kind::feed_end:
    if (const auto feed = content.number(); c.source)
      c.source->on_end(*c.out, feed, read_error(content));
    return std::nullopt;
  case frame_kind::position_answer:
    if (c.target)
      c.target->on_position(content);
    return std::nullopt;
  case frame_kind::delivery_answer:
    if (c.target)
      c.target->on_delivered(content);
    return std::nullopt;
  default:
    break;
  }
  return "it sent a frame of kind " + std::to_string(static_cast<int>(kind)) + ", which is not expected";
}

std::optional<std::string> cluster_broker::on_hello(handle h, connection& c, wire_reader content) {
  NodeHello hello;
  if (!hello.ParseFromArray(content.rest().data(), static_cast<int>(content.rest().size())))
    return "its hello is malformed";
  if (c.peer) { // something has changed there
    hello.set_address(c.peer->address());
    c.peer = std::move(hello);
    if (c.link)
      attach_services(c);
    learn_from(*c.peer);
    return std::nullopt;
  }
  auto refusal = refusal_of(*env_, hello);
  if (!refusal)
    refusal = conflict_with_others(h, c, hello);
  if (!c.is_caller) {
    c.out->write([](byte_buffer& buffer) { wire_writer{buffer}.raw(wire_magic); });
    say_hello(c, refusal.value_or(""));
    if (!refusal) {
      c.peer = std::move(hello);
      on_member(h, c);
    } else {
      if (hello.instance() != make_hello(*env_, address_).instance())
        spdlog::warn("cluster: a connection from {} is refused: {}", c.address, *refusal);
      close_soon(h, c);
    }
    return std::nullopt;
  }
  auto& p = peers_.at(c.address);
  if (hello.instance() == make_hello(*env_, address_).instance()) {
    p.is_self = true;
    return "it is the node itself";
  }
  if (!refusal && !hello.refusal().empty()) {
    p.info.state = member_state::refused;
    return "it refused this node: " + hello.refusal();
  }
  if (refusal) {
    p.info.state = member_state::refused;
    NodeRefusal said;
    said.set_message(*refusal);
    c.out->write([&](byte_buffer& buffer) {
      frame_writer{buffer, frame_kind::refusal}.raw(said.SerializeAsString());
    });
    p.info.last_error = *refusal;
    close_soon(h, c);
    return std::nullopt;
  }
  c.peer = std::move(hello);
  on_member(h, c);
  return std::nullopt;
}

std::optional<std::string> cluster_broker::on_command(connection& c, wire_reader content) {
  const auto id = content.number();
  const auto number = content.number();
  if (number == 0) {
    auto service = std::string{content.text()};
    c.routes.push_back({std::move(service), std::string{content.text()}, 0, {}});
  }
  if (number > c.routes.size() || c.routes.empty())
    return "it sent a command of a type that it did not name";
  auto& route = number == 0 ? c.routes.back() : c.routes[number - 1];
  const auto left = content.number();
  auto body = read_command_body(content);
  if (!body)
    return "it sent a malformed command";
  const auto refuse = [&](entity_errc code, std::string why) {
    if (id != 0)
      c.served->refuse(id, make_error(code, std::move(why)));
    else
      spdlog::warn("cluster: a command of {} that it does not wait for is lost: {}", c.peer->node(), why);
    return std::nullopt;
  };
  if (leaving_)
    return refuse(entity_errc::stopped, "node " + env_->self.node + " is shutting down");
  if (const auto generation = env_->local->generation(); route.generation != generation) {
    route.generation = generation;
    for (const bool with_id : {false, true})
      route.targets[with_id] = env_->local->find(route.service, route.type, with_id);
  }
  const auto& target = route.targets[body->id.has_value()];
  if (!target.to || !target.prototype)
    return refuse(entity_errc::unknown_command, "service " + route.service + " at node " + env_->self.node +
                                                    " has nobody who takes " + route.type +
                                                    (body->id ? " with an id" : " without an id"));
  std::unique_ptr<google::protobuf::Message> command{target.prototype->New()};
  if (!command->ParseFromArray(body->payload.data(), static_cast<int>(body->payload.size())))
    return refuse(entity_errc::invalid_command, "the command " + route.type + " does not decode at node " +
                                                    env_->self.node +
                                                    "; the two programs have different definitions of it");
  const auto deadline =
      steady_clock::now() + std::chrono::microseconds{std::min<std::uint64_t>(left, std::uint64_t{1} << 50)};
  body->context.deadline = deadline;
  if (id != 0 && !c.served->begin(id, deadline + 1s))
    return refuse(entity_errc::overloaded, "node " + env_->self.node +
                                               " carries out as many calls of this node as it takes "
                                               "(cluster_options::max_in_flight); try again later");
  auto message =
      body->id ? make_command_message(*std::move(body->id), std::move(body->context), std::move(command))
               : make_command_message(std::move(body->context), std::move(command));
  target.to->enqueue(caf::make_mailbox_element(id != 0 ? c.answers_to : nullptr,
                                               id != 0 ? caf::make_message_id(id).with_normal_priority()
                                                       : caf::make_message_id(),
                                               {}, std::move(message)),
                     nullptr);
  return std::nullopt;
}

std::optional<std::string> cluster_broker::on_answer(connection& c, wire_reader content) {
  const auto id = content.number();
  const auto status = static_cast<answer_status>(content.byte());
  const google::protobuf::Message* prototype = nullptr;
  std::string_view unknown_type;
  if (status == answer_status::message) {
    const auto number = content.number();
    if (number == 0) {
      unknown_type = content.text();
      c.answer_types.push_back(prototype_named(std::string{unknown_type}));
    }
    if (number > c.answer_types.size() || c.answer_types.empty())
      return "it answered with a type that it did not name";
    prototype = number == 0 ? c.answer_types.back() : c.answer_types[number - 1];
  }
  if (content.broken())
    return "it sent a malformed answer";
  auto call = c.link->take(id);
  if (!call)
    return std::nullopt; // its time is over
  const auto service = call->service;
  switch (status) {
  case answer_status::empty:
    service->succeed(std::move(call), caf::message{});
    return std::nullopt;
  case answer_status::failed: {
    const auto why = read_error(content);
    if (why.code() == entity_errc::stopped && c.leaving) {
      // Nothing happened there, so it can wait for the next one.
      call->sent_to = {};
      service->hold(std::move(call));
    } else {
      service->fail(std::move(call), why);
    }
    return std::nullopt;
  }
  case answer_status::message: {
    std::unique_ptr<google::protobuf::Message> reply{prototype ? prototype->New() : nullptr};
    if (reply && reply->ParsePartialFromArray(content.rest().data(), static_cast<int>(content.rest().size())))
      service->succeed(std::move(call), make_reply_message(std::move(reply)));
    else
      service->fail(std::move(call),
                    make_error(entity_errc::unexpected_reply,
                               "the reply of service " + service->name() +
                                   (reply ? " does not decode" : " is of a type that this program lacks")));
    return std::nullopt;
  }
  }
  return "it sent an answer of an unknown form";
}

} // namespace eventcore::internal
