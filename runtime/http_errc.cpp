#include <eventcore/runtime/http_client.hpp>

namespace eventcore {

namespace {

class category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.http"; }

  std::string message(int value) const override {
    switch (static_cast<http_errc>(value)) {
    case http_errc::request_failed:
      return "the target answered with a status that is no success";
    case http_errc::timeout:
      return "the call's time limit passed";
    case http_errc::connection_failed:
      return "the target cannot be reached";
    case http_errc::invalid_answer:
      return "no usable answer came";
    case http_errc::invalid_request:
      return "the call breaks a rule";
    }
    return "unknown HTTP error " + std::to_string(value);
  }
};

} // namespace

const std::error_category& http_category() noexcept {
  static const category instance;
  return instance;
}

bool is_refusal(const error& e) {
  if (e.code() != http_errc::request_failed)
    return e.code() == http_errc::invalid_request;
  const auto& status = e.reason();
  return status.starts_with('4') && status != "408" && status != "425" && status != "429";
}

} // namespace eventcore
