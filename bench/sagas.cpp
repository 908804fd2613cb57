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

/// What the starters of a round share.
struct progress {
  std::atomic<std::int64_t> last_id;
  std::atomic<std::uint64_t> finished{0};
  std::atomic<bool> enough{false};
};

/// Starts a saga, asks for its end, and starts the next one.
class starter : public caf::event_based_actor {
public:
  starter(caf::actor_config& config, eventcore::saga_host<four_steps> sagas, std::shared_ptr<progress> shared)
      : caf::event_based_actor{config}
      , sagas_{std::move(sagas)}
      , shared_{std::move(shared)} {}

protected:
  caf::behavior make_behavior() override {
    set_error_handler([](caf::scheduled_actor*, caf::error&) {});
    start_next();
    return {[](caf::unit_t) {}};
  }

private:
  void start_next() {
    if (shared_->enough)
      return quit();
    auto number = ++shared_->last_id;
    auto id = std::to_string(number);
    auto failed = [](const caf::error& e) {
      throw std::runtime_error{"a saga failed: " + eventcore::from_caf_error(e).message()};
    };
    request(eventcore::actor_of(sagas_), caf::infinite, id, make<Add>([&](auto& c) { c.set_amount(number); }))
        .then(
            [this, id, failed](eventcore::saga_phase) {
              request(eventcore::actor_of(sagas_), caf::infinite, eventcore::await_saga{id})
                  .then(
                      [this](eventcore::saga_phase phase) {
                        if (phase != eventcore::saga_phase::completed)
                          throw std::runtime_error{"a saga was not completed"};
                        ++shared_->finished;
                        start_next();
                      },
                      failed);
            },
            failed);
  }

  eventcore::saga_host<four_steps> sagas_;
  std::shared_ptr<progress> shared_;
};

/// Keeps `in_flight` sagas going, numbered from behind `last_id` on, which is moved, until all that were begun have ended.
figure run_sagas(eventcore::node& node, std::int64_t& last_id, std::chrono::duration<double> length) {
  auto sagas = node.saga<four_steps>();
  auto shared = std::make_shared<progress>();
  shared->last_id = last_id;
  for (std::size_t i = 0; i != in_flight; ++i)
    node.system().spawn<starter>(sagas, shared);
  std::this_thread::sleep_for(length / 2);
  auto before = shared->finished.load();
  auto start = steady::now();
  std::this_thread::sleep_for(length);
  figure f;
  f.value = static_cast<double>(shared->finished - before) / seconds_since(start);
  shared->enough = true;
  while (shared.use_count() > 1)
    std::this_thread::sleep_for(1ms);
  last_id = shared->last_id;
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
