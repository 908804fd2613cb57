#include <eventcore/persistence/commit.hpp>

namespace eventcore {

std::string expected_version::describe() const {
  if (kind_ == kind::any)
    return "any version";
  return version_ == 0 ? "no events" : "version " + std::to_string(version_);
}

} // namespace eventcore
