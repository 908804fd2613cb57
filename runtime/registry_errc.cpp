#include <eventcore/runtime/registry_errc.hpp>

namespace eventcore {

namespace {

class category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.registry"; }

  std::string message(int value) const override {
    switch (static_cast<registry_errc>(value)) {
    case registry_errc::invalid_registration:
      return "the registration is invalid";
    case registry_errc::id_taken:
      return "another service is registered under this id";
    case registry_errc::unavailable:
      return "the registry is not available";
    case registry_errc::refused:
      return "the registry refuses";
    case registry_errc::invalid_answer:
      return "the registry's answer cannot be understood";
    }
    return "unknown registry error " + std::to_string(value);
  }
};

} // namespace

const std::error_category& registry_category() noexcept {
  static const category instance;
  return instance;
}

} // namespace eventcore
