#include <eventcore/actors/subscription.hpp>

#include <eventcore/actors/dead_letters.hpp>

#include <eventcore/actors/internal/ask.hpp>
#include <eventcore/actors/internal/subscription_actor.hpp>
#include <eventcore/actors/internal/subscription_cursor.hpp>
#include <eventcore/actors/subscription_errc.hpp>
#include <eventcore/persistence/internal/utf8.hpp>

namespace eventcore {

namespace {

constexpr std::size_t max_name_size = 200;
constexpr std::size_t max_workers = 1'024;

struct stored_cursor {
  log_position position = 0;
  log_position history = 0; ///< 0: there is no cursor
};

result<stored_cursor> load(journal_reader& journal, std::string_view name) {
  auto position = journal.load_cursor(internal::subscription_cursor_name(name));
  if (!position)
    return position.error();
  auto history = journal.load_cursor(internal::subscription_history_name(name));
  if (!history)
    return history.error();
  return stored_cursor{*position, *history};
}

result<void> check_name(std::string_view name) {
  if (!name.empty() && name.size() <= max_name_size && internal::find_dead_letter_stream(name))
    return {};
  return make_error(subscription_errc::invalid_options,
                    "a subscription's name has 1 to 200 bytes of UTF-8, none of * ? [ ] and no control "
                    "characters, not " +
                        internal::quoted(name));
}

result<void> check(const subscriber_type& type, const subscription_options& options) {
  auto invalid = [&](const std::string& why) {
    return make_error(subscription_errc::invalid_options, "subscription " + options.name + ": " + why);
  };
  if (auto ok = check_name(options.name); !ok)
    return ok;
  if (!type.make)
    return invalid("there is no function that makes its subscriber");
  if (options.source && options.source->name().empty())
    return invalid("its source has no name, by which its cursor could be told from others");
  if (options.workers < 1 || options.workers > max_workers)
    return invalid("it has 1 to 1024 workers, not " + std::to_string(options.workers));
  if (type.reacts && options.workers > 1)
    return invalid("its handlers answer with commands, each of which moves the cursor: it has one worker");
  if (type.reacts && !options.keep_cursor)
    return invalid("its handlers answer with commands, each of which moves the cursor: it must keep one");
  for (auto time : {options.backoff, options.max_backoff, options.handler_limit, options.cursor_within})
    if (time.count() < 1)
      return invalid("its times are at least 1 ms");
  return {};
}

/// Names a log in messages.
std::string log_of(const std::string& source) {
  return source.empty() ? "its own journal" : "service " + source;
}

/// Whether a subscription's cursor is one in the log that it is to follow now. A source's history is compared when it is reached.
result<void> check_log(journal_reader& journal, const subscription_options& options,
                       const stored_cursor& stored) {
  if (!options.source && stored.history == internal::history_of(journal.info().incarnation))
    return {};
  auto bound = internal::bound_source(journal, options.name);
  if (!bound)
    return bound.error();
  const auto wanted = options.source ? options.source->name() : std::string{};
  const auto who = "subscription " + options.name;
  if (*bound != wanted)
    return make_error(subscription_errc::other_source,
                      who + " followed " + log_of(*bound) + " up to position " +
                          std::to_string(stored.position) + ", and is to follow " + log_of(wanted) +
                          " now, in which positions mean other events. Give it another name, or say with "
                          "set_subscription_cursor where it goes on in the log of " +
                          log_of(wanted));
  if (options.source)
    return {};
  return make_error(subscription_errc::other_history,
                    who + " stands at position " + std::to_string(stored.position) +
                        " of another history of this journal: a backup was restored since. Find out which "
                        "events it handled that are gone, then set its cursor with set_subscription_cursor");
}

/// In another history other events can be where the letters' ones were, and letters are named by position.
result<void> check_letters(journal_reader& journal, std::string_view name, log_position position) {
  auto letters = list_dead_letters(journal, name);
  if (!letters)
    return letters.error();
  if (letters->empty() || letters->back().position <= position)
    return {};
  return make_error(subscription_errc::letters_open,
                    "subscription " + std::string{name} + " has a dead letter at position " +
                        std::to_string(letters->back().position) + " of " + log_of(letters->back().source) +
                        ", and would come by another event of that position; replay its letters before its "
                        "source changes, or drop them, or give the subscription another name");
}

result<void> empty(const result<caf::message>& answer) {
  if (!answer)
    return answer.error();
  return {};
}

} // namespace

std::string_view to_string(subscription_state state) noexcept {
  switch (state) {
  case subscription_state::catching_up:
    return "catching up";
  case subscription_state::live:
    return "live";
  case subscription_state::retrying:
    return "retrying";
  case subscription_state::stopped:
    return "stopped";
  }
  return "unknown";
}

struct subscription::impl {
  caf::actor_system* system;
  caf::actor actor;
  eventcore::journal* journal;
  std::string name;

  result<caf::message> ask(caf::message request, std::chrono::nanoseconds within) const {
    return internal::ask_and_wait(*system, actor, std::move(request), internal::bounded(within));
  }
};

result<subscription_stats> subscription::stats(std::chrono::nanoseconds within) const {
  auto answer = impl_->ask(caf::make_message(internal::get_stats{}), within);
  if (!answer)
    return answer.error();
  return answer->get_as<subscription_stats>(0);
}

result<void> subscription::reached(log_position position, std::chrono::nanoseconds within) const {
  return empty(impl_->ask(caf::make_message(internal::await_position{position}), within));
}

result<void> subscription::resume(std::chrono::nanoseconds within) const {
  return empty(impl_->ask(caf::make_message(internal::resume_subscription{}), within));
}

result<std::size_t> subscription::replay_dead_letters(std::optional<log_position> position) const {
  auto wanted = want_dead_letters_replayed(*impl_->journal, impl_->name, position);
  caf::anon_send(impl_->actor, internal::look_at_letters{});
  return wanted;
}

result<void> subscription::stop(std::chrono::nanoseconds within) const {
  return empty(impl_->ask(caf::make_message(internal::stop_host{}), within));
}

result<void> set_subscription_cursor(journal& journal, std::string_view name, log_position position,
                                     const std::shared_ptr<event_source>& source) {
  if (auto ok = check_name(name); !ok)
    return ok;
  event_source::history history{journal.info().id, journal.info().incarnation};
  if (source) {
    auto its = source->current_history();
    if (!its)
      return its.error();
    history = *its;
  }
  auto head = source ? source->head() : journal.head();
  if (!head)
    return head.error();
  if (position > *head)
    return make_error(subscription_errc::cursor_ahead,
                      (source ? "the log of service " + source->name() : std::string{"the journal"}) +
                          " ends at position " + std::to_string(*head) + ", so a cursor cannot stand at " +
                          std::to_string(position));
  auto stored = load(journal, name);
  if (!stored)
    return stored.error();
  commit c;
  c.cursors.push_back({internal::subscription_cursor_name(name), stored->position, position});
  c.cursors.push_back({internal::subscription_history_name(name), stored->history,
                       internal::history_of(history.incarnation)});
  auto before = internal::bound_source(journal, name);
  if (!before)
    return before.error();
  const bool other_log = *before != (source ? source->name() : std::string{});
  if (other_log || (source && stored->history != c.cursors.back().position)) {
    if (auto ok = check_letters(journal, name, position); stored->history != 0 && !ok)
      return ok;
    c.appends.push_back({*internal::find_dead_letter_stream(name),
                         expected_version::any(),
                         {internal::bound_to(source.get(), history)}});
  }
  if (auto done = journal.commit_and_wait(std::move(c)); !done)
    return done.error();
  return {};
}

caf::actor actor_of(const subscription& s) {
  return s.content().actor;
}

result<subscription> internal::start_subscription(caf::actor_system& system, journal& journal,
                                                  subscriber_type type, const subscription_options& options,
                                                  std::shared_ptr<const host_directory> hosts,
                                                  const std::shared_ptr<subscription_directory>& names) {
  if (auto ok = check(type, options); !ok)
    return ok.error();
  subscription_actor::start how{std::move(type),          options, 1, 0, false, 0, std::move(hosts),
                                names->take(options.name)};
  const auto who = "subscription " + options.name;
  if (!how.name)
    return make_error(subscription_errc::name_in_use,
                      who + " is running already; stop it first, or give this one another name");
  how.options.chunk.events = std::max<std::size_t>(options.chunk.events, 1);
  log_position head = 0;
  if (!options.source) {
    auto known = journal.head();
    if (!known)
      return known.error();
    head = *known;
    how.first = options.start.first(head);
  }
  if (options.keep_cursor) {
    auto stored = load(journal, options.name);
    if (!stored)
      return stored.error();
    how.create = stored->history == 0;
    how.history = stored->history;
    if (!how.create) {
      if (auto ok = check_log(journal, options, *stored); !ok)
        return ok.error();
      how.cursor = stored->position;
      how.first = stored->position + 1;
    }
  }
  if (!options.source && how.first > head + 1)
    return make_error(subscription_errc::cursor_ahead,
                      who + " is to go on with position " + std::to_string(how.first) +
                          ", but the journal ends at " + std::to_string(head) +
                          ": it is an older one, or another one, than the subscription followed");
  auto actor = system.spawn<subscription_actor>(std::ref(journal), std::move(how));
  return subscription{std::make_shared<subscription::impl>(
      subscription::impl{&system, std::move(actor), &journal, options.name})};
}

} // namespace eventcore
