#include <eventcore/actors/internal/error_categories.hpp>

#include <eventcore/actors/subscription_errc.hpp>
#include <eventcore/persistence/errc.hpp>

#include <array>
#include <atomic>
#include <cassert>
#include <mutex>

namespace eventcore {

namespace {

using internal::error_category_entry;

/// Grows only, so readers need no lock.
struct registry {
  std::array<error_category_entry, 16> entries{{
      {entity_error_atom, &entity_category()},
      {journal_error_atom, &journal_category()},
      {breaker_error_atom, &breaker_category()},
      {subscription_error_atom, &subscription_category()},
  }};
  std::atomic<std::size_t> size = 4;
  std::mutex growing;
};

registry& all() {
  static registry instance;
  return instance;
}

template <class Predicate>
const error_category_entry* find_if(Predicate matches) {
  const auto& entries = all().entries;
  const auto end = entries.begin() + all().size.load(std::memory_order_acquire);
  const auto found = std::find_if(entries.begin(), end, matches);
  return found == end ? nullptr : &*found;
}

} // namespace

void register_error_category(caf::atom_value atom, const std::error_category& category) {
  auto& to = all();
  std::lock_guard guard{to.growing};
  if (internal::find_error_category(category))
    return;
  const auto size = to.size.load();
  assert(size < to.entries.size() && !internal::find_error_category(atom));
  to.entries.at(size) = {atom, &category};
  to.size.store(size + 1, std::memory_order_release);
}

const error_category_entry* internal::find_error_category(const std::error_category& category) {
  return find_if([&](const auto& entry) { return *entry.category == category; });
}

const error_category_entry* internal::find_error_category(caf::atom_value atom) {
  return find_if([&](const auto& entry) { return entry.atom == atom; });
}

const error_category_entry* internal::find_error_category(std::string_view name) {
  return find_if([&](const auto& entry) { return entry.category->name() == name; });
}

} // namespace eventcore
