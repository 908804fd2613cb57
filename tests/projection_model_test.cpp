#include "support/projection_world.hpp"

#include <boost/test/unit_test.hpp>
#include <lmdb.h>
#include <rapidcheck.h>

/// Random events of three sources, faults of sources and disk, restarts and rebuilds: after each step the view is the fold of
/// what its positions say, and at the end of all events.

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

enum class fault : std::uint8_t { none, lost, written_nevertheless };

struct model_world : projection_world {
  projection_host<sums> p;
  fault next_commit = fault::none;

  model_world()
      : projection_world{{"a", "b", "c"}} {
    apply_is_broken = *rc::gen::arbitrary<bool>();
    options.max_batch_events = *rc::gen::element<std::size_t>(1, 3, 1'000);
    for (auto& s : sources)
      s->limits.events = *rc::gen::element<std::size_t>(1, 2, 1'000);
    options.view.commit = [this](MDB_txn* txn) {
      mdb_env_set_flags(mdb_txn_env(txn), MDB_NOSYNC, 1); // nobody loses power here
      const auto met = std::exchange(next_commit, fault::none);
      if (met == fault::lost)
        mdb_txn_abort(txn);
      const auto code = met == fault::lost ? EIO : mdb_txn_commit(txn);
      return met == fault::none ? code : EIO;
    };
    p = open();
  }

  unsteady_source& any_source() { return source(*rc::gen::inRange<std::size_t>(0, sources.size())); }

  void append() {
    const auto stream = *rc::gen::element("x-1", "x-2", "y-1");
    std::vector<new_event> events;
    for (int i = *rc::gen::inRange(1, 6); i > 0; --i)
      events.push_back(
          *rc::gen::weightedOneOf<new_event>({{1, rc::gen::just(other())},
                                              {1, rc::gen::just(happened(1, std::string{texts::broken}))},
                                              {20, rc::gen::map(rc::gen::inRange(-9, 10), [](int number) {
                                                 return happened(number, number % 2 == 0 ? "even" : "odd");
                                               })}}));
    any_source().append(stream, std::move(events));
  }

  void restart() {
    p = {};
    close();
    next_commit = fault::none; // what cannot be opened is no projection
    for (auto& s : sources)
      s->repeats = *rc::gen::inRange<log_position>(0, 4);
    p = open();
  }

  void act() {
    switch (
        *rc::gen::weightedElement<int>({{12, 0}, {12, 1}, {2, 2}, {2, 3}, {2, 4}, {1, 5}, {2, 6}, {1, 7}})) {
    case 0:
      return append();
    case 1:
      p.step();
      return;
    case 2:
      return restart();
    case 3:
      next_commit = *rc::gen::element(fault::lost, fault::written_nevertheless);
      return;
    case 4: {
      auto& s = any_source();
      s.fails = s.fails ? std::nullopt : std::optional{make_error(journal_errc::io_error, "the wire is cut")};
      return;
    }
    case 5:
      p.rebuild();
      return;
    case 6:
      now += 30s;
      return;
    case 7:
      apply_is_broken = !apply_is_broken;
      return;
    }
  }

  void check() {
    const auto stats = p.stats();
    std::vector<log_position> positions;
    for (auto& s : stats.live.sources)
      positions.push_back(s.position);
    // After a commit of which the outcome is not known, the view may be farther than it says, until the next step.
    if (stats.live.failure && stats.live.failure->code() == journal_errc::io_error)
      return;
    RC_ASSERT(rows_of(p) == expected(positions));
  }

  all_sums expected(const std::vector<log_position>& positions) {
    std::vector<std::pair<event_source*, journal_reader*>> all;
    for (auto& s : sources)
      all.emplace_back(s.get(), s->journal.get());
    return fold_of(all, positions);
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_view_is_the_fold_of_its_events) {
  BOOST_TEST(rc::check("a view is the fold of its events", [] {
    model_world world;
    for (int i = *rc::gen::inRange(1, 60); i > 0; --i) {
      world.act();
      world.check();
    }
    for (auto& s : world.sources)
      s->fails.reset();
    apply_is_broken = false;
    world.next_commit = fault::none;
    for (int i = 0; i < 3; ++i) {
      world.now += 30s;
      projection_world::settle(world.p);
    }
    const auto stats = world.p.stats();
    std::vector<log_position> heads;
    for (auto& s : stats.live.sources) {
      RC_ASSERT(s.position == s.head);
      RC_ASSERT(!s.failure);
      heads.push_back(s.head);
    }
    RC_ASSERT(!stats.live.failure);
    RC_ASSERT(!stats.rebuilding);
    RC_ASSERT(rows_of(world.p) == world.expected(heads));
  }));
}
