#include <eventcore/actors/internal/multi_stream_actor.hpp>

#include <eventcore/actors/log_scope.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>

namespace eventcore::internal {

namespace {

using steady = std::chrono::steady_clock;

constexpr std::size_t read_chunk_bytes = 1u << 20;
constexpr std::size_t max_submitted_together = 64;

std::uint64_t next_command_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

std::string id_of(const stream_id& stream) {
  return stream.str().substr(std::min(stream.category().size() + 1, stream.str().size()));
}

} // namespace

// -- host_directory

void host_directory::add(std::string_view category, caf::actor host) {
  std::lock_guard guard{mutex_};
  hosts_.insert_or_assign(std::string{category}, std::move(host));
}

caf::actor host_directory::find(std::string_view category) const {
  std::lock_guard guard{mutex_};
  auto i = hosts_.find(std::string{category});
  return i == hosts_.end() ? caf::actor{} : i->second;
}

void host_directory::add(const multi_stream_type& type, caf::actor commands) {
  std::lock_guard guard{mutex_};
  commands_.insert_or_assign(&type, std::move(commands));
}

caf::actor host_directory::find(const multi_stream_type& type) const {
  std::lock_guard guard{mutex_};
  auto i = commands_.find(&type);
  return i == commands_.end() ? caf::actor{} : i->second;
}

void host_directory::add_participant(std::string_view name, caf::actor participant) {
  std::lock_guard guard{mutex_};
  participants_.insert_or_assign(std::string{name}, std::move(participant));
}

caf::actor host_directory::find_participant(std::string_view name) const {
  {
    std::lock_guard guard{mutex_};
    if (auto i = participants_.find(std::string{name}); i != participants_.end())
      return i->second;
  }
  return find(name);
}

void host_directory::clear() {
  std::lock_guard guard{mutex_};
  hosts_.clear();
  commands_.clear();
  participants_.clear();
}

// -- outcome_list

void outcome_list::on_commit(std::uint64_t ticket, const result<committed>& outcome) noexcept {
  std::lock_guard guard{mutex_};
  outcomes_.push_back({ticket, outcome ? *outcome : committed{},
                       outcome ? std::nullopt : std::optional<error>{outcome.error()}});
  if (!std::exchange(told_, true))
    if (auto owner = caf::actor_cast<caf::actor>(owner_))
      caf::anon_send(owner, outcomes_wait{});
}

std::vector<outcome_list::outcome> outcome_list::take() {
  std::lock_guard guard{mutex_};
  told_ = false;
  return std::exchange(outcomes_, {});
}

// -- multi_stream_actor

struct multi_stream_actor::slot {
  explicit slot(stream_id s)
      : stream{std::move(s)} {}

  stream_id stream;
  const fold_type* fold = nullptr;
  std::optional<fold_state> state; ///< durable; empty: to be read
  stream_version saved_version = 0;
  bool look_first = false;  ///< others append to the stream: the journal is looked at before each decision
  std::vector<task*> queue; ///< the first one uses the stream
  bool entity_has_turn = false;
  std::optional<std::list<slot*>::iterator> idle;
};

/// A command's use of a stream.
struct multi_stream_actor::use {
  slot* at;
  command_streams::item shown;    ///< to the user's functions
  std::optional<fold_state> next; ///< the state when the commit succeeds; empty if nothing is appended
  std::size_t events = 0;         ///< that are appended
};

struct multi_stream_actor::task final : command_streams {
  enum class phase : std::uint8_t { queued, holding, reading, committing, pausing };

  const item* find(const stream_id& stream) const override {
    for (auto& u : uses)
      if (u.at->stream == stream)
        return &u.shown;
    return nullptr;
  }

  std::uint64_t id = next_command_id();
  caf::message content;
  reply_address to;
  const multi_stream_type::command* type = nullptr;
  const google::protobuf::Message* command = nullptr; ///< in `content`
  command_context context;
  std::uint64_t fingerprint = 0; ///< set if there is an idempotency key
  steady::time_point arrived;
  std::size_t conflicts = 0;
  std::size_t discoveries = 0;
  phase at = phase::queued;
  std::vector<use> uses;
  std::size_t up_to_date = 0;                            ///< how many of `uses`
  bool from_memory = false;                              ///< a state was taken as its slot had it
  bool must_look = false;                                ///< what was decided so did not stand
  std::vector<std::pair<stream_id, caf::actor>> to_hold; ///< with their hosts; the next one last
  std::vector<std::pair<caf::actor, std::string>> held;  ///< hosts and ids
  std::unique_ptr<google::protobuf::Message> reply;
  std::unique_ptr<error> failure;
  std::unique_ptr<open_span> span; ///< if it is traced
};

multi_stream_actor::multi_stream_actor(caf::actor_config& config, const multi_stream_type& type,
                                       eventcore::journal& journal,
                                       std::shared_ptr<const host_directory> hosts,
                                       const multi_stream_options& options, std::function<timestamp()> now)
    : caf::event_based_actor{config}
    , type_{type}
    , journal_{journal}
    , hosts_{std::move(hosts)}
    , options_{options}
    , now_{now ? std::move(now)
               : [] { return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()); }}
    , random_{std::random_device{}()} {
  options_.read_chunk = std::max<std::size_t>(options_.read_chunk, 1);
  const auto seen_by = telemetry_of(home_system());
  telemetry_ = seen_by;
  if (!seen_by || !seen_by->counts())
    return;
  metrics_ = std::make_shared<multi_stream_metrics>();
  metrics_->name = type.name;
  for (auto& command : type.commands)
    metrics_->commands.add(command.prototype->GetTypeName());
  metrics_->commands.add("unknown");
  seen_by->multi_stream.add(metrics_);
}

multi_stream_actor::~multi_stream_actor() = default;

caf::behavior multi_stream_actor::make_behavior() {
  outcomes_ = std::make_shared<outcome_list>(caf::weak_actor_ptr{ctrl()});
  set_default_handler([](caf::scheduled_actor* self, caf::message_view&) -> caf::result<caf::message> {
    static_cast<multi_stream_actor*>(self)->on_command(*self->current_mailbox_element());
    return caf::delegated<caf::message>{};
  });
  set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  set_down_handler([](caf::scheduled_actor*, caf::down_msg&) {});
  set_exit_handler([](caf::scheduled_actor* self, caf::exit_msg&) {
    static_cast<multi_stream_actor*>(self)->begin_stop(false);
  });
  set_exception_handler([](caf::scheduled_actor* self, std::exception_ptr& thrown) -> caf::error {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      spdlog::critical("the commands of {} end after an unexpected exception: {}",
                       static_cast<multi_stream_actor*>(self)->type_.name, e.what());
    } catch (...) {
      spdlog::critical("the commands of {} end after an unexpected exception",
                       static_cast<multi_stream_actor*>(self)->type_.name);
    }
    return caf::make_error(caf::exit_reason::unhandled_exception);
  });
  return {
      [this](outcomes_wait) {
        on_outcomes();
        run_ready();
      },
      [this](resume_command r) {
        auto known = tasks_.find(r.id);
        if (known == tasks_.end())
          return;
        auto& t = *known->second;
        if (t.at == task::phase::pausing)
          declare(t);
        else if (t.at == task::phase::reading)
          read(t);
        run_ready();
      },
      [this](submit_decided) { submit(); },
      [this](get_stats) {
        stats_.under_way = tasks_.size();
        stats_.cached_streams = slots_.size();
        return stats_;
      },
      [this](stop_host how) -> caf::result<void> {
        stop_requests_.emplace_back(*current_mailbox_element());
        begin_stop(how.at_once);
        return caf::delegated<void>{};
      },
  };
}

// -- commands

void multi_stream_actor::on_command(caf::mailbox_element& element) {
  auto owned = std::make_unique<task>();
  auto& t = *owned;
  t.content = element.move_content_to_message();
  t.to = reply_address{element};
  t.arrived = clock().now();
  tasks_.emplace(t.id, std::move(owned));
  auto view = view_multi_stream_command(t.content);
  const auto* row = view && view->type ? [&]() -> const multi_stream_type::command* {
    auto i = std::ranges::find_if(type_.commands, [&](auto& c) { return *c.cpp_type == *view->type; });
    return i == type_.commands.end() ? nullptr : &*i;
  }()
      : nullptr;
  if (stopping_) {
    fail(t, entity_errc::stopped, "the node is stopping; send the command again when it is back");
  } else if (!row) {
    fail(t, entity_errc::unknown_command,
         t.content.empty() ? "the message is empty: a typed Protobuf message does not travel between nodes"
                           : std::string{type_.name} +
                                 " takes (command) or (command_context, command) with one of its "
                                 "commands<...>, not " +
                                 describe(t.content));
  } else if (tasks_.size() > options_.max_waiting) {
    fail(t, entity_errc::overloaded,
         std::to_string(tasks_.size() - 1) + " commands of " + std::string{type_.name} +
             " are under way already; try again later");
  } else {
    t.type = row;
    t.command = static_cast<const google::protobuf::Message*>(view->command);
    if (view->context)
      t.context = *view->context;
    if (t.context.now == timestamp{})
      t.context.now = now_();
    if (telemetry_ && telemetry_->traces()) {
      auto& traceparent = t.context.metadata.traceparent;
      if ((t.span = telemetry_->begin(t.context.metadata, true)))
        traceparent = t.span->context.str();
      else if (!trace_context::parse(traceparent))
        traceparent.clear();
    }
    if (auto wrong = check_idempotency_key(t.context.idempotency_key))
      fail(t, std::move(*wrong));
    else
      declare(t);
  }
  run_ready();
}

template <class F>
bool multi_stream_actor::guarded(task& t, F f) {
  try {
    f();
    return true;
  } catch (const invalid_command_streams& e) {
    fail_decided(t, e.why());
  } catch (const std::exception& e) {
    fail_decided(
        t, make_error(entity_errc::decider_failed, std::string{type_.name} + " threw an exception on " +
                                                       t.type->prototype->GetTypeName() + ": " + e.what()));
  } catch (...) {
    fail_decided(t, make_error(entity_errc::decider_failed,
                               std::string{type_.name} + " threw something that is no std::exception on " +
                                   t.type->prototype->GetTypeName()));
  }
  return false;
}

bool multi_stream_actor::is_late(task& t) {
  if (t.context.deadline == steady::time_point::max() || clock().now() <= t.context.deadline)
    return false;
  fail(t, entity_errc::deadline_exceeded, "the deadline had passed before the command could be decided");
  return true;
}

void multi_stream_actor::declare(task& t) {
  std::vector<declared_stream> streams;
  if (!is_late(t) && guarded(t, [&] { streams = t.type->declare(*t.command, t); }))
    join_queues(t, std::move(streams));
}

void multi_stream_actor::join_queues(task& t, std::vector<declared_stream> streams) {
  if (auto wrong = check_declared(streams, options_.max_streams))
    return fail(t, std::move(*wrong));
  t.at = task::phase::queued;
  t.up_to_date = 0;
  t.from_memory = false;
  t.uses.reserve(streams.size());
  for (auto& wanted : streams) {
    auto& s = slot_of(wanted);
    s.queue.push_back(&t);
    t.uses.push_back({&s, {wanted.stream, wanted.fold, nullptr, 0}, std::nullopt, 0});
  }
  ready_.push_back(t.id);
}

void multi_stream_actor::run_ready() {
  for (std::size_t i = 0; i < ready_.size(); ++i) {
    auto known = tasks_.find(ready_[i]);
    if (known == tasks_.end())
      continue;
    auto& t = *known->second;
    auto is_first = [&](const use& u) { return u.at->queue.front() == &t && !u.at->entity_has_turn; };
    if (t.at == task::phase::queued && std::ranges::all_of(t.uses, is_first))
      start(t);
  }
  ready_.clear();
}

void multi_stream_actor::start(task& t) {
  t.at = task::phase::reading;
  if (t.conflicts == 0 || t.conflicts < options_.retries)
    return read(t);
  t.at = task::phase::holding;
  ++stats_.holds;
  t.to_hold.clear();
  for (auto& u : t.uses)
    if (auto host = hosts_->find(u.at->stream.category()))
      t.to_hold.emplace_back(u.at->stream, std::move(host));
  std::ranges::sort(
      t.to_hold, std::ranges::greater{}, [](auto& wish) -> auto& { return wish.first; });
  hold(t);
}

void multi_stream_actor::hold(task& t) {
  if (t.to_hold.empty()) {
    t.at = task::phase::reading;
    return read(t);
  }
  auto [stream, host] = std::move(t.to_hold.back());
  t.to_hold.pop_back();
  auto id = id_of(stream);
  // A host that refuses is shutting down: then nobody is to be held.
  t.held.emplace_back(host, id);
  auto go_on = [this, task_id = t.id, host = host, id] {
    if (auto known = tasks_.find(task_id); known != tasks_.end())
      hold(*known->second);
    else
      caf::anon_send(host, release_stream{id, task_id});
    run_ready();
  };
  request(host, caf::infinite, hold_stream{id, t.id, options_.lease})
      .then([go_on] { go_on(); }, [go_on](const caf::error&) { go_on(); });
}

void multi_stream_actor::read(task& t) {
  while (t.up_to_date < t.uses.size()) {
    if (!bring_up_to_date(t, t.uses[t.up_to_date]))
      return;
    ++t.up_to_date;
  }
  decide(t);
}

bool multi_stream_actor::bring_up_to_date(task& t, use& u) {
  static thread_local event_page page;
  auto& s = *u.at;
  if (s.fold != u.shown.fold) {
    s.fold = u.shown.fold;
    s.state.reset();
  }
  if (!s.state) {
    auto made = guarded(t, [&] {
      s.state.emplace(restore(journal_, s.stream, *s.fold, options_.answers, [this](const auto& why) {
        ++stats_.snapshots_passed_over;
        if (warnings_.admit())
          spdlog::warn("{}", why);
      }));
    });
    if (!made)
      return false;
    s.saved_version = s.state->version;
  } else if (!s.look_first && !t.must_look && t.conflicts == 0) {
    t.from_memory = true;
    show(u);
    return true;
  }
  auto broken = [&](const std::string& why) {
    s.state.reset();
    fail(t, entity_errc::recovery_failed, "stream " + s.stream.str() + " cannot be read: " + why);
    return false;
  };
  stream_cursor cursor{s.stream, s.state->version + 1, s.state->position};
  // Most streams end on their first page; the second read finds that out.
  for (auto reads = 0; reads != 2; ++reads) {
    if (auto done = journal_.read_stream(cursor, page, {options_.read_chunk, read_chunk_bytes}); !done)
      return broken(done.error().message());
    if (page.empty()) {
      show(u);
      return true;
    }
    for (const auto& event : page)
      if (auto why = s.state->apply(event, options_.answers))
        return broken("event " + std::to_string(event.version) + " at position " +
                      std::to_string(event.position) + " of type " + event.type + ' ' + *why);
    if (page.size() == options_.read_chunk)
      break;
  }
  send(this, resume_command{t.id});
  return false;
}

void multi_stream_actor::show(use& u) {
  u.shown.state = u.at->state->get();
  u.shown.version = u.at->state->version;
}

void multi_stream_actor::look_and_decide_again(task& t) {
  for (auto& u : t.uses)
    u.at->look_first = true;
  t.must_look = true;
  t.from_memory = false;
  t.failure.reset();
  t.up_to_date = 0;
  t.at = task::phase::reading;
  read(t);
}

bool multi_stream_actor::discovers(task& t) {
  std::vector<declared_stream> streams;
  if (!guarded(t, [&] { streams = t.type->declare(*t.command, t); }))
    return true;
  auto is_new = [&](const declared_stream& d) { return !t.find(d.stream); };
  if (std::ranges::none_of(streams, is_new))
    return false;
  if (++t.discoveries > options_.max_discoveries) {
    fail_decided(t,
                 make_error(entity_errc::invalid_command,
                            "the command discovers streams without end: the last one is " +
                                std::ranges::find_if(streams, is_new)->stream.str() + " after " +
                                std::to_string(options_.max_discoveries) + " rounds; see max_discoveries"));
    return true;
  }
  leave_queues(t);
  // What it has found out is asked again when all are read.
  join_queues(t, std::move(streams));
  return true;
}

bool multi_stream_actor::is_repeat(task& t) {
  auto& key = t.context.idempotency_key;
  if (key.empty())
    return false;
  t.fingerprint = fingerprint_of(*t.command);
  auto content = t.uses.front().at->state->find_answer(options_.answers, key, t.context.now);
  if (!content)
    return false;
  auto first = decode_answer(*content, key, t.fingerprint, t.type->reply);
  t.reply = std::move(first.reply);
  t.failure = std::move(first.failure);
  answer(t);
  return true;
}

void multi_stream_actor::decide(task& t) {
  if (is_late(t) || is_repeat(t) || discovers(t))
    return;
  auto credit = journal_.reserve();
  if (!credit)
    return fail(t,
                credit.error().code() == journal_errc::overloaded ? entity_errc::overloaded
                                                                  : entity_errc::not_persisted,
                credit.error().message());
  multi_stream_decision decided;
  log_scope scope{t.uses.empty() ? std::string_view{} : std::string_view{t.uses.front().at->stream.str()}, 0,
                  t.context.metadata.traceparent};
  if (!guarded(t, [&] { decided = t.type->decide(*t.command, t, t.context); }))
    return;
  commit c;
  if (!prepare(t, std::move(decided), c))
    return;
  t.at = task::phase::committing;
  if (decided_.empty())
    send(this, submit_decided{});
  decided_.push_back({std::move(c), std::move(*credit), t.id});
  if (decided_.size() >= max_submitted_together)
    submit();
}

void multi_stream_actor::submit() {
  for (auto& d : decided_)
    journal_.submit(std::move(d.content), std::move(d.credit), outcomes_, d.id);
  decided_.clear();
}

/// What the use's stream will be. A state that cannot be copied is taken from the slot, and read again if the commit fails.
fold_state& multi_stream_actor::next_of(use& u) {
  if (!u.next) {
    auto& state = *u.at->state;
    if (state.can_clone()) {
      u.next.emplace(state.clone());
    } else {
      u.next.emplace(std::move(state));
      u.at->state.reset();
    }
  }
  return *u.next;
}

bool multi_stream_actor::prepare(task& t, multi_stream_decision decided, commit& c) {
  for (auto& u : t.uses) {
    u.next.reset();
    u.events = 0;
    c.appends.push_back({u.at->stream, expected_version::exact(u.shown.version), {}});
  }
  if (decided.rejected) {
    auto& why = *decided.rejected;
    t.failure = std::make_unique<error>(make_error(entity_errc::rejected, why.message));
    t.failure->with_reason(why.code, why.details);
    decided.appends.clear();
  }
  for (auto& a : decided.appends) {
    auto u = std::ranges::find_if(t.uses, [&](auto& use) { return use.at->stream == a.stream; });
    if (u == t.uses.end()) {
      fail_decided(t, make_error(entity_errc::invalid_command, "the command appends to stream " +
                                                                   a.stream.str() +
                                                                   ", which its declare() did not name"));
      return false;
    }
    std::optional<std::string> why;
    auto evolved = guarded(t, [&] {
      for (auto& event : a.events)
        if (!why && (why = next_of(*u).apply(event)))
          *why = "the event " + event.type->full_name() + " for stream " + a.stream.str() + ' ' + *why;
    });
    if (!evolved)
      return false;
    if (why) {
      fail_decided(t, make_error(entity_errc::decider_failed, std::move(*why)));
      return false;
    }
    u->events = a.events.size();
    c.appends[static_cast<std::size_t>(u - t.uses.begin())].events = std::move(a.events);
  }
  if (t.fingerprint != 0) {
    auto& first = t.uses.front();
    auto& append = c.appends.front();
    append.answer = {
        t.context.idempotency_key,
        encode_answer(t.fingerprint, decided.reply.get(), decided.rejected ? &*decided.rejected : nullptr)};
    if (append.events.empty()) {
      append.events.push_back(answer_carrier());
      first.events = 1;
    }
    next_of(first).remember(options_.answers, append.answer.key, append.answer.content, t.context.now);
  }
  if (t.span) {
    t.span->events = 0;
    for (auto& u : t.uses)
      t.span->events += u.events;
  }
  t.reply = std::move(decided.reply);
  c.cursors = t.context.cursors;
  c.metadata = t.context.metadata;
  c.occurred_at = t.context.now;
  return true;
}

void multi_stream_actor::fail(task& t, entity_errc code, std::string why) {
  fail(t, make_error(code, std::move(why)));
}

void multi_stream_actor::fail_decided(task& t, error why) {
  if (t.from_memory)
    look_and_decide_again(t);
  else
    fail(t, std::move(why));
}

void multi_stream_actor::fail(task& t, error why) {
  t.failure = std::make_unique<error>(std::move(why));
  answer(t);
}

void multi_stream_actor::observe(const task& t) {
  if (metrics_) {
    const auto row =
        t.type ? static_cast<std::size_t>(t.type - type_.commands.data()) : type_.commands.size();
    metrics_->commands[row].count(clock().now() - t.arrived, t.failure.get());
    metrics_->under_way.set(tasks_.size() - 1);
    metrics_->conflicts.set(stats_.conflicts);
    metrics_->retries.set(stats_.retries);
    metrics_->holds.set(stats_.holds);
  }
  if (t.span)
    telemetry_->end(*t.span, t.type->prototype->GetTypeName(), {}, t.failure.get());
}

void multi_stream_actor::answer(task& t) {
  observe(t);
  if (t.to.is_request())
    t.to.deliver(ctrl(),
                 t.failure ? caf::make_message(to_caf_error(*t.failure))
                 : t.reply ? make_reply_message(std::move(t.reply))
                           : caf::message{},
                 context());
  else if (t.failure && t.failure->code() != entity_errc::rejected)
    if (warnings_.admit())
      spdlog::warn("{}: a command that nobody waits for failed: {}", type_.name, t.failure->message());
  ++stats_.commands;
  stats_.longest_wait =
      std::max(stats_.longest_wait, std::chrono::floor<std::chrono::microseconds>(clock().now() - t.arrived));
  leave_queues(t);
  tasks_.erase(t.id);
  quit_if_stopped();
}

// -- commits

void multi_stream_actor::on_outcomes() {
  for (auto& [id, where, why] : outcomes_->take()) {
    auto known = tasks_.find(id);
    if (known == tasks_.end())
      continue;
    auto& t = *known->second;
    if (why)
      for (auto& u : t.uses)
        u.at->look_first = true;
    if (!why)
      on_committed(t, where);
    else if (why->code() == journal_errc::conflict)
      on_conflict(t, *why);
    else if (why->code() == journal_errc::outcome_unknown)
      fail(t, entity_errc::outcome_unknown, why->message());
    else
      fail(t, why->code() == journal_errc::not_owned ? entity_errc::not_owned : entity_errc::not_persisted,
           why->message());
  }
}

void multi_stream_actor::on_committed(task& t, const committed& where) {
  auto position = where.first;
  for (auto& u : t.uses) {
    if (!u.next)
      continue;
    u.next->version = u.shown.version + u.events;
    position += u.events;
    u.next->position = position - 1;
    u.at->state = std::move(u.next);
    save_if_due(*u.at);
    tell_entity(*u.at);
  }
  answer(t);
}

void multi_stream_actor::on_conflict(task& t, const error& why) {
  if (auto moved = find_moved(journal_, t.context.cursors))
    return fail(t, std::move(*moved));
  if (t.from_memory && !stopping_)
    return look_and_decide_again(t);
  ++stats_.conflicts;
  if (++t.conflicts > options_.retries)
    return fail(t, entity_errc::conflict,
                why.message() + " (tried " + std::to_string(t.conflicts) + " times; try again later)");
  if (stopping_)
    return fail(t, entity_errc::stopped, "the node is stopping; send the command again when it is back");
  ++stats_.retries;
  leave_queues(t);
  t.failure.reset();
  t.discoveries = 0;
  t.at = task::phase::pausing;
  auto pause = std::chrono::microseconds{options_.backoff} *
               (std::uint64_t{1} << std::min<std::size_t>(t.conflicts - 1, 20));
  pause -= pause * static_cast<std::int64_t>(random_() % 1'000) / 2'000;
  delayed_send(this, pause, resume_command{t.id});
}

void multi_stream_actor::tell_entity(slot& s) {
  auto host = hosts_->find(s.stream.category());
  if (!host)
    return;
  stream_changed news{id_of(s.stream), s.state->version};
  if (s.queue.size() < 2) {
    caf::anon_send(host, std::move(news));
    return;
  }
  s.entity_has_turn = true;
  auto go_on = [this, stream = s.stream] {
    if (auto known = slots_.find(stream.str()); known != slots_.end()) {
      known->second->entity_has_turn = false;
      let_next_start(*known->second);
      run_ready();
    }
  };
  request(host, caf::infinite, std::move(news))
      .then([go_on] { go_on(); }, [go_on](const caf::error&) { go_on(); });
}

// -- streams

multi_stream_actor::slot& multi_stream_actor::slot_of(const declared_stream& wanted) {
  auto known = slots_.find(wanted.stream.str());
  if (known == slots_.end()) {
    auto made = std::make_unique<slot>(wanted.stream);
    std::string_view name = made->stream.str();
    known = slots_.emplace(name, std::move(made)).first;
  }
  auto& s = *known->second;
  if (s.idle)
    idle_.erase(*std::exchange(s.idle, std::nullopt));
  return s;
}

void multi_stream_actor::leave_queues(task& t) {
  for (auto& u : t.uses) {
    auto& s = *u.at;
    auto place = std::ranges::find(s.queue, &t);
    auto first = place == s.queue.begin();
    s.queue.erase(place);
    if (first)
      let_next_start(s);
    if (s.queue.empty()) {
      idle_.push_front(&s);
      s.idle = idle_.begin();
    }
  }
  t.uses.clear();
  for (auto& [host, id] : t.held)
    caf::anon_send(host, release_stream{id, t.id});
  t.held.clear();
  while (idle_.size() > options_.max_cached) {
    slots_.erase(idle_.back()->stream.str());
    idle_.pop_back();
  }
}

void multi_stream_actor::let_next_start(slot& s) {
  if (!s.queue.empty() && !s.entity_has_turn)
    ready_.push_back(s.queue.front()->id);
}

void multi_stream_actor::save_if_due(slot& s) {
  auto every = options_.snapshots.every;
  if (!s.fold->snapshot.save || every == 0 || s.state->version < s.saved_version + every)
    return;
  s.saved_version = s.state->version;
  auto warn = [&](const std::string& why) {
    if (warnings_.admit())
      spdlog::warn("the state of {} at version {} cannot be saved: {}", s.stream.str(), s.state->version,
                   why);
  };
  try {
    auto saved = s.state->save();
    if (saved.state.size() > options_.snapshots.max_bytes) {
      ++stats_.snapshots_too_large;
      return warn("it has " + std::to_string(saved.state.size()) + " bytes, more than snapshots.max_bytes");
    }
    journal_.save_snapshot(s.stream, std::move(saved), options_.snapshots.keep);
    ++stats_.snapshots_saved;
  } catch (const std::exception& e) {
    warn(e.what());
  } catch (...) {
    warn("something that is no std::exception was thrown");
  }
}

// -- the end

void multi_stream_actor::begin_stop(bool at_once) {
  stopping_ = true;
  std::vector<task*> all;
  for (auto& [id, t] : tasks_)
    all.push_back(t.get());
  for (auto* t : all) {
    if (t->at != task::phase::committing)
      fail(*t, entity_errc::stopped, "the node is stopping; send the command again when it is back");
    else if (at_once)
      fail(*t, entity_errc::outcome_unknown, "the node ended while the commit was in flight");
  }
  run_ready();
  quit_if_stopped();
}

void multi_stream_actor::quit_if_stopped() {
  if (!stopping_ || !tasks_.empty())
    return;
  for (auto& request : stop_requests_)
    request.deliver(ctrl(), caf::message{}, context());
  stop_requests_.clear();
  quit();
}

void multi_stream_actor::on_exit() {
  tasks_.clear(); // each answers `outcome_unknown`
  hosts_.reset();
}

} // namespace eventcore::internal
