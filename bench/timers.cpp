#include "latencies.hpp"
#include "scenario.hpp"

#include <eventcore/actors/internal/timer_actor.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>

#include <future>
#include <stdexcept>
#include <unordered_set>

namespace bench {

namespace {

using namespace std::chrono_literals;
using eventcore::internal::fire_timers;
using eventcore::internal::timer_due;

/// Cancels each timer that it hears of in a commit of its own, and says when all are gone.
struct owner_state {
  std::unordered_set<std::string> heard;
  std::size_t repeated = 0;
  std::size_t refused = 0;
};

caf::behavior cancel_all(caf::stateful_actor<owner_state>* self, eventcore::journal* journal,
                         std::size_t count, std::shared_ptr<std::promise<owner_state>> done) {
  return {[=](const timer_due& timer) {
    auto& s = self->state;
    auto credit = journal->reserve(timer.name.size());
    if (!credit) {
      ++s.refused;
      return;
    }
    eventcore::commit c;
    c.timers.push_back({timer.name, timer.due, {}});
    journal->submit(std::move(c), *std::move(credit), nullptr, 0);
    s.repeated += s.heard.insert(timer.name).second ? 0 : 1;
    if (s.heard.size() == count) {
      done->set_value(std::exchange(s, {}));
      self->quit();
    }
  }};
}

} // namespace

figure timers_fired(run_context& context) {
  auto opened = eventcore::open_lmdb_journal(context.dir);
  if (!opened)
    throw std::runtime_error(opened.error().message());
  auto& journal = **opened;
  const std::size_t count = context.quick ? 200'000 : 1'000'000;
  constexpr std::size_t in_commit = 10'000;
  const eventcore::timestamp first{1'000'000s};
  const auto set = [&](std::size_t timers, const std::string& owner, eventcore::timestamp from) {
    for (std::size_t i = 0; i < timers; i += in_commit) {
      eventcore::commit c;
      for (auto n = i; n < i + in_commit; ++n)
        c.timers.push_back({owner + '/' + std::to_string(n), {}, from + std::chrono::microseconds{n}});
      if (auto done = journal.commit_and_wait(std::move(c)); !done)
        throw std::runtime_error(done.error().message());
    }
  };
  set(count, "bench", first);
  set(count, "others", first + 24h * 365 * 200);

  caf::actor_system_config config;
  caf::actor_system system{config};
  auto done = std::make_shared<std::promise<owner_state>>();
  const auto owner = system.spawn(cancel_all, &journal, count, done);
  const auto start = steady::now();
  const auto timers = eventcore::internal::start_timers(system, journal);
  caf::anon_send(timers, fire_timers{"bench", owner});
  const auto heard = done->get_future().get();
  const auto seconds = seconds_since(start);
  caf::anon_send_exit(timers, caf::exit_reason::user_shutdown);
  system.await_all_actors_done();

  figure f;
  f.value = static_cast<double>(count) / seconds;
  f.note = std::to_string(count) +
           " timers that are due, and as many that are not; each is cancelled in a commit of its own, fsync";
  if (heard.repeated + heard.refused > 0)
    f.note += "; " + std::to_string(heard.repeated) + " fired twice, " + std::to_string(heard.refused) +
              " times no credit";
  return f;
}

} // namespace bench
