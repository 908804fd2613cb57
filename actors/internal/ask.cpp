#include <eventcore/actors/internal/ask.hpp>

namespace eventcore::internal {

std::chrono::nanoseconds bounded(std::chrono::nanoseconds within) {
  constexpr std::chrono::nanoseconds longest = std::chrono::hours{24 * 365};
  return std::clamp(within, std::chrono::nanoseconds::zero(), longest);
}

result<caf::message> ask_and_wait(caf::actor_system& system, const caf::actor& to, caf::message request,
                                  std::chrono::nanoseconds within) {
  request_slot slot{system, to, std::move(request)};
  auto answer = slot.wait_until(std::chrono::steady_clock::now() + within);
  if (!answer)
    return make_error(
        entity_errc::outcome_unknown,
        "no answer came within " +
            std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(within).count()) + " ms");
  if (answer->match_elements<caf::error>())
    return from_caf_error(answer->get_as<caf::error>(0));
  return *std::move(answer);
}

result<std::unique_ptr<google::protobuf::Message>> ask_command(caf::actor_system& system,
                                                               const caf::actor& to, caf::message command,
                                                               std::chrono::nanoseconds within) {
  auto answer = ask_and_wait(system, to, std::move(command), within);
  if (!answer)
    return answer.error();
  auto reply = take_reply(*answer);
  if (!reply && !answer->empty())
    return make_error(entity_errc::unexpected_reply, "the answer is no reply: " + describe(*answer));
  return reply;
}

} // namespace eventcore::internal
