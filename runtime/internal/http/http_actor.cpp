#include <eventcore/runtime/internal/http/http_actor.hpp>

#include <spdlog/spdlog.h>

namespace eventcore::internal {

namespace {

constexpr std::chrono::milliseconds longest_sleep{250};

/// What tells the actor of finished jobs. It does not keep the actor alive, and is silent when there is none any more.
auto report_to(const caf::weak_actor_ptr& actor) {
  return [actor](const http_job_ptr& job) {
    if (auto alive = actor.lock())
      caf::anon_send(caf::actor_cast<caf::actor>(alive), http_finished{job});
  };
}

} // namespace

http_actor::http_actor(caf::actor_config& config, std::shared_ptr<const http_target> target)
    : caf::event_based_actor{config}
    , target_{std::move(target)}
    , telemetry_{telemetry_of(home_system())}
    , pool_{target_, report_to(caf::actor_cast<caf::weak_actor_ptr>(this))} {
  register_error_category(caf::atom("http"), http_category());
}

caf::behavior http_actor::make_behavior() {
  set_default_handler([](caf::scheduled_actor* self, caf::message_view&) -> caf::result<caf::message> {
    static_cast<http_actor*>(self)->on_call(*self->current_mailbox_element());
    return caf::delegated<caf::message>{};
  });
  set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  set_down_handler([](caf::scheduled_actor*, caf::down_msg&) {});
  set_exit_handler([](caf::scheduled_actor* self, caf::exit_msg& exit) { self->quit(exit.reason); });
  return {
      [this](const http_finished& finished) {
        auto found = calls_.find({finished.job->deadline, finished.job->id});
        if (found == calls_.end())
          return; // answered already
        auto& outcome = *finished.job->outcome;
        if (outcome) {
          record(found->second, nullptr);
          answer(found->second, make_reply_message(std::make_unique<HttpAnswer>(*std::move(outcome))));
        } else
          answer(found->second, outcome.error());
        calls_.erase(found);
      },
      [this](http_tick) { on_tick(); },
  };
}

void http_actor::on_exit() {
  for (const auto& job : pool_.stop())
    if (auto call = calls_.extract({job->deadline, job->id}))
      answer(call.mapped(), make_error(entity_errc::stopped, job->what + ": the client is shutting down"));
  calls_.clear(); // what was under way is answered by this: its outcome is not known
}

void http_actor::on_call(caf::mailbox_element& element) {
  auto command = view_command(element.content());
  if (!command)
    command = view_multi_stream_command(element.content());
  call c;
  if (!command || !command->type || *command->type != typeid(HttpCall)) {
    const auto type = describe(element.content());
    c.to = reply_address{element};
    return answer(c, make_error(entity_errc::unknown_command,
                                target_->options.name + " takes HttpCall as its only command, not " + type));
  }
  auto context = command->context ? *command->context : command_context{};
  auto& traceparent = context.metadata.traceparent;
  if (telemetry_ && (c.span = telemetry_->begin(context.metadata, false)))
    traceparent = c.span->context.str();
  else if (!trace_context::parse(traceparent))
    traceparent.clear();
  auto job = http_job::of(*target_, *static_cast<const HttpCall*>(command->command), context.idempotency_key,
                          context.metadata.traceparent);
  c.to = reply_address{element};
  if (!job)
    return answer(c, job.error());
  const auto now = std::chrono::steady_clock::now();
  job->id = ++last_id_;
  job->deadline = std::min(context.deadline, now + target_->options.call_limit);
  c.job = std::make_shared<http_job>(*std::move(job));
  if (c.job->deadline <= now)
    return answer(c, make_error(entity_errc::deadline_exceeded, c.job->what + ": its deadline had passed"));
  if (calls_.size() >= target_->options.connections + target_->options.max_waiting)
    return answer(c,
                  make_error(entity_errc::overloaded, c.job->what + ": " + std::to_string(calls_.size()) +
                                                          " calls are under way or wait; try again later"));
  auto submitted = c.job;
  calls_.emplace(std::pair{c.job->deadline, c.job->id}, std::move(c));
  pool_.submit(std::move(submitted));
  arm();
}

void http_actor::on_tick() {
  armed_ = time_point::max();
  const auto now = std::chrono::steady_clock::now();
  while (!calls_.empty() && calls_.begin()->first.first <= now) {
    auto late = std::move(calls_.begin()->second);
    calls_.erase(calls_.begin());
    answer(late, pool_.cancel(late.job)
                     ? make_error(entity_errc::deadline_exceeded,
                                  late.job->what + ": no connection was free for it in time")
                     : make_error(http_errc::timeout, late.job->what + ": no answer came in time"));
  }
  arm();
}

void http_actor::arm() {
  const auto now = std::chrono::steady_clock::now();
  // A message on its way keeps the actor alive, also when nobody refers to it any more.
  const auto next =
      calls_.empty() ? time_point::max() : std::min(calls_.begin()->first.first, now + longest_sleep);
  if (next >= armed_)
    return;
  armed_ = next;
  delayed_send(this, std::max(armed_ - now, std::chrono::nanoseconds::zero()), http_tick{});
}

void http_actor::answer(call& c, caf::message with) {
  c.to.deliver(ctrl(), std::move(with), context());
}

void http_actor::record(const call& c, const error* failure) const {
  if (!c.span)
    return;
  span s;
  s.name = c.job ? c.job->method : "HTTP";
  s.kind = span::kind::client;
  s.context = c.span->context;
  s.parent = c.span->parent;
  s.begin = c.span->begin;
  s.end = std::chrono::system_clock::now();
  s.attributes = {{"peer.service", target_->options.name}, {"server.address", target_->host}};
  if (c.job)
    s.attributes.emplace_back("http.request.method", c.job->method);
  if (failure) {
    s.attributes.emplace_back("error.message", failure->message());
    s.failed = true;
    s.failure = failure->message();
  }
  telemetry_->record(std::move(s));
}

void http_actor::answer(call& c, const error& why) {
  record(c, &why);
  if (c.to.is_request())
    answer(c, caf::make_message(to_caf_error(why)));
  else
    spdlog::warn("nobody hears that {}", why.message());
}

} // namespace eventcore::internal
