#include <eventcore/runtime/service.hpp>

#include <eventcore/actors/internal/ask.hpp>
#include <eventcore/runtime/internal/cluster/service_impl.hpp>

namespace eventcore {

const std::string& service_handle::name() const noexcept {
  return impl_->service->name();
}

namespace {

using google::protobuf::Message;

std::chrono::nanoseconds limit(const service_handle::impl& to, std::chrono::nanoseconds within,
                               command_context& context) {
  within = internal::bounded(within);
  context.deadline = std::min(context.deadline, to.system->clock().now() + within);
  return within;
}

} // namespace

result<std::unique_ptr<Message>> service_handle::ask(std::string_view id, std::unique_ptr<Message> command,
                                                     std::chrono::nanoseconds within,
                                                     command_context context) const {
  within = limit(*impl_, within, context);
  return internal::ask_command(
      *impl_->system, impl_->proxy,
      internal::make_command_message(std::string{id}, std::move(context), std::move(command)), within);
}

result<std::unique_ptr<Message>> service_handle::ask(std::unique_ptr<Message> command,
                                                     std::chrono::nanoseconds within,
                                                     command_context context) const {
  within = limit(*impl_, within, context);
  return internal::ask_command(*impl_->system, impl_->proxy,
                               internal::make_command_message(std::move(context), std::move(command)),
                               within);
}

void service_handle::tell(std::string_view id, std::unique_ptr<Message> command,
                          command_context context) const {
  caf::anon_send(impl_->proxy,
                 internal::make_command_message(std::string{id}, std::move(context), std::move(command)));
}

service_stats service_handle::stats() const {
  return impl_->service->stats();
}

caf::actor actor_of(const service_handle& service) {
  return service.content().proxy;
}

} // namespace eventcore
