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

result<void> set_subscription_cursor(journal& journal, std::string_view name, log_position position) {
  if (auto ok = check_name(name); !ok)
    return ok;
  auto head = journal.head();
  if (!head)
    return head.error();
  if (position > *head)
    return make_error(subscription_errc::cursor_ahead,
                      "the journal ends at position " + std::to_string(*head) +
                          ", so a cursor cannot stand at " + std::to_string(position));
  auto stored = load(journal, name);
  if (!stored)
    return stored.error();
  commit c;
  c.cursors.push_back({internal::subscription_cursor_name(name), stored->position, position});
  c.cursors.push_back(
      {internal::subscription_history_name(name), stored->history, internal::history_of(journal.info())});
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
  subscription_actor::start how{std::move(type),          options, 0, 0, false, std::move(hosts),
                                names->take(options.name)};
  const auto who = "subscription " + options.name;
  if (!how.name)
    return make_error(subscription_errc::name_in_use,
                      who + " is running already; stop it first, or give this one another name");
  how.options.chunk.events = std::max<std::size_t>(options.chunk.events, 1);
  auto head = journal.head();
  if (!head)
    return head.error();
  how.first = options.start.first(*head);
  if (options.keep_cursor) {
    auto stored = load(journal, options.name);
    if (!stored)
      return stored.error();
    how.create = stored->history == 0;
    if (!how.create && stored->history != history_of(journal.info()))
      return make_error(
          subscription_errc::other_history,
          who + " stands at position " + std::to_string(stored->position) +
              " of another history of this journal: a backup was restored since. Find out which "
              "events it handled that are gone, then set its cursor with set_subscription_cursor");
    if (!how.create) {
      how.cursor = stored->position;
      how.first = stored->position + 1;
    }
  }
  if (how.first > *head + 1)
    return make_error(subscription_errc::cursor_ahead,
                      who + " is to go on with position " + std::to_string(how.first) +
                          ", but the journal ends at " + std::to_string(*head) +
                          ": it is an older one, or another one, than the subscription followed");
  auto actor = system.spawn<subscription_actor>(std::ref(journal), std::move(how));
  return subscription{std::make_shared<subscription::impl>(
      subscription::impl{&system, std::move(actor), &journal, options.name})};
}

} // namespace eventcore
