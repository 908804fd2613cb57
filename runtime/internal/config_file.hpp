#pragma once

#include <eventcore/persistence/error.hpp>

#include <caf/config_value.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace eventcore::internal {

/// What a configuration file says.
struct config_entry {
  std::string group; ///< such as `eventcore.cluster`; empty: none
  std::string key;
  std::int32_t line;
  caf::config_value value;

  std::string name() const { return group.empty() ? key : group + '.' + key; }
};

/// Reads a file with CAF's own parser, in its order. CAF itself drops what it does not know and what is of a wrong type, and says
/// neither line nor key; here all of it is answered. Error: `invalid_argument` if it cannot be read or is no INI file, with the line.
result<std::vector<config_entry>> parse_config_file(const std::filesystem::path& file);

} // namespace eventcore::internal
