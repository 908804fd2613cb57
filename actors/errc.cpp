#include <eventcore/actors/errc.hpp>

namespace eventcore {

namespace {

class category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.entity"; }

  std::string message(int value) const override {
    switch (static_cast<entity_errc>(value)) {
    case entity_errc::rejected:
      return "the command was rejected";
    case entity_errc::invalid_id:
      return "the id makes no valid stream id";
    case entity_errc::unknown_command:
      return "the entity does not know this command";
    case entity_errc::overloaded:
      return "too much waits already";
    case entity_errc::deadline_exceeded:
      return "the command's deadline had passed";
    case entity_errc::decider_failed:
      return "the decider threw an exception";
    case entity_errc::recovery_failed:
      return "the entity cannot be rebuilt from its stream";
    case entity_errc::not_persisted:
      return "the journal refused the events";
    case entity_errc::conflict:
      return "other writers of the stream were faster too often";
    case entity_errc::outcome_unknown:
      return "it is not known whether the command took effect";
    case entity_errc::stopped:
      return "the host is shutting down";
    case entity_errc::unexpected_reply:
      return "the reply is of an unexpected type";
    case entity_errc::key_reused:
      return "the idempotency key belongs to another command";
    case entity_errc::invalid_command:
      return "the command breaks a documented bound";
    case entity_errc::not_owned:
      return "the stream belongs to another service";
    case entity_errc::unreachable:
      return "no node that takes the command can be reached";
    }
    return "unknown entity error " + std::to_string(value);
  }
};

} // namespace

const std::error_category& entity_category() noexcept {
  static const category instance;
  return instance;
}

} // namespace eventcore
