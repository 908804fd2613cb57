#pragma once

#include <eventcore/actors/event_context.hpp>
#include <eventcore/actors/fold.hpp>
#include <eventcore/actors/projection_type.hpp>
#include <eventcore/persistence/view_key.hpp>

#include <array>
#include <concepts>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace eventcore {

/// The base of a view's tables: Protobuf messages under typed keys (`view_key`).
///
///     struct orders : eventcore::view<std::string, shop::OrderLine> {
///       static constexpr std::string_view name = "orders"; // 1 to 64 of a-z A-Z 0-9 _ - .
///     };
template <view_key_type Key, internal::message_type Value>
struct view {
  using key_type = Key;
  using value_type = Value;
};

/// A row of table `T`.
template <class T>
struct view_entry {
  typename T::key_type key;
  typename T::value_type value;
};

namespace internal {

template <class T>
concept view_table_type = requires {
  typename T::key_type;
  typename T::value_type;
  { T::name } -> std::convertible_to<std::string_view>;
}
&&std::derived_from<T, view<typename T::key_type, typename T::value_type>>;

template <class T, class... Ts>
constexpr std::size_t place_of() {
  std::size_t place = 0;
  bool found = false;
  ((found = found || std::same_as<T, Ts>, place += found ? 0 : 1), ...);
  return place;
}

/// Row bytes to a typed row. False: they do not parse.
template <class T>
bool parse_entry(const view_row& row, view_entry<T>& entry) {
  std::string_view bytes = row.key;
  return view_key<typename T::key_type>::take(bytes, entry.key) && bytes.empty() &&
         entry.value.ParseFromArray(row.value.data(), static_cast<int>(row.value.size()));
}

} // namespace internal

/// The tables of a projection's view, as its `apply` sees them: with the changes of all events before. What goes wrong with the
/// view or with a key leaves `apply` as an exception that is not for users to catch: the event is not applied.
template <class... Tables>
class views {
public:
  explicit views(internal::view_changes& changes)
      : changes_{changes} {}

  template <class T>
  std::optional<typename T::value_type> get(const typename T::key_type& key) {
    auto bytes = changes_.get(place<T>, bytes_of<T>(key));
    if (!bytes)
      return std::nullopt;
    std::optional<typename T::value_type> value{std::in_place};
    if (!value->ParseFromArray(bytes->data(), static_cast<int>(bytes->size())))
      changes_.fail_damaged(changes_.key_bytes, T::value_type::descriptor()->full_name());
    return value;
  }

  template <class T>
  void put(const typename T::key_type& key, const typename T::value_type& value) {
    if (!value.SerializeToString(&changes_.value_bytes))
      changes_.fail_unserialisable(T::value_type::descriptor()->full_name());
    changes_.put(place<T>, bytes_of<T>(key), changes_.value_bytes);
  }

  /// Lets `change` change the value under `key`, which is an empty message if there was none.
  template <class T, std::invocable<typename T::value_type&> F>
  void update(const typename T::key_type& key, F&& change) {
    auto value = get<T>(key).value_or(typename T::value_type{});
    std::forward<F>(change)(value);
    put<T>(key, value);
  }

  /// Whether there was a row under `key`.
  template <class T>
  bool erase(const typename T::key_type& key) {
    return changes_.erase(place<T>, bytes_of<T>(key));
  }

  /// The next rows in `where`, which is moved behind them. None is the end.
  template <class T>
  std::vector<view_entry<T>> list(key_range<typename T::key_type>& where, std::size_t limit = 1'024) {
    std::vector<view_entry<T>> entries;
    for (auto& row : changes_.list(place<T>, where, limit))
      if (!internal::parse_entry<T>(row, entries.emplace_back()))
        changes_.fail_damaged(row.key, T::value_type::descriptor()->full_name());
    return entries;
  }

  template <class T>
  static constexpr bool has = (std::same_as<T, Tables> || ...);
  /// The place of table `T`.
  template <class T>
  static constexpr std::size_t place = [] {
    static_assert(has<T>, "eventcore: this table is none of the projection's views<...>, see <T> above");
    return internal::place_of<T, Tables...>();
  }();

private:
  template <class T>
  const std::string& bytes_of(const typename T::key_type& key) {
    changes_.key_bytes.clear();
    view_key<typename T::key_type>::append(changes_.key_bytes, key);
    return changes_.key_bytes;
  }

  internal::view_changes& changes_;
};

/// The base of projections: read models that are made of events, of one service or several (spec 24 to 26).
///
///     struct order_list : eventcore::projection<order_list> {
///       static constexpr std::string_view name = "order_list";
///       static constexpr std::uint32_t version = 1;
///       struct orders : eventcore::view<std::string, shop::OrderLine> {
///         static constexpr std::string_view name = "orders";
///       };
///       using views = eventcore::views<orders>;
///       using events = eventcore::events<shop::OrderCreated, shop::OrderPaid>;
///
///       static void apply(views& v, const shop::OrderCreated& e, const eventcore::event_context& c) {
///         v.update<orders>(std::string{c.key()}, [&](auto& line) { line.set_cents(e.cents()); });
///       }
///       static void apply(views& v, const shop::OrderPaid&, const eventcore::event_context& c) {
///         v.update<orders>(std::string{c.key()}, [](auto& line) { line.set_paid(true); });
///       }
///     };
///
/// What a projection has, all of it static and public:
///
/// - `name`: of its folder, 1 to 64 of `a-z A-Z 0-9 _ -`.
/// - `version` (1 if it says none): raised when `apply` makes another view of the same events. Then, and when the tables or the
///   events change, the view is rebuilt from the start.
/// - `views`: its tables.
/// - `events`: the Protobuf messages that it applies. All others are passed over.
/// - `apply(views&, const Event&)` for each event, or with a third parameter `const event_context&`. Each event is applied
///   once: the events of a source in their order, those of different sources in any. An event's changes and
///   the cursor behind it become durable together.
/// - `static void upcast(upcasters&)`: how stored events of older schema versions are lifted.
///
/// `apply` depends on nothing but its arguments: no I/O, no clock, no random source. What it needs from another
/// service arrives as that service's events. An exception stops the projection at the event, visibly; it is tried again.
template <class P>
class projection {};

namespace internal {

constexpr bool valid_view_name(std::string_view text, std::string_view others) {
  for (char c : text)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
          others.find(c) != std::string_view::npos))
      return false;
  return !text.empty() && text.size() <= 64;
}

template <class P>
constexpr std::uint32_t projection_version_of = [] {
  if constexpr (requires { P::version; })
    return static_cast<std::uint32_t>(P::version);
  else
    return std::uint32_t{1};
}();

template <class P, class Event>
constexpr bool has_context_apply = requires(typename P::views& v, const Event& e, const event_context& c) {
  { P::apply(v, e, c) } -> std::same_as<void>;
};
template <class P, class Event>
constexpr bool has_plain_apply = requires(typename P::views& v, const Event& e) {
  { P::apply(v, e) } -> std::same_as<void>;
};

template <class P, class Event>
void apply(void* state, const google::protobuf::Message& event) {
  auto& target = *static_cast<projected_event*>(state);
  typename P::views tables{target.changes};
  if constexpr (has_context_apply<P, Event>)
    P::apply(tables, static_cast<const Event&>(event), target.context);
  else
    P::apply(tables, static_cast<const Event&>(event));
}

template <class P, class Event>
bool apply_payload(void* state, std::string_view payload) {
  auto& event = scratch<Event>();
  if (!event.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return false;
  apply<P, Event>(state, event);
  return true;
}

template <class Views>
struct check_tables {
  static constexpr bool ok = !std::same_as<Views, Views>;
  static_assert(ok,
                "eventcore: the projection has no using views = eventcore::views<...>, see the type above");
};
template <class... Ts>
struct check_tables<views<Ts...>> {
  static constexpr bool are_tables = sizeof...(Ts) > 0 && (view_table_type<Ts> && ...);
  static_assert(
      are_tables,
      "eventcore: views<...> lists at least one table; each derives from eventcore::view<Key, Value> and has "
      "a static constexpr std::string_view name, see <views> above");
  static constexpr bool ok = [] {
    if constexpr (are_tables) {
      static_assert((valid_view_name(Ts::name, "_-.") && ...),
                    "eventcore: a table's name is 1 to 64 of a-z A-Z 0-9 _ - ., see <views> above");
      constexpr std::array<std::string_view, sizeof...(Ts)> names{Ts::name...};
      constexpr bool distinct = [&] {
        for (std::size_t i = 0; i != names.size(); ++i)
          for (std::size_t j = 0; j != i; ++j)
            if (names[i] == names[j])
              return false;
        return true;
      }();
      static_assert(distinct, "eventcore: two tables of one projection have one name, see <views> above");
      static_assert(sizeof...(Ts) <= 64, "eventcore: a projection has at most 64 tables, see <views> above");
      return true;
    }
    return false;
  }();
};

template <class P, class Event>
struct check_applied {
  static constexpr bool is_message = message_type<Event>;
  static_assert(is_message,
                "eventcore: this event is no generated Protobuf message, see <projection, event> above");

  static constexpr bool is_listed = !is_message || occurrences<typename P::events, Event> == 1;
  static_assert(
      is_listed,
      "eventcore: the projection's events<...> must name this event once, see <projection, event> above");

  static constexpr bool is_applied =
      !is_message || !is_listed || has_context_apply<P, Event> || has_plain_apply<P, Event>;
  static_assert(is_applied,
                "eventcore: the projection has no static void apply(views&, const Event&), with or without a "
                "third const event_context&, for this event, see <projection, event> above");

  static constexpr bool ok = is_message && is_listed && is_applied;
};

template <class P, class Events>
struct check_applied_list;
template <class P, class... Es>
struct check_applied_list<P, events<Es...>> {
  static constexpr bool ok = (check_applied<P, Es>::ok && ...);
};

template <class P>
struct check_projection {
  static constexpr bool has_base = std::is_base_of_v<projection<P>, P>;
  static_assert(has_base,
                "eventcore: a projection derives from eventcore::projection of itself, see the type above");

  static constexpr bool has_name = requires {
    { P::name } -> std::convertible_to<std::string_view>;
  };
  static_assert(
      has_name,
      "eventcore: the projection has no static constexpr std::string_view name, see the type above");

  static constexpr bool is_name_valid = [] {
    if constexpr (has_name)
      return valid_view_name(P::name, "_-");
    return true;
  }();
  static_assert(is_name_valid,
                "eventcore: a projection's name is 1 to 64 of a-z A-Z 0-9 _ -, see the type above");

  static constexpr bool has_views = requires { typename P::views; };
  static_assert(has_views,
                "eventcore: the projection has no using views = eventcore::views<...>, see the type above");

  static constexpr bool has_events = requires { requires is_list<events, typename P::events>; };
  static_assert(has_events,
                "eventcore: the projection has no using events = eventcore::events<...> with at least one "
                "type, see the type above");

  static constexpr bool ok = [] {
    if constexpr (has_base && has_name && is_name_valid && has_views && has_events)
      return check_tables<typename P::views>::ok && check_applied_list<P, typename P::events>::ok;
    return false;
  }();
};

template <class Views>
struct describe_tables;
template <class... Ts>
struct describe_tables<views<Ts...>> {
  static std::vector<view_table> all() {
    return {{std::string{Ts::name}, view_key<typename Ts::key_type>::name(),
             Ts::value_type::descriptor()->full_name()}...};
  }
};

template <class P, class Events>
struct projection_table;
template <class P, class... Es>
struct projection_table<P, events<Es...>> {
  std::array<fold_type::event, sizeof...(Es)> rows{fold_type::event{
      .prototype = &Es::default_instance(), .replay = &apply_payload<P, Es>, .evolve = &apply<P, Es>}...};
  projection_type type;

  projection_table() {
    type.form = {
        std::string{P::name}, projection_version_of<P>, describe_tables<typename P::views>::all(), {}};
    type.events.category = P::name;
    if constexpr (requires { P::upcast(type.events.lifts); })
      P::upcast(type.events.lifts);
    complete(type.events, rows);
    for (auto& row : type.events.events)
      type.form.events.push_back(row.prototype->GetTypeName());
  }
  projection_table(const projection_table&) = delete;
};

} // namespace internal

/// The table of projection `P`, made once. Throws `std::logic_error` if its upcasters contradict each other.
template <class P>
const projection_type& projection_type_of() {
  if constexpr (internal::check_projection<P>::ok) {
    static const internal::projection_table<P, typename P::events> table;
    return table.type;
  } else {
    std::abort(); // never compiled to the end: check_projection has failed
  }
}

} // namespace eventcore
