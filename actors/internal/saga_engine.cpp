#include <eventcore/actors/internal/saga_engine.hpp>

#include <eventcore/actors/breaker_errc.hpp>
#include <eventcore/actors/errc.hpp>
#include <eventcore/persistence/internal/utf8.hpp>

#include <xxhash.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <unordered_map>

namespace eventcore {

step_outcome outcome_of(const error& why) {
  auto code = cause_of(why).value_or(why.code());
  for (auto e : {entity_errc::rejected, entity_errc::invalid_id, entity_errc::unknown_command,
                 entity_errc::key_reused, entity_errc::invalid_command, entity_errc::not_owned})
    if (code == e)
      return step_outcome::refused;
  for (auto e : {entity_errc::overloaded, entity_errc::deadline_exceeded, entity_errc::decider_failed,
                 entity_errc::recovery_failed, entity_errc::not_persisted, entity_errc::conflict,
                 entity_errc::stopped, entity_errc::unreachable})
    if (code == e)
      return step_outcome::nothing_happened;
  for (auto e : {breaker_errc::circuit_open, breaker_errc::too_many_calls, breaker_errc::gave_up})
    if (code == e)
      return step_outcome::nothing_happened;
  // With a time to come back, the worker was not there to be asked.
  return code == breaker_errc::worker_lost && retry_after(why) ? step_outcome::nothing_happened
                                                               : step_outcome::in_doubt;
}

namespace internal {

namespace {

using step_state = SagaProgress::Step;

constexpr std::string_view timer_prefix = "saga.";

saga_state::step& step_of(saga_state& saga, const std::string& name) {
  for (auto& step : saga.steps)
    if (step.name == name)
      return step;
  throw std::runtime_error{"the saga has no step " + name};
}

/// The timer is set when something is due earlier; it is never set later, but finds that out when it fires: so a saga
/// whose steps are confirmed in time costs one timer.
void set_timer(saga_state& saga, std::int64_t due) {
  if (saga.timer_us == 0 || due < saga.timer_us)
    saga.timer_us = due;
}

void keep_request(saga_state& saga, const SagaRequest& request) {
  saga.open_request.target = request.target();
  saga.open_request.id = request.id();
  saga.open_request.type = request.type();
  saga.open_request.content = request.content();
}

void copy_request(const saga_state& saga, SagaRequest& to) {
  to.set_target(saga.open_request.target);
  if (!saga.open_request.id.empty())
    to.set_id(saga.open_request.id);
  to.set_type(saga.open_request.type);
  to.set_content(saga.open_request.content);
}

void begin_attempt(saga_state& saga, saga_state::step& step, step_state::State state, bool has_request,
                   const SagaRequest& request, std::int64_t deadline) {
  if (has_request) {
    keep_request(saga, request);
    step.attempts = 0;
  }
  step.state = state;
  step.sent_again = false;
  ++step.attempts;
  step.due_us = deadline;
  set_timer(saga, deadline);
}

bool is_open(const saga_state::step& step) {
  return step.state == step_state::REQUESTED || step.state == step_state::DELAYED ||
         step.state == step_state::UNDO_REQUESTED || step.state == step_state::UNDO_DELAYED;
}

bool is_delayed(const saga_state::step& step) {
  return step.state == step_state::DELAYED || step.state == step_state::UNDO_DELAYED;
}

bool is_undo(const saga_state::step& step) {
  return step.state == step_state::UNDO_REQUESTED || step.state == step_state::UNDO_DELAYED;
}

bool must_be_undone(const saga_state::step& step) {
  return step.state == step_state::CONFIRMED || (step.state == step_state::FAILED && step.in_doubt);
}

timestamp timestamp_of(std::int64_t us) {
  return timestamp{std::chrono::microseconds{us}};
}

const saga_state::step* open_step(const saga_state& saga) {
  auto i = std::ranges::find_if(saga.steps, is_open);
  return i == saga.steps.end() ? nullptr : &*i;
}

} // namespace

std::string saga_timer_owner(std::string_view category) {
  return std::string{timer_prefix} + std::string{category};
}

std::string saga_timer(std::string_view category, std::string_view id) {
  return saga_timer_owner(category) + '/' + std::string{id};
}

std::optional<std::pair<std::string_view, std::string_view>> saga_of_timer(std::string_view name) {
  const auto slash = name.find('/');
  if (!name.starts_with(timer_prefix) || slash == std::string_view::npos)
    return std::nullopt;
  return std::pair{name.substr(timer_prefix.size(), slash - timer_prefix.size()), name.substr(slash + 1)};
}

std::string saga_request_key(std::string_view category, const std::string& id, const std::string& step,
                             bool undo, std::uint32_t refusals) {
  std::string key;
  key.reserve(category.size() + id.size() + step.size() + 2);
  key.append(category).append(1, '-').append(id).append(1, '/').append(step);
  if (undo)
    key += refusals == 0 ? "/undo" : "/undo#" + std::to_string(refusals + 1);
  return key;
}

bool is_final(SagaProgress::Phase phase) {
  return phase == SagaProgress::COMPLETED || phase == SagaProgress::COMPENSATED;
}

// -- the fold

void saga_fold::evolve(state& s, const SagaStarted& e) {
  s.phase = SagaProgress::RUNNING;
  s.id = e.id();
  s.input_type = e.input_type();
  s.input = e.input();
  s.traceparent = e.traceparent();
  s.steps.reserve(static_cast<std::size_t>(e.steps_size()));
  for (auto& name : e.steps())
    s.steps.emplace_back().name = name;
}

void saga_fold::evolve(state& s, const SagaStepRequested& e) {
  auto& step = step_of(s, e.step());
  if (e.again())
    step.sent_again = true;
  else
    begin_attempt(s, step, step_state::REQUESTED, e.has_request(), e.request(), e.deadline_us());
}

void saga_fold::evolve(state& s, const SagaStepConfirmed& e) {
  auto& step = step_of(s, e.step());
  step.state = step_state::CONFIRMED;
  step.reply_type = e.reply_type();
  step.reply = e.reply();
}

void saga_fold::evolve(state& s, const SagaStepDelayed& e) {
  auto& step = step_of(s, e.step());
  step.state = step_state::DELAYED;
  step.why = e.why();
  step.in_doubt = step.in_doubt || e.in_doubt();
  step.due_us = e.retry_at_us();
  set_timer(s, e.retry_at_us());
}

void saga_fold::evolve(state& s, const SagaStepFailed& e) {
  auto& step = step_of(s, e.step());
  step.state = step_state::FAILED;
  step.why = e.why();
  step.in_doubt = step.in_doubt || e.in_doubt();
  s.phase = SagaProgress::COMPENSATING;
  s.failed_step = e.step();
  s.why = e.why();
}

void saga_fold::evolve(state& s, const SagaCompensationRequested& e) {
  begin_attempt(s, step_of(s, e.step()), step_state::UNDO_REQUESTED, e.has_request(), e.request(),
                e.deadline_us());
}

void saga_fold::evolve(state& s, const SagaCompensationDelayed& e) {
  auto& step = step_of(s, e.step());
  step.state = step_state::UNDO_DELAYED;
  step.why = e.why();
  step.due_us = e.retry_at_us();
  set_timer(s, e.retry_at_us());
}

void saga_fold::evolve(state& s, const SagaStepCompensated& e) {
  step_of(s, e.step()).state = step_state::UNDONE;
}

void saga_fold::evolve(state& s, const SagaCompensationFailed& e) {
  auto& step = step_of(s, e.step());
  step.state = step_state::UNDO_FAILED;
  step.why = e.why();
  step.undo_refusals += e.refused() ? 1 : 0;
  s.phase = SagaProgress::STUCK;
  s.timer_us = never_us;
}

void saga_fold::evolve(state& s, const SagaOperated& e) {
  if (e.action() == SagaOperated::ABORT) {
    for (auto& step : s.steps)
      if (is_open(step)) {
        step.state = step_state::FAILED;
        step.in_doubt = true;
        s.failed_step = step.name;
      }
    s.phase = SagaProgress::COMPENSATING;
    s.why = e.why();
    return;
  }
  for (auto& step : s.steps)
    if (step.state == step_state::UNDO_FAILED) {
      if (e.action() == SagaOperated::SKIP) {
        step.state = step_state::UNDONE;
      } else {
        // As before its compensation began: it is confirmed, or in doubt.
        step.state = step_state::FAILED;
        step.in_doubt = true;
      }
      s.phase = SagaProgress::COMPENSATING;
    } else if (e.action() == SagaOperated::RETRY && is_delayed(step)) {
      step.due_us = 0;
    }
}

void saga_fold::evolve(state& s, const SagaWoken& e) {
  s.timer_us = e.next_us();
}

void saga_fold::evolve(state& s, const SagaCompleted&) {
  s.phase = SagaProgress::COMPLETED;
  s.timer_us = 0;
}

void saga_fold::evolve(state& s, const SagaCompensated&) {
  s.phase = SagaProgress::COMPENSATED;
  s.timer_us = 0;
}

SagaProgress saga_fold::to_snapshot(const state& s) {
  SagaProgress saved;
  saved.set_phase(s.phase);
  saved.set_id(s.id);
  saved.set_input_type(s.input_type);
  saved.set_input(s.input);
  for (auto& step : s.steps) {
    auto& to = *saved.add_steps();
    to.set_name(step.name);
    to.set_state(step.state);
    to.set_attempts(step.attempts);
    to.set_in_doubt(step.in_doubt);
    to.set_due_us(step.due_us);
    if (is_open(step))
      copy_request(s, *to.mutable_request());
    to.set_reply_type(step.reply_type);
    to.set_reply(step.reply);
    to.set_why(step.why);
    to.set_undo_refusals(step.undo_refusals);
    to.set_sent_again(step.sent_again);
  }
  saved.set_failed_step(s.failed_step);
  saved.set_why(s.why);
  saved.set_timer_us(s.timer_us);
  saved.set_traceparent(s.traceparent);
  return saved;
}

saga_state saga_fold::from_snapshot(const SagaProgress& saved) {
  state s;
  s.phase = saved.phase();
  s.id = saved.id();
  s.input_type = saved.input_type();
  s.input = saved.input();
  s.steps.reserve(static_cast<std::size_t>(saved.steps_size()));
  for (auto& step : saved.steps()) {
    auto& to = s.steps.emplace_back();
    to.name = step.name();
    to.state = step.state();
    to.attempts = step.attempts();
    to.undo_refusals = step.undo_refusals();
    to.in_doubt = step.in_doubt();
    to.sent_again = step.sent_again();
    to.due_us = step.due_us();
    to.reply_type = step.reply_type();
    to.reply = step.reply();
    to.why = step.why();
    if (is_open(to))
      keep_request(s, step.request());
  }
  s.failed_step = saved.failed_step();
  s.why = saved.why();
  s.timer_us = saved.timer_us();
  s.traceparent = saved.traceparent();
  return s;
}

std::optional<rejection> check_operation(const saga_state& saga, SagaOperated::Action action) {
  auto no = [](std::string code, std::string text) {
    return rejection{std::move(code), std::move(text), {}};
  };
  if (saga.phase == SagaProgress::NOT_STARTED)
    return no("no_such_saga", "there is no saga of this id");
  if (is_final(saga.phase))
    return no("saga_is_final", "the saga has ended: " + SagaProgress::Phase_Name(saga.phase));
  const auto* open = open_step(saga);
  switch (action) {
  case SagaOperated::RETRY:
    if (saga.phase != SagaProgress::STUCK && !(open && is_delayed(*open)))
      return no("nothing_to_retry", "the saga is neither stuck nor waits before a retry");
    return std::nullopt;
  case SagaOperated::SKIP:
    if (saga.phase != SagaProgress::STUCK)
      return no("nothing_to_skip", "only the compensation that a stuck saga cannot do can be skipped");
    return std::nullopt;
  case SagaOperated::ABORT:
    if (saga.phase != SagaProgress::RUNNING)
      return no("already_compensating",
                "the saga is being compensated already; if it is stuck: retry or skip");
    return std::nullopt;
  default:
    return no("unknown_action", "an operator retries, skips or aborts");
  }
}

// -- decisions

namespace {

/// Serialises an event of a saga. Whether it can be parsed again is tried only where it says `why`: that text comes from
/// others. All other text in these events is known to be UTF-8.
template <class Event>
new_event record(const Event& event) {
  if constexpr (requires { event.why(); })
    return serialise(event);
  static const auto schema_version = schema_version_of(*Event::descriptor());
  return {Event::descriptor(), event.SerializeAsString(), schema_version};
}

/// An empty event whose memory is used again; one a thread and type.
template <class Event>
Event& fresh() {
  thread_local Event event;
  event.Clear();
  return event;
}

class data_view final : public saga_data {
public:
  /// The input is valid until this thread makes the next view.
  data_view(const saga_type& type, const saga_state& saga)
      : saga_{saga}
      , input_{parsed(type.input)} {
    if (!input_->ParseFromString(saga.input))
      throw std::runtime_error{"the saga's input does not parse as " + type.input->GetTypeName()};
  }

  const google::protobuf::Message& input() const override { return *input_; }

  void read_reply(std::string_view name, google::protobuf::Message& reply) const override {
    for (auto& step : saga_.steps)
      if (step.name == name && !step.reply_type.empty()) {
        if (step.reply_type != reply.GetTypeName() || !reply.ParseFromString(step.reply))
          throw std::logic_error{"step " + step.name + " replied with " + step.reply_type + ", not with " +
                                 reply.GetTypeName()};
        return;
      }
    throw std::logic_error{"step " + std::string{name} + " has no reply (yet)"};
  }

private:
  /// Where inputs of this type are parsed, one a thread.
  static google::protobuf::Message* parsed(const google::protobuf::Message* type) {
    thread_local std::unordered_map<const google::protobuf::Message*,
                                    std::unique_ptr<google::protobuf::Message>>
        inputs;
    auto& input = inputs[type];
    if (!input)
      input.reset(type->New());
    return input.get();
  }

  const saga_state& saga_;
  google::protobuf::Message* input_;
};

/// Decides one command: each event is evolved at once, and the next one follows from the state.
class saga_decider {
public:
  saga_decider(const saga_type& type, saga_state& saga, const command_context& context, bool& evolving)
      : type_{type}
      , saga_{saga}
      , now_{context.now}
      , traceparent_{context.metadata.traceparent}
      , evolving_{evolving} {
    orders_->set_before(saga.phase);
  }

  void on(const StartSaga& c);
  void on(const SagaAnswered& c);
  void on(const WakeSaga& c);
  void on(const ResumeSaga&);
  void on(const OperateSaga& c);

  decision finish() && {
    orders_->set_phase(saga_.phase);
    orders_->set_changed(!decided_.events.empty());
    if (!saga_.traceparent.empty())
      orders_->set_traceparent(saga_.traceparent);
    decided_.stop = is_final(saga_.phase);
    if (!decided_.rejected)
      decided_.reply = std::move(orders_);
    return std::move(decided_);
  }

private:
  template <class Event>
  void emit(const Event& event) {
    evolving_ = true;
    decided_.events.reserve(2); // most decisions record an outcome and a request
    decided_.events.push_back(record(event));
    saga_fold::evolve(saga_, event);
  }

  void advance();
  void go_forward();
  void go_back();
  /// Without `request`: the recorded one once more.
  void attempt(saga_state::step& step, bool undo, const saga_step* definition,
               std::unique_ptr<SagaRequest> request);
  void attempt_again(saga_state::step& step);
  void on_failure(saga_state::step& step, SagaAnswered::Outcome outcome, const std::string& why);
  void send_again(saga_state::step& step);
  void order(const saga_state::step& step, std::unique_ptr<SagaRequest> request);
  std::int64_t in(std::chrono::milliseconds time) const { return (now_ + time).time_since_epoch().count(); }
  std::int64_t retry_at(const saga_state::step& step, const retry_policy& policy) const;
  const saga_step* definition_of(const std::string& name) const {
    auto i = std::ranges::find(type_.steps, name, &saga_step::name);
    return i == type_.steps.end() ? nullptr : &*i;
  }
  std::unique_ptr<SagaRequest> make(const saga_step& definition, bool undo, std::string& why) const;

  const saga_type& type_;
  saga_state& saga_;
  timestamp now_;
  const std::string& traceparent_;
  bool& evolving_;
  decision decided_;
  std::unique_ptr<SagaOrders> orders_ = std::make_unique<SagaOrders>();
};

void saga_decider::on(const StartSaga& c) {
  if (saga_.phase != SagaProgress::NOT_STARTED) {
    if (saga_.input_type != c.input_type() || saga_.input != c.input())
      decided_.rejected = rejection{"already_started", "the saga was started with another input before", {}};
    return;
  }
  auto& e = fresh<SagaStarted>();
  e.set_id(c.id());
  e.set_input_type(c.input_type());
  e.set_input(c.input());
  e.set_traceparent(traceparent_);
  for (auto& step : type_.steps)
    e.add_steps(step.name);
  emit(e);
  advance();
}

void saga_decider::on(const SagaAnswered& c) {
  auto step = std::ranges::find(saga_.steps, c.step(), &saga_state::step::name);
  if (step == saga_.steps.end() || !is_open(*step) || is_undo(*step) != c.undo()) {
    if (c.must_be_open())
      decided_.rejected =
          rejection{"step_not_open",
                    saga_.phase == SagaProgress::NOT_STARTED ? "there is no saga of this id"
                                                             : "step " + c.step() + " is not open",
                    {}};
    return;
  }
  if (c.outcome() == SagaAnswered::CONFIRMED) {
    if (c.undo()) {
      auto& e = fresh<SagaStepCompensated>();
      e.set_step(c.step());
      emit(e);
    } else {
      auto& e = fresh<SagaStepConfirmed>();
      e.set_step(c.step());
      e.set_reply_type(c.reply_type());
      e.set_reply(c.reply());
      emit(e);
    }
    return advance();
  }
  // What becomes of an attempt that was given up is no news.
  if (c.attempt() != 0 && (c.attempt() != step->attempts || is_delayed(*step)))
    return;
  // Of an attempt that was sent twice, it is said of one time only.
  auto nothing_happened = c.outcome() == SagaAnswered::NOTHING_HAPPENED;
  on_failure(*step, nothing_happened && step->sent_again ? SagaAnswered::IN_DOUBT : c.outcome(), c.why());
}

void saga_decider::on_failure(saga_state::step& step, SagaAnswered::Outcome outcome, const std::string& why) {
  const auto* definition = definition_of(step.name);
  auto undo = is_undo(step);
  retry_policy none{0, {}, {}};
  auto& policy = !definition ? none : undo ? definition->undo_retries : definition->retries;
  auto again = outcome != SagaAnswered::REFUSED && step.attempts <= policy.retries;
  auto in_doubt = outcome == SagaAnswered::IN_DOUBT;
  auto fill = [&](auto e) {
    e.set_step(step.name);
    e.set_why(why);
    if constexpr (requires { e.set_in_doubt(in_doubt); })
      e.set_in_doubt(in_doubt);
    if constexpr (requires { e.set_refused(false); })
      e.set_refused(outcome == SagaAnswered::REFUSED);
    if constexpr (requires { e.set_retry_at_us(0); })
      e.set_retry_at_us(retry_at(step, policy));
    emit(e);
  };
  if (again && undo)
    fill(SagaCompensationDelayed{});
  else if (again)
    fill(SagaStepDelayed{});
  else if (undo)
    fill(SagaCompensationFailed{});
  else
    fill(SagaStepFailed{});
  advance();
}

void saga_decider::on(const WakeSaga& c) {
  if (c.due_us() != saga_.timer_us) {
    // Of an earlier life of the timer: it only has to go.
    decided_.timers.push_back({saga_timer(type_.category, saga_.id), timestamp_of(c.due_us()), {}});
    return;
  }
  now_ = std::max(now_, timestamp_of(c.due_us()));
  auto now = now_.time_since_epoch().count();
  const auto* found = open_step(saga_);
  SagaWoken e;
  if (found && found->due_us > now)
    e.set_next_us(found->due_us);
  emit(e);
  if (!found || found->due_us > now)
    return advance();
  auto& step = step_of(saga_, found->name);
  if (is_delayed(step))
    attempt_again(step);
  else
    on_failure(step, SagaAnswered::IN_DOUBT, "no answer came within the time limit");
}

void saga_decider::on(const ResumeSaga&) {
  if (saga_.phase == SagaProgress::NOT_STARTED)
    return;
  if (const auto* open = open_step(saga_)) {
    if (!is_delayed(*open))
      send_again(step_of(saga_, open->name));
    else if (open->due_us == 0) // an operator wants it now
      attempt_again(step_of(saga_, open->name));
    return;
  }
  advance();
}

void saga_decider::on(const OperateSaga& c) {
  if ((decided_.rejected = check_operation(saga_, c.action())))
    return;
  SagaOperated e;
  e.set_action(c.action());
  e.set_why(c.why());
  emit(e);
  if (const auto* open = open_step(saga_))
    attempt_again(step_of(saga_, open->name));
  else
    advance();
}

void saga_decider::advance() {
  if (saga_.phase == SagaProgress::RUNNING)
    go_forward();
  // What fails without having been requested turns the saga around at once.
  if (saga_.phase == SagaProgress::COMPENSATING)
    go_back();
}

const std::string no_definition = "the saga's definition has no step of this name any more";

void saga_decider::go_forward() {
  for (auto& step : saga_.steps) {
    if (step.state == step_state::CONFIRMED)
      continue;
    if (step.state != step_state::WAITING)
      return;
    const auto* definition = definition_of(step.name);
    std::string why;
    auto request = definition ? make(*definition, false, why) : nullptr;
    if (request)
      return attempt(step, false, definition, std::move(request));
    SagaStepFailed e;
    e.set_step(step.name);
    e.set_why(definition ? why : no_definition);
    return emit(e);
  }
  emit(SagaCompleted{});
}

void saga_decider::go_back() {
  for (auto i = saga_.steps.size(); i-- != 0;) {
    auto& step = saga_.steps[i];
    if (is_open(step))
      return;
    if (!must_be_undone(step))
      continue;
    const auto* definition = definition_of(step.name);
    if (definition && !definition->compensation) {
      SagaStepCompensated e;
      e.set_step(step.name);
      emit(e);
      continue;
    }
    std::string why;
    auto request = definition ? make(*definition, true, why) : nullptr;
    if (request)
      return attempt(step, true, definition, std::move(request));
    SagaCompensationFailed e;
    e.set_step(step.name);
    e.set_why(definition ? why : no_definition);
    return emit(e);
  }
  emit(SagaCompensated{});
}

void saga_decider::attempt(saga_state::step& step, bool undo, const saga_step* definition,
                           std::unique_ptr<SagaRequest> request) {
  auto fill = [&](auto& e) {
    e.set_step(step.name);
    e.set_allocated_request(request.release());
    e.set_deadline_us(in(definition ? definition->limit : std::chrono::milliseconds{1'000}));
    emit(e);
    request.reset(e.release_request());
  };
  if (undo)
    fill(fresh<SagaCompensationRequested>());
  else
    fill(fresh<SagaStepRequested>());
  order(step, std::move(request));
}

void saga_decider::attempt_again(saga_state::step& step) {
  attempt(step, is_undo(step), definition_of(step.name), nullptr);
}

/// That the first time may have had its effect is on record before the second time.
void saga_decider::send_again(saga_state::step& step) {
  if (!is_undo(step) && !step.sent_again) {
    SagaStepRequested e;
    e.set_step(step.name);
    e.set_deadline_us(step.due_us);
    e.set_again(true);
    emit(e);
  }
  order(step, nullptr);
}

void saga_decider::order(const saga_state::step& step, std::unique_ptr<SagaRequest> request) {
  auto* order = orders_->add_requests();
  order->set_step(step.name);
  order->set_undo(is_undo(step));
  order->set_attempt(step.attempts);
  order->set_key(saga_request_key(type_.category, saga_.id, step.name, is_undo(step), step.undo_refusals));
  if (request)
    order->set_allocated_request(request.release());
  else
    copy_request(saga_, *order->mutable_request());
}

std::int64_t saga_decider::retry_at(const saga_state::step& step, const retry_policy& policy) const {
  auto pause = std::chrono::microseconds{policy.backoff};
  for (std::uint32_t i = 1; i < step.attempts && pause < policy.max_backoff; ++i)
    pause *= 2;
  pause = std::min(pause, std::chrono::microseconds{policy.max_backoff});
  auto dice = saga_.id + '/' + step.name;
  pause -= pause *
           static_cast<std::int64_t>(XXH3_64bits_withSeed(dice.data(), dice.size(), step.attempts) % 1'000) /
           2'000;
  return (now_ + pause).time_since_epoch().count();
}

std::unique_ptr<SagaRequest> saga_decider::make(const saga_step& definition, bool undo,
                                                std::string& why) const {
  try {
    data_view data{type_, saga_};
    auto made = undo ? definition.compensation(data) : definition.request(data);
    auto request = std::make_unique<SagaRequest>();
    request->set_target(std::move(made.target));
    if (!is_utf8(made.id))
      throw std::runtime_error{"the id of its entity is not UTF-8"};
    if (!made.id.empty())
      request->set_id(std::move(made.id));
    request->set_type(made.command->GetDescriptor()->full_name());
    if (!made.command->SerializeToString(request->mutable_content()))
      throw std::runtime_error{"it lacks required fields"};
    return request;
  } catch (const std::exception& e) {
    why = std::string{"the request cannot be made: "} + e.what();
  } catch (...) {
    why = "the request cannot be made: something that is no std::exception was thrown";
  }
  return nullptr;
}

template <class Command>
bool try_on(saga_decider& decider, const google::protobuf::Message& command) {
  if (typeid(command) != typeid(Command))
    return false;
  decider.on(static_cast<const Command&>(command));
  return true;
}

template <class Command>
entity_type::command command_row(const google::protobuf::Message* reply, saga_decide_function decide) {
  return {&Command::default_instance(), &typeid(Command), reply, decide};
}

} // namespace

decision decide_saga(const saga_type& type, void* state, const google::protobuf::Message& command,
                     const command_context& context, bool& evolving) {
  evolving = false;
  auto& saga = *static_cast<saga_state*>(state);
  if (typeid(command) == typeid(InspectSaga)) {
    decision d;
    if (static_cast<const InspectSaga&>(command).phase_only()) {
      auto orders = std::make_unique<SagaOrders>();
      orders->set_phase(saga.phase);
      d.reply = std::move(orders);
    } else {
      d.reply = std::make_unique<SagaProgress>(saga_fold::to_snapshot(saga));
    }
    return d;
  }
  auto timer = saga.timer_us;
  saga_decider decider{type, saga, context, evolving};
  static_cast<void>(try_on<SagaAnswered>(decider, command) || try_on<StartSaga>(decider, command) ||
                    try_on<WakeSaga>(decider, command) || try_on<ResumeSaga>(decider, command) ||
                    try_on<OperateSaga>(decider, command));
  auto decided = std::move(decider).finish();
  if (saga.timer_us != timer)
    decided.timers.push_back(
        {saga_timer(type.category, saga.id), timestamp_of(timer), timestamp_of(saga.timer_us)});
  return decided;
}

void complete_saga(saga_type& type, std::span<entity_type::command> rows, saga_decide_function decide) {
  std::string wrong;
  auto complain = [&](const std::string& text) { wrong += (wrong.empty() ? "" : "; ") + text; };
  if (type.steps.empty())
    complain("it has no steps");
  std::set<std::string> names;
  for (auto& step : type.steps) {
    auto name = "step \"" + step.name + '"';
    if (step.name.empty() || step.name.size() > 64 || step.name.find('/') != std::string::npos)
      complain("the name of " + name + " has not 1 to 64 bytes without a slash");
    if (!is_utf8(step.name) || !is_utf8(step.target) || !is_utf8(step.undo_target))
      complain("the name of " + name + ", or of whom it asks, is not UTF-8");
    if (step.name == "undo" || step.name.starts_with("undo#"))
      complain("the name of " + name + " is that of a compensation in idempotency keys");
    if (!names.insert(step.name).second)
      complain(name + " is there twice");
    if (!step.request)
      complain(name + " has no request");
    if (step.limit <= std::chrono::milliseconds::zero())
      complain(name + " has no time limit: within(...)");
    for (auto* policy : {&step.retries, &step.undo_retries})
      if (policy->backoff < std::chrono::milliseconds::zero() || policy->max_backoff < policy->backoff)
        complain(name + " has a retry policy with a negative pause, or with one above the largest");
    if (!step.classify)
      complain(name + " has an empty function for classify(...)");
  }
  if (!wrong.empty())
    throw std::logic_error{"eventcore: the saga " + std::string{type.category} + " cannot run: " + wrong};
  static fold_table<saga_fold> table;
  static_cast<fold_type&>(type.entity) = table.type;
  type.entity.category = type.category;
  auto* orders = &SagaOrders::default_instance();
  auto row = rows.begin();
  *row++ = command_row<StartSaga>(orders, decide);
  *row++ = command_row<SagaAnswered>(orders, decide);
  *row++ = command_row<WakeSaga>(orders, decide);
  *row++ = command_row<ResumeSaga>(orders, decide);
  *row++ = command_row<OperateSaga>(orders, decide);
  *row++ = command_row<InspectSaga>(&SagaProgress::default_instance(), decide);
  type.entity.commands = rows;
}

} // namespace internal
} // namespace eventcore
