#include <eventcore/persistence/commit.hpp>

namespace eventcore {

std::string expected_version::describe() const {
  if (kind_ == kind::any)
    return "any version";
  return version_ == 0 ? "no events" : "version " + std::to_string(version_);
}

std::string_view timer_owner(std::string_view name) noexcept {
  const auto end = name.find('/');
  return end == std::string_view::npos ? std::string_view{} : name.substr(0, end);
}

} // namespace eventcore
