#include "entities.hpp"

#include "counter.hpp"
#include "scenario.hpp"

#include <eventcore/actors/caf.hpp>

#include <malloc.h>

#include <cstdio>
#include <stdexcept>
#include <unordered_set>

namespace bench {

using eventcore::make;
using namespace std::literals;

eventcore::node open_node(const std::filesystem::path& dir) {
  eventcore::node_options options;
  options.journal_dir = dir;
  auto node = eventcore::node::open(options);
  if (!node)
    throw std::runtime_error(node.error().message());
  return *std::move(node);
}

std::string batch_note(const eventcore::journal_stats& s) {
  char text[96];
  std::snprintf(text, sizeof(text), "fsync; %.0f commits a transaction",
                static_cast<double>(s.commits) /
                    static_cast<double>(std::max<std::uint64_t>(s.transactions, 1)));
  return text;
}

figure drive_adds(caf::actor_system& system, const load& l, const caf::actor& host, std::size_t entities,
                  std::size_t first) {
  return drive(system, l, [=](auto* self, auto& random, auto answered) {
    self->request(host, caf::infinite, std::to_string(first + random() % entities),
                  make<Add>([](auto& c) { c.set_amount(1); }))
        .then([=](const Total&) { answered(true); }, [=](const caf::error&) { answered(false); });
  });
}

void write_entities(const std::filesystem::path& dir, std::size_t entities) {
  auto journal = eventcore::open_lmdb_journal(dir);
  if (!journal)
    throw std::runtime_error(journal.error().message());
  auto payload = make<Added>([](auto& e) { e.set_amount(1); }).SerializeAsString();
  for (std::size_t round = 0; round < 10; ++round)
    for (std::size_t first = 0; first < entities; first += 4'000) {
      eventcore::commit c;
      for (auto id = first; id < std::min(first + 4'000, entities); ++id)
        c.appends.push_back({*eventcore::stream_id::of("counter", std::to_string(id)),
                             eventcore::expected_version::exact(round),
                             {{Added::descriptor(), payload}}});
      if (auto done = (*journal)->commit_and_wait(std::move(c)); !done)
        throw std::runtime_error(done.error().message());
    }
}

namespace {

figure command_load(run_context& context, std::size_t entities, load l) {
  auto node = open_node(context.dir);
  auto host = eventcore::actor_of(node.host<counter>());
  l.length = context.length();
  auto f = drive_adds(node.system(), l, host, entities);
  f.note += batch_note(node.journal().stats());
  return f;
}

/// Asks each entity once, `in_flight` at a time, and returns the seconds that it took.
double wake_all(eventcore::node& node, const caf::actor& host, std::size_t entities, std::size_t in_flight) {
  auto start = steady::now();
  auto left = std::make_shared<std::atomic<std::size_t>>(entities);
  auto failed = std::make_shared<std::atomic<std::size_t>>(0);
  node.system().spawn([=](caf::event_based_actor* self) -> caf::behavior {
    struct loop {
      static void next(caf::event_based_actor* self, caf::actor host, std::shared_ptr<std::size_t> id,
                       std::size_t entities, std::shared_ptr<std::atomic<std::size_t>> left,
                       std::shared_ptr<std::atomic<std::size_t>> failed) {
        if (*id == entities)
          return;
        auto again = [=](bool good) {
          *failed += good ? 0 : 1;
          next(self, host, id, entities, left, failed);
          --*left;
        };
        self->request(host, caf::infinite, std::to_string((*id)++), GetTotal{})
            .then([=](const Total& t) { again(t.amount() == 10); }, [=](const caf::error&) { again(false); });
      }
    };
    auto id = std::make_shared<std::size_t>(0);
    for (std::size_t i = 0; i < in_flight; ++i)
      loop::next(self, host, id, entities, left, failed);
    return {};
  });
  while (*left > 0)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  if (*failed > 0)
    throw std::runtime_error(std::to_string(*failed) + " entities did not have the state that was written");
  return seconds_since(start);
}

} // namespace

figure durable_command(run_context& context) {
  auto f = command_load(context, 10'000, {});
  f.note += "; 10,000 entities, 64 drivers x 16 in flight";
  return f;
}

figure hot_stream_command(run_context& context) {
  auto f = command_load(context, 1, {});
  f.note += "; one entity, 64 drivers x 16 in flight";
  return f;
}

figure single_command(run_context& context) {
  auto f = command_load(context, 1, {.drivers = 1, .in_flight = 1});
  f.note += "; one entity, one in flight";
  return f;
}

figure replay(run_context& context) {
  auto node = open_node(context.dir);
  auto counters = node.host<counter>();
  auto start = steady::now();
  auto total = counters.ask("one", GetTotal{}, 60s);
  auto seconds = seconds_since(start);
  if (!total || total->amount() != 1'000'000)
    throw std::runtime_error("replay: " + (total ? "wrong state"s : total.error().message()));
  figure f;
  f.value = 1'000'000 / seconds;
  f.note = "one entity of 1,000,000 events, no snapshot, ask to reply";
  return f;
}

figure cold_entities(run_context& context) {
  const std::size_t entities = context.quick ? 50'000 : 200'000;
  write_entities(context.dir, entities);
  auto node = open_node(context.dir);
  auto host = eventcore::actor_of(node.host<counter>({.max_resident = entities}));
  figure f;
  f.value = static_cast<double>(entities) / wake_all(node, host, entities, 256);
  f.note = "entities of 10 scattered events, 256 at a time, page cache warm";
  return f;
}

figure entity_memory(run_context& context) {
  const std::size_t entities = 20'000;
  write_entities(context.dir, entities);
  auto node = open_node(context.dir);
  auto host = eventcore::actor_of(node.host<counter>());
  auto used = [] {
    auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  wake_all(node, host, entities / 2, 64);
  auto before = used();
  // The other half: threads' caches and tables are there already.
  wake_all(node, host, entities, 64);
  figure f;
  f.value = static_cast<double>(used() - before) / (static_cast<double>(entities) / 2);
  f.unit = "bytes";
  f.note = "heap bytes for each idle resident entity, CAF's actor and the host's entry included";
  return f;
}

} // namespace bench
