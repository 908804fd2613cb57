#include "counter.hpp"
#include "entities.hpp"
#include "scenario.hpp"

#include <eventcore/actors/caf.hpp>

#include <cstdio>
#include <stdexcept>
#include <vector>

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

/// Asks for the saga's end before it starts the next one.
class starter : public caf::event_based_actor {
public:
  starter(caf::actor_config& config, eventcore::saga_host<four_steps> sagas,
          std::shared_ptr<std::atomic<std::int64_t>> next,
          std::shared_ptr<std::atomic<std::uint64_t>> finished)
      : caf::event_based_actor{config}
      , sagas_{std::move(sagas)}
      , next_{std::move(next)}
      , finished_{std::move(finished)} {}

protected:
  caf::behavior make_behavior() override {
    set_error_handler([](caf::scheduled_actor*, caf::error&) {});
    start_next();
    return {[](caf::unit_t) {}};
  }

private:
  void start_next() {
    auto number = ++*next_;
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
                        ++*finished_;
                        start_next();
                      },
                      failed);
            },
            failed);
  }

  eventcore::saga_host<four_steps> sagas_;
  std::shared_ptr<std::atomic<std::int64_t>> next_;
  std::shared_ptr<std::atomic<std::uint64_t>> finished_;
};

} // namespace

figure saga_4_steps(run_context& context) {
  auto node = open_node(context.dir);
  node.host<counter>();
  auto sagas = node.saga<four_steps>();
  auto next = std::make_shared<std::atomic<std::int64_t>>(0);
  auto finished = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::vector<caf::actor> starters;
  for (std::size_t i = 0; i != in_flight; ++i)
    starters.push_back(node.system().spawn<starter>(sagas, next, finished));
  std::this_thread::sleep_for(1s);
  auto before = finished->load();
  auto start = steady::now();
  std::this_thread::sleep_for(context.length());
  figure f;
  f.value = static_cast<double>(finished->load() - before) / seconds_since(start);
  for (auto& s : starters)
    caf::anon_send_exit(s, caf::exit_reason::kill);
  if (f.value == 0)
    throw std::runtime_error{"no saga came to its end"};
  f.note = batch_note(node.journal().stats());
  f.note +=
      "; 1,000 sagas in flight, 10,000 entities; 9 commits a saga: start, four of the entities, four answers";
  return f;
}

} // namespace bench
