#pragma once

#include <eventcore/actors/caf.hpp>
#include <eventcore/actors/subscriber.hpp>
#include <eventcore/persistence/faulty_journal.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace caf::scheduler {
class test_coordinator;
} // namespace caf::scheduler

/// Deterministic tests of everything that runs on actors: entities, multi-stream commands, and actors of your own.
///
///     eventcore::testing::world world;
///     auto accounts = world.start<account>();
///     auto answer = world.ask(accounts, "alice", deposit(700));
///     world.run();                        // actors run; nothing is written, so nothing is answered
///     assert(!answer.arrived());
///     world.settle();                     // actors and journal work until nothing is left to do
///     assert(answer.as<bank::Balance>()->cents() == 700);
///
/// To test decisions alone, `given` of `<eventcore/actors/given.hpp>` needs no world.
namespace eventcore::testing {

/// An answer on its way. Copies share it.
class pending_answer {
public:
  pending_answer(caf::actor_system& system, const caf::actor& to, caf::message request);

  bool arrived();
  /// The answer as it came, a `caf::error` included. Throws `std::logic_error` if none has come.
  caf::message& message();
  /// The reply, or what went wrong. Throws as `message`.
  template <class Reply>
  result<Reply> as() {
    auto& answer = message();
    if (answer.match_elements<caf::error>())
      return from_caf_error(answer.get_as<caf::error>(0));
    if (answer.match_elements<Reply>())
      return answer.get_as<Reply>(0);
    return make_error(entity_errc::unexpected_reply, "the answer is " + caf::to_string(answer));
  }

private:
  struct content;
  std::shared_ptr<content> content_;
};

/// Actors, a clock and a journal that all stand still until the test lets them go on, on the test's own thread: CAF's test
/// coordinator, and a journal whose writer is stepped. Not thread-safe.
class world {
public:
  explicit world(journal_options options = {});
  ~world();

  faulty_journal journal;

  /// The host of a decider.
  template <class D>
  host<D> start(const host_options& options = {}) {
    return host<D>{start_host(entity_type_of<D>(), options)};
  }
  /// What runs the commands of a multi-stream decider.
  template <class D>
  multi_stream_host<D> start_multi_stream(const multi_stream_options& options = {}) {
    return multi_stream_host<D>{start_commands(multi_stream_type_of<D>(), options)};
  }

  /// What runs the sagas of a definition, and the timers. Start what takes their requests first.
  template <class S>
  saga_host<S> start_sagas(const saga_options& options = {}) {
    return saga_host<S>{start_sagas(saga_type_of<S>(), options)};
  }
  saga_handle start_sagas(const saga_type& type, const saga_options& options);
  /// Ends sagas, and what is in flight, as the end of a process does.
  void kill(const saga_handle& sagas);
  /// A subscription, whose handlers run on the test's thread whatever the options say.
  template <class S, class Make>
  result<subscription> subscribe(const subscription_options& options, Make make) {
    return subscribe(subscriber_type_of<S>(std::move(make)), options);
  }
  template <class S>
  result<subscription> subscribe(const subscription_options& options) {
    return subscribe(subscriber_type_of<S>(), options);
  }
  result<subscription> subscribe(subscriber_type type, subscription_options options);
  /// Ends a subscription as the end of a process does: its cursor stays where it is.
  void kill(const subscription& s);

  /// An actor that takes requests of sagas by its name.
  void add_participant(std::string name, caf::actor to);

  template <class Command>
  pending_answer ask(const host_handle& host, std::string id, Command command, command_context context = {}) {
    return send(actor_of(host), caf::make_message(std::move(id), std::move(context), std::move(command)));
  }
  template <class Command>
  pending_answer ask(const multi_stream_handle& commands, Command command, command_context context = {}) {
    return send(actor_of(commands), caf::make_message(std::move(context), std::move(command)));
  }
  pending_answer send(const caf::actor& to, caf::message request);

  /// Lets actors run until none has anything to do; the journal does not write.
  void run();
  /// Lets one of the actors that have something to do take one message; `pick` says which.
  void run_one(std::size_t pick);
  /// As `run`, but each actor comes to its turn after one message of another.
  void run_in_turns();
  /// One transaction of the journal, without letting actors run. The number of commits answered.
  std::size_t write() { return journal.step(); }
  /// Lets actors and journal work until nothing is left to do.
  void settle();

  /// Moves the clock on, civil time and time-outs, and lets actors run.
  void advance(caf::timespan time);
  /// Moves civil time alone, as somebody does who sets the clock.
  void jump(std::chrono::microseconds time) { *now_ += time; }
  /// The civil time for commands that bring none.
  timestamp now() const noexcept { return *now_; }

  /// A commit of somebody else, on disk when this returns, before what waits to be written. Throws `std::logic_error` if the
  /// stream id is none.
  void append(std::string_view stream, expected_version expected, std::vector<new_event> events);
  /// All events of a stream that are on disk.
  std::vector<recorded_event> events(std::string_view stream);

  saga_status status(const saga_handle& sagas, std::string id);
  host_stats stats(const host_handle& host);
  subscription_stats stats(const subscription& s);
  multi_stream_stats stats(const multi_stream_handle& commands);

  caf::actor_system& system() noexcept { return system_; }
  caf::scheduler::test_coordinator& scheduler();

private:
  struct config : caf::actor_system_config {
    config();
  };
  struct hosts;

  host_handle start_host(const entity_type& type, const host_options& options);
  multi_stream_handle start_commands(const multi_stream_type& type, const multi_stream_options& options);
  config config_;
  caf::actor_system system_{config_};
  std::shared_ptr<timestamp> now_;
  std::unique_ptr<hosts> hosts_;
};

} // namespace eventcore::testing
