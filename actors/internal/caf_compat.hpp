#pragma once

// What depends on the version of CAF (0.17) beyond its documented interface: messages without static types,
// answering later, and waiting for an answer outside of actors.

#include <eventcore/actors/caf.hpp>

#include <google/protobuf/message.h>

#include <condition_variable>
#include <mutex>
#include <optional>

namespace eventcore::internal {

/// A message that holds `message` as its only element, typed as the generated class that it is: handlers such
/// as
/// `[](const bank::Balance&)` match. Cannot be sent to another node.
caf::message make_reply_message(std::unique_ptr<google::protobuf::Message> message);

/// The form in which hosts take commands, `(id, context, command)`.
caf::message make_command_message(std::string id, command_context context,
                                  std::unique_ptr<google::protobuf::Message> command);

/// The form in which multi-stream commands are taken, `(context, command)`.
caf::message make_command_message(command_context context,
                                  std::unique_ptr<google::protobuf::Message> command);

/// Takes the Protobuf message out of what `make_reply_message` made (a copy of it if others hold `reply`,
/// too). Null: `reply` was not made by it.
std::unique_ptr<google::protobuf::Message> take_reply(caf::message& reply);

/// A command as it arrived. Points into the message.
struct command_view {
  const std::string* id;          ///< null for a multi-stream command
  const command_context* context; ///< null if there is none
  const std::type_info* type;     ///< null for CAF's own types
  const void* command;            ///< an object of `type`
};

/// An entity's command, `(id, command)` or `(id, context, command)`. Nothing if the content has another form.
std::optional<command_view> view_command(const caf::type_erased_tuple& content);

/// A multi-stream command, `(command)` or `(context, command)`. Nothing if the content has another form.
std::optional<command_view> view_multi_stream_command(const caf::type_erased_tuple& content);

/// The element types of a message for people, such as `(std::string, bank::Open)`.
std::string describe(const caf::type_erased_tuple& content);

/// Where the answer to one message goes. A request that is not answered before the address dies is answered
/// `outcome_unknown`: there is no silence. Messages that are no requests are never answered.
class reply_address {
public:
  reply_address() = default;
  /// Takes over the duty to answer from the actor that handles `element`.
  explicit reply_address(caf::mailbox_element& element);
  reply_address(reply_address&& other) noexcept = default;
  reply_address& operator=(reply_address&& other) noexcept;
  ~reply_address();

  bool is_request() const noexcept { return id_.is_request(); }

  /// Sends the answer, once, under the name of `from`. Call it in the context of a running actor.
  void deliver(const caf::strong_actor_ptr& from, caf::message answer, caf::execution_unit* context);

private:
  caf::strong_actor_ptr source_;
  caf::mailbox_element::forwarding_stack stages_;
  caf::message_id id_;
};

/// Sends one request from a thread that is no actor and waits for the answer. Cheaper than a scoped actor,
/// and takes answers of every type.
class request_slot {
public:
  request_slot(caf::actor_system& system, const caf::actor& to, caf::message request);

  /// The answer, or nothing when none came until `deadline`. A `caf::error` is an answer, too. Call it until
  /// it answered.
  std::optional<caf::message> wait_until(std::chrono::steady_clock::time_point deadline);

private:
  class receiver;
  caf::actor handle_;
  receiver* receiver_;
};

} // namespace eventcore::internal
