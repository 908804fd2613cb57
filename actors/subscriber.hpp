#pragma once

#include <eventcore/actors/decider.hpp>
#include <eventcore/actors/event_context.hpp>
#include <eventcore/actors/event_handler.hpp>
#include <eventcore/actors/multi_stream.hpp>

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace eventcore {

/// The base of what users write to follow the log:
///
///     struct mailer : eventcore::subscriber<mailer> {
///       using events = eventcore::events<shop::OrderPlaced, shop::OrderCancelled>;
///
///       void handle(const shop::OrderPlaced& e) { ... }
///       eventcore::result<void> handle(const shop::OrderCancelled& e, const eventcore::event_context& x) { ... }
///     };
///
/// `handle` takes the event, and the context if it wants it. It fails by an exception or by an error. What it returns:
///
/// - nothing, or `result<void>`: each event is handled at least once; the event's id is the same in each repeat.
/// - a `reaction`: `to<account>("alice", bank::Deposit{...})` is a command for an entity, `to<transfers>(command)` one for a
///   multi-stream decider, `nothing()` none. The command's commit moves the subscription's cursor, so its effect is exactly
///   once, whatever crashes. Such handlers are pure, as deciders are. A command that is rejected is done: the rejection moved
///   the cursor, too.
///
/// Stored events of older schema versions are lifted by `static void upcast(upcasters&)`, and former names of types are
/// known, as for deciders. A subscriber without `events` takes all that its filter admits, as they are stored, by
/// `handle(const recorded_event&)`, with or without the context.
///
/// One object is used by one thread at a time, each worker of a subscription has its own.
template <class S>
class subscriber {
public:
  using reaction = eventcore::reaction;

  template <class D, class Command>
  static reaction to(std::string id, Command command) {
    static_assert(handles<D, Command>, "eventcore: the decider has no decide() for this command type");
    return {std::string{D::category}, std::move(id), nullptr,
            std::make_shared<const Command>(std::move(command))};
  }
  template <class D, class Command>
  static reaction to(Command command) {
    static_assert(internal::occurrences<typename D::commands, Command> == 1,
                  "eventcore: the multi-stream decider has no decide() for this command type");
    return {{}, {}, &multi_stream_type_of<D>(), std::make_shared<const Command>(std::move(command))};
  }
  static reaction nothing() { return {}; }
};

namespace internal {

/// One event on its way through the rows of a table: takes the place that a state has for deciders.
struct handler_call {
  void* subscriber = nullptr;
  const event_context* context = nullptr;
  std::optional<error> failure{};
  std::optional<eventcore::reaction> answer{};
};

// The compiler names the template arguments above the text of a failed static_assert.
template <class S, class Event>
struct check_handler {
  static constexpr bool with_context = requires(S & s, const Event& e, const event_context& x) {
    s.handle(e, x);
  };
  static constexpr bool has_handle = with_context || requires(S & s, const Event& e) { s.handle(e); };
  static_assert(has_handle,
                "eventcore: the subscriber has no handle(const Event&), with or without a second const "
                "event_context&, for this event, see <subscriber, event> above");

  static auto call(S& s, const Event& e, const event_context& x) {
    if constexpr (with_context)
      return s.handle(e, x);
    else if constexpr (has_handle)
      return s.handle(e);
  }
  using answer =
      decltype(call(std::declval<S&>(), std::declval<const Event&>(), std::declval<const event_context&>()));
  static constexpr bool ok = std::is_void_v<answer> || std::same_as<answer, result<void>> ||
                             std::same_as<answer, eventcore::reaction>;
  static_assert(
      ok,
      "eventcore: handle returns nothing, eventcore::result<void>, or a reaction made by to() or nothing(), "
      "see <subscriber, event> above");
};

template <class S, class Event>
constexpr bool reacts = std::same_as<typename check_handler<S, Event>::answer, eventcore::reaction>;

template <class S, class Event>
void run_handler(handler_call& call, const Event& e) {
  using check = check_handler<S, Event>;
  if constexpr (check::ok) {
    auto& s = *static_cast<S*>(call.subscriber);
    if constexpr (std::is_void_v<typename check::answer>) {
      check::call(s, e, *call.context);
    } else if constexpr (reacts<S, Event>) {
      call.answer = check::call(s, e, *call.context);
    } else {
      if (auto done = check::call(s, e, *call.context); !done)
        call.failure = done.error();
    }
  }
}

/// A fold whose state is a call: each event that it evolves is handled.
template <class S>
struct handler_fold {
  static constexpr std::string_view category = "subscriber";
  using state = handler_call;
  using events = typename S::events;

  template <class Event>
  static void evolve(state& call, const Event& e) {
    run_handler<S>(call, e);
  }
  static void upcast(upcasters& lifts) {
    if constexpr (requires { S::upcast(lifts); })
      S::upcast(lifts);
  }
};

template <class S, class Events>
constexpr bool any_reaction = false;
template <class S, class... Es>
constexpr bool any_reaction<S, events<Es...>> = (reacts<S, Es> || ...);

template <class S>
constexpr bool is_typed = requires {
  typename S::events;
};

/// The loop over a run. `table` is null for a subscriber that takes events as they are stored; then `run` handles them.
class subscriber_core : public event_handler {
public:
  handled handle(std::span<const recorded_event* const> events, handler_run& run) final;

protected:
  explicit subscriber_core(const fold_type* table)
      : table_{table} {}

private:
  virtual void* object() noexcept = 0;
  virtual void handle_stored(handler_call& call, const recorded_event& event) = 0;

  const fold_type* table_;
  std::uint16_t last_event_ = 0;
};

template <class S>
class typed_handler final : public subscriber_core {
public:
  explicit typed_handler(std::unique_ptr<S> subscriber)
      : subscriber_core{table()}
      , subscriber_{std::move(subscriber)} {}

private:
  static const fold_type* table() {
    if constexpr (is_typed<S>)
      return &fold_type_of<handler_fold<S>>();
    else
      return nullptr;
  }

  void* object() noexcept override { return subscriber_.get(); }
  void handle_stored(handler_call& call, const recorded_event& event) override {
    if constexpr (!is_typed<S>)
      run_handler<S>(call, event);
  }

  std::unique_ptr<S> subscriber_;
};

} // namespace internal

/// What a subscription needs to know of its subscriber.
struct subscriber_type {
  handler_factory make;
  /// A handler may answer with commands: then the events are handled one commit after the other, by one worker.
  bool reacts = false;
  /// The full names of the declared events, former ones included; empty: all.
  std::vector<std::string> declared;
};

/// The type of subscriber `S`, whose objects `make` makes: any function that returns `std::unique_ptr<S>`. Throws
/// `std::logic_error` if its upcasters contradict each other.
template <class S, class Make>
subscriber_type subscriber_type_of(Make make) {
  static_assert(std::is_base_of_v<subscriber<S>, S>,
                "eventcore: a subscriber derives from eventcore::subscriber of itself");
  subscriber_type type;
  type.make = [make = std::move(make)]() -> std::unique_ptr<event_handler> {
    return std::make_unique<internal::typed_handler<S>>(make());
  };
  if constexpr (internal::is_typed<S>) {
    type.reacts = internal::any_reaction<S, typename S::events>;
    for (auto& [name, row] : fold_type_of<internal::handler_fold<S>>().names)
      type.declared.push_back(name);
  } else {
    type.reacts = internal::reacts<S, recorded_event>;
  }
  return type;
}

template <class S>
subscriber_type subscriber_type_of() {
  return subscriber_type_of<S>([] { return std::make_unique<S>(); });
}

} // namespace eventcore
