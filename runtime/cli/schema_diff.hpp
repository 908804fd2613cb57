#pragma once

#include <eventcore/runtime/cli/schema_contract.hpp>

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace eventcore::cli {

enum class verdict : std::uint8_t {
  compatible,     ///< what is stored is read as before
  needs_upcaster, ///< incompatible, but the schema version was raised: an upcaster lifts what is stored
  incompatible,   ///< what is stored would be lost, refused or misread
};

/// One change of a type, a field or a value.
struct schema_finding {
  verdict what = verdict::compatible;
  std::uint32_t from_version = 0; ///< that the upcaster starts from; for `needs_upcaster` only
  std::string subject;            ///< such as "bank.Deposited.cents (field 1)"
  std::string reason;             ///< such as "type changed from int64 to string"

  auto operator<=>(const schema_finding&) const = default;
};

/// "incompatible: bank.Deposited.cents (field 1): type changed from int64 to string".
std::string to_text(const schema_finding& finding);

/// What became of each type of `before`, in all its forms, in the newest forms of `after`, down to the messages
/// and enums that it uses. A type that is missing goes on as the one that names it in (eventcore.formerly). In
/// the order of the types' names; no finding comes twice.
std::vector<schema_finding> compare(const contract& before, const contract& after);

} // namespace eventcore::cli
