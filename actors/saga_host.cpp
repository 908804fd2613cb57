#include <eventcore/actors/saga_host.hpp>

#include <eventcore/actors/internal/ask.hpp>
#include <eventcore/actors/internal/saga_actor.hpp>
#include <eventcore/actors/internal/saga_engine.hpp>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace eventcore {

namespace {

using internal::is_final;

error rejected(rejection why) {
  auto e = make_error(entity_errc::rejected, std::move(why.message));
  e.with_reason(std::move(why.code), std::move(why.details));
  return e;
}

saga_status status_of(const SagaProgress& saga) {
  saga_status status;
  status.id = saga.id();
  status.phase = internal::to_phase(saga.phase());
  for (auto& step : saga.steps()) {
    auto state = SagaProgress::Step::State_Name(step.state());
    std::ranges::transform(state, state.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    status.steps.push_back({step.name(), std::move(state), step.attempts(), step.in_doubt(), step.why()});
  }
  status.failed_step = saga.failed_step();
  status.why = saga.why();
  status.due = timestamp{std::chrono::microseconds{saga.timer_us()}};
  return status;
}

result<saga_phase> phase_in(const result<caf::message>& answer) {
  if (!answer)
    return answer.error();
  return answer->get_as<saga_phase>(0);
}

} // namespace

std::string_view to_string(saga_phase phase) noexcept {
  switch (phase) {
  case saga_phase::not_started:
    return "not started";
  case saga_phase::running:
    return "running";
  case saga_phase::compensating:
    return "compensating";
  case saga_phase::stuck:
    return "stuck";
  case saga_phase::completed:
    return "completed";
  case saga_phase::compensated:
    return "compensated";
  }
  return "unknown";
}

std::string_view to_string(saga_action action) noexcept {
  switch (action) {
  case saga_action::retry:
    return "retry";
  case saga_action::skip:
    return "skip";
  case saga_action::abort:
    return "abort";
  }
  return "unknown";
}

std::optional<saga_action> saga_action_of(std::string_view text) noexcept {
  for (auto action : {saga_action::retry, saga_action::skip, saga_action::abort})
    if (text == to_string(action))
      return action;
  return std::nullopt;
}

struct saga_handle::impl {
  caf::actor_system* system;
  caf::actor actor;
  const saga_type* type;

  result<caf::message> ask(caf::message request, std::chrono::nanoseconds within) const {
    return internal::ask_and_wait(*system, actor, std::move(request), internal::bounded(within));
  }
};

result<saga_phase> saga_handle::start(std::string_view id, std::unique_ptr<google::protobuf::Message> input,
                                      std::chrono::nanoseconds within, command_context context) const {
  within = internal::bounded(within);
  context.deadline = std::min(context.deadline, impl_->system->clock().now() + within);
  return phase_in(impl_->ask(
      internal::make_command_message(std::string{id}, std::move(context), std::move(input)), within));
}

result<saga_phase> saga_handle::confirm(std::string_view id, std::string_view step,
                                        std::unique_ptr<google::protobuf::Message> reply,
                                        std::chrono::nanoseconds within) const {
  auto command = std::make_shared<SagaAnswered>();
  command->set_step(std::string{step});
  command->set_must_be_open(true);
  if (reply) {
    command->set_reply_type(reply->GetTypeName());
    reply->SerializePartialToString(command->mutable_reply());
  }
  return phase_in(
      impl_->ask(caf::make_message(internal::saga_order{std::string{id}, std::move(command)}), within));
}

result<saga_phase> saga_handle::fail(std::string_view id, std::string_view step, std::string why,
                                     std::chrono::nanoseconds within) const {
  auto command = std::make_shared<SagaAnswered>();
  command->set_step(std::string{step});
  command->set_must_be_open(true);
  command->set_outcome(SagaAnswered::REFUSED);
  command->set_why(std::move(why));
  return phase_in(
      impl_->ask(caf::make_message(internal::saga_order{std::string{id}, std::move(command)}), within));
}

result<saga_status> saga_handle::status(std::string_view id, std::chrono::nanoseconds within) const {
  auto answer = impl_->ask(caf::make_message(internal::get_saga{std::string{id}}), within);
  if (!answer)
    return answer.error();
  return internal::status_in(*answer);
}

result<saga_phase> saga_handle::finished(std::string_view id, std::chrono::nanoseconds within) const {
  const auto until = impl_->system->clock().now() + internal::bounded(within);
  return phase_in(impl_->ask(caf::make_message(await_saga{std::string{id}, until}), within));
}

result<saga_phase> saga_handle::operate(std::string_view id, saga_action action, std::string why,
                                        std::chrono::nanoseconds within) const {
  auto command = std::make_shared<OperateSaga>();
  command->set_action(static_cast<SagaOperated::Action>(action));
  command->set_why(std::move(why));
  return phase_in(
      impl_->ask(caf::make_message(internal::saga_order{std::string{id}, std::move(command)}), within));
}

result<saga_stats> saga_handle::stats(std::chrono::nanoseconds within) const {
  auto answer = impl_->ask(caf::make_message(internal::get_stats{}), within);
  if (!answer)
    return answer.error();
  return answer->get_as<saga_stats>(0);
}

saga_status internal::status_in(caf::message& answer) {
  auto reply = take_reply(answer);
  const auto* saga = dynamic_cast<SagaProgress*>(reply.get());
  if (!saga)
    throw std::logic_error{"the answer is no saga's state: " + caf::to_string(answer)};
  return status_of(*saga);
}

caf::actor actor_of(const saga_handle& sagas) {
  return sagas.content().actor;
}

// -- without a running saga

namespace {

const fold_type& saga_fold_type() {
  return fold_type_of<internal::saga_fold>();
}

/// The state of a saga's stream, and the stream's version.
result<std::pair<internal::saga_state, stream_version>> fold_saga(journal_reader& journal,
                                                                  const stream_id& stream) {
  internal::saga_state saga;
  stream_cursor cursor{stream};
  event_page page;
  for (;;) {
    if (auto done = journal.read_stream(cursor, page); !done)
      return done.error();
    if (page.empty())
      return std::pair{std::move(saga), cursor.next - 1};
    for (auto& event : page) {
      auto row = std::ranges::find_if(saga_fold_type().events,
                                      [&](auto& r) { return r.prototype->GetTypeName() == event.type; });
      if (row == saga_fold_type().events.end())
        continue; // the carrier of an answer
      try {
        if (row->replay(&saga, event.payload))
          continue;
      } catch (const std::exception&) {
      }
      return make_error(entity_errc::recovery_failed, "stream " + stream.str() + " is no saga's: event " +
                                                          std::to_string(event.version) + " at position " +
                                                          std::to_string(event.position) + " of type " +
                                                          event.type + " cannot be applied");
    }
  }
}

error no_such_saga(const stream_id& stream) {
  return rejected({"no_such_saga", "there is no saga " + stream.str(), {}});
}

} // namespace

result<std::vector<unfinished_saga>> list_unfinished_sagas(journal_reader& journal, durable_timer& after,
                                                           std::size_t limit) {
  std::vector<unfinished_saga> sagas;
  while (sagas.empty()) {
    auto timers = journal.read_timers(after, timestamp::max(), limit);
    if (!timers)
      return timers.error();
    if (timers->empty())
      break;
    after = timers->back();
    for (auto& timer : *timers)
      if (auto saga = internal::saga_of_timer(timer.name))
        sagas.push_back({std::string{saga->first}, std::string{saga->second}, timer.due});
  }
  return sagas;
}

result<std::vector<std::string>> list_unfinished_sagas(journal_reader& journal, std::string_view category,
                                                       durable_timer& after, std::size_t limit) {
  std::vector<std::string> ids;
  while (ids.empty()) {
    auto sagas = list_unfinished_sagas(journal, after, limit);
    if (!sagas)
      return sagas.error();
    if (sagas->empty())
      break;
    for (auto& saga : *sagas)
      if (saga.category == category)
        ids.push_back(std::move(saga.id));
  }
  return ids;
}

result<bool> has_sagas(journal_reader& journal, std::string_view category) {
  const auto& started = SagaStarted::descriptor()->full_name();
  auto types = journal.event_types();
  if (!types)
    return types.error();
  auto type = std::ranges::find(*types, started, &event_type_info::name);
  if (type == types->end())
    return false;
  auto head = journal.head();
  if (!head)
    return head.error();
  const log_filter filter{{std::string{category}}, {started}};
  event_page page;
  for (auto next = type->first_position; next <= *head;) {
    auto read = journal.read_log(next, page, filter, {.events = 1'024});
    if (!page.empty())
      return true;
    if (!read && read.error().code() != journal_errc::corrupt)
      return read.error();
    if (!read)
      ++next;
  }
  return false;
}

result<saga_status> read_saga(journal_reader& journal, std::string_view category, std::string_view id) {
  auto stream = stream_id::of(category, id);
  if (!stream)
    return stream.error();
  auto folded = fold_saga(journal, *stream);
  if (!folded)
    return folded.error();
  if (folded->first.phase == SagaProgress::NOT_STARTED)
    return no_such_saga(*stream);
  return status_of(internal::saga_fold::to_snapshot(folded->first));
}

result<void> operate_saga(journal& journal, std::string_view category, std::string_view id,
                          saga_action action, std::string why) {
  auto stream = stream_id::of(category, id);
  if (!stream)
    return stream.error();
  auto folded = fold_saga(journal, *stream);
  if (!folded)
    return folded.error();
  auto wanted = static_cast<SagaOperated::Action>(action);
  if (auto no = internal::check_operation(folded->first, wanted))
    return rejected(std::move(*no));
  SagaOperated e;
  e.set_action(wanted);
  e.set_why(std::move(why));
  commit c;
  c.appends.push_back({*stream, expected_version::exact(folded->second), {internal::serialise(e)}});
  if (auto done = journal.commit_and_wait(std::move(c)); !done)
    return done.error();
  return {};
}

// -- the start

saga_handle internal::start_sagas(caf::actor_system& system, journal& journal, const saga_type& type,
                                  std::shared_ptr<const host_directory> hosts, const caf::actor& timers,
                                  const saga_options& options, host_handle& persistent_part,
                                  std::function<timestamp()> now) {
  std::string missing;
  for (auto& step : type.steps)
    for (auto& target : std::set{step.target, step.undo_target})
      if (!target.empty() && !hosts->find_participant(target))
        missing += (missing.empty() ? "" : ", ") + target + " (step " + step.name + ")";
  if (!missing.empty())
    throw std::logic_error{"eventcore: the saga " + std::string{type.category} +
                           " cannot run: nobody takes its requests to " + missing +
                           "; host these deciders or add these participants first"};
  persistent_part = start_host(system, journal, type.entity, options.host, std::move(now));
  return saga_handle{std::make_shared<saga_handle::impl>(saga_handle::impl{
      &system,
      system.spawn<saga_actor>(std::cref(type), std::ref(journal), actor_of(persistent_part),
                               std::move(hosts), timers, options),
      &type})};
}

} // namespace eventcore
