#include <eventcore/actors/internal/breaker_actor.hpp>

#include <spdlog/spdlog.h>

namespace eventcore::internal {

namespace {

constexpr std::chrono::milliseconds longest_sleep{250};

/// To itself.
struct sweep_calls {};
struct restart_worker {};

std::string text_of(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an unknown exception";
  }
}

} // namespace

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::sweep_calls)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::restart_worker)

namespace eventcore::internal {

breaker_actor::breaker_actor(caf::actor_config& config, breaker_options options, caf::actor worker)
    : caf::event_based_actor{config}
    , telemetry_{telemetry_of(home_system())}
    , core_{std::move(options), telemetry_ ? &telemetry_->breakers : nullptr}
    , worker_{std::move(worker)} {}

breaker_actor::breaker_actor(caf::actor_config& config, breaker_options options, worker_factory make_worker)
    : caf::event_based_actor{config}
    , telemetry_{telemetry_of(home_system())}
    , core_{std::move(options), telemetry_ ? &telemetry_->breakers : nullptr}
    , make_worker_{std::move(make_worker)} {}

caf::behavior breaker_actor::make_behavior() {
  set_default_handler([](caf::scheduled_actor* self, caf::message_view&) -> caf::result<caf::message> {
    static_cast<breaker_actor*>(self)->on_call(*self->current_mailbox_element());
    return caf::delegated<caf::message>{};
  });
  set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  set_down_handler([](caf::scheduled_actor* self, caf::down_msg& down) {
    auto* breaker = static_cast<breaker_actor*>(self);
    if (breaker->worker_ && down.source == breaker->worker_.address())
      breaker->on_worker_end(caf::to_string(down.reason));
  });
  set_exception_handler([](caf::scheduled_actor* self, std::exception_ptr& thrown) -> caf::error {
    spdlog::critical("breaker {} ends after an unexpected exception: {}",
                     static_cast<breaker_actor*>(self)->core_.options().name, text_of(thrown));
    return caf::make_error(caf::exit_reason::unhandled_exception);
  });
  if (make_worker_)
    start_worker();
  else if (worker_)
    monitor(worker_);
  else
    on_worker_end("there was none");
  return {
      [this](get_breaker_stats) {
        auto time = now();
        end_overdue(time);
        return core_.stats(time);
      },
      [this](sweep_calls) {
        sweeping_ = false;
        auto time = now();
        end_overdue(time);
        arm_sweep(time);
      },
      [this](restart_worker) {
        core_.count_restart();
        start_worker();
      },
  };
}

void breaker_actor::on_exit() {
  answer_all(make_error(breaker_errc::worker_lost,
                        "breaker " + core_.options().name + " ended while the call was under way"));
  if (make_worker_ && worker_)
    anon_send_exit(worker_, caf::exit_reason::user_shutdown);
  worker_ = nullptr;
}

// -- calls

caf::invoke_message_result breaker_actor::consume(caf::mailbox_element& element) {
  if (!element.mid.is_response())
    return caf::event_based_actor::consume(element);
  on_answer(element);
  return caf::invoke_message_result::consumed;
}

void breaker_actor::on_call(caf::mailbox_element& element) {
  auto time = now();
  end_overdue(time);
  if (restart_at_)
    return refuse(element, with_retry_after(make_error(breaker_errc::worker_lost,
                                                       "breaker " + core_.options().name +
                                                           ": its worker ended and is started again soon"),
                                            std::max(*restart_at_ - time, time_point::duration{0})));
  auto number = core_.admit(time);
  if (!number)
    return refuse(element, number.error());
  auto id = element.mid.is_urgent_message() ? caf::make_message_id<caf::message_priority::high>(*number)
                                            : caf::make_message_id(*number);
  calls_.emplace_hint(calls_.end(), *number, call{reply_address{element}, time + core_.options().call_limit});
  worker_->enqueue(caf::make_mailbox_element(ctrl(), id, {}, element.move_content_to_message()), context());
  arm_sweep(time);
}

void breaker_actor::on_answer(caf::mailbox_element& element) {
  auto time = now();
  end_overdue(time);
  auto known = calls_.find(element.mid.request_id().integer_value());
  if (known == calls_.end())
    return;
  auto content = element.move_content_to_message();
  if (!content.match_elements<caf::error>()) {
    core_.succeeded(known->first, time);
  } else {
    const auto& failure = content.get_as<caf::error>(0);
    // An ending worker hands its mail back before it says that it ends, which is one failure.
    if (failure == caf::sec::request_receiver_down && worker_ending())
      return;
    if (auto instead = core_.failed(known->first, from_caf_error(failure), time))
      content = caf::make_message(to_caf_error(*instead));
  }
  auto c = std::move(known->second);
  calls_.erase(known);
  answer(c, std::move(content));
}

void breaker_actor::refuse(caf::mailbox_element& element, const error& why) {
  reply_address{element}.deliver(ctrl(), caf::make_message(to_caf_error(why)), context());
}

void breaker_actor::answer(call& c, caf::message content) {
  c.to.deliver(ctrl(), std::move(content), context());
}

void breaker_actor::answer_all(const error& why) {
  for (auto& [number, c] : std::exchange(calls_, {}))
    c.to.deliver(ctrl(), caf::make_message(to_caf_error(why)), context());
}

void breaker_actor::end_overdue(time_point now) {
  while (!calls_.empty() && calls_.begin()->second.limit <= now) {
    auto c = std::move(calls_.begin()->second);
    auto why = core_.timed_out(calls_.begin()->first, now);
    calls_.erase(calls_.begin());
    answer(c, caf::make_message(to_caf_error(why)));
  }
}

void breaker_actor::arm_sweep(time_point now) {
  if (sweeping_ || calls_.empty())
    return;
  sweeping_ = true;
  // A message on its way keeps the actor alive, also when nobody refers to it any more.
  delayed_send(this, std::min<time_point::duration>(calls_.begin()->second.limit - now, longest_sleep),
               sweep_calls{});
}

// -- the worker

void breaker_actor::start_worker() {
  started_at_ = now();
  restart_at_.reset();
  std::string why = "the function that makes it returned none";
  try {
    worker_ = make_worker_(system());
  } catch (...) {
    why = text_of(std::current_exception());
  }
  if (worker_)
    monitor(worker_);
  else
    on_worker_end("it could not be started: " + why);
}

void breaker_actor::on_worker_end(const std::string& why) {
  auto time = now();
  const auto& o = core_.options();
  end_overdue(time);
  worker_ = nullptr;
  answer_all(core_.worker_ended(why, time));
  if (!make_worker_)
    return core_.give_up("its worker ended: " + why + "; start a new breaker for a new worker");
  if (time - started_at_ >= o.stable_after)
    restarts_in_a_row_ = 0;
  if (restarts_in_a_row_ >= o.max_restarts)
    return core_.give_up("its worker ended " + std::to_string(restarts_in_a_row_ + 1) +
                         " times in a row, the last time with: " + why +
                         "; remove the cause and start a new breaker");
  auto pause = o.restart_after;
  for (std::size_t i = 0; i != restarts_in_a_row_ && pause < o.max_restart_after; ++i)
    pause *= 2;
  pause = std::min(pause, std::max(o.max_restart_after, o.restart_after));
  ++restarts_in_a_row_;
  restart_at_ = time + pause;
  delayed_send(this, pause, restart_worker{});
}

/// Whether the worker lives on this node and takes no mail any more, so that its down message follows.
bool breaker_actor::worker_ending() const {
  auto* local = dynamic_cast<caf::scheduled_actor*>(caf::actor_cast<caf::abstract_actor*>(worker_));
  return local && local->mailbox().closed();
}

} // namespace eventcore::internal
