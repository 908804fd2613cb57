#pragma once

#include <eventcore/actors/command_context.hpp>
#include <eventcore/actors/effect.hpp>
#include <eventcore/actors/entity_type.hpp>
#include <eventcore/actors/fold.hpp>

#include <google/protobuf/message.h>

#include <array>
#include <concepts>
#include <cstdlib>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace eventcore {

/// The base of deciders. A decider is a type with a state and pure functions, which the runtime runs as
/// entities and `given(...)` of `<eventcore/actors/given.hpp>` tests without any runtime:
///
///     struct account : eventcore::decider<account> {
///       static constexpr std::string_view category = "account";
///       using commands = eventcore::commands<bank::Deposit, bank::GetBalance>;
///       using events = eventcore::events<bank::Deposited>;
///       struct state { std::int64_t cents = 0; };
///
///       static void evolve(state& s, const bank::Deposited& e) { s.cents += e.cents(); }
///
///       static effect<bank::Balance> decide(const state&, const bank::Deposit& c) {
///         if (c.cents() <= 0)
///           return reject("a deposit must be positive");
///         auto deposited = make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); });
///         return persist(deposited).then_reply(balance);
///       }
///       static effect<bank::Balance> decide(const state& s, const bank::GetBalance&) { return balance(s); }
///
///       static bank::Balance balance(const state& s) {
///         return make<bank::Balance>([&](auto& b) { b.set_cents(s.cents); });
///       }
///     };
///
/// What a decider has, all of it static and public:
///
/// - `category`: the part of its stream ids before the first `-`. 1 to 64 ASCII characters, no control
///   characters and none of `- * ? [ ]`. Renaming it orphans the streams that exist.
/// - `state`: default constructible; the default is the state of an entity without events.
/// - `commands` and `events`: the Protobuf messages it knows. A stream with any other event is refused.
/// - `evolve(state&, const Event&)` for each event: takes in a fact. It cannot refuse, so it must accept
///   whatever any version of the program has persisted.
/// - `decide(const state&, const Command&)` for each command, or with a third parameter
///   `const command_context&`. It returns `effect<Reply>`, which always carries a reply of exactly that type
///   or a rejection, or `effect<no_reply>`.
///
/// `decide` and `evolve` are pure: no I/O, no clock, no random source, no globals. The entity may decide a
/// command more than once (after a conflict with another writer) and rebuilds its state from the events at
/// any time. Time, tenant and user come in through the context. An exception that leaves them makes the
/// command's answer `decider_failed`; nothing is persisted.
///
/// Each mistake in this list is one failed `static_assert`; the compiler names decider and message above it.
template <class D>
class decider {
public:
  template <class R>
  using effect = eventcore::effect<D, R>;
  using no_reply = eventcore::no_reply;

  /// Persists one event or several, in this order, all or none. Each argument is an event, an `event_of<D>`,
  /// or a `std::vector` of either (an empty one adds nothing). Follow it by `.then_reply(...)` where the
  /// command has a reply.
  template <class... Events>
  static persist_effect<D> persist(Events... list) {
    static_assert(sizeof...(Events) > 0,
                  "eventcore: persist() needs an event; an effect without events is made by reply(...), a "
                  "reply value or nothing()");
    return persist_effect<D>{std::in_place, std::move(list)...};
  }

  /// Says no: nothing is persisted, the caller gets `entity_errc::rejected` with `message` and the code
  /// `rejected`.
  static rejection reject(std::string message) { return {"rejected", std::move(message), {}}; }

  /// As above, with a stable code for programs and free details.
  static rejection reject(std::string code, std::string message, std::string details = {}) {
    return {std::move(code), std::move(message), std::move(details)};
  }

  /// Answers without events. A bare reply value converts to the same effect.
  template <class Reply>
  static auto reply(Reply value) {
    if constexpr (internal::check_reply_source<D, Reply>::ok)
      return effect<Reply>{std::move(value)};
    else
      return effect<internal::invalid_reply>{internal::invalid_reply{}};
  }

  /// Neither events nor a reply.
  static effect<no_reply> nothing() { return eventcore::no_reply{}; }
};

namespace internal {

template <class D, class Command>
constexpr bool has_plain_decide = requires(const typename D::state& s, const Command& c) {
  D::decide(s, c);
};

template <class D, class Command>
constexpr bool has_context_decide = requires(const typename D::state& s, const Command& c,
                                             const command_context& x) {
  D::decide(s, c, x);
};

template <class D, class Command>
decltype(auto) call_decide(const typename D::state& state, const Command& command,
                           const command_context& context) {
  if constexpr (has_context_decide<D, Command>)
    return D::decide(state, command, context);
  else if constexpr (has_plain_decide<D, Command>)
    return D::decide(state, command);
}

template <class D, class Result>
struct reply_of_effect {
  using type = invalid_reply;
};
template <class D, class R>
requires(message_type<R> || std::same_as<R, no_reply>) struct reply_of_effect<D, effect<D, R>> {
  using type = R;
};

// In the checks each static_assert is silent if an earlier one failed: one error a mistake. The compiler
// names the template arguments above it.
template <class D, class Command>
struct check_command {
  static constexpr bool is_message = message_type<Command>;
  static_assert(is_message,
                "eventcore: this command is no generated Protobuf message, see <decider, command> above");

  static constexpr bool is_listed = !is_message || occurrences<typename D::commands, Command> == 1;
  static_assert(
      is_listed,
      "eventcore: the decider's commands<...> must name this command once, see <decider, command> above");

  static constexpr bool is_decided =
      !is_message || !is_listed || has_plain_decide<D, Command> || has_context_decide<D, Command>;
  static_assert(
      is_decided,
      "eventcore: the decider has no static decide(const state&, const Command&), with or without a third "
      "const command_context&, for this command, see <decider, command> above");

  using result = decltype(call_decide<D, Command>(std::declval<const typename D::state&>(),
                                                  std::declval<const Command&>(),
                                                  std::declval<const command_context&>()));
  using reply = typename reply_of_effect<D, result>::type;

  static constexpr bool ok = !std::is_same_v<reply, invalid_reply>;
  static constexpr bool returns_effect = !is_message || !is_listed || !is_decided || ok;
  static_assert(returns_effect,
                "eventcore: decide must return an effect<Reply> of its decider, with a Protobuf message or "
                "no_reply as Reply, see <decider, command> above");
};

template <class D, class Commands, class Events>
struct check_messages;
template <class D, class... Cs, class... Es>
struct check_messages<D, commands<Cs...>, events<Es...>> {
  static constexpr bool ok = (check_command<D, Cs>::ok && ...) & (check_event<D, Es>::ok && ...);
};

template <class D>
struct check_decider {
  static constexpr bool has_base = std::is_base_of_v<decider<D>, D>;
  static_assert(has_base,
                "eventcore: a decider derives from eventcore::decider of itself, see the type above");

  static constexpr bool has_category = requires {
    { D::category } -> std::convertible_to<std::string_view>;
  };
  static_assert(
      has_category,
      "eventcore: the decider has no static constexpr std::string_view category, see the type above");

  static constexpr bool is_category_valid = [] {
    if constexpr (has_category)
      return valid_category(D::category);
    return true;
  }();
  static_assert(is_category_valid,
                "eventcore: a decider's category is 1 to 64 ASCII characters, none of - * ? [ ] and no "
                "control character, see the type above");

  static constexpr bool has_state = requires { requires std::default_initializable<typename D::state>; };
  static_assert(has_state,
                "eventcore: the decider has no default constructible type named state, see the type above");

  static constexpr bool has_commands = requires { requires is_list<commands, typename D::commands>; };
  static_assert(
      has_commands,
      "eventcore: the decider has no using commands = eventcore::commands<...> with at least one type, see "
      "the type above");

  static constexpr bool has_events = requires { requires is_list<events, typename D::events>; };
  static_assert(
      has_events,
      "eventcore: the decider has no using events = eventcore::events<...> with at least one type, see the "
      "type above");

  static constexpr bool ok = [] {
    if constexpr (has_base && has_category && is_category_valid && has_state && has_commands && has_events)
      return check_messages<D, typename D::commands, typename D::events>::ok;
    return false;
  }();
};

template <class Reply>
const google::protobuf::Message* prototype_of_reply() {
  if constexpr (message_type<Reply>)
    return &Reply::default_instance();
  else
    return nullptr;
}

template <class D, class Command>
decision decide(void* state, const google::protobuf::Message& command, const command_context& context,
                bool& evolving) {
  evolving = false;
  auto& typed = *static_cast<typename D::state*>(state);
  return call_decide<D, Command>(typed, static_cast<const Command&>(command), context)
      .apply_to(typed, evolving);
}

template <class D, class Commands, class Events>
struct entity_table;

template <class D, class... Cs, class... Es>
struct entity_table<D, commands<Cs...>, events<Es...>> {
  std::array<entity_type::command, sizeof...(Cs)> command_rows{entity_type::command{
      .prototype = &Cs::default_instance(),
      .cpp_type = &typeid(Cs),
      .reply = prototype_of_reply<typename check_command<D, Cs>::reply>(),
      .decide = &decide<D, Cs>,
  }...};
  event_rows<D> rows;
  entity_type type;

  entity_table() {
    describe_fold<D>(type, rows);
    type.commands = command_rows;
  }
  entity_table(const entity_table&) = delete;
};

} // namespace internal

/// Whether `Command` is one of the commands of decider `D`.
template <class D, class Command>
constexpr bool handles = internal::occurrences<typename D::commands, Command> == 1;

/// The type that `D` answers `Command` with, `no_reply` if it does not.
template <class D, class Command>
using reply_of = typename internal::check_command<D, Command>::reply;

/// Whether `D` answers `Command` with a reply.
template <class D, class Command>
constexpr bool replies = !std::same_as<reply_of<D, Command>, no_reply>;

template <class D>
const entity_type& entity_type_of() {
  if constexpr (internal::check_decider<D>::ok) {
    static const internal::entity_table<D, typename D::commands, typename D::events> table;
    return table.type;
  } else {
    std::abort(); // never compiled to the end: check_decider has failed
  }
}

} // namespace eventcore
