#pragma once

#include <eventcore/persistence/error.hpp>

#include <string>

namespace eventcore {

/// The id under which a service publishes (spec 7): `configured`, else the environment variable SERVICE_ID, else `node_name`,
/// else the program's name. What is empty counts as missing. Error: `invalid_argument`, naming where the id comes from, if it is
/// `unknown`, has more than 128 bytes, or breaks the rules of stream ids.
result<std::string> service_id_of(const std::string& configured, const std::string& node_name = {});

} // namespace eventcore
