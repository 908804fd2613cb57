/// Writes to a journal as fast as it goes until somebody kills it, and says on its standard output what was
/// promised. See `crash::promise`.

#include "load.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/runtime/node.hpp>

#include <CLI/CLI.hpp>

#include <atomic>
#include <iostream>
#include <map>
#include <random>
#include <semaphore>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using crash::promise;
using eventcore::commit;
using eventcore::committed;
using eventcore::error;
using eventcore::expected_version;
using eventcore::result;
using eventcore::stream_id;

[[noreturn]] void give_up(const std::string& why) {
  std::cerr << "crash_writer: " << why << std::endl;
  _exit(3);
}

template <class T>
T must(result<T> r) {
  if (!r)
    give_up(r.error().message());
  return *std::move(r);
}

void say(promise::kind what, std::uint64_t commit = 0, std::uint64_t position = 0) {
  const promise p{what, commit, position};
  if (write(STDOUT_FILENO, &p, sizeof p) != sizeof p)
    give_up("nobody listens on standard output");
}

/// Sizes of events: mostly small, now and then larger than a page, seldom much larger.
std::size_t filler_size(std::mt19937& random) {
  switch (const auto n = random() % 100; n) {
  case 0:
    return 20'000 + random() % 50'000;
  case 1:
  case 2:
  case 3:
    return 2'000 + random() % 8'000;
  default:
    return n * 4;
  }
}

// -- commits straight to the journal
// ---------------------------------------------------------------------------------------

/// The only writer of its streams and cursors; many of its commits are in flight.
class loader final : public eventcore::commit_listener, public std::enable_shared_from_this<loader> {
public:
  static constexpr std::size_t streams = 150;
  static constexpr std::size_t cursors = 5;
  static constexpr std::ptrdiff_t in_flight = 100;

  loader(eventcore::journal& journal, unsigned number, std::uint64_t first_commit, unsigned seed)
      : journal_{journal}
      , next_commit_{first_commit}
      , random_{seed} {
    for (std::size_t i = 0; i < streams; ++i) {
      auto id = must(stream_id::of("load" + std::to_string(number), std::to_string(i)));
      const auto version = must(journal_.head_of(id)).version;
      streams_.push_back({std::move(id), version});
    }
    for (std::size_t i = 0; i < cursors; ++i) {
      auto name = "cursor-" + std::to_string(number) + "-" + std::to_string(i);
      const auto position = must(journal_.load_cursor(name));
      cursors_.push_back({std::move(name), position});
    }
  }

  [[noreturn]] void run() {
    for (;;) {
      free_.acquire();
      const auto number = next_commit_++;
      auto credit = must(journal_.reserve());
      journal_.submit(make_commit(number), std::move(credit), shared_from_this(), number);
    }
  }

  void on_commit(std::uint64_t number, const result<committed>& outcome) noexcept override {
    if (!outcome)
      give_up(outcome.error().message());
    say(promise::kind::committed, number, outcome->first);
    free_.release();
  }

private:
  struct stream {
    stream_id id;
    eventcore::stream_version version;
  };
  struct cursor {
    std::string name;
    eventcore::log_position position;
  };

  commit make_commit(std::uint64_t number) {
    commit c;
    c.epoch = epoch_;
    std::vector<crash::Written> events;
    std::vector<std::size_t> counts;
    const auto first = random_() % streams;
    const auto involved = random_() % 4 == 0 ? 2 + random_() % 4 : 1;
    for (std::size_t i = 0; i < involved; ++i) {
      auto& s = streams_[(first + i) % streams];
      c.appends.push_back({s.id, expected_version::exact(s.version), {}});
      // Some streams are only read.
      counts.push_back(i > 0 && random_() % 4 == 0 ? 0 : 1 + random_() % 3);
      for (std::size_t n = 0; n < counts.back(); ++n) {
        crash::Written event;
        event.set_stream(s.id.str());
        event.set_version(++s.version);
        events.push_back(std::move(event));
      }
    }
    if (random_() % 4 == 0) {
      auto& moved = cursors_[random_() % cursors];
      const auto from = moved.position;
      moved.position += 1 + random_() % 100;
      c.cursors.push_back({moved.name, from, moved.position});
      events.front().set_cursor(moved.name);
      events.front().set_cursor_position(moved.position);
    }
    std::uint32_t index = 0;
    for (std::size_t i = 0; i < involved; ++i)
      for (std::size_t n = 0; n < counts[i]; ++n) {
        auto& event = events[index];
        event.set_commit(number);
        event.set_index(index);
        event.set_size(static_cast<std::uint32_t>(events.size()));
        event.set_filler(crash::filler_of(number, index, filler_size(random_)));
        c.appends[i].events.push_back({crash::Written::descriptor(), event.SerializeAsString()});
        ++index;
      }
    return c;
  }

  eventcore::journal& journal_;
  std::uint64_t next_commit_;
  std::mt19937 random_;
  std::vector<stream> streams_;
  std::vector<cursor> cursors_;
  std::shared_ptr<eventcore::writer_epoch> epoch_ = std::make_shared<eventcore::writer_epoch>();
  std::counting_semaphore<> free_{in_flight};
};

[[noreturn]] void load_journal(const std::filesystem::path& dir, const eventcore::lmdb_options& options,
                               std::uint64_t first_commit, unsigned seed) {
  const auto journal = must(eventcore::open_lmdb_journal(dir, options));
  constexpr std::uint64_t commits_each = 1u << 28;
  const auto one = std::make_shared<loader>(*journal, 1, first_commit, seed);
  const auto two = std::make_shared<loader>(*journal, 2, first_commit + commits_each, seed + 1);
  say(promise::kind::ready);
  std::thread second{[&] { two->run(); }};
  one->run();
}

// -- commands to entities
// --------------------------------------------------------------------------------------------------

struct entity : eventcore::decider<entity> {
  static constexpr std::string_view category = "entity";
  using commands = eventcore::commands<crash::Write, crash::GetVersion>;
  using events = eventcore::events<crash::Written>;
  struct state {
    std::uint64_t version = 0;
  };

  static void evolve(state& s, const crash::Written& e) { s.version = e.version(); }

  static effect<crash::Version> decide(const state& s, const crash::Write& c) {
    return persist(eventcore::make<crash::Written>([&](auto& e) {
             e.set_commit(c.commit());
             e.set_size(1);
             e.set_stream(c.stream());
             e.set_version(s.version + 1);
             e.set_filler(crash::filler_of(c.commit(), 0, c.filler_size()));
           }))
        .then_reply(version);
  }
  static effect<crash::Version> decide(const state& s, const crash::GetVersion&) { return version(s); }

  static crash::Version version(const state& s) {
    return eventcore::make<crash::Version>([&](auto& v) { v.set_version(s.version); });
  }
};

/// Keeps many commands to few entities in flight.
class driver : public caf::event_based_actor {
public:
  static constexpr std::size_t entities = 60;
  static constexpr std::size_t in_flight = 200;

  driver(caf::actor_config& config, eventcore::host<entity> host, std::uint64_t first_commit, unsigned seed)
      : caf::event_based_actor{config}
      , host_{std::move(host)}
      , next_commit_{first_commit}
      , random_{seed} {}

  caf::behavior make_behavior() override {
    for (std::size_t i = 0; i < in_flight; ++i)
      send_one();
    return {};
  }

private:
  void send_one() {
    const auto number = random_() % entities;
    const auto id = std::to_string(number);
    const auto failed = [](const error& e) { give_up(e.message()); };
    const auto told = [this, number](const crash::Version& v) {
      say(promise::kind::version, number, v.version());
      send_one();
    };
    if (random_() % 8 == 0) {
      eventcore::request(this, host_, id, crash::GetVersion{}, caf::infinite).then(told, failed);
      return;
    }
    const auto commit = next_commit_++;
    crash::Write command;
    command.set_commit(commit);
    command.set_stream(std::string{entity::category} + "-" + id);
    command.set_filler_size(static_cast<std::uint32_t>(filler_size(random_)));
    eventcore::request(this, host_, id, std::move(command), caf::infinite)
        .then(
            [commit, told](const crash::Version& v) {
              say(promise::kind::committed, commit);
              told(v);
            },
            failed);
  }

  eventcore::host<entity> host_;
  std::uint64_t next_commit_;
  std::mt19937 random_;
};

[[noreturn]] void load_entities(const std::filesystem::path& dir, const eventcore::lmdb_options& journal,
                                std::uint64_t first_commit, unsigned seed) {
  eventcore::node_options options;
  options.journal_dir = dir;
  options.journal = journal;
  auto node = must(eventcore::node::open(std::move(options)));
  eventcore::host_options host;
  host.idle_time = std::chrono::milliseconds{2}; // so that entities come and go
  const auto entities = node.host<entity>(host);
  say(promise::kind::ready);
  node.system().spawn<driver>(entities, first_commit, seed);
  for (;;)
    pause();
}

} // namespace

int main(int argc, char** argv) {
  std::filesystem::path dir;
  std::uint64_t first_commit = 1;
  unsigned seed = 0;
  bool entities = false;
  bool relaxed = false;
  CLI::App app{"Writes to a journal until it is killed."};
  app.add_option("dir", dir)->required();
  app.add_option("--first-commit", first_commit);
  app.add_option("--seed", seed);
  app.add_flag("--entities", entities);
  app.add_flag("--relaxed", relaxed);
  CLI11_PARSE(app, argc, argv);

  eventcore::lmdb_options options;
  if (relaxed)
    options.durability = eventcore::durability::relaxed;
  if (entities)
    load_entities(dir, options, first_commit, seed);
  load_journal(dir, options, first_commit, seed);
}
