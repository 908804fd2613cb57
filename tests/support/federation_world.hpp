#pragma once

#include "support/journal_helpers.hpp"

#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/internal/federation/federation_handler.hpp>
#include <eventcore/runtime/journal_target.hpp>

#include "people.pb.h"

#include <algorithm>
#include <optional>

namespace eventcore {

inline std::ostream& operator<<(std::ostream& out, federation_errc e) {
  return out << make_error_code(e).message();
}

namespace test {

template <class M>
new_event event_of(const M& message) {
  return {M::descriptor(), message.SerializeAsString(), 1};
}

inline people::UserRegistered registered(const std::string& name, const std::string& note = {}) {
  people::UserRegistered m;
  m.set_name(name);
  m.set_note(note);
  return m;
}

/// All types of people.proto, in the categories `user` and `account`.
inline publication all_people() {
  publication p;
  p.map<people::UserRegistered, people::UserMoved, people::CustomerMoved, people::Superuser, people::Username,
        people::Office::UserHired, people::Counted>("people");
  p.categories["user"];
  p.categories["account"];
  return p;
}

/// The rules and what they stand on, of service `users`.
inline std::shared_ptr<const internal::federation_plan> plan_of(std::vector<federation_rule> rules,
                                                                transformations all = {}) {
  return std::make_shared<const internal::federation_plan>(
      internal::federation_plan{must(publisher::create(all_people(), "users")),
                                must(federation_rules::create(std::move(rules))), std::move(all)});
}

inline std::vector<federation_rule> everything_to(const std::string& target,
                                                  const std::string& transformation = {}) {
  return {{"", "users", "*", {target}, transformation}};
}

/// Feeds a target as a subscription does, without one: what fails is remembered, and passed over.
class federation_driver {
public:
  federation_driver(std::shared_ptr<const internal::federation_plan> plan, journal& source,
                    std::shared_ptr<federation_target> to)
      : plan_{std::move(plan)}
      , source_{source}
      , to_{std::move(to)} {
    restart();
  }

  /// A new handler, as after a crash.
  void restart() {
    handler_ = std::make_unique<internal::federation_handler>(
        plan_, source_, filter(), "target", to_, progress,
        internal::federation_pauses{std::chrono::milliseconds{0}, std::chrono::milliseconds{0}});
  }

  static log_filter filter() { return {{"account", "user"}, {}}; }

  /// One call of the handler with the events from `next` on, which is moved. False: it wants to be called again.
  bool feed_once(std::size_t limit = 1'024) {
    event_page page;
    must_pass(source_.read_log(next, page, filter(), {.events = limit}));
    std::vector<const recorded_event*> events;
    for (const auto& e : page)
      events.push_back(&e);
    if (events.empty())
      return true;
    handler_run run;
    run.begin(std::nullopt);
    const auto outcome = handler_->handle(events, run);
    BOOST_TEST_REQUIRE(outcome.done <= events.size());
    if (outcome.failure) {
      BOOST_TEST_REQUIRE(outcome.done < events.size());
      failures.push_back(*outcome.failure);
      failed.push_back(events[outcome.done]->position);
      next = events[outcome.done]->position + 1;
      return false;
    }
    if (outcome.done < events.size()) {
      next = events[outcome.done]->position;
      return false;
    }
    return true;
  }

  /// Until all that is in the journal now is done.
  void feed(std::size_t limit = 1'024) {
    const auto head = must(source_.head());
    while (next <= head)
      feed_once(limit);
  }

  /// The event at `position` once more, as from a dead-letter stream.
  handled replay(log_position position) {
    event_page page;
    must_pass(source_.read_log(position, page, {}, {.events = 1}));
    const auto* e = page.events().data();
    handler_run run;
    run.from_dead_letters = true;
    run.begin(std::nullopt);
    return handler_->handle({&e, 1}, run);
  }

  log_position next = 1;
  std::vector<error> failures;
  std::vector<log_position> failed;
  std::shared_ptr<internal::federation_progress> progress = std::make_shared<internal::federation_progress>();

private:
  std::shared_ptr<const internal::federation_plan> plan_;
  journal& source_;
  std::shared_ptr<federation_target> to_;
  std::unique_ptr<internal::federation_handler> handler_;
};

/// Positions in the source, of the events that a target has, in the target's order.
inline std::vector<log_position> positions_in(journal_reader& target) {
  std::vector<log_position> all;
  for (const auto& e : read_log(target))
    all.push_back(std::stoull(e.metadata.headers.at("federation.position")));
  return all;
}

} // namespace test
} // namespace eventcore
