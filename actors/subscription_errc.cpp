#include <eventcore/actors/subscription_errc.hpp>

namespace eventcore {

namespace {

class category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.subscription"; }

  std::string message(int value) const override {
    switch (static_cast<subscription_errc>(value)) {
    case subscription_errc::invalid_options:
      return "an option of the subscription breaks a bound";
    case subscription_errc::name_in_use:
      return "a subscription of this name is running";
    case subscription_errc::cursor_ahead:
      return "the subscription's cursor is behind the journal's end";
    case subscription_errc::other_history:
      return "the subscription's cursor is of another history of the journal";
    case subscription_errc::handler_failed:
      return "the handler threw an exception";
    case subscription_errc::not_decodable:
      return "the event cannot be decoded";
    case subscription_errc::cursor_moved:
      return "somebody else moved the subscription's cursor";
    case subscription_errc::no_such_letter:
      return "there is no such dead letter";
    case subscription_errc::other_source:
      return "the subscription's cursor is of another service's log";
    case subscription_errc::letters_open:
      return "the subscription has dead letters of another history";
    }
    return "unknown subscription error " + std::to_string(value);
  }
};

} // namespace

const std::error_category& subscription_category() noexcept {
  static const category instance;
  return instance;
}

} // namespace eventcore
