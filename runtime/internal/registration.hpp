#pragma once

#include <eventcore/runtime/service_registry.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace eventcore::internal {

/// Of a registration in the form of `write_registration`.
constexpr std::size_t max_registration_bytes = std::size_t{24} << 10;

/// The rules of every registry: type and name are there, type has no `@`, the id is `<type>@<name>`, all texts are UTF-8, names
/// have no control characters and at most 128 bytes, endpoints have an address, and all of it together has at most
/// `max_registration_bytes`. Error: `invalid_registration`, naming the field.
result<void> check_registration(const service_info& instance);

/// The type in an id; empty: it is no id.
std::string_view type_of_id(std::string_view id) noexcept;

/// Whether both are the same service in different runs or moments, by the id of its journal, and not two of one id.
bool same_owner(const service_info& a, const service_info& b);

/// `instance.id` belongs to `living`, which is another service.
error id_is_taken(const service_info& instance, const service_info& living);

/// As JSON in visible ASCII.
std::string write_registration(const service_info& instance);

/// Errors: `invalid_registration` if it is no JSON of a registration, has a field that is not known, or breaks the rules above.
result<service_info> read_registration(std::string_view text);

} // namespace eventcore::internal
