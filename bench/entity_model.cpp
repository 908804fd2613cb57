#include "alternation.hpp"
#include "counter.hpp"
#include "entities.hpp"
#include "scenario.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/actors/multi_stream.hpp>

#include <algorithm>
#include <cstdio>
#include <future>
#include <stdexcept>
#include <utility>

namespace bench {

namespace {

using eventcore::make;
using namespace std::literals;

/// A command that reads two counters and appends to both.
struct two_counters : eventcore::multi_stream_decider<two_counters> {
  using commands = eventcore::commands<AddToTwo>;
  using streams = eventcore::folds<counter>;

  static void declare(stream_set& s, const AddToTwo& c) {
    s.read<counter>(c.first());
    s.read<counter>(c.second());
  }
  static effect<Total> decide(const stream_states& s, const AddToTwo& c) {
    auto added = make<Added>([](auto& e) { e.set_amount(1); });
    auto before = s.get<counter>(c.first()).total + s.get<counter>(c.second()).total;
    return append<counter>(c.first(), added)
        .append<counter>(c.second(), added)
        .then_reply(make<Total>([&](auto& t) { t.set_amount(before + 2); }));
  }
};

/// A counter whose state can be saved.
struct saved_counter : eventcore::decider<saved_counter> {
  static constexpr std::string_view category = counter::category;
  using commands = eventcore::commands<GetTotal>;
  using events = counter::events;
  using state = counter::state;

  static void evolve(state& s, const Added& e) { counter::evolve(s, e); }
  static effect<Total> decide(const state& s, const GetTotal&) { return counter::total(s); }
  static Total to_snapshot(const state& s) { return counter::total(s); }
  static state from_snapshot(const Total& saved) { return {saved.amount()}; }
};

/// Asks for a command on two streams: `first`, and the one that is `distance` behind it.
void ask_pair(auto* self, const caf::actor& commands, std::size_t first, std::size_t distance,
              std::size_t streams, auto answered, auto failed) {
  self->request(commands, caf::infinite, make<AddToTwo>([&](auto& c) {
                  c.set_first(std::to_string(first));
                  c.set_second(std::to_string((first + distance) % streams));
                }))
      .then([=](const Total&) { answered(true); },
            [=](const caf::error& e) {
              failed(e);
              answered(false);
            });
}

/// Sends commands for two different of `streams` streams at random. `conflicts` counts the answers `conflict`.
figure drive_pairs(caf::actor_system& system, const load& l, const caf::actor& commands, std::size_t streams,
                   const std::shared_ptr<std::atomic<std::size_t>>& conflicts) {
  return drive(system, l, [=](auto* self, auto& random, auto answered) {
    ask_pair(self, commands, random() % streams, 1 + random() % (streams - 1), streams, answered,
             [=](const caf::error& e) {
               if (eventcore::from_caf_error(e).code() == eventcore::entity_errc::conflict)
                 ++*conflicts;
             });
  });
}

/// `drive_adds` with a context, and, if `keys` is not null, a new idempotency key of 16 characters in it.
figure drive_adds_in_context(caf::actor_system& system, const load& l, const eventcore::host<counter>& host,
                             std::size_t entities, const std::shared_ptr<std::atomic<std::uint64_t>>& keys) {
  return drive(system, l, [=](auto* self, auto& random, auto answered) {
    eventcore::command_context context;
    if (keys) {
      auto key = ++*keys;
      context.idempotency_key.resize(16);
      for (auto& digit : context.idempotency_key)
        digit = "0123456789abcdef"[std::exchange(key, key >> 4) & 15];
    }
    eventcore::request(self, host, std::to_string(random() % entities),
                       make<Add>([](auto& c) { c.set_amount(1); }), caf::infinite, std::move(context))
        .then([=](const Total&) { answered(true); }, [=](const eventcore::error&) { answered(false); });
  });
}

eventcore::multi_stream_stats stats_of(const eventcore::multi_stream_handle& commands) {
  auto stats = commands.stats(10s);
  if (!stats)
    throw std::runtime_error(stats.error().message());
  return *stats;
}

/// Opens a node, asks the entity of a million events once, and returns the seconds from question to answer.
double wake_saved_counter(const std::filesystem::path& dir) {
  auto node = open_node(dir);
  auto counters = node.host<saved_counter>();
  auto start = steady::now();
  auto total = counters.ask("one", GetTotal{}, 60s);
  auto seconds = seconds_since(start);
  if (!total || total->amount() != 1'000'000)
    throw std::runtime_error("waking the entity: " + (total ? "wrong state"s : total.error().message()));
  return seconds;
}

} // namespace

figure multi_stream_command(run_context& context) {
  const std::size_t streams = 100'000;
  write_entities(context.dir, streams);
  auto node = open_node(context.dir);
  auto host = eventcore::actor_of(node.host<counter>());
  auto commands = eventcore::actor_of(node.multi_stream<two_counters>());
  auto next = std::make_shared<std::atomic<std::size_t>>(0);
  auto start = steady::now();
  // Each command takes the next two streams, until all have been read.
  while (next->load() < streams)
    drive(node.system(), {.warm_up = 0s, .length = 0.25s}, [=](auto* self, auto&, auto answered) {
      ask_pair(self, commands, next->fetch_add(2) % streams, 1, streams, answered, [](auto&) {});
    });
  auto cold = static_cast<double>(next->load()) / 2 / seconds_since(start);
  load l{.warm_up = 0.1s, .length = context.round_length()};
  auto conflicts = std::make_shared<std::atomic<std::size_t>>(0);
  auto f = alternate(
      context.rounds(), [&] { return drive_pairs(node.system(), l, commands, streams, conflicts); },
      [&] { return drive_adds(node.system(), l, host, 10'000, streams); });
  char text[200];
  std::snprintf(text, sizeof(text),
                "two events a command; %.0f per second while every stream had to be read; 64 drivers x 16 in "
                "flight",
                cold);
  f.note += text;
  return f;
}

figure multi_stream_contended(run_context& context) {
  const std::size_t streams = 10;
  auto node = open_node(context.dir);
  auto commands = node.multi_stream<two_counters>();
  auto host = eventcore::actor_of(node.host<counter>());
  auto conflicts = std::make_shared<std::atomic<std::size_t>>(0);
  auto entities = std::async(std::launch::async, [&] {
    return drive_adds(node.system(), {.drivers = 8, .in_flight = 1, .length = context.length()}, host,
                      streams);
  });
  auto f = drive_pairs(node.system(), {.drivers = 16, .in_flight = 1, .length = context.length()},
                       eventcore::actor_of(commands), streams, conflicts);
  auto beside = entities.get();
  auto stats = stats_of(commands);
  char text[400];
  std::snprintf(
      text, sizeof(text),
      "%zu commands answered conflict; %llu commands, %llu conflicts, %llu retries, %llu holds, longest wait "
      "%.0f ms; entities beside it: %s%.0f commands per second, p99 %.0f us; 16 drivers and 8 for the "
      "entities, "
      "one in flight each",
      conflicts->load(), static_cast<unsigned long long>(stats.commands),
      static_cast<unsigned long long>(stats.conflicts), static_cast<unsigned long long>(stats.retries),
      static_cast<unsigned long long>(stats.holds), static_cast<double>(stats.longest_wait.count()) / 1'000,
      beside.note.c_str(), beside.value, beside.p99_us);
  f.note += text;
  return f;
}

figure idempotent_command(run_context& context) {
  const std::size_t entities = 10'000;
  auto node = open_node(context.dir);
  auto host = node.host<counter>();
  auto keys = std::make_shared<std::atomic<std::uint64_t>>(0);
  load l{.warm_up = 0.1s, .length = context.round_length()};
  auto with_keys = [&] { return drive_adds_in_context(node.system(), l, host, entities, keys); };
  auto f = alternate(context.rounds(), with_keys,
                     [&] { return drive_adds(node.system(), l, eventcore::actor_of(host), entities); });
  auto of_context = alternate(context.rounds(), with_keys, [&] {
    return drive_adds_in_context(node.system(), l, host, entities, nullptr);
  });
  char text[80];
  std::snprintf(text, sizeof(text), "%.2f of commands that have a context, but no key; ", of_context.ratio);
  f.note += text + batch_note(node.journal().stats()) + "; 10,000 entities, 64 drivers x 16 in flight";
  return f;
}

figure recover_with_snapshot(run_context& context) {
  // The entity's first life reads its events, and saves its state when the node ends.
  auto without = wake_saved_counter(context.dir);
  if (auto journal = eventcore::open_lmdb_journal(context.dir); !journal)
    throw std::runtime_error(journal.error().message());
  else if (auto saved = (*journal)->load_snapshot(*eventcore::stream_id::of(saved_counter::category, "one"),
                                                  Total::descriptor()->full_name(), 1'000'000);
           !saved || !*saved || (*saved)->version != 1'000'000)
    throw std::runtime_error("the entity's state was not saved");
  std::vector<double> seconds(11);
  for (auto& s : seconds)
    s = wake_saved_counter(context.dir);
  figure f;
  f.value = median(seconds);
  f.unit = "seconds";
  char text[160];
  std::snprintf(text, sizeof(text),
                "%.0f us, median of 11 new nodes, ask to reply; without the snapshot %.3f s", f.value * 1e6,
                without);
  f.note = text;
  return f;
}

} // namespace bench
