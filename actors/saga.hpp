#pragma once

#include <eventcore/actors/decider.hpp>
#include <eventcore/actors/saga_definition.hpp>

#include <array>
#include <chrono>
#include <concepts>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace eventcore {

/// A command with the id of the entity that is to take it.
template <class Command>
struct addressed {
  std::string id;
  Command command;
};

template <internal::message_type Command>
addressed<Command> to(std::string id, Command command) {
  return {std::move(id), std::move(command)};
}

/// The replies of the steps that are confirmed.
class saga_replies {
public:
  explicit saga_replies(const saga_data& data)
      : data_{data} {}

  /// Throws `std::logic_error` if the step is not confirmed or replied with another type.
  template <internal::message_type Reply>
  Reply get(std::string_view step) const {
    Reply reply;
    data_.read_reply(step, reply);
    return reply;
  }

private:
  const saga_data& data_;
};

namespace internal {

template <class T>
constexpr bool is_addressed = false;
template <class Command>
constexpr bool is_addressed<addressed<Command>> = true;

template <class T>
struct command_in {
  using type = T;
};
template <class Command>
struct command_in<addressed<Command>> {
  using type = Command;
};

template <class Input, class F>
auto call_request(const F& f, const saga_data& data) {
  auto& input = static_cast<const Input&>(data.input());
  if constexpr (std::invocable<const F&, const Input&, const saga_replies&>) {
    return f(input, saga_replies{data});
  } else {
    static_assert(std::invocable<const F&, const Input&>,
                  "eventcore: a step's function takes (const input&) or (const input&, const saga_replies&)");
    return f(input);
  }
}

template <class Input, class F>
using requested = decltype(call_request<Input>(std::declval<const F&>(), std::declval<const saga_data&>()));

template <class Input, class F>
saga_step::request_function make_request(std::string target, F f) {
  return [target = std::move(target), f = std::move(f)](const saga_data& data) {
    auto made = call_request<Input>(f, data);
    using command = typename command_in<decltype(made)>::type;
    if constexpr (is_addressed<decltype(made)>)
      return saga_request{target, std::move(made.id), std::make_unique<command>(std::move(made.command))};
    else
      return saga_request{target, {}, std::make_unique<command>(std::move(made))};
  };
}

} // namespace internal

/// A step of a saga while it is being defined. Each function returns the step again.
template <class Input>
class step_definition {
public:
  explicit step_definition(saga_step& step)
      : step_{step} {}

  /// The request, a command to an entity of decider `D`: `f(const input&)`, or `f(const input&, const saga_replies&)`, returns
  /// `eventcore::to(id, command)`. It is pure, and called once: the request is recorded before it is sent, and repeated
  /// as recorded. What it throws fails the step.
  template <class D, class F>
  step_definition& request(F f) {
    check<D, F>();
    return request_at(std::string{D::category}, std::move(f));
  }

  /// The request to a participant that was added by name (see `node::add_participant`): `f` returns a command, or
  /// `to(id, command)`.
  template <class F>
  step_definition& request_at(std::string participant, F f) {
    step_.target = participant;
    step_.command = prototype<F>();
    step_.request = internal::make_request<Input>(std::move(participant), std::move(f));
    return *this;
  }

  /// The type of that participant's reply, to be kept for later steps. (Hosts' replies are kept without it.) An answer of
  /// another type leaves the attempt in doubt.
  template <internal::message_type Reply>
  step_definition& replies() {
    step_.reply = &Reply::default_instance();
    return *this;
  }

  /// What undoes the step, as `request` says. It is sent when the step was confirmed, or may have had its effect, and the saga
  /// fails: so the participant may get it without ever having seen the request, or before it.
  template <class D, class F>
  step_definition& compensate(F f) {
    check<D, F>();
    return compensate_at(std::string{D::category}, std::move(f));
  }

  template <class F>
  step_definition& compensate_at(std::string participant, F f) {
    step_.undo_target = participant;
    step_.undo_command = prototype<F>();
    step_.compensation = internal::make_request<Input>(std::move(participant), std::move(f));
    return *this;
  }

  /// The time limit of each attempt; every step has one. After it the attempt is in doubt. Durable: it holds over a restart.
  step_definition& within(std::chrono::milliseconds limit) {
    step_.limit = limit;
    return *this;
  }

  step_definition& retry(const retry_policy& policy) {
    step_.retries = policy;
    return *this;
  }

  /// For the compensation (default: 10 retries). After the last one the saga is stuck.
  step_definition& retry_compensation(const retry_policy& policy) {
    step_.undo_retries = policy;
    return *this;
  }

  /// What the participant's errors mean, instead of `outcome_of`.
  step_definition& classify(std::function<step_outcome(const error&)> f) {
    step_.classify = std::move(f);
    return *this;
  }

  /// The reply only says that the request arrived. The step is confirmed by `saga_handle::confirm`, within the time limit.
  step_definition& confirmed_later() {
    step_.confirmed_later = true;
    return *this;
  }

private:
  template <class F>
  using command_of = typename internal::command_in<internal::requested<Input, F>>::type;

  template <class D, class F>
  static void check() {
    static_assert(internal::is_addressed<internal::requested<Input, F>>,
                  "eventcore: a request to an entity is to(id, command)");
    static_assert(handles<D, command_of<F>>,
                  "eventcore: the decider has no decide() for the command that this step requests");
  }

  template <class F>
  static const google::protobuf::Message* prototype() {
    static_assert(internal::message_type<command_of<F>>,
                  "eventcore: a request is a generated Protobuf message, or to(id, message)");
    return &command_of<F>::default_instance();
  }

  saga_step& step_;
};

/// Where a saga defines its steps.
template <class Input>
class saga_definition {
public:
  explicit saga_definition(std::vector<saga_step>& steps)
      : steps_{steps} {
    steps_.reserve(max_steps);
  }

  static constexpr std::size_t max_steps = 64;

  /// Adds a step behind those before. The name is recorded in events and part of idempotency keys: 1 to 64 bytes, once.
  step_definition<Input> step(std::string name) {
    if (steps_.size() == max_steps)
      throw std::logic_error{"eventcore: a saga has at most 64 steps"};
    steps_.emplace_back().name = std::move(name);
    return step_definition<Input>{steps_.back()};
  }

private:
  std::vector<saga_step>& steps_;
};

/// The base of sagas: steps in order, each with a request, a time limit, a retry policy and a compensation
/// (spec 16 to 22):
///
///     struct order_saga : eventcore::saga<order_saga> {
///       static constexpr std::string_view category = "order_saga";   // of the sagas' streams
///       using input = shop::PlaceOrder;                              // what a saga is started with
///
///       static void define(definition<input>& saga) {
///         saga.step("reserve_payment")
///             .request<payment>([](const input& o) { return to(o.order_id(), reserve(o)); })
///             .compensate<payment>([](const input& o) { return to(o.order_id(), shop::ReleasePayment{}); })
///             .within(5s);
///         saga.step("schedule_shipping")
///             .request<shipping>([](const input& o) { return to(o.order_id(), schedule(o)); })
///             .within(5s)
///             .retry({.retries = 5});
///       }
///     };
///
/// A saga is a persistent actor. Each request is recorded before it is sent, carries the idempotency key
/// `<saga's stream>/<step>` (`.../undo` for the compensation; `.../undo#2` when that was refused and an operator has it tried
/// again), and is sent again after a restart. A reply confirms the step
/// (unless `confirmed_later`); an error is judged by `classify`. A step that fails for good turns the saga to compensation:
/// what was confirmed or is in doubt is undone in reverse order. `completed` and `compensated` are final. A compensation that
/// fails for good leaves the saga stuck until an operator retries or skips it.
///
/// The names of the steps are recorded when a saga starts: a definition that is changed later holds for new sagas; one
/// that lacks a step of a running saga fails that step, and leaves the saga stuck if the step may have had its effect.
template <class S>
class saga {
public:
  template <class Input>
  using definition = saga_definition<Input>;
};

namespace internal {

template <class S>
decision decide_saga_of(void* state, const google::protobuf::Message& command, const command_context& context,
                        bool& evolving) {
  return decide_saga(saga_type_of<S>(), state, command, context, evolving);
}

template <class S>
struct saga_table {
  static_assert(std::is_base_of_v<saga<S>, S>, "eventcore: a saga derives from eventcore::saga of itself");
  static_assert(message_type<typename S::input>,
                "eventcore: a saga's input is a generated Protobuf message, see the type above");
  static_assert(valid_category(S::category),
                "eventcore: a saga's category is 1 to 64 ASCII characters, none of - * ? [ ] and no "
                "control character, see the type above");

  std::array<entity_type::command, saga_commands> rows;
  saga_type type;

  saga_table() {
    type.category = S::category;
    type.input = &S::input::default_instance();
    saga_definition<typename S::input> steps{type.steps};
    S::define(steps);
    complete_saga(type, rows, &decide_saga_of<S>);
  }
  saga_table(const saga_table&) = delete;
};

} // namespace internal

template <class S>
const saga_type& saga_type_of() {
  static const internal::saga_table<S> table;
  return table.type;
}

} // namespace eventcore
