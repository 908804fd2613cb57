#include <eventcore/actors/internal/saga_actor.hpp>

#include <eventcore/actors/internal/saga_engine.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <stdexcept>

namespace eventcore::internal {

namespace {

constexpr std::size_t max_key_size = 255;
constexpr std::uint32_t many_refusals = 99'999;
/// The key of no step is longer than that with an id of this size, as categories and names of steps have 64 bytes at most.
constexpr std::size_t always_short = 100;
static_assert(64 + 1 + always_short + 1 + 64 + std::string_view{"/undo#99999"}.size() <= max_key_size);
constexpr std::chrono::seconds shortest_pause{1};
constexpr std::chrono::seconds longest_pause{30};
constexpr std::chrono::seconds look_every{10};

/// An answer that comes after its time limit still confirms a step that is being tried again, if it is not later than this.
constexpr std::chrono::seconds patience{60};
constexpr std::chrono::seconds forget_every{10};

std::unique_ptr<InspectSaga> ask_for_phase() {
  auto command = std::make_unique<InspectSaga>();
  command->set_phase_only(true);
  return command;
}

error stopped_error() {
  return make_error(entity_errc::stopped,
                    "the sagas are shutting down; they go on when their node is started again");
}

} // namespace

saga_phase to_phase(SagaProgress::Phase phase) noexcept {
  return static_cast<saga_phase>(phase);
}

saga_actor::saga_actor(caf::actor_config& config, const saga_type& type, eventcore::journal& journal,
                       caf::actor sagas, std::shared_ptr<const host_directory> hosts, caf::actor timers,
                       const saga_options& options)
    : caf::event_based_actor{config}
    , type_{type}
    , journal_{journal}
    , sagas_{std::move(sagas)}
    , hosts_{std::move(hosts)}
    , timers_{std::move(timers)}
    , options_{options} {
  options_.max_waking = std::max<std::size_t>(options_.max_waking, 1);
  if (const auto seen_by = telemetry_of(home_system()); seen_by && seen_by->counts()) {
    metrics_ = std::make_shared<saga_metrics>();
    metrics_->category = type.category;
    seen_by->sagas.add(metrics_);
  }
}

caf::behavior saga_actor::make_behavior() {
  set_default_handler([](caf::scheduled_actor* self, caf::message_view&) -> caf::result<caf::message> {
    static_cast<saga_actor*>(self)->on_start(*self->current_mailbox_element());
    return caf::delegated<caf::message>{};
  });
  set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  set_down_handler([](caf::scheduled_actor*, caf::down_msg&) {});
  set_exit_handler(
      [](caf::scheduled_actor* self, caf::exit_msg&) { static_cast<saga_actor*>(self)->begin_stop(false); });
  set_exception_handler([](caf::scheduled_actor* self, std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      spdlog::critical("the sagas of {} end after an unexpected exception: {}",
                       static_cast<saga_actor*>(self)->type_.category, e.what());
    } catch (...) {
      spdlog::critical("the sagas of {} end after an unexpected exception",
                       static_cast<saga_actor*>(self)->type_.category);
    }
    return caf::make_error(caf::exit_reason::unhandled_exception);
  });
  send(this, wake_more{});
  send(timers_, fire_timers{saga_timer_owner(type_.category), caf::actor_cast<caf::actor>(ctrl())});
  return {
      [this](const timer_due& due) {
        auto wake = std::make_unique<WakeSaga>();
        wake->set_due_us(due.due.time_since_epoch().count());
        auto id = due.name.substr(std::min(due.name.size(), saga_timer_owner(type_.category).size() + 1));
        ask_saga({purpose::wake, std::move(id), {}}, std::move(wake));
      },
      [this](wake_more) { wake_unfinished(); },
      [this](forget_late) { on_forget_late(); },
      [this](look_at_waiting) {
        looking_ = false;
        for (auto i = waiting_.begin(); i != waiting_.end(); i = waiting_.equal_range(i->first).second)
          ask_saga({purpose::look, i->first, {}}, ask_for_phase());
        look_later();
      },
      [this](resume_lost) {
        for (auto& id : std::exchange(lost_, {}))
          to_wake_.push_back(id);
        wake_unfinished();
      },
      [this](const saga_order& order) -> caf::result<saga_phase> {
        ask_saga({purpose::order, order.id, {}, false, 0, reply_address{*current_mailbox_element()}},
                 std::unique_ptr<google::protobuf::Message>{[&] {
                   auto* copy = order.command->New();
                   copy->CopyFrom(*order.command);
                   return copy;
                 }()});
        return caf::delegated<saga_phase>{};
      },
      [this](const get_saga& get) -> caf::result<caf::message> {
        ask_saga({purpose::inspect, get.id, {}, false, 0, reply_address{*current_mailbox_element()}},
                 std::make_unique<InspectSaga>());
        return caf::delegated<caf::message>{};
      },
      [this](const await_saga& wait) -> caf::result<saga_phase> {
        ask_saga(
            {purpose::await, wait.id, {}, false, 0, reply_address{*current_mailbox_element()}, wait.until},
            ask_for_phase());
        return caf::delegated<saga_phase>{};
      },
      [this](get_stats) {
        stats_.still_to_wake = to_wake_.size() + waking_;
        return stats_;
      },
      [this](stop_host how) -> caf::result<void> {
        stop_requests_.emplace_back(*current_mailbox_element());
        begin_stop(how.at_once);
        return caf::delegated<void>{};
      },
  };
}

caf::invoke_message_result saga_actor::consume(caf::mailbox_element& element) {
  if (auto known = element.mid.is_response() ? pending_.find(element.mid) : pending_.end();
      known != pending_.end()) {
    auto p = std::move(known->second);
    pending_.erase(known);
    current_mailbox_element(&element);
    on_response(std::move(p), element.move_content_to_message());
    quit_if_stopped();
    return caf::invoke_message_result::consumed;
  }
  return caf::event_based_actor::consume(element);
}

void saga_actor::ask(const caf::actor& whom, caf::message request, pending p) {
  auto mid = new_request_id(caf::message_priority::normal);
  pending_.emplace(mid.response_id(), std::move(p));
  caf::actor_cast<caf::abstract_actor*>(whom)->enqueue(
      caf::make_mailbox_element(ctrl(), mid, {}, std::move(request)), context());
}

void saga_actor::ask_saga(pending p, std::unique_ptr<google::protobuf::Message> command,
                          command_context context) {
  if (stopping_ && p.what != purpose::answered)
    return refuse(std::move(p.to), stopped_error());
  auto id = p.id;
  ask(sagas_, make_command_message(std::move(id), std::move(context), std::move(command)), std::move(p));
}

void saga_actor::refuse(reply_address to, const error& why) {
  if (to.is_request())
    to.deliver(ctrl(), caf::make_message(to_caf_error(why)), context());
}

const saga_step* saga_actor::step_of(const std::string& name) const {
  auto i = std::ranges::find(type_.steps, name, &saga_step::name);
  return i == type_.steps.end() ? nullptr : &*i;
}

// -- commands

void saga_actor::on_start(caf::mailbox_element& element) {
  auto content = element.move_content_to_message();
  reply_address to{element};
  auto view = view_command(content);
  if (!view || !view->type || *view->type != typeid(*type_.input))
    return refuse(std::move(to), make_error(entity_errc::unknown_command,
                                            "the sagas of " + std::string{type_.category} +
                                                " are started by (id, " + type_.input->GetTypeName() +
                                                "), with a command_context between them or not, not by " +
                                                describe(content)));
  if (stopping_)
    return refuse(std::move(to), stopped_error());
  if (starting_ >= options_.max_starting)
    return refuse(std::move(to),
                  make_error(entity_errc::overloaded,
                             std::to_string(starting_) + " starts of sagas wait already; try again later"));
  const auto may_be_long = view->id->size() > always_short;
  for (auto& step : type_.steps)
    if (may_be_long &&
        saga_request_key(type_.category, *view->id, step.name, true, many_refusals).size() > max_key_size)
      return refuse(std::move(to), make_error(entity_errc::invalid_id,
                                              "the saga's id is too long: the idempotency key of step " +
                                                  step.name + " would have more than 255 bytes"));
  auto start = std::make_unique<StartSaga>();
  start->set_id(*view->id);
  start->set_input_type(type_.input->GetDescriptor()->full_name());
  auto& input = *static_cast<const google::protobuf::Message*>(view->command);
  if (!input.IsInitialized() || !input.SerializeToString(start->mutable_input()))
    return refuse(std::move(to),
                  make_error(entity_errc::invalid_command, "the saga's input lacks required fields"));
  ++starting_;
  auto context = view->context ? *view->context : command_context{};
  // A saga's id makes the repeat of its start harmless, and its time limits are by the node's clock.
  context.idempotency_key.clear();
  context.now = {};
  ask_saga({purpose::start, *view->id, {}, false, 0, std::move(to)}, std::move(start), std::move(context));
}

void saga_actor::wake_unfinished() {
  if (stopping_)
    return;
  while (!all_found_ && to_wake_.empty()) {
    auto found = list_unfinished_sagas(journal_, type_.category, woken_through_);
    if (!found) {
      if (warnings_.admit())
        spdlog::error("the unfinished sagas of {} cannot be listed: {}; trying again", type_.category,
                      found.error().message());
      delayed_send(this, std::chrono::seconds{1}, wake_more{});
      return;
    }
    all_found_ = found->empty();
    for (auto& id : *found)
      if (known_.insert(id).second) {
        if (metrics_)
          not_counted_.insert(id);
        to_wake_.push_back(std::move(id));
      }
  }
  if (all_found_)
    known_.clear();
  while (waking_ < options_.max_waking && !to_wake_.empty()) {
    ++waking_;
    ++stats_.resumed;
    ask_saga({purpose::resume, std::move(to_wake_.front()), {}}, std::make_unique<ResumeSaga>());
    to_wake_.pop_front();
  }
}

void saga_actor::resume_later(std::string id) {
  if (stopping_)
    return;
  if (lost_.empty()) {
    delayed_send(this, pause_, resume_lost{});
    pause_ = std::min(2 * pause_, longest_pause);
  }
  lost_.insert(std::move(id));
}

// -- what is not answered

void saga_actor::forget_at(steady until) {
  if (!forgetting_ && until != steady::max()) {
    forgetting_ = true;
    delayed_send(this, forget_every, forget_late{});
  }
}

void saga_actor::on_forget_late() {
  const auto now = clock().now();
  const auto is_late = [now](const auto& entry) { return entry.second.until < now; };
  std::erase_if(pending_, is_late);
  std::erase_if(waiting_, is_late);
  const auto may_be_late = [](const auto& entry) { return entry.second.until != steady::max(); };
  forgetting_ = false;
  if (std::ranges::any_of(pending_, may_be_late) || std::ranges::any_of(waiting_, may_be_late))
    forget_at(now);
}

// -- responses

void saga_actor::on_response(pending p, caf::message content) {
  if (p.what == purpose::participant)
    return on_participant(p, std::move(content));
  if (p.what == purpose::start)
    --starting_;
  if (p.what == purpose::resume) {
    --waking_;
    if (to_wake_.empty() && !all_found_)
      send(this, wake_more{});
    else
      wake_unfinished();
  }
  auto reply = take_reply(content);
  if (reply && p.what == purpose::resume)
    pause_ = shortest_pause;
  if (reply && typeid(*reply) == typeid(SagaOrders)) {
    auto& orders = static_cast<SagaOrders&>(*reply);
    if (p.what == purpose::await || p.what == purpose::look)
      on_phase(p, orders.phase());
    else
      on_orders(p, orders);
  } else if (reply && typeid(*reply) == typeid(SagaProgress)) {
    p.to.deliver(ctrl(), make_reply_message(std::move(reply)), context());
  } else {
    on_saga_failed(p, std::move(content));
  }
}

void saga_actor::on_phase(pending& p, SagaProgress::Phase phase) {
  const auto waits_for_nothing = is_final(phase) || phase == SagaProgress::STUCK;
  if (p.what == purpose::look) {
    if (waits_for_nothing)
      tell_waiting(p.id, to_phase(phase));
  } else if (phase == SagaProgress::NOT_STARTED) {
    refuse(std::move(p.to),
           make_error(entity_errc::rejected, "there is no saga " + p.id).with_reason("no_such_saga", {}));
  } else if (waits_for_nothing) {
    p.to.deliver(ctrl(), caf::make_message(to_phase(phase)), context());
  } else if (stopping_) {
    refuse(std::move(p.to), stopped_error());
  } else {
    waiting_.emplace(p.id, waiting{std::move(p.to), p.until});
    forget_at(p.until);
    look_later();
  }
}

void saga_actor::on_saga_failed(pending& p, caf::message content) {
  auto why = content.match_elements<caf::error>()
                 ? from_caf_error(content.get_as<caf::error>(0))
                 : make_error(entity_errc::unexpected_reply, "its answer is " + describe(content));
  // What was told may not be recorded, and what was recorded may not be sent. A timer that is not gone fires again.
  auto is_read = p.what == purpose::inspect || p.what == purpose::await || p.what == purpose::look;
  auto is_told = p.what == purpose::answered || p.what == purpose::resume;
  if (!is_read && (is_told || why.code() == entity_errc::outcome_unknown))
    resume_later(p.id);
  if (p.to.is_request())
    return p.to.deliver(ctrl(), std::move(content), context());
  if (warnings_.admit())
    spdlog::warn("saga {}-{} could not go on, and will be tried again: {}", type_.category, p.id,
                 why.message());
}

void saga_actor::on_orders(pending& p, SagaOrders& orders) {
  auto phase = to_phase(orders.phase());
  if (p.what == purpose::start && orders.changed())
    ++stats_.started;
  if (orders.changed()) {
    stats_.completed += phase == saga_phase::completed;
    stats_.compensated += phase == saga_phase::compensated;
    if (phase == saga_phase::stuck) {
      ++stats_.stuck;
      spdlog::error("saga {}-{} is stuck: a compensation failed for good; an operator must retry or skip it "
                    "(eventcore sagas)",
                    type_.category, p.id);
    }
  }
  if (metrics_)
    count(p.id, orders);
  for (auto& order : *orders.mutable_requests())
    send_request(p.id, order, orders.traceparent());
  if (!all_found_ && orders.changed())
    known_.insert(p.id);
  if (p.to.is_request())
    p.to.deliver(ctrl(), caf::make_message(phase), context());
  if (is_final(orders.phase()) || phase == saga_phase::stuck)
    tell_waiting(p.id, phase);
}

/// Each unfinished saga is counted in one phase, from when it is seen for the first time.
void saga_actor::count(const std::string& id, const SagaOrders& orders) {
  const auto at = [this](SagaProgress::Phase phase) -> gauge* {
    return phase == SagaProgress::NOT_STARTED || is_final(phase)
               ? nullptr
               : &metrics_->by_phase[static_cast<std::size_t>(phase)];
  };
  const bool is_new = not_counted_.erase(id) > 0 || (!all_found_ && !known_.contains(id));
  if (auto* before = at(orders.before()); before && !is_new)
    before->subtract(1);
  if (auto* now = at(orders.phase()))
    now->add(1);
  metrics_->started.set(stats_.started);
  metrics_->completed.set(stats_.completed);
  metrics_->compensated.set(stats_.compensated);
  metrics_->requests.set(stats_.requests + static_cast<std::uint64_t>(orders.requests_size()));
}

void saga_actor::tell_waiting(const std::string& id, saga_phase phase) {
  auto [first, last] = waiting_.equal_range(id);
  for (auto i = first; i != last; ++i)
    i->second.to.deliver(ctrl(), caf::make_message(phase), context());
  waiting_.erase(first, last);
}

void saga_actor::look_later() {
  if (!waiting_.empty() && !std::exchange(looking_, true))
    delayed_send(this, look_every, look_at_waiting{});
}

void saga_actor::send_request(const std::string& id, SagaOrders::Order& order,
                              const std::string& traceparent) {
  if (stopping_)
    return; // it is recorded, and sent when the sagas are started again
  const auto* step = step_of(order.step());
  const auto* prototype = !step ? nullptr : order.undo() ? step->undo_command : step->command;
  auto& recorded = *order.mutable_request();
  pending p{purpose::participant, id, order.step(), order.undo(), order.attempt(), {}, {}, traceparent};
  auto nothing_happened = [&](const std::string& why) { answered(p, SagaAnswered::NOTHING_HAPPENED, why); };
  if (!prototype || prototype->GetDescriptor()->full_name() != recorded.type())
    return nothing_happened("the saga's definition does not know the recorded request " + recorded.type());
  std::unique_ptr<google::protobuf::Message> command{prototype->New()};
  if (!command->ParseFromString(recorded.content()))
    return nothing_happened("the recorded request " + recorded.type() + " does not parse");
  auto target = hosts_->find_participant(recorded.target());
  if (!target)
    return nothing_happened("there is no participant " + recorded.target());
  ++stats_.requests;
  command_context context;
  context.metadata.correlation_id = std::string{type_.category} + '-' + id;
  context.metadata.causation_id = order.key();
  context.idempotency_key = std::move(*order.mutable_key());
  context.metadata.traceparent = traceparent;
  context.deadline = clock().now() + step->limit;
  const auto until = p.until = context.deadline + patience;
  auto message = recorded.id().empty() ? make_command_message(std::move(context), std::move(command))
                                       : make_command_message(std::move(*recorded.mutable_id()),
                                                              std::move(context), std::move(command));
  ask(target, std::move(message), std::move(p));
  forget_at(until);
}

void saga_actor::on_participant(pending& p, caf::message content) {
  const auto* step = step_of(p.step);
  if (content.match_elements<caf::error>()) {
    auto why = from_caf_error(content.get_as<caf::error>(0));
    auto outcome = step_outcome::in_doubt;
    try {
      outcome = step->classify(why);
    } catch (const std::exception& e) {
      spdlog::error("classify() of step {} of {} threw: {}; the step is in doubt", p.step, type_.category,
                    e.what());
    } catch (...) {
      spdlog::error("classify() of step {} of {} threw what is no std::exception; the step is in doubt",
                    p.step, type_.category);
    }
    return answered(p,
                    outcome == step_outcome::refused            ? SagaAnswered::REFUSED
                    : outcome == step_outcome::nothing_happened ? SagaAnswered::NOTHING_HAPPENED
                                                                : SagaAnswered::IN_DOUBT,
                    why.message());
  }
  if (step->confirmed_later && !p.undo)
    return;
  auto command = std::make_unique<SagaAnswered>();
  if (auto reply = p.undo ? nullptr : take_reply(content)) {
    command->set_reply_type(reply->GetDescriptor()->full_name());
    reply->SerializePartialToString(command->mutable_reply());
  } else if (!p.undo && step->reply && !content.empty()) {
    const auto* type = content.type(0).second; // null for CAF's own types
    if (content.size() != 1 || !type || *type != typeid(*step->reply))
      return answered(p, SagaAnswered::IN_DOUBT,
                      "the answer is no " + step->reply->GetTypeName() + " but " + describe(content));
    command->set_reply_type(step->reply->GetTypeName());
    static_cast<const google::protobuf::Message*>(content.get(0))
        ->SerializePartialToString(command->mutable_reply());
  }
  tell_answer(p, std::move(command));
}

void saga_actor::answered(pending& p, SagaAnswered::Outcome outcome, const std::string& why) {
  auto command = std::make_unique<SagaAnswered>();
  command->set_outcome(outcome);
  command->set_why(why);
  tell_answer(p, std::move(command));
}

void saga_actor::tell_answer(pending& p, std::unique_ptr<SagaAnswered> command) {
  command->set_step(p.step);
  command->set_undo(p.undo);
  command->set_attempt(p.attempt);
  command_context context;
  context.metadata.traceparent = p.traceparent;
  ask_saga({purpose::answered, p.id, {}}, std::move(command), std::move(context));
}

// -- the end

void saga_actor::begin_stop(bool at_once) {
  stopping_ = true;
  for (auto& [id, who] : std::exchange(waiting_, {}))
    refuse(std::move(who.to), stopped_error());
  if (at_once)
    pending_.clear();
  quit_if_stopped();
}

void saga_actor::quit_if_stopped() {
  const auto is_waited_for = [](const auto& entry) {
    auto& p = entry.second;
    return p.what == purpose::answered || p.to.is_request();
  };
  if (!stopping_ || std::ranges::any_of(pending_, is_waited_for))
    return;
  for (auto& request : std::exchange(stop_requests_, {}))
    request.deliver(ctrl(), caf::message{}, context());
  quit();
}

void saga_actor::on_exit() {
  pending_.clear(); // each that waits is answered `outcome_unknown`
  waiting_.clear();
  sagas_ = nullptr;
  timers_ = nullptr;
  hosts_.reset();
}

} // namespace eventcore::internal
