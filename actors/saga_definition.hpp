#pragma once

#include <eventcore/actors/entity_type.hpp>
#include <eventcore/persistence/error.hpp>

#include <google/protobuf/message.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore {

/// How often and when an attempt that failed is repeated.
struct retry_policy {
  /// Attempts after the first one.
  std::uint32_t retries = 3;
  /// Pause before the first retry, doubled for each further one; a share of up to a half is taken off that differs
  /// from saga to saga.
  std::chrono::milliseconds backoff{100};
  std::chrono::milliseconds max_backoff{30'000};
};

/// What an error answer of a participant means for a saga's step.
enum class step_outcome : std::uint8_t {
  refused,          ///< it said no: the step has failed for good, and has had no effect
  nothing_happened, ///< worth another attempt
  in_doubt, ///< it may have had its effect: another attempt with the same key, and compensation after the last one
};

/// The default: rejections and commands that can never succeed are `refused`, what is documented to have had no effect is
/// `nothing_happened`, all else is `in_doubt`.
step_outcome outcome_of(const error& why);

/// A request to a participant.
struct saga_request {
  /// A category whose entities have a host in the node, or a participant's name.
  std::string target;
  /// Of the entity. Empty: the participant is no host, and gets `(command_context, command)`.
  std::string id;
  std::unique_ptr<google::protobuf::Message> command;
};

/// What a saga knows: its input and the replies of the steps that are confirmed.
class saga_data {
public:
  virtual ~saga_data() = default;
  virtual const google::protobuf::Message& input() const = 0;
  /// Parses the reply of `step` into `reply`. Throws `std::logic_error` if the step is not confirmed or replied with another
  /// type.
  virtual void read_reply(std::string_view step, google::protobuf::Message& reply) const = 0;
};

/// One step, with all types erased.
struct saga_step {
  using request_function = std::function<saga_request(const saga_data&)>;

  std::string name;
  std::string target;
  const google::protobuf::Message* command = nullptr; ///< prototype of the request's command
  const google::protobuf::Message* reply =
      nullptr; ///< of a participant that is no host; null: it is not kept
  request_function request;
  std::string undo_target;
  const google::protobuf::Message* undo_command = nullptr;
  request_function compensation; ///< empty: there is nothing to undo
  std::chrono::milliseconds limit{0};
  retry_policy retries;
  retry_policy undo_retries{10, std::chrono::milliseconds{100}, std::chrono::milliseconds{30'000}};
  /// The reply only says that the request arrived; the step is confirmed by `saga_handle::confirm`.
  bool confirmed_later = false;
  std::function<step_outcome(const error&)> classify = outcome_of;
};

/// A saga's definition as a table. Lives for ever.
struct saga_type {
  std::string_view category;
  const google::protobuf::Message* input = nullptr;
  std::vector<saga_step> steps;
  entity_type entity; ///< the persistent half: what is requested, confirmed, failed
};

/// The table of saga `S`, made once. Throws `std::logic_error` that names everything that is wrong with the definition.
template <class S>
const saga_type& saga_type_of();

namespace internal {

/// Decides a command of the runtime on a saga's state.
decision decide_saga(const saga_type& type, void* state, const google::protobuf::Message& command,
                     const command_context& context, bool& evolving);

using saga_decide_function = decision (*)(void*, const google::protobuf::Message&, const command_context&,
                                          bool&);

/// Checks the steps and fills in the persistent half. Throws `std::logic_error`.
void complete_saga(saga_type& type, std::span<entity_type::command> rows, saga_decide_function decide);
inline constexpr std::size_t saga_commands = 6;

} // namespace internal
} // namespace eventcore
