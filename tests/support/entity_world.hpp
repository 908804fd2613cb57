#pragma once

#include "account.hpp"
#include "faulty_journal.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/actors/internal/multi_stream_actor.hpp>

#include <caf/scheduler/test_coordinator.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <ostream>

namespace eventcore {

inline std::ostream& operator<<(std::ostream& out, entity_errc e) {
  return out << make_error_code(e).message();
}

namespace test {

inline bank::Deposit deposit(std::int64_t cents) {
  return make<bank::Deposit>([&](auto& c) { c.set_cents(cents); });
}
inline bank::Withdraw withdraw(std::int64_t cents) {
  return make<bank::Withdraw>([&](auto& c) { c.set_cents(cents); });
}
inline bank::Open open_account() {
  return {};
}

template <class Event>
new_event event_of_message(const Event& e) {
  return {Event::descriptor(), e.SerializeAsString(), 1};
}
inline new_event opened() {
  return event_of_message(bank::Opened{});
}
inline new_event deposited(std::int64_t cents) {
  return event_of_message(make<bank::Deposited>([&](auto& e) { e.set_cents(cents); }));
}
inline new_event withdrawn(std::int64_t cents) {
  return event_of_message(make<bank::Withdrawn>([&](auto& e) { e.set_cents(cents); }));
}

/// A request on its way; its answer is looked at after the actors ran.
class asked {
public:
  explicit asked(internal::request_slot slot)
      : slot_{std::make_shared<internal::request_slot>(std::move(slot))} {}

  bool answered() {
    if (!answer_)
      answer_ = slot_->wait_until({});
    return answer_.has_value();
  }
  caf::message& answer() {
    BOOST_REQUIRE(answered());
    return *answer_;
  }
  /// The balance that the reply names.
  std::int64_t cents() {
    BOOST_REQUIRE_MESSAGE(answer().match_elements<bank::Balance>(), caf::to_string(answer()));
    return answer().get_as<bank::Balance>(0).cents();
  }
  error failure() {
    BOOST_REQUIRE_MESSAGE(answer().match_elements<caf::error>(), caf::to_string(answer()));
    return from_caf_error(answer().get_as<caf::error>(0));
  }
  std::error_code code() { return failure().code(); }

private:
  std::shared_ptr<internal::request_slot> slot_;
  std::optional<caf::message> answer_;
};

/// Actors, clock and a journal that all stand still until the test lets them go on, on the test's own thread.
class entity_world {
public:
  entity_world() = default;
  ~entity_world() {
    for (auto& host : hosts_)
      caf::anon_send(host, internal::stop_host{true});
    run();
  }

  faulty_journal journal;

  template <class D>
  eventcore::host<D> start(const host_options& options = {}) {
    auto handle =
        internal::start_host(system_, journal, entity_type_of<D>(), options, [] { return timestamp{}; });
    hosts_.push_back(actor_of(handle));
    directory_->add(D::category, actor_of(handle));
    run();
    return eventcore::host<D>{handle};
  }

  /// What runs the commands of a multi-stream decider.
  template <class D>
  multi_stream_host<D> start_multi_stream(const multi_stream_options& options = {}) {
    auto handle = internal::start_multi_stream(system_, journal, multi_stream_type_of<D>(), directory_,
                                               options, [] { return timestamp{}; });
    hosts_.push_back(actor_of(handle));
    run();
    return multi_stream_host<D>{handle};
  }

  template <class Command>
  asked ask(const multi_stream_handle& commands, Command command, command_context context = {}) {
    return asked{internal::request_slot{system_, actor_of(commands),
                                        caf::make_message(std::move(context), std::move(command))}};
  }
  template <class Command>
  asked ask(const host_handle& host, std::string id, Command command) {
    return ask_raw(host, caf::make_message(std::move(id), std::move(command)));
  }
  template <class Command>
  asked ask(const host_handle& host, std::string id, command_context context, Command command) {
    return ask_raw(host, caf::make_message(std::move(id), std::move(context), std::move(command)));
  }
  asked ask_raw(const host_handle& host, caf::message content) {
    return asked{internal::request_slot{system_, actor_of(host), std::move(content)}};
  }

  /// Lets actors run until none has anything to do; the journal does not write.
  void run() { scheduler().run(); }
  /// One of the actors that have something to do, for one message.
  void run_one(std::size_t pick) {
    auto& jobs = scheduler().jobs;
    if (jobs.empty())
      return;
    std::rotate(jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(pick % jobs.size()), jobs.end());
    scheduler().run_once();
  }
  /// As `run`, but each actor comes to its turn after one message of another.
  void run_in_turns() {
    while (scheduler().has_job())
      run_one(1);
  }
  /// One transaction of the journal, without letting actors run.
  std::size_t write() { return journal.step(); }
  /// Lets actors and journal work until nothing is left to do.
  void settle() {
    do
      run();
    while (write() > 0);
  }
  void advance(caf::timespan time) {
    scheduler().advance_time(time);
    run();
  }

  /// A stranger's commit, on disk when this returns.
  void append(std::string_view stream, expected_version expected, std::vector<new_event> events) {
    submit(stream, expected, std::move(events));
    journal.inner().step();
  }
  /// A stranger's commit, in the writer's queue before what is submitted later.
  void submit(std::string_view stream, expected_version expected, std::vector<new_event> events) {
    commit c;
    c.appends.push_back({*stream_id::parse(stream), expected, std::move(events)});
    journal.inner().submit(std::move(c), *journal.inner().reserve(), nullptr, 0);
  }

  std::vector<recorded_event> events(std::string_view stream) {
    stream_cursor cursor{*stream_id::parse(stream)};
    event_page page;
    std::vector<recorded_event> all;
    do {
      BOOST_REQUIRE(journal.inner().read_stream(cursor, page));
      all.insert(all.end(), page.begin(), page.end());
    } while (!page.empty());
    return all;
  }

  /// An actor that begins with `script`. (CAF's own way to spawn a function without arguments is undefined
  /// behaviour.)
  caf::actor spawn(std::function<caf::behavior(caf::event_based_actor*)> script) {
    return system_.spawn<scripted_actor>(std::move(script));
  }

  multi_stream_stats stats(const multi_stream_handle& commands) {
    asked request{
        internal::request_slot{system_, actor_of(commands), caf::make_message(internal::get_stats{})}};
    run();
    return request.answer().get_as<multi_stream_stats>(0);
  }

  host_stats stats(const host_handle& host) {
    auto request = ask_raw(host, caf::make_message(internal::get_stats{}));
    run();
    return request.answer().get_as<host_stats>(0);
  }

  caf::actor_system& system() noexcept { return system_; }
  caf::scheduler::test_coordinator& scheduler() {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
  }

private:
  class scripted_actor : public caf::event_based_actor {
  public:
    scripted_actor(caf::actor_config& config, std::function<caf::behavior(caf::event_based_actor*)> script)
        : caf::event_based_actor{config}
        , script_{std::move(script)} {}

  protected:
    caf::behavior make_behavior() override { return script_(this); }

  private:
    std::function<caf::behavior(caf::event_based_actor*)> script_;
  };

  struct config : caf::actor_system_config {
    config() { set("scheduler.policy", caf::atom("testing")); }
  };

  config config_;
  caf::actor_system system_{config_};
  std::vector<caf::actor> hosts_;
  std::shared_ptr<internal::host_directory> directory_ = std::make_shared<internal::host_directory>();
};

} // namespace test
} // namespace eventcore
