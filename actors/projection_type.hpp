#pragma once

#include <eventcore/actors/event_context.hpp>
#include <eventcore/actors/fold_type.hpp>
#include <eventcore/persistence/view_store.hpp>

namespace eventcore {

/// A projection with all types erased. `projection_type_of<P>()` makes it. Lives for ever.
struct projection_type {
  view_form form;
  /// Its events; what their rows call the state is a `projected_event`.
  fold_type events;
};

namespace internal {

/// The changes that an event makes to a view. Keeps the first error, so that a user's function cannot hide it.
class view_changes {
public:
  explicit view_changes(view_store::transaction& changes)
      : changes_{changes} {}

  /// Throw the error of the view, as a `view_failure`.
  std::optional<std::string_view> get(std::size_t table, std::string_view key);
  void put(std::size_t table, std::string_view key, std::string_view value);
  bool erase(std::size_t table, std::string_view key);
  std::vector<view_row> list(std::size_t table, view_bounds& where, std::size_t limit);
  [[noreturn]] void fail_damaged(std::string_view key, std::string_view type);
  [[noreturn]] void fail_unserialisable(std::string_view type);

  const std::optional<error>& failure() const noexcept { return failure_; }

  std::string key_bytes;   ///< to write a key in
  std::string value_bytes; ///< to write a value in

private:
  [[noreturn]] void fail(const error& why);
  template <class T>
  T must(result<T> outcome);

  view_store::transaction& changes_;
  std::optional<error> failure_;
};

/// Where an event goes.
struct projected_event {
  view_changes& changes;
  const event_context& context;
};

} // namespace internal

} // namespace eventcore
