/// Power lost at any write of a projection: while its view is made, while events are applied, and while a rebuilt view takes the
/// place of another.

#include "projected.hpp"

#include <support/projection_world.hpp>

#include <boost/test/unit_test.hpp>

#include <string>

#include <sys/wait.h>
#include <unistd.h>

using namespace eventcore;
using namespace eventcore::test;
using crash::projected_journals;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int share = 5; // sanitized processes start slowly
#else
constexpr int share = 1;
#endif

constexpr std::size_t events_each = 40;

template <std::uint32_t Version>
all_sums times(const all_sums& sums) {
  auto result = sums;
  for (auto& [key, sum] : result)
    std::get<1>(sum) *= Version;
  return result;
}

struct projection_on_a_disk {
  temp_dir dir;
  std::filesystem::path journals = dir.path() / "journals";
  std::filesystem::path view = dir.path() / "disk" / "view";

  projection_on_a_disk() {
    for (auto* name : {"orders", "payments"}) {
      auto journal = must(open_lmdb_journal(journals / name));
      for (std::size_t i = 0; i < events_each; ++i)
        must_pass(journal->commit_and_wait(
            append("x-" + std::to_string(i % 3), expected_version::any(),
                   {happened(static_cast<std::int64_t>(i), i % 2 == 0 ? "even" : "odd")})));
    }
  }

  /// Lets a process apply events until its operation `at` on the view's files, where the power goes. False: it came to its end.
  bool lose_power(std::uint64_t at, std::uint64_t seed, bool disk_lies = false) const {
    const auto pid = ::fork();
    if (pid == 0) {
      ::setenv("POWER_LOSS_FOLDER", (dir.path() / "disk").c_str(), 1);
      ::setenv("POWER_LOSS_AT", std::to_string(at).c_str(), 1);
      ::setenv("POWER_LOSS_SEED", std::to_string(seed).c_str(), 1);
      ::setenv("POWER_LOSS_LIE", disk_lies ? "1" : "0", 1);
      ::execl(PROJECTION_WRITER, PROJECTION_WRITER, journals.c_str(), view.c_str(), nullptr);
      ::_exit(127);
    }
    int status = 0;
    BOOST_REQUIRE(::waitpid(pid, &status, 0) == pid);
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    BOOST_TEST_REQUIRE((killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)), "status " << status);
    return killed;
  }

  template <class P>
  static std::vector<log_position> positions(const projected_journals<P>& p) {
    std::vector<log_position> found;
    for (auto& source : p.view->stats().live.sources)
      found.push_back(source.position);
    return found;
  }
  template <class P>
  static all_sums fold(const projected_journals<P>& p) {
    return fold_of({{p.sources[0].get(), p.journals[0].get()}, {p.sources[1].get(), p.journals[1].get()}},
                   positions(p));
  }

  /// What is there is whole, and leads to the end.
  struct state {
    std::uint32_t version; ///< of the view that serves
    bool damaged;          ///< the one before was
  };
  state check() const {
    projected_journals<crash::new_projection> p{journals, view};
    must_pass(p.view);
    const auto version = p.view->stats().live.version;
    BOOST_TEST((rows_of(*p.view) == (version == 1 ? fold(p) : times<2>(fold(p)))));
    projection_world::settle(*p.view);
    BOOST_TEST((positions(p) == std::vector<log_position>{events_each, events_each}));
    BOOST_TEST((rows_of(*p.view) == times<2>(fold(p))));
    BOOST_TEST(p.view->stats().live.version == 2u);
    BOOST_TEST(!p.view->stats().live.failure);
    return {version, p.view->stats().damage.has_value()};
  }

  void make_old_view() const {
    projected_journals<crash::old_projection> p{journals, view};
    must_pass(p.view);
    projection_world::settle(*p.view);
    BOOST_TEST((positions(p) == std::vector<log_position>{events_each, events_each}));
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(projection_power_loss_test, projection_on_a_disk)

BOOST_AUTO_TEST_CASE(at_every_write_of_a_new_view) {
  std::uint64_t at = 1;
  std::uint64_t last_damage = 0;
  for (bool killed = true; killed; at += share) {
    BOOST_TEST_REQUIRE(at < 1'000u);
    std::filesystem::remove_all(view);
    killed = lose_power(at, at);
    BOOST_TEST_CONTEXT("operation " << at) {
      if (check().damaged)
        last_damage = at;
    }
  }
  BOOST_TEST_MESSAGE("the process ended at operation " << at << "; the last unusable file was left at "
                                                       << last_damage);
  BOOST_TEST(last_damage < 8u, "a view stays once it was made");
  BOOST_TEST(at > 30u);
}

BOOST_AUTO_TEST_CASE(at_every_write_of_a_rebuild) {
  make_old_view();
  const auto kept = dir.path() / "kept";
  std::filesystem::copy(view, kept, std::filesystem::copy_options::recursive);
  std::uint64_t at = 1;
  std::size_t old_served = 0;
  std::size_t new_served = 0;
  for (bool killed = true; killed; at += share) {
    BOOST_TEST_REQUIRE(at < 1'000u);
    std::filesystem::remove_all(view);
    std::filesystem::copy(kept, view, std::filesystem::copy_options::recursive);
    killed = lose_power(at, at);
    BOOST_TEST_CONTEXT("operation " << at) {
      // Whichever serves has all events: the old one does until the new one has them.
      projected_journals<crash::new_projection> p{journals, view};
      must_pass(p.view);
      BOOST_TEST((positions(p) == std::vector<log_position>{events_each, events_each}));
      p.view->stop();
      p.journals.clear();
      const auto found = check();
      (found.version == 1 ? old_served : new_served)++;
      BOOST_TEST(!found.damaged);
    }
  }
  BOOST_TEST_MESSAGE("the process ended at operation " << at << "; the old view served " << old_served
                                                       << " times, the new one " << new_served);
  BOOST_TEST(old_served > 20u / share);
  BOOST_TEST(new_served > 0u);
}

// The tests above would notice: on a disk that does not sync, the same checks fail.
BOOST_AUTO_TEST_CASE(a_disk_that_lies_is_found_out) {
  constexpr int rounds = 12;
  int found_out = 0;
  for (int i = 0; i < rounds; ++i) {
    std::filesystem::remove_all(view);
    BOOST_TEST_REQUIRE(lose_power(static_cast<std::uint64_t>(25 + i), static_cast<std::uint64_t>(i), true));
    // Damage may kill who reads.
    const auto reader = ::fork();
    if (reader == 0) {
      projected_journals<crash::new_projection> p{journals, view};
      const bool whole = p.view && !p.view->stats().damage && p.view->stats().live.sources[0].position > 0 &&
                         rows_of(*p.view) == times<2>(fold(p));
      ::_exit(whole ? 0 : 1);
    }
    int status = 0;
    BOOST_REQUIRE(::waitpid(reader, &status, 0) == reader);
    found_out += status == 0 ? 0 : 1;
  }
  BOOST_TEST(found_out > rounds / 2);
}

BOOST_AUTO_TEST_SUITE_END()
