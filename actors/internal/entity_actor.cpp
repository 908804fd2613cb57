#include <eventcore/actors/internal/entity_actor.hpp>

#include <eventcore/actors/log_scope.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace eventcore::internal {

namespace {

constexpr std::size_t recovery_chunk_bytes = 1u << 20;

/// Nobody's later commit can succeed while this lasts: followers share the fate of the first one.
bool stops_all_writes(const error& e) {
  return e.code() == journal_errc::disk_full || e.code() == journal_errc::closed;
}

/// Of a command that was decided.
const std::vector<cursor_move>& cursors_of(const command_record& record) {
  return view_command(record.content)->context->cursors;
}

bool lost_to_others(const error& e) {
  return e.code() == journal_errc::conflict || e.code() == journal_errc::epoch_closed;
}

} // namespace

std::size_t row_of(const entity_type& type, const std::type_info& command) {
  for (std::size_t row = 0; row != type.commands.size(); ++row)
    if (type.commands[row].cpp_type == &command)
      return row;
  // A type has several type_info objects where several shared libraries define it.
  for (std::size_t row = 0; row != type.commands.size(); ++row)
    if (*type.commands[row].cpp_type == command)
      return row;
  return type.commands.size();
}

// -- log_limiter

std::optional<std::uint64_t> log_limiter::admit() {
  auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  auto next = next_.load(std::memory_order_relaxed);
  auto pause =
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::seconds{1}).count();
  if (now < next || !next_.compare_exchange_strong(next, now + pause, std::memory_order_relaxed)) {
    suppressed_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  return suppressed_.exchange(0, std::memory_order_relaxed);
}

void log_unheard(const entity_env& env, std::string_view id, const error& e) {
  if (e.code() == entity_errc::rejected) {
    SPDLOG_DEBUG("{}-{}: rejected: {}", env.type.category, id, e.message());
    return;
  }
  if (auto suppressed = env.warnings.admit())
    spdlog::warn("{}-{}: a command that nobody waits for failed: {}: {}{}", env.type.category, id,
                 e.code().message(), e.message(),
                 *suppressed > 0
                     ? fmt::format(" (and {} more such failures since the last message)", *suppressed)
                     : "");
}

std::optional<error> find_moved(journal_reader& journal, const std::vector<cursor_move>& cursors) {
  for (auto& move : cursors)
    if (auto found = journal.load_cursor(move.name); found && *found != move.expected)
      return make_error(entity_errc::conflict, "cursor " + move.name + " stands at position " +
                                                   std::to_string(*found) + ", not at " +
                                                   std::to_string(move.expected) + "; nothing was written");
  return std::nullopt;
}

void save_snapshot(const entity_env& env, const stream_id& stream, snapshot s) {
  if (s.state.size() <= env.options.snapshots.max_bytes) {
    ++env.snapshots_saved;
    env.journal.save_snapshot(stream, std::move(s), env.options.snapshots.keep);
    return;
  }
  ++env.snapshots_too_large;
  if (env.snapshot_warnings.admit())
    spdlog::warn(
        "the state of {} at version {} is not saved: it has {} bytes, and a snapshot has at most {}; raise "
        "snapshots.max_bytes, or make the state smaller",
        stream.str(), s.version, s.state.size(), env.options.snapshots.max_bytes);
}

// -- commit_outcomes

void commit_outcomes::on_commit(std::uint64_t ticket, const result<committed>& outcome) noexcept {
  std::lock_guard guard{mutex_};
  ++batch_.answered;
  if (outcome) {
    if (ticket >= batch_.succeeded_through) {
      batch_.succeeded_through = ticket;
      batch_.last_position = outcome->last;
    }
    if (ticket == watched_)
      batch_.watched_position = outcome->last;
  } else
    batch_.failures.emplace_back(ticket, outcome.error());
  if (!std::exchange(told_, true))
    if (auto entity = caf::actor_cast<caf::actor>(entity_))
      caf::anon_send(entity, commits_done{});
}

commit_outcomes::batch commit_outcomes::take() {
  std::lock_guard guard{mutex_};
  told_ = false;
  batch result{std::exchange(batch_.answered, 0), batch_.succeeded_through,
               std::exchange(batch_.failures, {}), batch_.last_position, batch_.watched_position};
  std::ranges::sort(result.failures, {}, [](const auto& failure) { return failure.first; });
  return result;
}

void commit_outcomes::watch(std::uint64_t ticket) {
  std::lock_guard guard{mutex_};
  watched_ = ticket;
  batch_.watched_position = 0;
}

void commit_outcomes::detach() {
  std::lock_guard guard{mutex_};
  entity_ = nullptr;
}

// -- entity_actor

entity_actor::entity_actor(caf::actor_config& config, std::shared_ptr<const entity_env> env, stream_id stream,
                           bool permit)
    : caf::event_based_actor{config}
    , entity_activation{std::move(stream), phase::awaiting_permit, permit}
    , env_{std::move(env)} {}

entity_actor::~entity_actor() = default;

caf::behavior entity_actor::make_behavior() {
  set_default_handler([](caf::scheduled_actor* self, caf::message_view&) -> caf::result<caf::message> {
    static_cast<entity_actor*>(self)->on_command(*self->current_mailbox_element());
    return caf::delegated<caf::message>{};
  });
  set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  set_down_handler([](caf::scheduled_actor*, caf::down_msg&) {});
  set_exit_handler([](caf::scheduled_actor*, caf::exit_msg&) {});
  set_exception_handler([](caf::scheduled_actor* self, std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      spdlog::error("entity {} ends after an unexpected exception: {}",
                    static_cast<entity_actor*>(self)->stream_.str(), e.what());
    } catch (...) {
      spdlog::error("entity {} ends after an unexpected exception",
                    static_cast<entity_actor*>(self)->stream_.str());
    }
    return caf::make_error(caf::exit_reason::unhandled_exception);
  });
  if (permit_)
    start_reading();
  return {
      [this](commits_done) { on_commits_done(); },
      [this](continue_recovery) {
        if (phase_ == phase::recovering)
          recover();
      },
      [this](permit_granted) {
        if (phase_ == phase::left)
          return;
        permit_ = true;
        if (phase_ == phase::awaiting_permit)
          start_reading();
        else
          return_permit();
      },
      [this](leave_order) { on_leave(); },
      [this](begin_stream& next) {
        static_cast<entity_activation&>(*this) = {std::move(next.stream), phase::awaiting_permit,
                                                  next.permit};
        if (permit_)
          start_reading();
      },
      [this](drain_order) {
        if (phase_ == phase::left)
          return;
        drain_wanted_ = true;
        report_if_drained();
      },
      [this](const stream_changed& news) -> caf::result<void> {
        notices_.emplace_back(*current_mailbox_element());
        on_stream_changed(news.version);
        return caf::delegated<void>{};
      },
      [this](stop_order how) { on_stop(how); },
  };
}

// -- commands

void entity_actor::on_command(caf::mailbox_element& element) {
  auto record = std::make_unique<command_record>();
  record->content = element.move_content_to_message();
  record->to = reply_address{element};
  if (env_->metrics)
    record->arrived = std::chrono::steady_clock::now();
  if (stopping_)
    return refuse(*record, entity_errc::stopped,
                  "the node is stopping; send the command again when it is back");
  if (phase_ == phase::failed && clock().now() < retry_at_)
    return refuse(*record, entity_errc::recovery_failed, *recovery_failure_);
  if (waiting_.empty() && can_decide()) {
    take_up(std::move(record));
    leave_if_wanted();
    return;
  }
  waiting_.push(std::move(record));
  if (phase_ == phase::failed)
    begin_recovery();
}

bool entity_actor::can_decide() {
  // The journal closes an epoch before its outcomes arrive here: what is decided from then on is in vain.
  if (phase_ == phase::running && epoch_ && epoch_->closed())
    drain();
  return phase_ == phase::running;
}

void entity_actor::take_up_waiting() {
  while (!waiting_.empty() && can_decide())
    take_up(waiting_.pop());
  if (phase_ == phase::running)
    answer_notices();
  leave_if_wanted();
  report_if_drained();
}

void entity_actor::take_up(std::unique_ptr<command_record> record) {
  auto depends_on = decide(*record);
  if (depends_on == basis::nothing) {
    answer(*record);
  } else if (record->ticket != 0 || !pending_.empty()) {
    // Queries and rejections, too, saw what the commits in flight will make true, or not.
    pending_.push(std::move(record));
  } else if (is_up_to_date()) {
    answer(*record);
  } else {
    record->forget_decision();
    record_queue again;
    again.push(std::move(record));
    again.append(std::move(waiting_));
    waiting_ = std::move(again);
    return depends_on == basis::broken_state ? begin_recovery() : catch_up();
  }
  if (depends_on == basis::broken_state)
    drain();
}

bool entity_actor::is_up_to_date() {
  if (!env_->options.check_head)
    return true;
  auto head = env_->journal.head_of(stream_);
  return head && head->version == state_->version;
}

entity_actor::basis entity_actor::decide(command_record& record) {
  auto no = [&](entity_errc code, std::string message) {
    record.failure = std::make_unique<error>(make_error(code, std::move(message)));
    return basis::nothing;
  };
  auto view = view_command(record.content);
  if (!view)
    return no(entity_errc::unknown_command, "an entity takes (id, command), not " + describe(record.content));
  if (view->context && view->context->deadline != std::chrono::steady_clock::time_point::max() &&
      clock().now() > view->context->deadline)
    return no(entity_errc::deadline_exceeded,
              "the deadline had passed when the command's turn came at " + stream_.str());
  const auto row = view->type ? row_of(env_->type, *view->type) : env_->type.commands.size();
  if (row == env_->type.commands.size())
    return no(entity_errc::unknown_command, "the decider of category " + std::string{env_->type.category} +
                                                " has no decide() for " + describe(record.content));
  record.row = static_cast<std::uint32_t>(row);
  const auto* command = &env_->type.commands[row];
  static thread_local command_context changed; // keeps its memory
  const auto* context = &complete(record, row, view->context, changed);
  std::uint64_t fingerprint = 0;
  if (!context->idempotency_key.empty()) {
    if (auto wrong = check_idempotency_key(context->idempotency_key)) {
      record.failure = std::make_unique<error>(std::move(*wrong));
      return basis::nothing;
    }
    if (is_repeat(record, *command, *view, context->now, fingerprint))
      return basis::state;
  }
  auto credit = env_->journal.reserve();
  if (!credit)
    return no(credit.error().code() == journal_errc::overloaded ? entity_errc::overloaded
                                                                : entity_errc::not_persisted,
              credit.error().message());

  auto evolving = false;
  auto thrown = [&](const char* what) {
    record.failure = std::make_unique<error>(make_error(
        entity_errc::decider_failed, "the decider of " + stream_.str() + " threw an exception on " +
                                         command->prototype->GetTypeName() + ": " + what));
    return evolving ? basis::broken_state : basis::state;
  };
  decision decided;
  log_scope scope{stream_.str(), 0, context->metadata.traceparent};
  try {
    decided = command->decide(state_->get(), *static_cast<const google::protobuf::Message*>(view->command),
                              *context, evolving);
  } catch (const std::exception& e) {
    return thrown(e.what());
  } catch (...) {
    return thrown("something that is no std::exception");
  }
  stream_append append{stream_, expected_version::exact(state_->version), std::move(decided.events)};
  if (record.span)
    record.span->events = append.events.size();
  if (fingerprint != 0) {
    append.answer = {
        context->idempotency_key,
        encode_answer(fingerprint, decided.reply.get(), decided.rejected ? &*decided.rejected : nullptr)};
    if (append.events.empty())
      append.events.push_back(answer_carrier());
  }
  record.reply = std::move(decided.reply);
  record.stop = decided.stop;
  if (decided.rejected) {
    auto& why = *decided.rejected;
    record.failure = std::make_unique<error>(make_error(entity_errc::rejected, std::move(why.message)));
    record.failure->with_reason(std::move(why.code), std::move(why.details));
  }
  if (!append.events.empty() || !decided.timers.empty() || !context->cursors.empty())
    submit(record, std::move(append), std::move(decided.timers), *context, std::move(*credit));
  return basis::state;
}

bool entity_actor::is_repeat(command_record& record, const entity_type::command& command,
                             const command_view& view, timestamp now, std::uint64_t& fingerprint) {
  auto& key = view.context->idempotency_key;
  fingerprint = fingerprint_of(*static_cast<const google::protobuf::Message*>(view.command));
  auto content = state_->find_answer(env_->options.answers, key, now);
  if (!content)
    return false;
  auto first = decode_answer(*content, key, fingerprint, command.reply);
  record.reply = std::move(first.reply);
  record.failure = std::move(first.failure);
  return true;
}

const command_context& entity_actor::complete(command_record& record, std::size_t row,
                                              const command_context* context,
                                              command_context& changed) const {
  static const command_context none;
  const auto& given = context ? *context : none;
  bool is_no_trace = false;
  if (env_->traces()) {
    if (!std::exchange(record.looked_for_trace, true))
      record.span = env_->telemetry->begin(given.metadata, env_->begins_trace[row]);
    is_no_trace = !record.span && !given.metadata.traceparent.empty() &&
                  !trace_context::parse(given.metadata.traceparent);
  }
  if (given.now != timestamp{} && !record.span && !is_no_trace)
    return given;
  changed = given;
  if (given.now == timestamp{})
    changed.now = env_->now();
  if (record.span)
    changed.metadata.traceparent = record.span->context.str();
  else if (is_no_trace)
    changed.metadata.traceparent.clear();
  return changed;
}

void entity_actor::submit(command_record& record, stream_append append, std::vector<timer_change> timers,
                          const command_context& context, writer_credit credit) {
  if (!epoch_)
    epoch_ = std::make_shared<writer_epoch>();
  if (!outcomes_)
    outcomes_ = std::make_shared<commit_outcomes>(caf::weak_actor_ptr{ctrl()});
  state_->version += append.events.size();
  if (!append.answer.key.empty())
    state_->remember(env_->options.answers, append.answer.key, append.answer.content, context.now);
  commit c;
  c.appends.push_back(std::move(append));
  c.cursors = context.cursors;
  c.timers = std::move(timers);
  c.metadata = context.metadata;
  c.occurred_at = context.now;
  c.epoch = epoch_;
  record.ticket = ++last_ticket_;
  record.moves_cursors = !context.cursors.empty();
  ++in_flight_;
  take_snapshot_if_due();
  env_->journal.submit(std::move(c), std::move(credit), outcomes_, record.ticket);
}

// -- answers

void entity_actor::answer(command_record& record) {
  if (env_->metrics || record.span)
    observe(record);
  if (record.to.is_request()) {
    auto message = record.failure ? caf::make_message(to_caf_error(*record.failure))
                   : record.reply ? make_reply_message(std::move(record.reply))
                                  : caf::message{};
    record.to.deliver(caf::actor_cast<caf::strong_actor_ptr>(env_->host), std::move(message), context());
  } else if (record.failure) {
    log_unheard(*env_, id(), *record.failure);
  }
  leave_wanted_ = leave_wanted_ || record.stop;
  backlog.remove();
}

void entity_actor::observe(const command_record& record) const {
  std::size_t row = record.row;
  if (record.row == command_record::no_row) {
    const auto view = view_command(record.content); // it was refused undecided
    row = view && view->type ? row_of(env_->type, *view->type) : env_->type.commands.size();
  }
  if (env_->metrics)
    env_->metrics->commands[row].count(std::chrono::steady_clock::now() - record.arrived,
                                       record.failure.get());
  if (record.span)
    env_->telemetry->end(*record.span, env_->type.commands[row].prototype->GetTypeName(), stream_.str(),
                         record.failure.get());
}

void entity_actor::refuse(command_record& record, entity_errc code, std::string message) {
  record.failure = std::make_unique<error>(make_error(code, std::move(message)));
  record.stop = false;
  answer(record);
}

void entity_actor::refuse_all(record_queue& records, entity_errc code, const std::string& message) {
  while (auto record = records.pop())
    refuse(*record, code, message);
}

// -- commits

void entity_actor::on_commits_done() {
  if (!outcomes_)
    return;
  auto batch = outcomes_->take();
  in_flight_ -= batch.answered;
  save_taken_snapshot(batch);
  if (state_ && in_flight_ == 0 && batch.failures.empty() && batch.succeeded_through == last_ticket_)
    state_->position = batch.last_position;
  auto* record = pending_.front();
  for (auto& [ticket, why] : batch.failures) {
    while (record->ticket != ticket)
      record = record->next.get();
    record->commit_failure = std::make_unique<error>(std::move(why));
  }
  while (auto* first = pending_.front()) {
    if (first->commit_failure || first->ticket > batch.succeeded_through)
      break;
    answer(*pending_.pop());
  }
  if (phase_ == phase::draining && in_flight_ == 0)
    return finish_draining();
  if (phase_ == phase::running && !batch.failures.empty())
    return drain();
  if (stopping_ && idle()) {
    save_last_snapshot();
    return quit();
  }
  leave_if_wanted();
  report_if_drained();
}

void entity_actor::drain() {
  phase_ = phase::draining;
  if (std::exchange(taken_, nullptr))
    saved_version_ = 0;
  if (in_flight_ == 0)
    finish_draining();
}

void entity_actor::finish_draining() {
  record_queue again;
  std::unique_ptr<error> cause; // of the first failure
  while (auto record = pending_.pop()) {
    auto why = std::move(record->commit_failure);
    if (!why && (record->ticket != 0 || !cause)) {
      answer(*record);
      continue;
    }
    if (!cause)
      cause = std::make_unique<error>(*why);
    if (why && why->code() == journal_errc::outcome_unknown) {
      refuse(*record, entity_errc::outcome_unknown, why->message());
    } else if (why && !lost_to_others(*why)) {
      refuse(*record,
             why->code() == journal_errc::not_owned ? entity_errc::not_owned : entity_errc::not_persisted,
             why->message());
    } else if (why && stops_all_writes(*cause)) {
      refuse(*record, entity_errc::not_persisted, cause->message());
    } else if (auto moved =
                   record->moves_cursors ? find_moved(env_->journal, cursors_of(*record)) : std::nullopt) {
      record->failure = std::make_unique<error>(*std::move(moved));
      answer(*record);
    } else {
      lost_once_ = true;
      // What has no commit of its own goes with those that have, so its rounds are bounded, too.
      if (record->ticket != 0 && cause->code() == journal_errc::conflict)
        ++record->conflicts;
      record->forget_decision();
      if (record->conflicts > env_->options.max_redecisions)
        refuse(*record, entity_errc::conflict,
               "the command lost " + std::to_string(record->conflicts) + " times against other writers of " +
                   stream_.str() + "; try again, and see to it that a stream has one writer");
      else
        again.push(std::move(record));
    }
  }
  again.append(std::move(waiting_));
  waiting_ = std::move(again);
  if (stopping_) {
    refuse_all(waiting_, entity_errc::stopped,
               "the node is stopping; send the command again when it is back");
    return quit();
  }
  begin_recovery();
}

// -- recovery

void entity_actor::begin_recovery() {
  phase_ = phase::awaiting_permit;
  state_.reset();
  if (permit_)
    start_reading();
  else
    report(entity_news::permit_wanted);
}

void entity_actor::start_reading() {
  phase_ = phase::recovering;
  try {
    if (base_ && base_->version >= saved_version_)
      state_.emplace(base_->clone());
    else
      state_.emplace(
          restore(env_->journal, stream_, env_->type, env_->options.answers, [this](const auto& why) {
            ++env_->snapshots_passed_over;
            if (env_->snapshot_warnings.admit())
              spdlog::warn("{}", why);
          }));
  } catch (const std::exception& e) {
    return fail_recovery(std::string{"making a state threw an exception: "} + e.what());
  } catch (...) {
    return fail_recovery("making a state threw something that is no std::exception");
  }
  saved_version_ = std::max(saved_version_, state_->version);
  catch_up();
}

void entity_actor::catch_up() {
  phase_ = phase::recovering;
  cursor_ = std::make_unique<stream_cursor>(stream_cursor{stream_, state_->version + 1, state_->position});
  recover();
}

void entity_actor::recover() {
  static thread_local event_page page; // keeps its memory; one for all entities of a thread
  // Most streams end on their first page; the second read finds that out.
  for (auto reads = 0; reads != 2; ++reads) {
    auto read =
        env_->journal.read_stream(*cursor_, page, {env_->options.recovery_chunk, recovery_chunk_bytes});
    if (!read)
      return fail_recovery(read.error().message());
    if (page.empty())
      return become_ready();
    for (const auto& event : page)
      if (auto why = state_->apply(event, env_->options.answers))
        return fail_recovery("event " + std::to_string(event.version) + " at position " +
                             std::to_string(event.position) + " of type " + event.type + ' ' + *why);
    if (page.size() == env_->options.recovery_chunk)
      break;
  }
  send(this, continue_recovery{});
}

void entity_actor::become_ready() {
  recovered_version_ = state_->version;
  cursor_.reset();
  epoch_.reset();
  recovery_failure_.reset();
  backoff_ = {};
  if (std::exchange(lost_once_, false) && state_->can_clone()) {
    try {
      base_ = std::make_unique<fold_state>(state_->clone());
    } catch (...) {
      base_.reset(); // the next recovery begins elsewhere
    }
  }
  phase_ = phase::running;
  return_permit();
  take_up_waiting();
}

void entity_actor::fail_recovery(std::string why) {
  phase_ = phase::failed;
  state_.reset();
  base_.reset();
  cursor_.reset();
  backoff_ = std::min(std::max(backoff_ * 2, env_->options.backoff), env_->options.max_backoff);
  retry_at_ = clock().now() + backoff_;
  recovery_failure_ = std::make_unique<std::string>("stream " + stream_.str() + " cannot be rebuilt: " + why);
  spdlog::error("{}; tried again at the first command after {} ms", *recovery_failure_, backoff_.count());
  return_permit();
  answer_notices();
  refuse_all(waiting_, entity_errc::recovery_failed, *recovery_failure_);
  report_if_drained();
}

// -- snapshots

void entity_actor::take_snapshot_if_due() {
  auto every = env_->options.snapshots.every;
  if (!env_->type.snapshot.save || every == 0 || taken_ || state_->version < saved_version_ + every)
    return;
  saved_version_ = state_->version;
  if (auto state = try_to_save()) {
    taken_ = std::make_unique<std::pair<std::uint64_t, snapshot>>(last_ticket_, std::move(*state));
    outcomes_->watch(last_ticket_);
  }
}

void entity_actor::save_taken_snapshot(const commit_outcomes::batch& done) {
  if (!taken_ || done.watched_position == 0)
    return;
  taken_->second.position = done.watched_position;
  save_snapshot(*env_, stream_, std::move(taken_->second));
  taken_.reset();
}

void entity_actor::save_last_snapshot() {
  auto least = env_->options.snapshots.on_passivation;
  if (!env_->type.snapshot.save || least == 0 || phase_ != phase::running || in_flight_ > 0 ||
      state_->version < saved_version_ + least)
    return;
  if (auto state = try_to_save())
    save_snapshot(*env_, stream_, std::move(*state));
}

std::optional<snapshot> entity_actor::try_to_save() const {
  auto warn = [&](const char* why) {
    if (env_->snapshot_warnings.admit())
      spdlog::warn("the state of {} at version {} cannot be saved: {}", stream_.str(), state_->version, why);
  };
  try {
    return state_->save();
  } catch (const std::exception& e) {
    warn(e.what());
  } catch (...) {
    warn("saving it threw something that is no std::exception");
  }
  return std::nullopt;
}

// -- other writers

void entity_actor::on_stream_changed(stream_version version) {
  if (phase_ != phase::running) {
    if (phase_ == phase::failed || phase_ == phase::left)
      answer_notices();
    return; // what it is doing now ends with reading the stream, and then the notice is answered
  }
  if (version <= recovered_version_ || (in_flight_ == 0 && version <= state_->version)) {
    answer_notices();
  } else if (in_flight_ > 0) {
    drain(); // what is in flight is in vain
  } else {
    catch_up();
  }
}

void entity_actor::answer_notices() {
  for (auto& notice : notices_)
    notice.deliver(caf::actor_cast<caf::strong_actor_ptr>(env_->host), caf::message{}, context());
  notices_.clear();
}

void entity_actor::return_permit() {
  if (std::exchange(permit_, false))
    report(entity_news::permit_returned);
}

// -- the end

void entity_actor::on_leave() {
  if (phase_ != phase::left && !leave())
    report(entity_news::stay);
}

void entity_actor::on_stop(stop_order how) {
  stopping_ = true;
  refuse_all(waiting_, entity_errc::stopped, "the node is stopping; send the command again when it is back");
  if (how.at_once || pending_.empty()) {
    save_last_snapshot();
    quit();
  }
}

bool entity_actor::leave() {
  if (!backlog.close())
    return false;
  save_last_snapshot();
  answer_notices();
  report(entity_news::left);
  static_cast<entity_activation&>(*this) = {std::move(stream_), phase::left, false};
  return true;
}

void entity_actor::on_exit() {
  if (outcomes_)
    outcomes_->detach();
  refuse_all(pending_, entity_errc::outcome_unknown,
             "the entity ended while its commits were in flight; read the stream to find out");
  refuse_all(waiting_, entity_errc::stopped, "the entity ended before the command's turn came");
  if (phase_ != phase::left)
    report(entity_news::gone);
}

void entity_actor::leave_if_wanted() {
  if (leave_wanted_ && idle() && phase_ == phase::running) {
    leave_wanted_ = false;
    leave();
  }
}

void entity_actor::report_if_drained() {
  if (drain_wanted_ && idle() && backlog.size() == 0) {
    drain_wanted_ = false;
    report(entity_news::drained);
  }
}

void entity_actor::report(entity_news what) {
  send(env_->host, entity_report{what, std::string{id()}});
}

std::string_view entity_actor::id() const {
  return std::string_view{stream_.str()}.substr(env_->type.category.size() + 1);
}

} // namespace eventcore::internal
