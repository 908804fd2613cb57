#include <eventcore/runtime/cluster_errc.hpp>

#include <eventcore/runtime/members.hpp>

#include <string>

namespace eventcore {

namespace {

class category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.cluster"; }

  std::string message(int value) const override {
    switch (static_cast<cluster_errc>(value)) {
    case cluster_errc::invalid_options:
      return "the options of the cluster are wrong";
    case cluster_errc::not_joined:
      return "the node takes no part in a cluster";
    case cluster_errc::refused:
      return "the nodes do not belong together";
    case cluster_errc::not_offered:
      return "the peer does not offer this";
    }
    return "unknown cluster error " + std::to_string(value);
  }
};

} // namespace

const std::error_category& cluster_category() noexcept {
  static const category instance;
  return instance;
}

std::string_view to_string(member_state state) noexcept {
  switch (state) {
  case member_state::connecting:
    return "connecting";
  case member_state::connected:
    return "connected";
  case member_state::unreachable:
    return "unreachable";
  case member_state::refused:
    return "refused";
  }
  return "unknown";
}

} // namespace eventcore
