#pragma once

#include <eventcore/actors/breaker.hpp>
#include <eventcore/actors/host.hpp>
#include <eventcore/actors/multi_stream_host.hpp>
#include <eventcore/actors/saga_host.hpp>
#include <eventcore/actors/subscription.hpp>

#include <caf/all.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <functional>
#include <string>
#include <type_traits>

/// Entities for CAF actors.
///
/// Any actor sends to an entity through its host: `(std::string id, Command)` or `(std::string id,
/// eventcore::command_context, Command)`, where `Command` is a generated Protobuf message.
/// `self->request(...)` is answered with the decider's reply as a typed Protobuf message (an empty message
/// where the effect has no reply) or with a `caf::error` (see `from_caf_error`). A plain `self->send(...)` is
/// never answered, neither with the reply nor with an error. Replies name the host as their sender, never the
/// entity.
///
/// These messages travel typed and only inside a node: CAF delivers a typed Protobuf message to another node
/// as an empty message, which a host answers with `unknown_command`.

/// Protobuf messages may be sent between the actors of a node.
template <class T>
requires std::derived_from<T, google::protobuf::Message>
struct caf::allowed_unsafe_message_type<T> : std::true_type {
};

template <>
struct caf::allowed_unsafe_message_type<eventcore::command_context> : std::true_type {};

namespace eventcore {

/// To a breaker's actor. Answered with `breaker_stats`.
struct get_breaker_stats {};

/// To the actor that runs sagas. Answered with `saga_phase` when this one is in a final phase, or stuck.
struct await_saga {
  std::string id;
  /// When nobody waits for the answer any more: then it is `outcome_unknown`, sooner or later.
  std::chrono::steady_clock::time_point until = std::chrono::steady_clock::time_point::max();
};

} // namespace eventcore

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::breaker_stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::get_breaker_stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::saga_phase)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::await_saga)

namespace eventcore {

/// The host's actor. Sending `caf::exit_msg` to it stops the host in order: commands in flight are answered
/// as they end, others with `stopped`.
caf::actor actor_of(const host_handle& host);

/// The actor that runs a multi-stream decider's commands. It takes `(Command)` or `(eventcore::command_context, Command)` and
/// answers as a host does.
caf::actor actor_of(const multi_stream_handle& commands);

/// A breaker's actor. It passes every message but `get_breaker_stats` on to the worker as a request, and answers with the
/// worker's answer or a `breaker_errc`. Sending `caf::exit_msg` to it ends it: calls under way are answered `worker_lost`.
caf::actor actor_of(const breaker_handle& breaker);

/// A breaker in front of `worker`, which lives by itself: when it ends, the breaker gives up.
breaker_handle start_breaker(caf::actor_system& system, breaker_options options, const caf::actor& worker);

/// Runs in the breaker's actor and must not wait. An exception, or no actor, counts as a worker that ended.
using worker_factory = std::function<caf::actor(caf::actor_system&)>;

/// A breaker that starts its worker, starts it again when it ends, and ends it with itself.
breaker_handle start_breaker(caf::actor_system& system, breaker_options options, worker_factory make_worker);
/// The actor that runs the sagas of a definition. `(std::string id, Input)`, or with an `eventcore::command_context` between
/// them, starts a saga, and is answered with `saga_phase`.
caf::actor actor_of(const saga_handle& sagas);

/// The actor that feeds a subscription's workers. Sending `caf::exit_msg` to it stops the subscription in order.
caf::actor actor_of(const subscription& s);

/// Category of the errors that hosts and entities answer; the code is an `entity_errc`, the context holds
/// message, reason and details as three strings. Errors of the journal have the category `journal_error_atom`
/// and a `journal_errc`, those of breakers `breaker_error_atom` and a `breaker_errc`,
/// those of subscriptions `subscription_error_atom` and a `subscription_errc`.
inline constexpr caf::atom_value entity_error_atom = caf::atom("entity");
inline constexpr caf::atom_value journal_error_atom = caf::atom("journal");
inline constexpr caf::atom_value breaker_error_atom = caf::atom("breaker");
inline constexpr caf::atom_value subscription_error_atom = caf::atom("subscript");

/// Makes the two functions below carry the errors of a further category, whose CAF category is `atom`. At most 12 of them. To
/// be called before the first such error is made; again changes nothing. Thread-safe.
void register_error_category(caf::atom_value atom, const std::error_category& category);

caf::error to_caf_error(const error& e);

/// The inverse of `to_caf_error`. CAF's own errors become: `outcome_unknown` for a time-out, `stopped` for a
/// message that its receiver never took up, `unknown_command` for one that it does not know, `unexpected_reply` for a reply
/// of another type, else `outcome_unknown` with CAF's text.
error from_caf_error(const caf::error& e);

/// A request on its way: `request(...).then(...)`.
template <class Reply, class Handle>
class pending_reply {
public:
  explicit pending_reply(Handle handle)
      : handle_{std::move(handle)} {}

  /// Runs `on_reply(const Reply&)` or `on_error(const eventcore::error&)` in the actor, later, exactly one of
  /// them, once.
  template <class OnReply, class OnError>
  void then(OnReply on_reply, OnError on_error) && {
    handle_.then([f = std::move(on_reply)](const Reply& reply) mutable { f(reply); },
                 [g = std::move(on_error)](const caf::error& e) mutable { g(from_caf_error(e)); });
  }

private:
  Handle handle_;
};

namespace internal {

template <class Reply, class Self, class... Content>
auto start_request(Self* self, const caf::actor& host, const caf::duration& within, Content&&... content) {
  // As one message, which the host passes on as it is; of loose elements it would have to make one.
  auto handle = self->request(host, within, caf::make_message(std::forward<Content>(content)...));
  return pending_reply<Reply, decltype(handle)>{std::move(handle)};
}

} // namespace internal

/// From inside an actor: sends `command` to entity `id` and expects the reply of its decider. Without a time
/// limit (the choice for hot paths: CAF's time-outs cost 2.4 to 4 times as much as the request itself) an
/// answer comes as long as host and journal are alive.
template <class D, class Command>
auto request(caf::event_based_actor* self, const host<D>& to, std::string id, Command command,
             caf::infinite_t, command_context context = {}) {
  static_assert(replies<D, Command>, "eventcore: this command's effect has no reply; send it with tell()");
  return internal::start_request<reply_of<D, Command>>(self, actor_of(to), caf::infinite, std::move(id),
                                                       std::move(context), std::move(command));
}

/// The same with a time limit, which bounds both: a command that is taken up later is answered
/// `deadline_exceeded`, and without any answer `on_error` hears `outcome_unknown`.
template <class D, class Command>
auto request(caf::event_based_actor* self, const host<D>& to, std::string id, Command command,
             std::chrono::nanoseconds within, command_context context = {}) {
  static_assert(replies<D, Command>, "eventcore: this command's effect has no reply; send it with tell()");
  context.deadline = std::min(context.deadline, self->clock().now() + within);
  return internal::start_request<reply_of<D, Command>>(self, actor_of(to), caf::duration{within},
                                                       std::move(id), std::move(context), std::move(command));
}

} // namespace eventcore
