#pragma once

#include <eventcore/actors/effect.hpp>
#include <eventcore/actors/fold_type.hpp>

#include <array>
#include <concepts>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace eventcore {

/// Makes a Protobuf message and lets `fill` set its fields:
///
///     auto c = make<bank::Withdraw>([](auto& m) { m.set_cents(500); });
template <internal::message_type M, std::invocable<M&> F>
M make(F&& fill) {
  M message;
  std::forward<F>(fill)(message);
  return message;
}

/// Makes an empty Protobuf message.
template <internal::message_type M>
M make() {
  return M{};
}

/// The base of folds: the state that a multi-stream command sees of a stream, where it is another one than the
/// entity's. (A decider is a fold, too: most commands read the streams of deciders and need no fold of their own.)
///
///     struct total : eventcore::fold<total> {
///       static constexpr std::string_view category = "account";
///       using events = eventcore::events<bank::Opened, bank::Deposited, bank::Withdrawn>;
///       struct state { std::int64_t cents = 0; };
///       static void evolve(state&, const bank::Opened&) {}
///       ...
///     };
///
/// `category`, `state`, `events`, `evolve` and the optional parts below mean what they mean for a `decider`:
///
/// - `static Message to_snapshot(const state&)` and `static state from_snapshot(const Message&)` with a Protobuf message:
///   the state can be saved in snapshots. A `state` that is a Protobuf message itself needs neither.
///   `static constexpr std::uint32_t state_version` (default 1) is raised when `evolve` makes another state of the
///   same events: snapshots of other versions are passed over. Folds of one category that make different states must save
///   them in different messages.
/// - `static void upcast(upcasters&)`: how stored events of older schema versions are lifted.
template <class F>
class fold {};

namespace internal {

constexpr bool valid_category(std::string_view text) {
  for (char c : text)
    if (c < 0x20 || c >= 0x7f || std::string_view{"-*?[]"}.find(c) != std::string_view::npos)
      return false;
  return !text.empty() && text.size() <= 64;
}

template <template <class...> class List, class T>
constexpr bool is_list = false;
template <template <class...> class List, class... Ts>
constexpr bool is_list<List, List<Ts...>> = sizeof...(Ts) > 0;

// An evolve that takes a copy of the state, or returns a new one, would evolve nothing.
template <class D, class Event>
constexpr bool has_evolve = requires(typename D::state& s, const Event& e) {
  { D::evolve(s, e) } -> std::same_as<void>;
}
&&!requires(typename D::state s, const Event& e) {
  D::evolve(std::move(s), e);
};

template <class D, class Event>
struct check_event {
  static constexpr bool is_message = message_type<Event>;
  static_assert(is_message,
                "eventcore: this event is no generated Protobuf message, see <decider, event> above");

  static constexpr bool is_listed = !is_message || occurrences<typename D::events, Event> == 1;
  static_assert(is_listed,
                "eventcore: the decider's events<...> must name this event once, see <decider, event> above");

  static constexpr bool is_evolved = !is_message || !is_listed || has_evolve<D, Event>;
  static_assert(is_evolved,
                "eventcore: the decider has no static void evolve(state&, const Event&) for this event, "
                "see <decider, event> above");

  static constexpr bool ok = is_message && is_listed && is_evolved;
};

template <class F, class Events>
struct check_event_list;
template <class F, class... Es>
struct check_event_list<F, events<Es...>> {
  static constexpr bool ok = (check_event<F, Es>::ok && ...);
};

template <class D, class Event>
bool replay(void* state, std::string_view payload) {
  auto& event = scratch<Event>();
  if (!event.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return false;
  D::evolve(*static_cast<typename D::state*>(state), std::as_const(event));
  return true;
}

template <class F>
struct check_fold {
  static constexpr bool has_parts = requires {
    { F::category } -> std::convertible_to<std::string_view>;
    requires std::default_initializable<typename F::state>;
    requires is_list<events, typename F::events>;
  };
  static_assert(has_parts,
                "eventcore: a fold has a static constexpr std::string_view category, a default constructible "
                "type named state, and using events = eventcore::events<...> with at least one type, see the "
                "type above");

  static constexpr bool ok = [] {
    if constexpr (has_parts) {
      static_assert(valid_category(F::category), "eventcore: a fold's category is 1 to 64 ASCII characters, "
                                                 "none of - * ? [ ] and no control character, "
                                                 "see the type above");
      return check_event_list<F, typename F::events>::ok;
    }
    return false;
  }();
};

template <class F, class Event>
void evolve(void* state, const google::protobuf::Message& event) {
  F::evolve(*static_cast<typename F::state*>(state), static_cast<const Event&>(event));
}

template <class F>
constexpr bool has_snapshot_functions = requires(const typename F::state& s) {
  { F::to_snapshot(s) } -> message_type;
  { F::from_snapshot(F::to_snapshot(s)) } -> std::same_as<typename F::state>;
};

template <class F>
constexpr std::uint32_t state_version_of = [] {
  if constexpr (requires { F::state_version; })
    return F::state_version;
  else
    return 1u;
}();

template <class F>
struct snapshot_message {
  using type = void;
};
template <class F>
requires has_snapshot_functions<F>
struct snapshot_message<F> {
  using type = decltype(F::to_snapshot(std::declval<const typename F::state&>()));
};
template <class F>
requires(!has_snapshot_functions<F> && message_type<typename F::state>) struct snapshot_message<F> {
  using type = typename F::state;
};

template <class F>
std::string save_state(const void* state) {
  auto& typed = *static_cast<const typename F::state*>(state);
  if constexpr (has_snapshot_functions<F>)
    return F::to_snapshot(typed).SerializeAsString();
  else
    return typed.SerializeAsString();
}

template <class F>
bool load_state(void* state, std::string_view saved) {
  auto& typed = *static_cast<typename F::state*>(state);
  typename snapshot_message<F>::type message;
  if (!message.ParseFromArray(saved.data(), static_cast<int>(saved.size())))
    return false;
  if constexpr (has_snapshot_functions<F>)
    typed = F::from_snapshot(message);
  else
    typed = std::move(message);
  return true;
}

/// Sorts the rows, fills in schema versions and names, and checks the lifts. Throws `std::logic_error`.
void complete(fold_type& type, std::span<fold_type::event> rows);

template <class F, class... Es>
std::array<fold_type::event, sizeof...(Es)> make_event_rows(events<Es...>) {
  return {fold_type::event{
      .prototype = &Es::default_instance(), .replay = &replay<F, Es>, .evolve = &evolve<F, Es>}...};
}

template <class F>
using event_rows = decltype(make_event_rows<F>(typename F::events{}));

template <class F>
void describe_fold(fold_type& type, event_rows<F>& rows) {
  using state = typename F::state;
  rows = make_event_rows<F>(typename F::events{});
  type.category = F::category;
  type.new_state = [] { return static_cast<void*>(new state{}); };
  if constexpr (std::copy_constructible<state>)
    type.copy_state = [](const void* s) {
      return static_cast<void*>(new state(*static_cast<const state*>(s)));
    };
  type.delete_state = [](void* s) noexcept { delete static_cast<state*>(s); };
  if constexpr (!std::is_void_v<typename snapshot_message<F>::type>)
    type.snapshot = {snapshot_message<F>::type::descriptor()->full_name(), state_version_of<F>,
                     &save_state<F>, &load_state<F>};
  if constexpr (requires { F::upcast(type.lifts); })
    F::upcast(type.lifts);
  complete(type, rows);
}

template <class F>
struct fold_table {
  event_rows<F> rows;
  fold_type type;

  fold_table() { describe_fold<F>(type, rows); }
  fold_table(const fold_table&) = delete;
};

} // namespace internal

/// The table of fold or decider `F`, made once. Throws as `entity_type_of` does.
template <class F>
const fold_type& fold_type_of() {
  if constexpr (internal::check_fold<F>::ok) {
    static const internal::fold_table<F> table;
    return table.type;
  } else {
    std::abort(); // never compiled to the end: check_fold has failed
  }
}

} // namespace eventcore
