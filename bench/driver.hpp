#pragma once

#include "latencies.hpp"
#include "scenario.hpp"

#include <caf/all.hpp>

#include <memory>
#include <mutex>
#include <random>

namespace bench {

/// How requests are made: `drivers` actors with `in_flight` requests each; the next one is sent when one is
/// answered.
struct load {
  std::size_t drivers = 64;
  std::size_t in_flight = 16;
  std::chrono::duration<double> warm_up{0.5};
  std::chrono::duration<double> length{2.5};
};

/// What all drivers together saw between warm-up and end.
struct load_result {
  std::mutex mutex;
  std::uint64_t answers = 0;
  std::uint64_t errors = 0;
  latencies times;
};

/// A driver's clock and counts.
struct driver_state {
  steady::time_point start;
  steady::time_point end;
  std::size_t open = 0;
  std::uint64_t answers = 0;
  std::uint64_t errors = 0;
  latencies times;
  std::minstd_rand random;
};

/// Sends requests through `ask(self, random, on_answer, on_error)` as `l` says and waits for the end.
template <class Ask>
figure drive(caf::actor_system& system, const load& l, Ask ask) {
  auto result = std::make_shared<load_result>();
  auto begin = steady::now();
  auto start = begin + std::chrono::duration_cast<steady::duration>(l.warm_up);
  auto end = start + std::chrono::duration_cast<steady::duration>(l.length);
  auto in_flight = l.in_flight;
  for (std::size_t d = 0; d < l.drivers; ++d) {
    system.spawn([=](caf::stateful_actor<driver_state>* self) -> caf::behavior {
      auto& s = self->state;
      s.start = start;
      s.end = end;
      s.open = in_flight;
      s.random.seed(static_cast<unsigned>(d + 1));
      struct loop {
        static void send(caf::stateful_actor<driver_state>* self, Ask ask,
                         std::shared_ptr<load_result> result) {
          auto sent = steady::now();
          auto answered = [=](bool good) {
            auto& s = self->state;
            auto now = steady::now();
            if (now >= s.start && now < s.end) {
              ++(good ? s.answers : s.errors);
              s.times.add(now - sent);
            }
            if (now < s.end)
              return send(self, ask, result);
            if (--s.open > 0)
              return;
            {
              std::lock_guard lock{result->mutex};
              result->answers += s.answers;
              result->errors += s.errors;
              result->times.add(s.times);
            }
            self->quit();
          };
          ask(self, self->state.random, answered);
        }
      };
      for (std::size_t i = 0; i < in_flight; ++i)
        loop::send(self, ask, result);
      return {[](caf::unit_t) {}};
    });
  }
  while (result.use_count() > 1)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  figure f;
  f.value = static_cast<double>(result->answers) / l.length.count();
  f.p50_us = result->times.percentile(0.50);
  f.p99_us = result->times.percentile(0.99);
  if (result->errors > 0)
    f.note = std::to_string(result->errors) + " requests FAILED; ";
  return f;
}

} // namespace bench
