#pragma once

#include <eventcore/actors/entity_type.hpp>
#include <eventcore/persistence/schema.hpp>

#include <google/protobuf/message.h>

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace eventcore {

/// The types of a decider's commands, each once.
template <class... Messages>
struct commands {};

/// The types of a decider's events, each once.
template <class... Messages>
struct events {};

/// The reply type of commands that are not answered: send them with `tell`.
struct no_reply {};

template <class D, class R>
class effect;

namespace internal {

template <class T>
concept message_type =
    std::derived_from<T, google::protobuf::Message> && std::default_initializable<T> && std::movable<T>;

template <class List, class T>
constexpr std::size_t occurrences = 0;
template <template <class...> class List, class... Ts, class T>
constexpr std::size_t occurrences<List<Ts...>, T> = (0 + ... + (std::same_as<Ts, T> ? 1 : 0));

template <class Events>
struct variant_of;
template <class... Es>
struct variant_of<events<Es...>> {
  using type = std::variant<Es...>;
};

template <class T>
constexpr bool is_vector = false;
template <class T>
constexpr bool is_vector<std::vector<T>> = true;

// The compiler names the template arguments above the text of a failed static_assert.
template <class D, class Event>
struct check_persisted_event {
  static constexpr bool ok = occurrences<typename D::events, Event> == 1;
  static_assert(ok, "eventcore: persist() got something that is none of the decider's events<...>, see "
                    "<decider, type> above");
};

template <class D, class Declared, class Given>
struct check_reply {
  static constexpr bool ok = std::is_same_v<Declared, Given>;
  static_assert(ok, "eventcore: this is another reply than the effect<...> that decide returns declares, "
                    "see <decider, declared reply, given reply> above");
};

template <class D, class Reply>
struct check_persist_alone {
  static constexpr bool ok = std::is_same_v<Reply, no_reply>;
  static_assert(ok, "eventcore: persist(...) alone carries no reply, but this effect must: "
                    "persist(...).then_reply(...), see <decider, declared reply> above");
};

template <class D, class Reply>
struct check_reply_source {
  static constexpr bool ok = message_type<Reply>;
  static_assert(ok, "eventcore: reply() takes a Protobuf message; then_reply() takes one, or a function of "
                    "(const state&) that returns one, see <decider, given reply> above");
};

/// Stands for a reply type that a check has complained about already.
struct invalid_reply {};

/// Whether an instance of this type can hold text that serialises but does not parse (proto3 strings must be
/// UTF-8).
bool holds_checked_text(const google::protobuf::Descriptor& type);

/// Throw `std::runtime_error` naming the type.
[[noreturn]] void throw_not_serialisable(const google::protobuf::Message& event);
[[noreturn]] void throw_not_replayable(const google::protobuf::Message& event);

/// Where payloads of type `Event` are parsed, one a thread.
template <class Event>
Event& scratch() {
  thread_local Event message;
  return message;
}

/// Serialises `event` so that it will parse again. Throws `std::runtime_error` if that is impossible: an
/// entity whose stream holds an event that does not parse could never be rebuilt.
template <class Event>
new_event serialise(const Event& event) {
  static const auto* const type = Event::descriptor();
  static const bool verify = holds_checked_text(*type);
  static const auto schema_version = schema_version_of(*type);
  new_event result;
  result.type = type;
  result.schema_version = schema_version;
  if (!event.IsInitialized() || !event.SerializeToString(&result.payload))
    throw_not_serialisable(event);
  if (verify && !scratch<Event>().ParseFromString(result.payload))
    throw_not_replayable(event);
  return result;
}

} // namespace internal

/// Any one event of decider `D`. A `std::vector` of these takes events of several types in the order in which
/// a loop finds them; `persist` accepts both.
template <class D>
using event_of = typename internal::variant_of<typename D::events>::type;

/// What `persist(...)` makes: events without an answer yet. Converts to `effect<no_reply>`; `then_reply`
/// makes an effect with a reply of it. Users do not name this type.
template <class D>
class [[nodiscard]] persist_effect {
public:
  template <class... Events>
  explicit persist_effect(std::in_place_t, Events... list) {
    (add(std::move(list)), ...);
  }

  /// Answers with `source`: a message, or a pure function of the state that returns one. The function is
  /// called once, right after the events of this effect are evolved, with the state that they led to; what it
  /// captured by reference must outlive `decide` (the state and the command do, local variables do not).
  template <class Source>
  auto then_reply(Source source) && {
    using state = typename D::state;
    if constexpr (std::invocable<Source&, const state&>) {
      using reply = std::remove_cvref_t<std::invoke_result_t<Source&, const state&>>;
      if constexpr (internal::check_reply_source<D, reply>::ok)
        return effect<D, reply>{std::move(*this), std::function<reply(const state&)>{std::move(source)}};
      else
        return effect<D, internal::invalid_reply>{internal::invalid_reply{}};
    } else {
      if constexpr (internal::check_reply_source<D, Source>::ok)
        return effect<D, Source>{std::move(*this), std::move(source)};
      else
        return effect<D, internal::invalid_reply>{internal::invalid_reply{}};
    }
  }

  /// Passivates the entity once everything it decided is durable and answered.
  persist_effect then_stop() && {
    stop_ = true;
    return std::move(*this);
  }

private:
  template <class, class>
  friend class effect;

  template <class Event>
  void add(Event event) {
    if constexpr (internal::is_vector<Event>) {
      for (auto& element : event)
        add(std::move(element));
    } else if constexpr (std::same_as<Event, event_of<D>>) {
      push_back(std::move(event));
    } else if constexpr (internal::check_persisted_event<D, Event>::ok) {
      push_back(event_of<D>{std::move(event)});
    }
  }

  void push_back(event_of<D> event) {
    if (!first_)
      first_.emplace(std::move(event));
    else
      rest_.push_back(std::move(event));
  }

  std::size_t size() const noexcept { return first_ ? 1 + rest_.size() : 0; }

  template <class F>
  void for_each(F f) const {
    if (first_)
      std::visit(f, *first_);
    for (const auto& event : rest_)
      std::visit(f, event);
  }

  std::optional<event_of<D>> first_; // most commands make one event: no allocation for it
  std::vector<event_of<D>> rest_;
  bool stop_ = false;
};

/// What a command came to, as data: events to persist and a reply of type `R` (a Protobuf message, or
/// `no_reply`), or a rejection. Deciders make it by `persist`, `reply`, `reject` and `nothing` of their base,
/// or from a reply value:
///
///     return reject("insufficient funds");
///     return balance(s);                                    // a bank::Balance: the reply, no events
///     return persist(deposited).then_reply(balance);        // a function of the state after `deposited`
///     return persist(closed).then_reply(balance).then_stop();
///     return persist(deposited);                            // in an effect<no_reply>
///
/// Making an effect changes nothing. The entity evolves the events, evaluates the reply, and releases it when
/// the events are durable.
template <class D, class R>
class [[nodiscard]] effect {
public:
  using reply_function = std::function<R(const typename D::state&)>;

  effect(rejection no)
      : rejected_{std::move(no)} {}

  effect(R reply)
      : reply_{std::move(reply)} {}

  effect(persist_effect<D>&& events)
      : events_{std::move(events)} {
    static_cast<void>(internal::check_persist_alone<D, R>{});
  }

  effect(persist_effect<D>&& events, R reply)
      : events_{std::move(events)}
      , reply_{std::move(reply)} {}

  effect(persist_effect<D>&& events, reply_function reply)
      : events_{std::move(events)}
      , reply_{std::move(reply)} {}

  /// Always a compile error that names both types.
  template <class Other>
  requires(!std::same_as<Other, R>) effect(effect<D, Other>) {
    if constexpr (!std::same_as<Other, internal::invalid_reply>)
      static_cast<void>(internal::check_reply<D, R, Other>{});
  }

  /// Always a compile error that names both types.
  template <internal::message_type Other>
  requires(!std::same_as<Other, R>) effect(Other) { static_cast<void>(internal::check_reply<D, R, Other>{}); }

  /// Passivates the entity once everything it decided is durable and answered.
  effect then_stop() && {
    events_.stop_ = true;
    return std::move(*this);
  }

  /// Carries the effect out on `state`, which `decide` has just seen: serialises the events, evolves them
  /// into `state`, then evaluates the reply. `evolving` becomes true before `state` changes. Throws what
  /// `evolve` and the reply's function throw, and `std::runtime_error` for an event that cannot be serialised
  /// and parsed again (`state` is unchanged then).
  decision apply_to(typename D::state& state, bool& evolving) && {
    decision result;
    result.stop = events_.stop_;
    if (rejected_) {
      result.rejected = std::move(rejected_);
      return result;
    }
    if (events_.first_) {
      result.events.reserve(events_.size());
      events_.for_each([&](const auto& event) { result.events.push_back(internal::serialise(event)); });
      evolving = true;
      events_.for_each([&](const auto& event) { D::evolve(state, event); });
    }
    if constexpr (!std::same_as<R, no_reply>) {
      if (auto* value = std::get_if<R>(&reply_))
        result.reply = std::make_unique<R>(std::move(*value));
      else
        result.reply = std::make_unique<R>(std::get<reply_function>(reply_)(std::as_const(state)));
    }
    return result;
  }

private:
  persist_effect<D> events_{std::in_place};
  std::optional<rejection> rejected_;
  std::variant<std::monostate, R, reply_function> reply_;
};

} // namespace eventcore
