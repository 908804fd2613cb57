#include "alternation.hpp"
#include "counter.hpp"
#include "entities.hpp"
#include "scenario.hpp"

#include <eventcore/actors/caf.hpp>

#include <stdexcept>

namespace bench {

namespace {

using eventcore::make;
using namespace std::literals;

constexpr std::size_t counters = 10'000;
constexpr std::size_t in_flight = 1'000;

/// Adds to four counters, one after the other.
struct four_steps : eventcore::saga<four_steps> {
  static constexpr std::string_view category = "four_steps";
  using input = Add;

  static void define(definition<input>& saga) {
    for (std::int64_t i = 0; i != 4; ++i) {
      auto request = [i](const input& add) {
        auto id = static_cast<std::size_t>(add.amount() * 7 + i * 2'500) % counters;
        return eventcore::to(std::to_string(id), make<Add>([](auto& c) { c.set_amount(1); }));
      };
      saga.step("step_" + std::to_string(i))
          .request<counter>(request)
          .compensate<counter>(request)
          .within(60s);
    }
  }
};

/// Keeps `in_flight` sagas going, numbered from behind `last_id` on, which is moved, until all that were begun have ended.
/// How many have ended is asked of the one who runs them.
figure run_sagas(eventcore::node& node, std::int64_t& last_id, std::chrono::duration<double> length) {
  auto sagas = node.saga<four_steps>();
  auto actor = eventcore::actor_of(sagas);
  auto completed = [&] {
    auto stats = sagas.stats(60s);
    if (!stats || stats->compensated + stats->stuck > 0)
      throw std::runtime_error{"a saga was not completed"};
    return stats->completed;
  };
  const auto before = completed();
  auto begun = before;
  auto now = before;
  auto run = [&](std::chrono::duration<double> time) {
    const auto first = now;
    const auto start = steady::now();
    do {
      for (; begun - now < in_flight; ++begun) {
        auto number = ++last_id;
        caf::anon_send(actor, std::to_string(number), make<Add>([&](auto& c) { c.set_amount(number); }));
      }
      std::this_thread::sleep_for(500us);
      now = completed();
    } while (steady::now() - start < time);
    return static_cast<double>(now - first) / seconds_since(start);
  };
  run(length / 2);
  figure f;
  f.value = run(length);
  while (completed() < begun)
    std::this_thread::sleep_for(1ms);
  return f;
}

} // namespace

figure saga_4_steps(run_context& context) {
  auto node = open_node(context.dir);
  auto host = eventcore::actor_of(node.host<counter>());
  std::int64_t last_id = 0;
  load l{.warm_up = 0.1s, .length = context.round_length()};
  auto f = alternate(
      context.rounds(), [&] { return run_sagas(node, last_id, context.round_length()); },
      [&] { return drive_adds(node.system(), l, host, counters); });
  if (f.value == 0)
    throw std::runtime_error{"no saga came to its end"};
  f.note +=
      "fsync; 1,000 sagas in flight, 10,000 entities; 9 commits a saga: start, four of the entities, four "
      "answers";
  return f;
}

} // namespace bench
