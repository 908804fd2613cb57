#include "driver.hpp"
#include "scenario.hpp"

#include <caf/all.hpp>

namespace bench {

namespace {

constexpr std::size_t actor_count = 10'000;

caf::behavior echo(caf::event_based_actor*) {
  return {[](std::int64_t number) { return number; }};
}

} // namespace

figure raw_caf_ask(run_context& context) {
  caf::actor_system_config config;
  caf::actor_system system{config};
  auto actors = std::make_shared<std::vector<caf::actor>>();
  for (std::size_t i = 0; i < actor_count; ++i)
    actors->push_back(system.spawn(echo));
  load l;
  l.length = context.length();
  auto f = drive(system, l, [actors](auto* self, auto& random, auto answered) {
    self->request((*actors)[random() % actor_count], caf::infinite, std::int64_t{1})
        .then([=](std::int64_t) { answered(true); }, [=](const caf::error&) { answered(false); });
  });
  for (auto& a : *actors)
    caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
  f.note += "10,000 plain CAF actors; 64 drivers x 16 in flight";
  return f;
}

} // namespace bench
