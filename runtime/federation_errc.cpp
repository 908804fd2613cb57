#include <eventcore/runtime/federation_errc.hpp>

namespace eventcore {

namespace {

class category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.federation"; }

  std::string message(int value) const override {
    switch (static_cast<federation_errc>(value)) {
    case federation_errc::invalid_rules:
      return "the federation rules are wrong";
    case federation_errc::unknown_transformation:
      return "no transformation is registered by this name";
    case federation_errc::unknown_target:
      return "there is no target of this name";
    case federation_errc::unknown_source:
      return "no rule takes events of this service";
    case federation_errc::transformation_failed:
      return "a transformation failed";
    case federation_errc::personal_stream_id:
      return "the stream's name holds personal data";
    case federation_errc::refused:
      return "the target will not take the event";
    case federation_errc::unavailable:
      return "the target cannot take events now";
    case federation_errc::other_history:
      return "the target knows another history of the source";
    case federation_errc::cannot_read_rules:
      return "the federation rules cannot be read";
    }
    return "unknown federation error " + std::to_string(value);
  }
};

} // namespace

const std::error_category& federation_category() noexcept {
  static const category instance;
  return instance;
}

} // namespace eventcore
