#include <eventcore/actors/host.hpp>

#include <eventcore/actors/caf.hpp>
#include <eventcore/actors/internal/ask.hpp>
#include <eventcore/actors/internal/error_categories.hpp>
#include <eventcore/actors/internal/host_actor.hpp>

namespace eventcore {

struct host_handle::impl {
  caf::actor_system* system;
  caf::actor host;
};

result<std::unique_ptr<google::protobuf::Message>>
host_handle::ask(std::string_view id, std::unique_ptr<google::protobuf::Message> command,
                 std::chrono::nanoseconds within, command_context context) const {
  within = internal::bounded(within);
  context.deadline = std::min(context.deadline, impl_->system->clock().now() + within);
  return internal::ask_command(
      *impl_->system, impl_->host,
      internal::make_command_message(std::string{id}, std::move(context), std::move(command)), within);
}

void host_handle::tell(std::string_view id, std::unique_ptr<google::protobuf::Message> command,
                       command_context context) const {
  caf::anon_send(impl_->host,
                 internal::make_command_message(std::string{id}, std::move(context), std::move(command)));
}

result<host_stats> host_handle::stats(std::chrono::nanoseconds within) const {
  auto answer = internal::ask_and_wait(*impl_->system, impl_->host, caf::make_message(internal::get_stats{}),
                                       internal::bounded(within));
  if (!answer)
    return answer.error();
  return answer->get_as<host_stats>(0);
}

// -- caf.hpp

caf::actor actor_of(const host_handle& host) {
  return host.content().host;
}

caf::error to_caf_error(const error& e) {
  const auto* known = internal::find_error_category(e.code().category());
  return caf::error{static_cast<std::uint8_t>(e.code().value()), known ? known->atom : entity_error_atom,
                    caf::make_message(e.message(), e.reason(), e.details())};
}

error from_caf_error(const caf::error& e) {
  if (const auto* known = internal::find_error_category(e.category())) {
    std::error_code code{e.code(), *known->category};
    const auto& context = e.context();
    if (!context.match_elements<std::string, std::string, std::string>())
      return {code, {}};
    error result{code, context.get_as<std::string>(0)};
    result.with_reason(context.get_as<std::string>(1), context.get_as<std::string>(2));
    return result;
  }
  if (e == caf::sec::request_timeout)
    return make_error(entity_errc::outcome_unknown, "no answer came in time");
  if (e == caf::sec::request_receiver_down)
    return make_error(entity_errc::stopped, "the receiver ended before it took the message up");
  if (e == caf::sec::unexpected_message)
    return make_error(entity_errc::unknown_command, "the receiver does not take such a message");
  if (e == caf::sec::unexpected_response)
    return make_error(entity_errc::unexpected_reply, "the reply is of another type than the handler takes");
  return make_error(entity_errc::outcome_unknown, "the actor system says: " + caf::to_string(e));
}

// -- host_actor.hpp

host_handle internal::start_host(caf::actor_system& system, journal& journal, const entity_type& type,
                                 const host_options& options, std::function<timestamp()> now) {
  // Commands arrive as untyped pointers, see view_command().
  for ([[maybe_unused]] const auto& command : type.commands)
    assert(dynamic_cast<const void*>(command.prototype) == static_cast<const void*>(command.prototype));
  return host_handle{std::make_shared<host_handle::impl>(
      &system, system.spawn<host_actor>(std::cref(type), std::ref(journal), options, std::move(now)))};
}

bool internal::stop_actors(caf::actor_system& system, std::span<const caf::actor> actors,
                           std::chrono::nanoseconds within) {
  auto wait = [&](stop_host how, std::chrono::nanoseconds longest) {
    std::vector<request_slot> slots;
    for (const auto& actor : actors)
      slots.emplace_back(system, actor, caf::make_message(how));
    auto deadline = std::chrono::steady_clock::now() + bounded(longest);
    bool all = true;
    for (auto& slot : slots)
      all = slot.wait_until(deadline).has_value() && all;
    return all;
  };
  if (wait(stop_host{}, within))
    return true;
  wait(stop_host{true}, std::chrono::seconds{1});
  return false;
}

} // namespace eventcore
