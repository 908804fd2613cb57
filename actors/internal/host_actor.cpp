#include <eventcore/actors/internal/host_actor.hpp>

#include <eventcore/actors/internal/saga.pb.h>

#include <spdlog/spdlog.h>

namespace eventcore::internal {

namespace {

/// Idle times are measured in this share of `idle_time`, so an entity stays up to a quarter longer.
constexpr int sweeps_per_idle_time = 4;

/// Actors that wait for a stream take about 2 KiB each.
constexpr std::size_t max_spare = 1'024;

std::shared_ptr<entity_env> make_env(const entity_type& type, journal& journal, const host_options& options,
                                     std::function<timestamp()> now,
                                     const std::shared_ptr<telemetry>& seen_by) {
  if (!now)
    now = [] { return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()); };
  auto env = std::make_shared<entity_env>(type, journal, options, std::move(now));
  env->options.recovery_chunk = std::max<std::size_t>(options.recovery_chunk, 1);
  env->options.max_recoveries = std::max<std::size_t>(options.max_recoveries, 1);
  env->telemetry = seen_by;
  for (auto& command : type.commands) {
    const auto* of = command.prototype->GetDescriptor();
    // What a saga tells itself belongs to the trace that its start is in, if any.
    env->begins_trace.push_back(of->file() != StartSaga::descriptor()->file() ||
                                of == StartSaga::descriptor());
  }
  if (seen_by && seen_by->counts()) {
    env->metrics = std::make_shared<host_metrics>();
    env->metrics->category = type.category;
    for (auto& command : type.commands)
      env->metrics->commands.add(command.prototype->GetTypeName());
    env->metrics->commands.add("unknown");
    seen_by->hosts.add(env->metrics);
  }
  return env;
}

} // namespace

host_actor::host_actor(caf::actor_config& config, const entity_type& type, eventcore::journal& journal,
                       const host_options& options, std::function<timestamp()> now)
    : caf::event_based_actor{config}
    , env_{make_env(type, journal, options, std::move(now), telemetry_of(home_system()))} {}

caf::behavior host_actor::make_behavior() {
  env_->host = caf::actor_cast<caf::actor>(this);
  set_default_handler([](caf::scheduled_actor* self, caf::message_view&) -> caf::result<caf::message> {
    static_cast<host_actor*>(self)->on_command(*self->current_mailbox_element());
    return caf::delegated<caf::message>{};
  });
  set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  set_down_handler([](caf::scheduled_actor*, caf::down_msg&) {});
  set_exit_handler(
      [](caf::scheduled_actor* self, caf::exit_msg&) { static_cast<host_actor*>(self)->begin_stop({}); });
  set_exception_handler([](caf::scheduled_actor* self, std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      spdlog::critical("the host of {} ends after an unexpected exception: {}",
                       static_cast<host_actor*>(self)->env_->type.category, e.what());
    } catch (...) {
      spdlog::critical("the host of {} ends after an unexpected exception",
                       static_cast<host_actor*>(self)->env_->type.category);
    }
    return caf::make_error(caf::exit_reason::unhandled_exception);
  });
  return {
      [this](const entity_report& report) { on_report(report); },
      [this](sweep) { on_sweep(); },
      [this](get_stats) {
        return host_stats{entities_.size(),
                          permits_held_ + permits_wanted_,
                          activations_,
                          passivations_,
                          env_->snapshots_saved,
                          env_->snapshots_too_large,
                          env_->snapshots_passed_over};
      },
      [this](const hold_stream& wish) -> caf::result<void> {
        on_hold(wish);
        return caf::delegated<void>{};
      },
      [this](const release_stream& release) { on_release(release.id, release.holder); },
      [this](const stream_changed& news) -> caf::result<void> {
        on_stream_changed(news);
        return caf::delegated<void>{};
      },
      [this](stop_host how) -> caf::result<void> {
        stop_requests_.emplace_back(*current_mailbox_element());
        begin_stop({how.at_once});
        return caf::delegated<void>{};
      },
  };
}

// -- commands

void host_actor::on_command(caf::mailbox_element& element) {
  auto command = view_command(element.content());
  if (!command)
    return refuse(
        element,
        make_error(entity_errc::unknown_command,
                   element.content().empty()
                       ? "the message is empty: a typed Protobuf message does not travel between nodes"
                       : "a host takes (id, command) or (id, command_context, command), not " +
                             describe(element.content())));
  if (stopping_)
    return refuse(element, make_error(entity_errc::stopped,
                                      "the node is stopping; send the command again when it is back"));
  auto known = entities_.find(*command->id);
  if (known != entities_.end()) {
    if (auto why = pass_on(known->second, element))
      refuse(element, *why);
  } else if (auto started = start(*command->id); !started) {
    refuse(element, started.error());
  } else if (auto why = pass_on(*started, element)) {
    refuse(element, *why);
  }
}

std::optional<error> host_actor::pass_on(entries::iterator e, caf::mailbox_element& element) {
  auto keep = e->leaving || !e->holds.empty();
  auto waiting = keep ? e->kept.size() : e->entity().backlog.size();
  if (waiting >= env_->options.max_waiting)
    return make_error(entity_errc::overloaded, std::to_string(waiting) + " commands wait at " +
                                                   std::string{env_->type.category} + '-' + e->id +
                                                   " already; try again later");
  auto forwarded = caf::make_mailbox_element(std::move(element.sender), element.mid,
                                             std::move(element.stages), element.move_content_to_message());
  if (keep || !admit(e)) {
    e->kept.push_back(std::move(forwarded));
    return std::nullopt;
  }
  e->last_used = tick_;
  active_.splice(active_.begin(), active_, e);
  e->entity().enqueue(std::move(forwarded), context());
  return std::nullopt;
}

bool host_actor::admit(entries::iterator e) {
  if (e->entity().backlog.add())
    return true;
  e->leaving = true;
  leaving_.splice(leaving_.begin(), active_, e);
  return false;
}

void host_actor::refuse(caf::mailbox_element& element, const error& why) {
  auto command = view_command(element.content());
  if (env_->metrics) {
    const auto row =
        command && command->type ? row_of(env_->type, *command->type) : env_->type.commands.size();
    env_->metrics->commands[row].count({}, &why);
  }
  reply_address to{element};
  if (to.is_request())
    to.deliver(ctrl(), caf::make_message(to_caf_error(why)), context());
  else
    log_unheard(*env_, command ? *command->id : std::string_view{}, why);
}

// -- entities

result<host_actor::entries::iterator> host_actor::start(const std::string& id) {
  auto stream = stream_id::of(env_->type.category, id);
  if (!stream)
    return make_error(entity_errc::invalid_id, stream.error().message());
  if (entities_.size() / 2 >= env_->options.max_resident)
    return make_error(entity_errc::overloaded, std::to_string(entities_.size()) + " entities of category " +
                                                   std::string{env_->type.category} +
                                                   " are in memory and at work; try again later");
  active_.emplace_front();
  auto e = active_.begin();
  e->id = id;
  start_actor(*e, *std::move(stream));
  entities_.emplace(e->id, e);
  if (active_.size() > std::max<std::size_t>(env_->options.max_resident, 1))
    ask_to_leave(std::prev(active_.end()));
  arm_sweep();
  return e;
}

void host_actor::start_actor(entry& e, stream_id stream) {
  auto permitted = permits_held_ < env_->options.max_recoveries;
  if (spare_.empty()) {
    e.actor = spawn<entity_actor, caf::lazy_init>(env_, std::move(stream), permitted);
  } else {
    e.actor = std::move(spare_.back());
    spare_.pop_back();
    e.entity().backlog.open();
    send(e.actor, begin_stream{std::move(stream), permitted});
  }
  if (permitted) {
    e.recovery = permit::held;
    ++permits_held_;
  } else {
    e.recovery = permit::wanted;
    ++permits_wanted_;
    permit_queue_.push_back(e.id);
  }
  ++activations_;
  publish();
}

void host_actor::publish() const {
  if (auto* m = env_->metrics.get()) {
    m->resident.set(active_.size() + leaving_.size());
    m->recovering.set(permits_held_ + permits_wanted_);
    m->activations.set(activations_);
    m->passivations.set(passivations_);
  }
}

void host_actor::ask_to_leave(entries::iterator e) {
  if (!e->holds.empty()) {
    e->last_used = tick_;
    active_.splice(active_.begin(), active_, e);
    return;
  }
  e->leaving = true;
  leaving_.splice(leaving_.begin(), active_, e);
  send(e->actor, leave_order{});
}

void host_actor::welcome_back(entries::iterator e) {
  e->leaving = false;
  e->last_used = tick_;
  active_.splice(active_.begin(), leaving_, e);
  if (e->holds.empty())
    pass_on_kept(e);
  else
    send(e->actor, drain_order{});
}

void host_actor::pass_on_kept(entries::iterator e) {
  for (auto& command : std::exchange(e->kept, {}))
    if (!e->leaving && admit(e))
      e->entity().enqueue(std::move(command), context());
    else
      e->kept.push_back(std::move(command));
}

void host_actor::on_report(const entity_report& report) {
  auto known = entities_.find(report.id);
  if (known == entities_.end())
    return;
  auto e = known->second;
  switch (report.what) {
  case entity_news::permit_wanted:
    e->recovery = permit::wanted;
    ++permits_wanted_;
    permit_queue_.push_back(e->id);
    grant_permits();
    break;
  case entity_news::permit_returned:
    take_permit_back(*e);
    break;
  case entity_news::stay:
    welcome_back(e);
    break;
  case entity_news::drained:
    on_drained(e);
    break;
  case entity_news::left:
    on_left(e);
    break;
  case entity_news::gone:
    on_gone(e);
    break;
  }
  if (env_)
    publish();
}

void host_actor::on_left(entries::iterator e) {
  ++passivations_;
  if (!stopping_ && spare_.size() < max_spare)
    spare_.push_back(std::move(e->actor));
  else
    send(e->actor, stop_order{});
  on_gone(e);
}

void host_actor::on_gone(entries::iterator e) {
  take_permit_back(*e);
  auto& list = e->leaving ? leaving_ : active_;
  if (!stopping_ && (!e->kept.empty() || !e->holds.empty())) {
    // The id was valid before.
    start_actor(*e, *stream_id::of(env_->type.category, e->id));
    leaving_.splice(leaving_.begin(), list, e);
    welcome_back(e);
    return;
  }
  entities_.erase(e->id);
  list.erase(e);
  quit_if_stopped();
}

void host_actor::take_permit_back(entry& e) {
  if (e.recovery == permit::held)
    --permits_held_;
  else if (e.recovery == permit::wanted)
    --permits_wanted_;
  e.recovery = permit::none;
  grant_permits();
}

void host_actor::grant_permits() {
  while (!permit_queue_.empty() && permits_held_ < env_->options.max_recoveries) {
    auto known = entities_.find(permit_queue_.front());
    permit_queue_.pop_front();
    if (known == entities_.end() || known->second->recovery != permit::wanted)
      continue;
    --permits_wanted_;
    ++permits_held_;
    known->second->recovery = permit::held;
    send(known->second->actor, permit_granted{});
  }
}

// -- holds

void host_actor::on_hold(const hold_stream& wish) {
  reply_address to{*current_mailbox_element()};
  auto refuse = [&](const error& why) {
    to.deliver(ctrl(), caf::make_message(to_caf_error(why)), context());
  };
  if (stopping_)
    return refuse(
        make_error(entity_errc::stopped, "the node is stopping; send the command again when it is back"));
  auto known = entities_.find(wish.id);
  auto e = known != entities_.end() ? result<entries::iterator>{known->second} : start(wish.id);
  if (!e)
    return refuse(e.error());
  (*e)->holds.push_back({wish.holder, wish.lease, std::move(to)});
  if ((*e)->holds.size() == 1 && !(*e)->leaving)
    send((*e)->actor, drain_order{});
}

void host_actor::on_drained(entries::iterator e) {
  if (e->holds.empty() || e->holds.front().granted)
    return;
  auto& hold = e->holds.front();
  hold.granted = true;
  hold.to.deliver(ctrl(), caf::message{}, context());
  delayed_send(this, std::chrono::ceil<std::chrono::microseconds>(hold.lease),
               release_stream{e->id, hold.holder});
}

void host_actor::on_release(const std::string& id, std::uint64_t holder) {
  auto known = entities_.find(id);
  if (known == entities_.end())
    return;
  auto e = known->second;
  auto hold = std::ranges::find(e->holds, holder, &entry::hold::holder);
  if (hold == e->holds.end())
    return; // its lease had ended
  auto first = hold == e->holds.begin();
  e->holds.erase(hold);
  if (!first || e->leaving)
    return;
  pass_on_kept(e);
  if (!e->holds.empty())
    send(e->actor, drain_order{});
}

void host_actor::on_stream_changed(const stream_changed& news) {
  auto& element = *current_mailbox_element();
  auto known = entities_.find(news.id);
  if (known == entities_.end()) {
    reply_address{element}.deliver(ctrl(), caf::message{}, context());
    return;
  }
  auto content = element.move_content_to_message();
  known->second->entity().enqueue(caf::make_mailbox_element(std::move(element.sender), element.mid,
                                                            std::move(element.stages), std::move(content)),
                                  context());
}

// -- time and end

void host_actor::on_sweep() {
  sweeping_ = false;
  ++tick_;
  while (!active_.empty() && tick_ > active_.back().last_used + sweeps_per_idle_time)
    ask_to_leave(std::prev(active_.end()));
  arm_sweep();
}

void host_actor::arm_sweep() {
  if (sweeping_ || entities_.empty() || stopping_)
    return;
  sweeping_ = true;
  std::chrono::microseconds idle_time = env_->options.idle_time;
  delayed_send(this, std::max(idle_time / sweeps_per_idle_time, std::chrono::microseconds{1'000}), sweep{});
}

void host_actor::begin_stop(stop_order how) {
  stopping_ = true;
  for (auto& actor : std::exchange(spare_, {}))
    send(actor, how);
  for (auto* list : {&active_, &leaving_})
    for (auto& e : *list) {
      send(e.actor, how);
      for (auto& command : std::exchange(e.kept, {}))
        refuse(*command, make_error(entity_errc::stopped,
                                    "the node is stopping; send the command again when it is back"));
    }
  quit_if_stopped();
}

void host_actor::quit_if_stopped() {
  if (!stopping_ || !entities_.empty())
    return;
  for (auto& request : stop_requests_)
    request.deliver(ctrl(), caf::message{}, context());
  stop_requests_.clear();
  quit();
}

void host_actor::on_exit() {
  for (auto& actor : std::exchange(spare_, {}))
    send(actor, stop_order{true});
  for (auto* list : {&active_, &leaving_}) {
    for (auto& e : *list) {
      send(e.actor, stop_order{true});
      for (auto& command : e.kept)
        refuse(*command, make_error(entity_errc::stopped, "the host ended"));
    }
    list->clear();
  }
  entities_.clear();
  env_.reset(); // which holds this actor
}

} // namespace eventcore::internal
