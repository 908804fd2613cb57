#pragma once

#include "account.hpp"

#include <eventcore/actors/internal/multi_stream_actor.hpp>
#include <eventcore/actors/testing.hpp>

#include <caf/scheduler/test_coordinator.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <ostream>

namespace eventcore {

inline std::ostream& operator<<(std::ostream& out, entity_errc e) {
  return out << make_error_code(e).message();
}

namespace test {

inline bank::Deposit deposit(std::int64_t cents) {
  return make<bank::Deposit>([&](auto& c) { c.set_cents(cents); });
}
inline bank::Withdraw withdraw(std::int64_t cents) {
  return make<bank::Withdraw>([&](auto& c) { c.set_cents(cents); });
}
inline bank::Open open_account() {
  return {};
}

template <class Event>
new_event event_of_message(const Event& e) {
  return {Event::descriptor(), e.SerializeAsString(), 1};
}
inline new_event opened() {
  return event_of_message(bank::Opened{});
}
inline new_event deposited(std::int64_t cents) {
  return event_of_message(make<bank::Deposited>([&](auto& e) { e.set_cents(cents); }));
}
inline new_event withdrawn(std::int64_t cents) {
  return event_of_message(make<bank::Withdrawn>([&](auto& e) { e.set_cents(cents); }));
}

/// An answer that the test makes demands on.
class asked : public testing::pending_answer {
public:
  asked(testing::pending_answer answer)
      : testing::pending_answer{std::move(answer)} {}

  bool answered() { return arrived(); }
  caf::message& answer() {
    BOOST_REQUIRE(arrived());
    return message();
  }
  /// The balance that the reply names.
  std::int64_t cents() {
    BOOST_REQUIRE_MESSAGE(answer().match_elements<bank::Balance>(), caf::to_string(answer()));
    return answer().get_as<bank::Balance>(0).cents();
  }
  error failure() {
    BOOST_REQUIRE_MESSAGE(answer().match_elements<caf::error>(), caf::to_string(answer()));
    return from_caf_error(answer().get_as<caf::error>(0));
  }
  std::error_code code() { return failure().code(); }
};

/// The public world, with answers that use the test framework, and actors from functions.
class entity_world : public testing::world {
public:
  using world::world;

  template <class Command>
  asked ask(const multi_stream_handle& commands, Command command, command_context context = {}) {
    return world::ask(commands, std::move(command), std::move(context));
  }
  asked ask_raw(const multi_stream_handle& commands, caf::message content) {
    return send(actor_of(commands), std::move(content));
  }
  template <class Command>
  asked ask(const host_handle& host, std::string id, Command command) {
    return ask_raw(host, caf::make_message(std::move(id), std::move(command)));
  }
  template <class Command>
  asked ask(const host_handle& host, std::string id, command_context context, Command command) {
    return world::ask(host, std::move(id), std::move(command), std::move(context));
  }
  asked ask_raw(const host_handle& host, caf::message content) {
    return send(actor_of(host), std::move(content));
  }

  /// A stranger's commit, in the writer's queue before what is submitted later.
  void submit(std::string_view stream, expected_version expected, std::vector<new_event> events) {
    commit c;
    c.appends.push_back({*stream_id::parse(stream), expected, std::move(events)});
    journal.inner().submit(std::move(c), *journal.inner().reserve(), nullptr, 0);
  }

  /// An actor that begins with `script`. (CAF's own way to spawn a function without arguments is undefined
  /// behaviour.)
  caf::actor spawn(std::function<caf::behavior(caf::event_based_actor*)> script) {
    return system().spawn<scripted_actor>(std::move(script));
  }

private:
  class scripted_actor : public caf::event_based_actor {
  public:
    scripted_actor(caf::actor_config& config, std::function<caf::behavior(caf::event_based_actor*)> script)
        : caf::event_based_actor{config}
        , script_{std::move(script)} {}

  protected:
    caf::behavior make_behavior() override { return script_(this); }

  private:
    std::function<caf::behavior(caf::event_based_actor*)> script_;
  };
};

} // namespace test
} // namespace eventcore
