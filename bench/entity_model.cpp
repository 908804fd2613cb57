#include "counter.hpp"
#include "entities.hpp"
#include "scenario.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/actors/multi_stream.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <future>
#include <stdexcept>
#include <tuple>
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

/// Sends commands for two different of `streams` streams at random. `conflicts` counts the answers `conflict`.
figure drive_pairs(caf::actor_system& system, const load& l, const caf::actor& commands, std::size_t streams,
                   const std::shared_ptr<std::atomic<std::size_t>>& conflicts) {
  return drive(system, l, [=](auto* self, auto& random, auto answered) {
    auto first = random() % streams;
    auto second = (first + 1 + random() % (streams - 1)) % streams;
    self->request(commands, caf::infinite, make<AddToTwo>([&](auto& c) {
                    c.set_first(std::to_string(first));
                    c.set_second(std::to_string(second));
                  }))
        .then([=](const Total&) { answered(true); },
              [=](const caf::error& e) {
                if (eventcore::from_caf_error(e).code() == eventcore::entity_errc::conflict)
                  ++*conflicts;
                answered(false);
              });
  });
}

/// `drive_adds` with a new idempotency key of 16 characters for each command.
figure drive_keyed_adds(caf::actor_system& system, const load& l, const caf::actor& host,
                        std::size_t entities, const std::shared_ptr<std::atomic<std::uint64_t>>& keys) {
  return drive(system, l, [=](auto* self, auto& random, auto answered) {
    eventcore::command_context context;
    auto key = ++*keys;
    context.idempotency_key.resize(16);
    for (auto& digit : context.idempotency_key)
      digit = "0123456789abcdef"[std::exchange(key, key >> 4) & 15];
    self->request(host, caf::infinite, std::to_string(random() % entities), std::move(context),
                  make<Add>([](auto& c) { c.set_amount(1); }))
        .then([=](const Total&) { answered(true); }, [=](const caf::error&) { answered(false); });
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

template <std::size_t N>
double median(std::array<double, N> values) {
  std::ranges::nth_element(values, values.begin() + N / 2);
  return values[N / 2];
}

} // namespace

figure multi_stream_command(run_context& context) {
  const std::size_t streams = 100'000;
  write_entities(context.dir, streams);
  auto node = open_node(context.dir);
  auto commands = node.multi_stream<two_counters>();
  auto conflicts = std::make_shared<std::atomic<std::size_t>>(0);
  auto run = [&](load l) {
    return drive_pairs(node.system(), l, eventcore::actor_of(commands), streams, conflicts);
  };
  auto cold = run({.warm_up = 0s, .length = 1s});
  auto f = run({.warm_up = 5s, .length = context.length()});
  f.note += batch_note(node.journal().stats());
  char text[240];
  std::snprintf(
      text, sizeof(text),
      "; two events a command; in the first second, when nearly all streams had to be read: %.0f per "
      "second; %zu of 100,000 streams in memory at the end; 64 drivers x 16 in flight",
      cold.value, stats_of(commands).cached_streams);
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
  auto host = eventcore::actor_of(node.host<counter>());
  auto keys = std::make_shared<std::atomic<std::uint64_t>>(0);
  load l{.length = context.length() / 2.5};
  struct round {
    figure load;
    double processor_time; // of all threads, relative to the commands answered
  };
  auto run = [&](bool with_key) {
    auto begin = std::clock();
    auto load = with_key ? drive_keyed_adds(node.system(), l, host, entities, keys)
                         : drive_adds(node.system(), l, host, entities);
    return round{load, static_cast<double>(std::clock() - begin) / load.value};
  };
  std::array<figure, 3> keyed;
  std::array<double, 3> rates;
  std::array<double, 3> ratios;
  std::array<double, 3> costs;
  figure f;
  // In alternation, each before the other in turn: a disk's pace changes from second to second.
  for (std::size_t i = 0; i < 3; ++i) {
    auto first = run(i == 1);
    auto second = run(i != 1);
    auto [with, without] = i == 1 ? std::tie(first, second) : std::tie(second, first);
    keyed[i] = with.load;
    rates[i] = with.load.value;
    ratios[i] = with.load.value / without.load.value;
    costs[i] = with.processor_time / without.processor_time;
    f.note += with.load.note + without.load.note;
  }
  f.value = median(rates);
  auto& middle = *std::ranges::find(keyed, f.value, &figure::value);
  f.p50_us = middle.p50_us;
  f.p99_us = middle.p99_us;
  char text[200];
  std::snprintf(
      text, sizeof(text),
      "%.2f of the same load without keys (median of %.2f, %.2f, %.2f, in alternation), at %.2f times its "
      "processor time; ",
      median(ratios), ratios[0], ratios[1], ratios[2], median(costs));
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
  std::array<double, 11> seconds;
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
