#pragma once

#include "entity_world.hpp"

#include <eventcore/actors/breaker.hpp>

#include <deque>
#include <ostream>
#include <utility>

namespace eventcore {

inline std::ostream& operator<<(std::ostream& out, breaker_state s) {
  return out << to_string(s);
}

namespace test {

inline error outage(const std::string& message = "no route to host") {
  return make_error(journal_errc::io_error, message);
}

/// A worker that answers when the test says so.
struct manual_worker {
  std::deque<std::pair<std::int64_t, caf::response_promise>> taken;
  std::function<void()> next_deed;
  caf::actor actor;
  int starts = 0;

  caf::actor start(entity_world& world) {
    ++starts;
    taken.clear();
    return actor = world.spawn([this](caf::event_based_actor* self) -> caf::behavior {
      return {
          [this, self](std::int64_t number) {
            auto promise = self->make_response_promise();
            taken.emplace_back(number, promise);
            return promise;
          },
          [this](bool) { std::exchange(next_deed, nullptr)(); },
      };
    });
  }
};

struct breaker_world : entity_world {
  manual_worker worker;
  breaker_handle breaker;

  ~breaker_world() {
    if (breaker)
      caf::anon_send_exit(actor_of(breaker), caf::exit_reason::user_shutdown);
    stop_worker(caf::exit_reason::user_shutdown);
    run();
    worker = {};
  }

  static breaker_options named(breaker_options options = {}) {
    options.name = "bank";
    options.jitter = 0;
    return options;
  }
  /// In front of a worker that the test starts.
  void watch(breaker_options options = {}) {
    breaker = start_breaker(system(), named(std::move(options)), worker.start(*this));
    run();
  }
  /// In front of a worker that the breaker starts.
  void supervise(breaker_options options = {}) {
    breaker = start_breaker(system(), named(std::move(options)),
                            [this](caf::actor_system&) { return worker.start(*this); });
    run();
  }
  void stop_worker(caf::exit_reason reason) {
    if (worker.actor)
      caf::anon_send_exit(worker.actor, reason);
    run();
    worker.taken.clear();
  }
  asked ask(std::int64_t number = 1) {
    asked a = send(actor_of(breaker), caf::make_message(number));
    run();
    return a;
  }
  /// The worker answers the oldest call, or another one. The call's number.
  template <class T>
  std::int64_t answer(T content, std::size_t pick = 0) {
    BOOST_REQUIRE(pick < worker.taken.size());
    auto taken = worker.taken.begin() + static_cast<std::ptrdiff_t>(pick);
    auto [number, promise] = *taken;
    worker.taken.erase(taken);
    // A promise is kept in its actor's context.
    worker.next_deed = [promise = promise, content]() mutable { promise.deliver(content); };
    caf::anon_send(worker.actor, true);
    run();
    return number;
  }
  void fail() { answer(to_caf_error(outage())); }
  breaker_stats stats() {
    auto a = send(actor_of(breaker), caf::make_message(get_breaker_stats{}));
    run();
    return a.message().get_as<breaker_stats>(0);
  }
  static std::int64_t number(asked& a) {
    BOOST_REQUIRE_MESSAGE(a.answer().match_elements<std::int64_t>(), caf::to_string(a.answer()));
    return a.answer().get_as<std::int64_t>(0);
  }
};

} // namespace test
} // namespace eventcore
