#pragma once

#include <eventcore/actors/caf.hpp>

#include <string_view>
#include <system_error>

namespace eventcore::internal {

/// A category whose errors travel between actors: see `register_error_category`.
struct error_category_entry {
  caf::atom_value atom{};
  const std::error_category* category = nullptr;
};

/// Null: there is none. The entry lives for ever. Thread-safe.
const error_category_entry* find_error_category(const std::error_category& category);
const error_category_entry* find_error_category(caf::atom_value atom);
const error_category_entry* find_error_category(std::string_view name);

} // namespace eventcore::internal
