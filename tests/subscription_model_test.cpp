#include "support/subscription_world.hpp"

#include <boost/test/unit_test.hpp>

#include <rapidcheck.h>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

/// Random appends, steps of actors and journal, failures of handlers, losses of the process and ends in order, against the log.
struct model {
  subscription_world world;
  std::map<log_position, int> failures; ///< how often an event is going to fail
  std::map<std::string, std::vector<log_position>> heard_by_stream;
  std::vector<log_position> heard;
  std::int64_t number = 0;

  model() {
    auto& o = world.options;
    o.workers = *rc::gen::inRange<std::size_t>(1, 4);
    o.chunk = {*rc::gen::inRange<std::size_t>(1, 12), 2'000};
    o.cursor_every = *rc::gen::inRange<std::size_t>(1, 20);
    o.retries = *rc::gen::inRange<std::size_t>(0, 3);
    o.max_backoff = 1s;
    o.on_failure = *rc::gen::element(on_failure::stop, on_failure::skip, on_failure::park);
    if (*rc::gen::arbitrary<bool>())
      o.filter.categories = {"a", "b"};
    world.on_event = [this](const Happened&, const event_context& x) -> result<void> {
      if (auto f = failures.find(x.position); f != failures.end() && f->second > 0) {
        --f->second;
        return make_error(journal_errc::io_error, "not today");
      }
      heard.push_back(x.position);
      heard_by_stream[std::string{x.stream}].push_back(x.position);
      return {};
    };
  }

  void append_some() {
    std::vector<new_event> events;
    for (auto n = *rc::gen::inRange(1, 8); n > 0; --n)
      events.push_back(*rc::gen::inRange(0, 6) == 0 ? other() : happened(++number));
    const auto first = must(world.journal.head()) + 1;
    for (auto p = first; p < first + events.size(); ++p)
      if (*rc::gen::inRange(0, 8) == 0)
        failures[p] = *rc::gen::inRange(1, 6);
    world.append(*rc::gen::element<std::string>("a-1", "a-2", "b-1", "b-2", "c-1"), expected_version::any(),
                 std::move(events));
  }

  void move_on() {
    for (auto steps = *rc::gen::inRange(0, 40); steps > 0; --steps)
      if (*rc::gen::inRange(0, 5) == 0)
        world.write();
      else
        world.run_one(*rc::gen::inRange<std::size_t>(0, 10));
    if (*rc::gen::arbitrary<bool>())
      world.advance(std::chrono::milliseconds{*rc::gen::inRange(1, 400)});
  }

  subscription start() {
    auto s = world.try_to_follow();
    if (!s)
      RC_FAIL(s.error().message());
    return *s;
  }

  void check() {
    auto s = start();
    for (auto rounds = *rc::gen::inRange(1, 25); rounds > 0; --rounds) {
      append_some();
      move_on();
      switch (*rc::gen::inRange(0, 6)) {
      case 0:
        caf::anon_send(actor_of(s), internal::stop_host{true});
        world.journal.lose_all_but(*rc::gen::inRange<std::size_t>(0, 2));
        world.run();
        world.write();
        s = start();
        break;
      case 1:
        world.stop(s);
        s = start();
        break;
      case 2:
        caf::anon_send(actor_of(s), internal::resume_subscription{});
        break;
      }
    }
    for (int i = 0; i < 1'000 && world.stats(s).lag() > 0; ++i) {
      caf::anon_send(actor_of(s), internal::resume_subscription{});
      world.settle();
      world.advance(1s);
      world.settle();
    }
    RC_ASSERT(world.stats(s).lag() == 0u);
    check_sequence();
  }

  /// Each event is heard, or given up after it failed; and who passes over repeats hears each stream in order, without a gap. (One
  /// that was given up may be heard nevertheless, when it comes once more after a crash.)
  void check_sequence() {
    std::set<log_position> parked;
    for (auto& letter : must(list_dead_letters(world.journal, "sub")))
      parked.insert(letter.position);
    std::map<std::string, std::vector<log_position>> wanted;
    const std::set<log_position> all_heard{heard.begin(), heard.end()};
    for (auto& event : read_log(world.journal, 1, world.options.filter)) {
      if (event.type != Happened::descriptor()->full_name())
        continue;
      if (all_heard.contains(event.position)) {
        if (!may_be_given_up(event.position))
          wanted[event.stream].push_back(event.position);
        continue;
      }
      RC_ASSERT(world.options.on_failure != on_failure::stop);
      RC_ASSERT(failures.contains(event.position));
      RC_ASSERT(world.options.on_failure == on_failure::skip || parked.contains(event.position));
    }
    for (auto& [stream, positions] : heard_by_stream) {
      std::vector<log_position> first_times;
      for (auto p : positions)
        if (!may_be_given_up(p) && (first_times.empty() || p > first_times.back()))
          first_times.push_back(p);
      RC_ASSERT(first_times == wanted[stream]);
    }
  }

  bool may_be_given_up(log_position p) const {
    return world.options.on_failure != on_failure::stop && failures.contains(p);
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_subscription_hears_what_the_log_holds) {
  BOOST_TEST(rc::check("each event in order, whatever fails and crashes", [] { model{}.check(); }));
}
