#pragma once

#include "support/entity_world.hpp"
#include "support/journal_helpers.hpp"

#include <eventcore/actors/dead_letters.hpp>
#include <eventcore/actors/internal/dead_letter.pb.h>
#include <eventcore/actors/internal/subscription_actor.hpp>
#include <eventcore/actors/subscriber.hpp>
#include <eventcore/actors/subscription_errc.hpp>

#include "test_events.pb.h"

#include <functional>
#include <map>
#include <set>

namespace eventcore::test {

/// A subscriber that does what it is told.
struct listener : subscriber<listener> {
  using events = eventcore::events<Happened>;
  using function = std::function<result<void>(const Happened&, const event_context&)>;

  explicit listener(function f)
      : on_event{std::move(f)} {}
  result<void> handle(const Happened& e, const event_context& x) { return on_event(e, x); }

  function on_event;
};

/// A journal, and a subscription whose handler notes the numbers that it hears.
struct subscription_world : entity_world {
  subscription_options options{.name = "sub"};
  std::vector<std::int64_t> heard;
  listener::function on_event = [this](const Happened& e, const event_context&) -> result<void> {
    if (e.number() == bad_number && ++tries <= bad_times)
      return make_error(journal_errc::io_error, "no " + std::to_string(e.number()) + " today");
    heard.push_back(e.number());
    return {};
  };
  int tries = 0;
  std::size_t made = 0;
  int make_fails = 0;

  /// The handler fails at this number, so often.
  void fail_at(std::int64_t number, int times) {
    bad_number = number;
    bad_times = times;
  }

  result<subscription> try_to_follow() {
    auto s = subscribe<listener>(options, [this] {
      if (make_fails > 0) {
        --make_fails;
        throw std::runtime_error{"no subscriber today"};
      }
      ++made;
      return std::make_unique<listener>(
          [this](const Happened& e, const event_context& x) { return on_event(e, x); });
    });
    settle();
    return s;
  }
  subscription follow() {
    auto s = try_to_follow();
    if (!s)
      BOOST_FAIL(s.error().message());
    return *s;
  }
  std::string must_refuse(subscription_errc code) {
    auto s = try_to_follow();
    BOOST_REQUIRE(!s.has_value());
    BOOST_TEST((s.error().code() == make_error_code(code)), s.error().message());
    return s.error().message();
  }

  void stop(const subscription& s) {
    auto answer = send(actor_of(s), caf::make_message(internal::stop_host{}));
    settle();
    BOOST_TEST(answer.arrived());
  }

  void happen(std::string_view stream, const std::vector<std::int64_t>& numbers) {
    std::vector<new_event> list;
    for (auto n : numbers)
      list.push_back(happened(n));
    append(stream, expected_version::any(), std::move(list));
    settle();
  }

  /// Time passes in small steps.
  void pass(std::chrono::milliseconds time) {
    while (time.count() > 0) {
      const auto step = std::min(time, std::max(time / 1'000, std::chrono::milliseconds{1}));
      advance(step);
      settle();
      time -= step;
    }
  }

  log_position cursor() { return must(journal.load_cursor("subscription/sub")); }

  void set_cursor(const std::string& name, log_position position) {
    commit c;
    c.cursors.push_back({name, must(journal.load_cursor(name)), position});
    journal.inner().submit(std::move(c), *journal.inner().reserve(), nullptr, 0);
    journal.inner().step();
  }

private:
  std::int64_t bad_number = 0;
  int bad_times = 0;
};

} // namespace eventcore::test
