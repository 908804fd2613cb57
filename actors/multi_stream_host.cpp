#include <eventcore/actors/multi_stream_host.hpp>

#include <eventcore/actors/internal/ask.hpp>
#include <eventcore/actors/internal/multi_stream_actor.hpp>

namespace eventcore {

struct multi_stream_handle::impl {
  caf::actor_system* system;
  caf::actor actor;
};

result<std::unique_ptr<google::protobuf::Message>>
multi_stream_handle::ask(std::unique_ptr<google::protobuf::Message> command, std::chrono::nanoseconds within,
                         command_context context) const {
  within = internal::bounded(within);
  context.deadline = std::min(context.deadline, impl_->system->clock().now() + within);
  return internal::ask_command(*impl_->system, impl_->actor,
                               internal::make_command_message(std::move(context), std::move(command)),
                               within);
}

result<multi_stream_stats> multi_stream_handle::stats(std::chrono::nanoseconds within) const {
  auto answer = internal::ask_and_wait(*impl_->system, impl_->actor, caf::make_message(internal::get_stats{}),
                                       internal::bounded(within));
  if (!answer)
    return answer.error();
  return answer->get_as<multi_stream_stats>(0);
}

caf::actor actor_of(const multi_stream_handle& commands) {
  return commands.content().actor;
}

multi_stream_handle internal::start_multi_stream(caf::actor_system& system, journal& journal,
                                                 const multi_stream_type& type,
                                                 std::shared_ptr<const host_directory> hosts,
                                                 const multi_stream_options& options,
                                                 std::function<timestamp()> now) {
  return multi_stream_handle{std::make_shared<multi_stream_handle::impl>(
      &system, system.spawn<multi_stream_actor>(std::cref(type), std::ref(journal), std::move(hosts), options,
                                                std::move(now)))};
}

} // namespace eventcore
