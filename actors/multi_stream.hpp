#pragma once

#include <eventcore/actors/decider.hpp>
#include <eventcore/actors/errc.hpp>
#include <eventcore/actors/multi_stream_type.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace eventcore {

/// A command named its streams wrongly: the same one twice, one that makes no stream id, or one that it did not declare.
/// The runtime answers it with the error's code.
class invalid_command_streams : public std::runtime_error {
public:
  explicit invalid_command_streams(error why)
      : std::runtime_error{why.message()}
      , why_{std::move(why)} {}
  const error& why() const noexcept { return why_; }

private:
  error why_;
};

namespace internal {

/// The id `category-id`. Throws `invalid_command_streams`.
stream_id stream_of(std::string_view category, std::string_view id);
/// Nothing, or what is wrong with the streams that a command named.
std::optional<error> check_declared(const std::vector<declared_stream>& streams, std::size_t max_streams);
[[noreturn]] void throw_not_declared(const stream_id& stream);
/// A type's name as written in C++.
std::string name_of(const std::type_info& type);

} // namespace internal

/// The folds (deciders, or `fold`s of their own) whose streams a multi-stream decider reads.
template <class... Folds>
struct folds {};

/// Where a command declares the streams that it needs.
template <class D>
class stream_set {
public:
  explicit stream_set(const command_streams& known)
      : known_{known} {}

  /// Declares the stream `<category of F>-<id>` and returns its state, or null as long as it was not read. Streams that only a
  /// state can name are discovered thus:
  ///
  ///     if (auto* order = streams.read<order>(c.order_id()))
  ///       streams.read<customer>(order->customer_id);
  ///
  /// A stream may be declared once in a call, else the command is answered `invalid_command`; ask `contains` where a command
  /// may well name one twice.
  template <class F>
  const typename F::state* read(std::string_view id) {
    static_assert(internal::occurrences<typename D::streams, F> == 1,
                  "eventcore: read<F>() takes one of the decider's streams = eventcore::folds<...>");
    auto stream = internal::stream_of(F::category, id);
    declared_.push_back({stream, &fold_type_of<F>()});
    auto* item = known_.find(stream);
    return item && item->fold == &fold_type_of<F>() ? static_cast<const typename F::state*>(item->state)
                                                    : nullptr;
  }

  /// Whether this call has declared the stream already.
  template <class F>
  bool contains(std::string_view id) const {
    auto stream = internal::stream_of(F::category, id);
    for (auto& declared : declared_)
      if (declared.stream == stream)
        return true;
    return false;
  }

  std::vector<declared_stream> take() && { return std::move(declared_); }

private:
  const command_streams& known_;
  std::vector<declared_stream> declared_;
};

/// The states of all streams that a command declared.
template <class D>
class stream_states {
public:
  explicit stream_states(const command_streams& read)
      : read_{read} {}

  /// The state of stream `<category of F>-<id>`. Of a stream that was not declared: the command is answered
  /// `invalid_command`.
  template <class F>
  const typename F::state& get(std::string_view id) const {
    return *static_cast<const typename F::state*>(item<F>(id).state);
  }

  /// The version of that stream; 0 if it has no events.
  template <class F>
  stream_version version(std::string_view id) const {
    return item<F>(id).version;
  }

private:
  template <class F>
  const command_streams::item& item(std::string_view id) const {
    static_assert(internal::occurrences<typename D::streams, F> == 1,
                  "eventcore: this is none of the decider's streams = eventcore::folds<...>");
    auto stream = internal::stream_of(F::category, id);
    auto* found = read_.find(stream);
    if (!found || !found->state || found->fold != &fold_type_of<F>())
      internal::throw_not_declared(stream);
    return *found;
  }

  const command_streams& read_;
};

/// What `append(...)` makes: events for several streams. Converts to `multi_stream_effect<no_reply>`; `then_reply` makes an
/// effect with a reply of it. Users do not name this type.
template <class D>
class [[nodiscard]] append_effect {
public:
  /// Persists `list` (each an event of `F`) in stream `<category of F>-<id>`, behind what this effect appends to it already.
  template <class F, class... Events>
  append_effect append(std::string_view id, const Events&... list) && {
    static_assert(internal::occurrences<typename D::streams, F> == 1,
                  "eventcore: append<F>() takes one of the decider's streams = eventcore::folds<...>");
    static_assert(((internal::occurrences<typename F::events, Events> == 1) && ...),
                  "eventcore: append<F>() takes events of F's events<...>");
    auto stream = internal::stream_of(F::category, id);
    auto at = std::ranges::find(appends_, stream, &stream_events::stream);
    if (at == appends_.end())
      at = appends_.insert(at, {stream, {}});
    (at->events.push_back(internal::serialise(list)), ...);
    return std::move(*this);
  }

  /// Answers with `reply` when the events are durable.
  template <internal::message_type Reply>
  auto then_reply(Reply reply) &&;

  std::vector<stream_events> take() && { return std::move(appends_); }

private:
  std::vector<stream_events> appends_;
};

/// What a multi-stream command came to, as data: events for any of its streams and a reply of type `R` (a Protobuf message, or
/// `no_reply`), or a rejection. Made by `append`, `reject`, `nothing` of the decider's base, or from a reply value.
template <class D, class R>
class [[nodiscard]] multi_stream_effect {
public:
  multi_stream_effect(rejection no) { content_.rejected = std::move(no); }

  multi_stream_effect(R reply) {
    if constexpr (internal::message_type<R>)
      content_.reply = std::make_unique<R>(std::move(reply));
  }

  multi_stream_effect(append_effect<D>&& events) requires std::same_as<R, no_reply> {
    content_.appends = std::move(events).take();
  }

  multi_stream_effect(append_effect<D>&& events, R reply)
      : multi_stream_effect{std::move(reply)} {
    content_.appends = std::move(events).take();
  }

  multi_stream_decision take() && { return std::move(content_); }

private:
  multi_stream_decision content_;
};

template <class D>
template <internal::message_type Reply>
auto append_effect<D>::then_reply(Reply reply) && {
  return multi_stream_effect<D, Reply>{std::move(*this), std::move(reply)};
}

/// The base of multi-stream deciders: commands that read several streams and append to any of them in one commit, all or
/// nothing (spec 3). They run beside the entities of these streams:
///
///     struct transfers : eventcore::multi_stream_decider<transfers> {
///       using commands = eventcore::commands<bank::Transfer>;
///       using streams = eventcore::folds<account>;          // deciders, or folds of their own
///
///       static void declare(stream_set& s, const bank::Transfer& c) {
///         s.read<account>(c.from());
///         s.read<account>(c.to());
///       }
///       static effect<bank::Transferred> decide(const stream_states& s, const bank::Transfer& c) {
///         if (s.get<account>(c.from()).cents < c.cents())
///           return reject("insufficient funds");
///         return append<account>(c.from(), withdrawn(c)).append<account>(c.to(), deposited(c)).then_reply(...);
///       }
///     };
///
/// `declare` is called again each time that streams were read which it did not know before, until it names no new ones;
/// `decide` (with a third parameter `const command_context&`, if it wants it) sees all of them. Both are pure, as a
/// decider's functions are, and run again if the command has to be tried again.
///
/// All streams that were read take part in the version check of the commit, also those that nothing is appended to, and also
/// when the command is rejected or only replies: each answer is true of one moment. The first stream that `declare`
/// names keeps the answers to idempotency keys.
template <class D>
class multi_stream_decider {
public:
  template <class R>
  using effect = multi_stream_effect<D, R>;
  using no_reply = eventcore::no_reply;
  using stream_set = eventcore::stream_set<D>;
  using stream_states = eventcore::stream_states<D>;

  template <class F, class... Events>
  static append_effect<D> append(std::string_view id, const Events&... list) {
    return append_effect<D>{}.template append<F>(id, list...);
  }

  static rejection reject(std::string message) { return {"rejected", std::move(message), {}}; }
  static rejection reject(std::string code, std::string message, std::string details = {}) {
    return {std::move(code), std::move(message), std::move(details)};
  }

  /// Neither events nor a reply.
  static effect<no_reply> nothing() { return eventcore::no_reply{}; }
};

namespace internal {

template <class D, class Command>
decltype(auto) call_multi_decide(const stream_states<D>& s, const Command& c, const command_context& x) {
  if constexpr (requires { D::decide(s, c, x); })
    return D::decide(s, c, x);
  else
    return D::decide(s, c);
}

template <class Effect>
struct reply_of_multi_effect;
template <class D, class R>
struct reply_of_multi_effect<multi_stream_effect<D, R>> {
  using type = R;
};

template <class D, class Command>
struct check_multi_command {
  static_assert(message_type<Command>,
                "eventcore: this command is no generated Protobuf message, see <decider, command> above");
  static_assert(
      requires(stream_set<D> & s, const Command& c) { D::declare(s, c); },
      "eventcore: the decider has no static void declare(stream_set&, const Command&) for this command, see "
      "<decider, command> above");
  static_assert(
      requires(const stream_states<D>& s, const Command& c) { D::decide(s, c); } ||
          requires(const stream_states<D>& s, const Command& c, const command_context& x) {
            D::decide(s, c, x);
          },
      "eventcore: the decider has no static decide(const stream_states&, const Command&), with or without a "
      "third const command_context&, for this command, see <decider, command> above");
  using reply = typename reply_of_multi_effect<std::remove_cvref_t<decltype(call_multi_decide<D, Command>(
      std::declval<const stream_states<D>&>(), std::declval<const Command&>(),
      std::declval<const command_context&>()))>>::type;
};

template <class D, class Command>
std::vector<declared_stream> declare_streams(const google::protobuf::Message& command,
                                             const command_streams& known) {
  stream_set<D> set{known};
  D::declare(set, static_cast<const Command&>(command));
  return std::move(set).take();
}

template <class D, class Command>
multi_stream_decision decide_multi(const google::protobuf::Message& command, const command_streams& read,
                                   const command_context& context) {
  return call_multi_decide<D, Command>(stream_states<D>{read}, static_cast<const Command&>(command), context)
      .take();
}

template <class D, class Commands>
struct multi_stream_table;
template <class D, class... Cs>
struct multi_stream_table<D, commands<Cs...>> {
  static_assert(std::is_base_of_v<multi_stream_decider<D>, D>,
                "eventcore: a multi-stream decider derives from eventcore::multi_stream_decider of itself");
  static_assert(is_list<folds, typename D::streams>,
                "eventcore: the decider has no using streams = eventcore::folds<...> with at least one type");

  std::array<multi_stream_type::command, sizeof...(Cs)> rows{multi_stream_type::command{
      .prototype = &Cs::default_instance(),
      .cpp_type = &typeid(Cs),
      .reply = prototype_of_reply<typename check_multi_command<D, Cs>::reply>(),
      .declare = &declare_streams<D, Cs>,
      .decide = &decide_multi<D, Cs>,
  }...};
  std::string name = name_of(typeid(D));
  multi_stream_type type{name, rows};

  multi_stream_table() = default;
  multi_stream_table(const multi_stream_table&) = delete;
};

} // namespace internal

/// The type that multi-stream decider `D` answers `Command` with, `no_reply` if it does not.
template <class D, class Command>
using multi_stream_reply = typename internal::check_multi_command<D, Command>::reply;

template <class D>
const multi_stream_type& multi_stream_type_of() {
  static const internal::multi_stream_table<D, typename D::commands> table;
  return table.type;
}

} // namespace eventcore
