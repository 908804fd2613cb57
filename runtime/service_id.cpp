#include <eventcore/runtime/service_id.hpp>

#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/persistence/stream_id.hpp>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

namespace eventcore {

namespace {

constexpr std::size_t max_size = 128;

std::string environment(const char* name) {
  const auto* value = std::getenv(name);
  return value != nullptr ? value : "";
}

} // namespace

result<std::string> service_id_of(const std::string& configured, const std::string& node_name) {
  const std::array<std::pair<const char*, std::string>, 4> sources{{
      {"the configuration", configured},
      {"the environment variable SERVICE_ID", environment("SERVICE_ID")},
      {"the node's name", node_name},
      {"the program's name", program_invocation_short_name},
  }};
  for (const auto& [source, id] : sources) {
    if (id.empty())
      continue;
    if (id == "unknown" || id.size() > max_size || !stream_id::parse(id))
      return make_error(
          journal_errc::invalid_argument,
          internal::quoted(id) + ", which " + source +
              " says, is no service id: it has 1 to 128 bytes of UTF-8, no control characters and none "
              "of * ? [ ], and is not 'unknown'; name the service in the configuration");
    return id;
  }
  return make_error(
      journal_errc::invalid_argument,
      "the service has no id; name it in the configuration, or by the environment variable SERVICE_ID");
}

} // namespace eventcore
