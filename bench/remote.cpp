#include "remote.hpp"
#include "alternation.hpp"
#include "counter.hpp"
#include "driver.hpp"
#include "entities.hpp"
#include "raw_lmdb.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/actors/subscriber.hpp>
#include <eventcore/persistence/event_source.hpp>
#include <eventcore/persistence/memory_journal.hpp>

#include <caf/io/all.hpp>
#include <spdlog/spdlog.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <iostream>
#include <stdexcept>

namespace bench {

using eventcore::make;
using namespace std::literals;

namespace {

constexpr std::size_t message_bytes = 200;

eventcore::node_options member(const std::string& name) {
  spdlog::set_level(spdlog::level::err); // nodes that come and go are no news here
  eventcore::node_options options;
  options.name = name;
  options.journal.service = name;
  options.cluster.emplace();
  options.cluster->listen = "127.0.0.1:0";
  return options;
}

/// CAF with its networking, as CAF sets it up.
struct plain_caf {
  plain_caf() { system.await_actors_before_shutdown(false); }

  caf::actor_system_config config;
  caf::actor_system system{config.load<caf::io::middleman>()};
};

/// Both sides of a measurement: a process with a plain actor and a service, and the same here.
class two_processes {
public:
  /// The other side's journal holds `events` events of 200 bytes.
  explicit two_processes(const std::filesystem::path& dir, std::size_t events = 0)
      : node_{eventcore::open_memory_journal(), client_options(start_server(dir, events))} {
    if (auto joined = node_.join(); !joined)
      throw std::runtime_error(joined.error().message());
    auto connected =
        plain_.system.middleman().remote_actor("127.0.0.1", static_cast<std::uint16_t>(raw_port_));
    if (!connected)
      throw std::runtime_error("no plain CAF actor there");
    raw_ = *connected;
    if (auto there = node_.service("echo").ask<Padded>(Padded{}, 10s); !there)
      throw std::runtime_error(there.error().message());
  }
  two_processes(const two_processes&) = delete;
  ~two_processes() {
    ::close(to_server_);
    ::waitpid(server_, nullptr, 0);
  }

  eventcore::node& node() { return node_; }
  caf::actor_system& plain() { return plain_.system; }
  const caf::actor& raw() const { return raw_; }

private:
  static eventcore::node_options client_options(int port) {
    auto options = member("client");
    options.cluster->peers = {"127.0.0.1:" + std::to_string(port)};
    return options;
  }

  int start_server(const std::filesystem::path& dir, std::size_t events) {
    int in[2], out[2];
    if (::pipe(in) != 0 || ::pipe(out) != 0)
      throw std::runtime_error("no pipe");
    server_ = ::fork();
    if (server_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      for (int fd : {in[0], in[1], out[0], out[1]})
        ::close(fd);
      ::execl("/proc/self/exe", "eventcore-bench", "--serve-remote", dir.c_str(), "--serve-events",
              std::to_string(events).c_str(), nullptr);
      ::_exit(1);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_server_ = in[1];
    auto* said = ::fdopen(out[0], "r");
    int port = 0;
    if (std::fscanf(said, "%d %d", &raw_port_, &port) != 2)
      throw std::runtime_error("the other process did not start");
    std::fclose(said);
    return port;
  }

  pid_t server_ = -1;
  int to_server_ = -1;
  int raw_port_ = 0;
  eventcore::node node_;
  plain_caf plain_;
  caf::actor raw_;
};

load load_of(const run_context& context, std::size_t in_flight, bool alternated) {
  load l;
  l.drivers = in_flight >= 4'096 ? 64 : in_flight >= 256 ? 16 : 1;
  l.in_flight = in_flight / l.drivers;
  l.warm_up = std::chrono::duration<double>{0.1};
  l.length = alternated ? context.round_length() : context.length() / 2;
  return l;
}

figure drive_raw(two_processes& both, const load& l) {
  const auto content = std::make_shared<std::string>(message_bytes, 'x');
  return drive(both.plain(), l, [to = both.raw(), content](auto* self, auto&, auto answered) {
    self->request(to, caf::infinite, *content)
        .then([=](const std::string&) { answered(true); }, [=](const caf::error&) { answered(false); });
  });
}

/// What a durable command needs at the least: the same, and a commit of LMDB before the answer.
figure drive_raw_commits(two_processes& both, const load& l) {
  const auto content = std::make_shared<std::string>(message_bytes, 'x');
  return drive(both.plain(), l, [to = both.raw(), content](auto* self, auto&, auto answered) {
    self->request(to, caf::infinite, true, *content)
        .then([=](const std::string&) { answered(true); }, [=](const caf::error&) { answered(false); });
  });
}

figure drive_calls(two_processes& both, const load& l) {
  const auto content = std::make_shared<std::string>(message_bytes, 'x');
  const auto to = eventcore::actor_of(both.node().service("echo"));
  return drive(both.node().system(), l, [to, content](auto* self, auto&, auto answered) {
    self->request(to, caf::infinite, make<Padded>([&](auto& m) { m.set_content(*content); }))
        .then([=](const Padded&) { answered(true); }, [=](const caf::error&) { answered(false); });
  });
}

/// Notes when it heard the first event.
struct remote_listener : eventcore::subscriber<remote_listener> {
  using events = eventcore::events<Padded>;

  explicit remote_listener(std::shared_ptr<std::atomic<steady::rep>> when)
      : first{std::move(when)} {}
  void handle(const Padded& e) {
    if (bytes == 0)
      *first = steady::now().time_since_epoch().count();
    bytes += e.content().size();
  }

  std::shared_ptr<std::atomic<steady::rep>> first;
  std::uint64_t bytes = 0;
};

std::string in_flight_note(std::size_t in_flight) {
  return std::to_string(message_bytes) + "-byte messages between two processes, " +
         std::to_string(in_flight) + " in flight";
}

figure raw(run_context& context, std::size_t in_flight) {
  two_processes both{context.dir};
  auto f = drive_raw(both, load_of(context, in_flight, false));
  f.note += "plain CAF, " + in_flight_note(in_flight);
  return f;
}

figure call(run_context& context, std::size_t in_flight) {
  two_processes both{context.dir};
  const auto l = load_of(context, in_flight, true);
  auto f = alternate(
      context.quick ? 3 : 9, [&] { return drive_calls(both, l); }, [&] { return drive_raw(both, l); });
  f.note += in_flight_note(in_flight);
  return f;
}

figure drive_commands(two_processes& both, const load& l, std::size_t entities) {
  return drive_adds(both.node().system(), l, eventcore::actor_of(both.node().service("server")), entities);
}

} // namespace

figure raw_caf_remote_ask_1(run_context& c) {
  return raw(c, 1);
}
figure raw_caf_remote_ask_16(run_context& c) {
  return raw(c, 16);
}
figure raw_caf_remote_ask_256(run_context& c) {
  return raw(c, 256);
}
figure raw_caf_remote_ask_4096(run_context& c) {
  return raw(c, 4'096);
}
figure remote_call_1(run_context& c) {
  return call(c, 1);
}
figure remote_call_16(run_context& c) {
  return call(c, 16);
}
figure remote_call_256(run_context& c) {
  return call(c, 256);
}
figure remote_call_4096(run_context& c) {
  return call(c, 4'096);
}
figure raw_caf_remote_commit_1(run_context& c) {
  two_processes both{c.dir};
  auto f = drive_raw_commits(both, load_of(c, 1, false));
  f.note += "fsync; plain CAF and plain LMDB, one record a commit, " + in_flight_note(1);
  return f;
}
figure remote_command_1(run_context& c) {
  two_processes both{c.dir};
  const auto l = load_of(c, 1, true);
  auto f = alternate(
      9, [&] { return drive_commands(both, l, 1); }, [&] { return drive_raw_commits(both, l); });
  f.note += "fsync; an entity of another process, 1 in flight";
  return f;
}
figure remote_command_256(run_context& c) {
  two_processes both{c.dir};
  auto f = drive_commands(both, load_of(c, 256, false), 10'000);
  f.note += "fsync; entities of another process, 256 in flight";
  return f;
}

figure remote_feed(run_context& context) {
  const std::size_t events = context.quick ? 200'000 : 1'000'000;
  two_processes both{context.dir, events};
  const auto first = std::make_shared<std::atomic<steady::rep>>(0);
  auto following =
      both.node().subscribe<remote_listener>({.name = "follower",
                                              .source = both.node().remote_events("server"),
                                              .place = eventcore::handler_place::scheduler},
                                             [first] { return std::make_unique<remote_listener>(first); });
  if (!following)
    throw std::runtime_error(following.error().message());
  if (auto done = following->reached(events, 600s); !done)
    throw std::runtime_error(done.error().message());
  figure f;
  f.value = static_cast<double>(events) / seconds_since(steady::time_point{steady::duration{*first}});
  const auto stats = following->stats(10s);
  if (!stats || stats->handled != events)
    throw std::runtime_error("the subscriber did not hear all");
  f.note =
      "events/s of 200 bytes to a subscription in another process, handled by type, from the first one on";
  return f;
}

int serve_remote(const std::filesystem::path& dir, std::size_t events) {
  auto options = member("server");
  options.journal_dir = dir / "server";
  auto opened = eventcore::node::open(options);
  if (!opened)
    return std::cerr << opened.error().message() << '\n', 1;
  auto& node = *opened;
  node.host<counter>();
  node.export_actor("echo", node.system().spawn([](caf::event_based_actor*) -> caf::behavior {
    return {
        [](const eventcore::command_context&, const Padded& m) { return m; },
    };
  }));
  std::filesystem::create_directories(dir / "raw");
  const auto log = std::make_shared<lmdb_log>(dir / "raw");
  plain_caf plain;
  const auto raw = plain.system.spawn([log](caf::event_based_actor*) -> caf::behavior {
    return {[](const std::string& text) { return text; },
            [log](bool, const std::string& text) {
              log->commit(text);
              return text;
            }};
  });
  const auto port = plain.system.middleman().publish(raw, 0, "127.0.0.1");
  for (std::size_t written = 0; written < events; written += 1'000) {
    eventcore::commit c;
    auto payload = make<Padded>([](auto& m) { m.set_content(std::string(message_bytes, 'x')); });
    c.appends.push_back(
        {*eventcore::stream_id::of("padded", std::to_string(written)), eventcore::expected_version::none(),
         std::vector<eventcore::new_event>(1'000, {Padded::descriptor(), payload.SerializeAsString(), 1})});
    if (auto done = node.journal().commit_and_wait(std::move(c)); !done)
      return std::cerr << done.error().message() << '\n', 1;
  }
  node.offer_events();
  if (auto joined = node.join(); !joined || !port)
    return std::cerr << "no port\n", 1;
  const auto address = node.cluster_address();
  std::cout << *port << ' ' << address.substr(address.rfind(':') + 1) << std::endl;
  ::dup2(2, 1); // nobody reads what is logged there
  for (char c = 0; ::read(0, &c, 1) > 0;) {
  }
  caf::anon_send_exit(raw, caf::exit_reason::user_shutdown);
  return 0;
}

} // namespace bench
