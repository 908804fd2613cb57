#pragma once

#include <eventcore/actors/decider.hpp>

#include <google/protobuf/message.h>

#include <array>
#include <concepts>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace eventcore {

/// A decider did something else than a test expected. The message shows expected and actual as Protobuf text.
class expectation_failed : public std::logic_error {
  using std::logic_error::logic_error;
};

namespace internal {

/// Evolves `events` into `state` from their serialised form. `origin` says in failures where they come from.
void replay_all(const entity_type& type, void* state, std::span<const new_event> events,
                std::string_view origin);

// Throw `expectation_failed` unless the decision is as expected.
void expect_same(const entity_type& type, const decision& once, const decision& again);
void expect_rebuilt(const entity_type& type, const decision& actual, bool equal);
void expect_events(const entity_type& type, const decision& actual,
                   std::span<const google::protobuf::Message* const> expected);
void expect_reply(const entity_type& type, const decision& actual, const google::protobuf::Message& expected);
void expect_rejected(const entity_type& type, const decision& actual);
void expect_rejected(const entity_type& type, const decision& actual, std::string_view message_or_code);
void expect_stop(const entity_type& type, const decision& actual);
/// `what` is the thing that a predicate was true of or not.
void expect_true(const entity_type& type, const decision& actual, bool met, std::string_view what);
/// Whether there is a reply to look at.
void expect_no_rejection(const entity_type& type, const decision& actual);

} // namespace internal

/// What a command came to in a test. Each function throws `expectation_failed` if it is not as said, and
/// returns the outcome for the next one.
template <class D, class Command>
class outcome {
public:
  using state = typename D::state;
  using reply = reply_of<D, Command>;

  outcome(decision decided, std::unique_ptr<state> after)
      : decided_{std::move(decided)}
      , after_{std::move(after)} {}

  /// Exactly these events, in this order.
  template <class... Events>
  const outcome& then(const Events&... expected) const {
    static_assert(sizeof...(Events) > 0,
                  "eventcore: then() needs an event; for none there is then_no_events()");
    static_assert(((internal::occurrences<typename D::events, Events> == 1) && ...),
                  "eventcore: then() takes events of the decider's events<...>");
    const std::array<const google::protobuf::Message*, sizeof...(Events)> list{&expected...};
    internal::expect_events(type(), decided_, list);
    return *this;
  }

  /// No events, rejected or not.
  const outcome& then_no_events() const {
    internal::expect_events(type(), decided_, {});
    return *this;
  }

  /// A reply equal to `expected`, or one of which `expected(const Reply&)` is true.
  template <class Expected>
  const outcome& then_reply(const Expected& expected) const {
    static_assert(replies<D, Command>, "eventcore: this command's effect has no reply");
    if constexpr (std::predicate<const Expected&, const reply&>) {
      internal::expect_no_rejection(type(), decided_);
      internal::expect_true(type(), decided_, expected(static_cast<const reply&>(*decided_.reply)),
                            "the reply");
    } else {
      static_assert(
          std::is_same_v<Expected, reply>,
          "eventcore: then_reply() takes a reply of the type that decide declares, or a predicate of one");
      internal::expect_reply(type(), decided_, expected);
    }
    return *this;
  }

  /// A rejection.
  const outcome& then_rejected() const {
    internal::expect_rejected(type(), decided_);
    return *this;
  }

  /// A rejection whose message or whose code is `message_or_code`.
  const outcome& then_rejected(std::string_view message_or_code) const {
    internal::expect_rejected(type(), decided_, message_or_code);
    return *this;
  }

  /// A rejection of which `expected` is true.
  template <std::predicate<const rejection&> Predicate>
  const outcome& then_rejected(const Predicate& expected) const {
    internal::expect_rejected(type(), decided_);
    internal::expect_true(type(), decided_, expected(*decided_.rejected), "the rejection");
    return *this;
  }

  /// A state of which `expected` is true. It is rebuilt from all events, given and new, as a recovery would.
  template <std::predicate<const state&> Predicate>
  const outcome& then_state(const Predicate& expected) const {
    internal::expect_true(type(), decided_, expected(std::as_const(*after_)), "the state after these events");
    return *this;
  }

  /// The effect stops the entity.
  const outcome& then_stop() const {
    internal::expect_stop(type(), decided_);
    return *this;
  }

private:
  static const entity_type& type() { return entity_type_of<D>(); }

  decision decided_;
  std::unique_ptr<state> after_;
};

/// A stream's history in a test: what `given` makes.
template <class D>
class [[nodiscard]] scenario {
public:
  explicit scenario(std::vector<new_event> history)
      : history_{std::move(history)} {}

  /// Decides `command` on the state that the history leads to. The context is passed on as it is: its time is
  /// the epoch unless the test sets it. What the decider throws passes through.
  template <class Command>
  outcome<D, Command> when(const Command& command, const command_context& context = {}) const {
    const auto& type = entity_type_of<D>();
    auto evolving = false;
    auto state = rebuild();
    auto decided = internal::decide<D, Command>(state.get(), command, context, evolving);
    internal::expect_same(type, decided,
                          internal::decide<D, Command>(rebuild().get(), command, context, evolving));
    auto replayed = rebuild();
    internal::replay_all(type, replayed.get(), decided.events, "decide persisted");
    if constexpr (std::equality_comparable<typename D::state>)
      internal::expect_rebuilt(type, decided, *state == *replayed);
    return {std::move(decided), std::move(replayed)};
  }

private:
  std::unique_ptr<typename D::state> rebuild() const {
    auto state = std::make_unique<typename D::state>();
    internal::replay_all(entity_type_of<D>(), state.get(), history_, "was given");
    return state;
  }

  std::vector<new_event> history_;
};

/// Tests decider `D` without runtime, journal or test framework: what does it do with a command, given its
/// past events? (`opened`, `deposited(700)` and so on are messages that the test made.)
///
///     given<account>(opened, deposited(700))
///         .when(withdraw(500))
///         .then(withdrawn(500))
///         .then_reply(balance(200));
///     given<account>(opened).when(withdraw(500)).then_rejected("insufficient funds").then_no_events();
///     given<account>().when(open).then_state([](const account::state& s) { return s.open; });
///
/// A wrong expectation throws `expectation_failed`, which every test framework reports with its message.
///
/// It is stricter than it looks. Every event, given or persisted, goes through its serialised form, and all
/// states are rebuilt from that; the command is decided twice, and must come to the same (`decide` is pure);
/// and if the state has `==`, the state that decide's events led to at once must equal the rebuilt one
/// (`evolve` is pure).
template <class D, class... Events>
scenario<D> given(const Events&... events) {
  static_assert(((internal::occurrences<typename D::events, Events> == 1) && ...),
                "eventcore: given() takes events of the decider's events<...>");
  std::vector<new_event> history;
  history.reserve(sizeof...(Events));
  (history.push_back(internal::serialise(events)), ...);
  return scenario<D>{std::move(history)};
}

} // namespace eventcore
