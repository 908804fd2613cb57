#include "driver.hpp"
#include "scenario.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/node.hpp>

#include <algorithm>
#include <array>
#include <cstdio>

namespace bench {

namespace {

caf::behavior echo(caf::event_based_actor*) {
  return {[](std::int64_t number) { return number; }};
}

/// Nanoseconds of wall time a call, from `in_flight` callers at one time.
double ask(caf::actor_system& system, const caf::actor& to, std::size_t in_flight,
           std::chrono::duration<double> length) {
  load l{.drivers = 1, .in_flight = in_flight, .warm_up = length / 4, .length = length};
  auto f = drive(system, l, [to](auto* self, auto&, auto answered) {
    self->request(to, caf::infinite, std::int64_t{1})
        .then([=](std::int64_t) { answered(true); }, [=](const caf::error&) { answered(false); });
  });
  return f.note.empty() ? 1e9 / f.value : throw std::runtime_error(f.note);
}

} // namespace

figure breaker_overhead(run_context& context) {
  eventcore::node node{eventcore::open_memory_journal()};
  auto& system = node.system();
  auto worker = system.spawn(echo);
  auto breaker = eventcore::start_breaker(system, {.name = "bench"}, worker);
  constexpr std::size_t rounds = 7;
  auto length = context.length() / rounds;
  struct measured {
    double plain, through, added;
  };
  auto measure = [&](std::size_t in_flight) {
    std::array<measured, rounds> all;
    for (std::size_t i = 0; i != rounds; ++i) {
      // In alternation, each before the other in turn.
      double first = ask(system, i % 2 ? worker : actor_of(breaker), in_flight, length);
      double second = ask(system, i % 2 ? actor_of(breaker) : worker, in_flight, length);
      auto plain = i % 2 ? first : second;
      auto through = i % 2 ? second : first;
      all[i] = {plain, through, through - plain};
    }
    std::ranges::sort(all, {}, &measured::added);
    return all;
  };
  auto single = measure(1);
  auto many = measure(32);
  figure f;
  f.value = single[rounds / 2].added;
  f.unit = "nanoseconds";
  char text[400];
  std::snprintf(
      text, sizeof(text),
      "added to a call by a closed breaker, one in flight: %.0f instead of %.0f ns, median of 7 rounds in "
      "alternation (%.0f to %.0f ns); with 32 in flight %.0f instead of %.0f ns, added %.0f",
      single[rounds / 2].through, single[rounds / 2].plain, single.front().added, single.back().added,
      many[rounds / 2].through, many[rounds / 2].plain, many[rounds / 2].added);
  f.note = text;
  caf::anon_send_exit(actor_of(breaker), caf::exit_reason::user_shutdown);
  caf::anon_send_exit(worker, caf::exit_reason::user_shutdown);
  return f;
}

} // namespace bench
