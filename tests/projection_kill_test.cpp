#include "support/child_process.hpp"
#include "support/projection_world.hpp"

#include <eventcore/persistence/lmdb_journal.hpp>

#include <boost/test/unit_test.hpp>

#include <random>
#include <thread>

/// kill -9 while three journals are written, a projection applies their events, and its view is rebuilt again and again.

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int rounds = 20; // sanitized processes start slowly
#else
constexpr int rounds = 100;
#endif

const std::vector<std::string> names{"orders", "payments", "shipping"};

/// Three journals, and a projection of them.
struct services {
  std::vector<std::unique_ptr<journal>> journals;
  std::vector<std::shared_ptr<event_source>> sources;
  projection_host<sums> view;

  services(const std::filesystem::path& dir, writer_mode mode) {
    projection_options options;
    for (auto& name : names) {
      journals.push_back(must(open_lmdb_journal(dir / name)));
      sources.push_back(make_journal_source(*journals.back(), name));
    }
    options.folder = dir / "view";
    options.sources = sources;
    options.mode = mode;
    options.max_batch_events = 50;
    view = must(open_projection<sums>(options));
  }
  ~services() { view.stop(); }

  void check() {
    const auto stats = view.stats();
    std::vector<std::pair<event_source*, journal_reader*>> all;
    std::vector<log_position> positions;
    for (std::size_t i = 0; i != journals.size(); ++i) {
      all.emplace_back(sources[i].get(), journals[i].get());
      positions.push_back(stats.live.sources[i].position);
      BOOST_TEST(positions.back() <= stats.live.sources[i].head);
    }
    BOOST_TEST((rows_of(view) == fold_of(all, positions)));
  }
};

/// Runs until it is killed.
int work(const std::filesystem::path& dir, unsigned seed, channel& parent) {
  services s{dir, writer_mode::thread};
  std::vector<std::jthread> writers;
  for (std::size_t i = 0; i != s.journals.size(); ++i)
    writers.emplace_back([&, i] {
      std::minstd_rand random{seed + static_cast<unsigned>(i)};
      for (;;) {
        commit c;
        c.appends.push_back({*stream_id::parse("x-" + std::to_string(random() % 5)),
                             expected_version::any(),
                             {happened(random() % 100, random() % 2 == 0 ? "even" : "odd"), other()}});
        if (!s.journals[i]->commit_and_wait(std::move(c)))
          std::abort();
      }
    });
  parent.say('r');
  for (;;) {
    s.view.rebuild();
    if (!s.view.wait_rebuilt(patience) || !s.view.catch_up(patience))
      std::abort();
  }
}

} // namespace

BOOST_AUTO_TEST_CASE(a_projection_that_is_killed_is_whole) {
  temp_dir dir;
  std::mt19937 random{20'240'229};
  std::uint64_t applied = 0;
  std::set<std::string> views;
  for (int round = 0; round < rounds; ++round) {
    BOOST_TEST_CONTEXT("round " << round) {
      {
        child_process child{[&](channel& parent) { return work(dir.path(), random(), parent); }};
        // Most die at work, some while they open their files.
        if (random() % 10 != 0)
          BOOST_TEST_REQUIRE(child.hear() == 'r');
        std::this_thread::sleep_for(std::chrono::microseconds{random() % 60'000});
        child.kill();
      }
      for (auto& entry : std::filesystem::directory_iterator{dir.path() / "view"})
        views.insert(entry.path().filename().string());
      services s{dir.path(), writer_mode::stepped};
      s.check();
      projection_world::settle(s.view);
      s.check();
      for (auto& source : s.view.stats().live.sources)
        BOOST_TEST_REQUIRE(source.lag() == 0u);
      applied = s.view.stats().live.sources[0].position;
    }
  }
  BOOST_TEST_MESSAGE(applied << " events in the first journal, " << views.size() << " views");
  BOOST_TEST(applied > 100u);
  BOOST_TEST(views.size() > 5u);
}
