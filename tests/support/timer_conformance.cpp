#include "support/journal_conformance_cases.hpp"
#include "support/journal_helpers.hpp"

#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <future>
#include <set>

namespace eventcore::test {

namespace {

using namespace std::chrono_literals;

const timestamp start{1'000'000s};
constexpr timestamp never = timestamp::max();

commit change_timers(std::vector<timer_change> changes) {
  commit c;
  c.timers = std::move(changes);
  return c;
}

/// Submits to a stepped journal, steps, and returns the answer.
result<committed> step_with(journal& j, commit c) {
  auto answers = std::make_shared<recorder>();
  BOOST_TEST_REQUIRE(submit(j, std::move(c), answers, 0));
  j.step();
  auto got = answers->take();
  BOOST_TEST_REQUIRE(got.size() == 1u);
  return std::move(got[0].outcome);
}

/// All timers up to `until`, page by page, as `name@microseconds behind start`.
std::vector<std::string> timers_of(journal_reader& j, timestamp until = never, std::size_t limit = 1'024) {
  std::vector<std::string> all;
  for (durable_timer last;;) {
    const auto page = must(j.read_timers(last, until, limit));
    BOOST_TEST_REQUIRE(page.size() <= limit);
    if (page.empty())
      return all;
    for (const auto& timer : page) {
      BOOST_TEST_REQUIRE((last < timer));
      last = timer;
      all.push_back(timer.name +
                    (timer.due == never ? "@never" : '@' + std::to_string((timer.due - start).count())));
    }
  }
}

using names = std::vector<std::string>;

void timers_are_read_in_order(const case_setup& setup) {
  auto j = setup.open_stepped();
  BOOST_TEST(timers_of(*j).empty());
  must(step_with(*j, change_timers({{"b/1", {}, start + 2us},
                                    {"a/2", {}, start + 2us},
                                    {"a/1", {}, never},
                                    {"c/\xC3\xA4", {}, start + 1us},
                                    {"c/a", {}, start + 1us},
                                    {"a/1", {}, start + 300us},
                                    {"before/1", {}, timestamp{1us}}})));
  const names all{"before/1@-999999999999", "c/a@1", "c/ä@1", "a/2@2", "b/1@2", "a/1@300", "a/1@never"};
  for (std::size_t limit : {1u, 2u, 3u, 100u})
    BOOST_TEST(timers_of(*j, never, limit) == all, boost::test_tools::per_element());
  BOOST_TEST(timers_of(*j, start + 2us) == names(all.begin(), all.begin() + 5),
             boost::test_tools::per_element());
  BOOST_TEST(timers_of(*j, start + 1us).size() == 3u);
  BOOST_TEST(timers_of(*j, timestamp{}).empty());
  const auto behind = must(j->read_timers({start + 2us, "a/2"}, start + 299us));
  BOOST_TEST_REQUIRE(behind.size() == 1u);
  BOOST_TEST(behind[0].name == "b/1");
  BOOST_TEST((behind[0].due == start + 2us));
}

void timers_are_moved_and_cancelled(const case_setup& setup) {
  auto j = setup.open_stepped();
  const auto after = [&](std::vector<timer_change> changes) {
    must(step_with(*j, change_timers(std::move(changes))));
    return timers_of(*j);
  };
  BOOST_TEST((after({{"a/1", {}, start}, {"a/2", {}, start}}) == names{"a/1@0", "a/2@0"}));
  BOOST_TEST((after({{"a/1", start, start + 5us}}) == names{"a/2@0", "a/1@5"}), "moved");
  BOOST_TEST((after({{"a/2", start, {}}}) == names{"a/1@5"}), "cancelled");
  BOOST_TEST((after({{"a/1", {}, start + 5us}}) == names{"a/1@5"}), "set again for the same time");
  BOOST_TEST((after({{"a/1", {}, start + 6us}}) == names{"a/1@5", "a/1@6"}), "and for another");
  BOOST_TEST((after({{"a/1", start + 5us, start + 5us}}) == names{"a/1@5", "a/1@6"}), "moved to its place");
  BOOST_TEST((after({{"a/3", start, {}}, {"a/1", start, {}}}) == names{"a/1@5", "a/1@6"}), "not there");
  BOOST_TEST((after({{"a/4", start, start + 1us}}) == names{"a/4@1", "a/1@5", "a/1@6"}),
             "what is moved need not be there");
  BOOST_TEST((after({{"a/4", start + 1us, start + 2us}, {"a/4", start + 2us, start + 3us}}) ==
              names{"a/4@3", "a/1@5", "a/1@6"}),
             "changes of one commit happen in their order");
  BOOST_TEST(
      (after({{"a/5", {}, start}, {"a/5", start, {}}, {"a/1", {}, {}}}) == names{"a/4@3", "a/1@5", "a/1@6"}));
}

void timers_go_with_their_commit_or_not_at_all(const case_setup& setup) {
  auto j = setup.open_stepped();
  auto c = append("order-1", expected_version::none(), {happened(1)});
  c.timers = {{"a/1", {}, start}};
  must(step_with(*j, c));
  BOOST_TEST((timers_of(*j) == names{"a/1@0"}));

  c.timers = {{"a/1", start, {}}, {"a/2", {}, start}};
  must_fail(step_with(*j, c), journal_errc::conflict);
  BOOST_TEST((timers_of(*j) == names{"a/1@0"}));

  // In one transaction with commits that pass, before and behind it.
  auto answers = std::make_shared<recorder>();
  BOOST_TEST_REQUIRE(submit(*j, change_timers({{"b/1", {}, start}}), answers, 0));
  BOOST_TEST_REQUIRE(submit(*j, c, answers, 1));
  BOOST_TEST_REQUIRE(submit(*j, append("order-2", expected_version::none(), {happened(1)}), answers, 2));
  BOOST_TEST_REQUIRE(submit(*j, change_timers({{"b/1", start, start + 7us}}), answers, 3));
  BOOST_TEST(j->step() == 4u);
  const auto got = answers->take();
  for (std::size_t i = 0; i < got.size(); ++i)
    BOOST_TEST(got[i].outcome.has_value() == (i != 1));
  BOOST_TEST((timers_of(*j) == names{"a/1@0", "b/1@7"}));
}

void invalid_timers_are_refused(const case_setup& setup) {
  auto j = setup.open_stepped();
  const auto refused = [&](const timer_change& change, std::string_view part) {
    check_contains(must_fail(step_with(*j, change_timers({change})), journal_errc::invalid_argument), part);
  };
  refused({"", {}, start}, "<owner>/<rest>");
  refused({"owner", {}, start}, "'owner'");
  refused({"/rest", {}, start}, "'/rest'");
  refused({"a/" + std::string(254, 'x'), {}, start}, "255 bytes");
  refused({"a/\xFF", {}, start}, "UTF-8");
  refused({"a/1", {}, timestamp{-1us}}, "'a/1'");
  refused({"a/1", timestamp::min(), start}, "'a/1'");
  BOOST_TEST(timers_of(*j).empty());
  must(step_with(*j, change_timers({{"a/" + std::string(253, 'x'), {}, start}, {"b/", {}, start}})));
  BOOST_TEST(timers_of(*j).size() == 2u);
}

void a_commit_of_too_many_timers_is_refused(const case_setup& setup) {
  auto options = setup.options();
  options.writer = writer_mode::stepped;
  options.max_commit_events = 3;
  auto j = setup.open(options);
  auto c = append("order-1", expected_version::any(), {happened(1)});
  c.timers = {{"a/1", {}, start}, {"a/2", {}, start}};
  must(step_with(*j, c));
  c.timers.push_back({"a/3", {}, start});
  check_contains(must_fail(step_with(*j, c), journal_errc::too_large), "3 timers");
  BOOST_TEST(timers_of(*j).size() == 2u);
}

void followers_of_timers_hear_the_earliest(const case_setup& setup) {
  auto j = setup.open_stepped();
  std::vector<timestamp> heard;
  std::size_t seen = 0;
  auto subscription = j->follow_timers([&](timestamp earliest) {
    heard.push_back(earliest);
    seen = timers_of(*j).size();
  });
  auto answers = std::make_shared<recorder>();
  BOOST_TEST_REQUIRE(
      submit(*j, change_timers({{"a/1", {}, start + 3us}, {"a/2", {}, start + 2us}}), answers, 0));
  BOOST_TEST_REQUIRE(submit(*j, change_timers({{"a/3", start, start + 9us}}), answers, 0));
  auto conflicting = append("order-1", expected_version::exact(7), {happened(1)});
  conflicting.timers = {{"a/4", {}, start}};
  BOOST_TEST_REQUIRE(submit(*j, conflicting, answers, 0));
  j->step();
  BOOST_TEST((heard == std::vector{start + 2us}), "once, and nothing of a commit that failed");
  BOOST_TEST(seen == 3u, "what was heard of can be read");

  must(step_with(*j, change_timers({{"a/1", start + 3us, {}}})));
  must(step_with(*j, append("order-1", expected_version::any(), {happened(1)})));
  BOOST_TEST(heard.size() == 1u, "nothing was set");
  must(step_with(*j, change_timers({{"a/1", {}, never}})));
  BOOST_TEST((heard == std::vector{start + 2us, never}));

  subscription = {};
  must(step_with(*j, change_timers({{"a/1", {}, start}})));
  BOOST_TEST(heard.size() == 2u);
}

void timers_of_a_writing_thread_become_durable(const case_setup& setup) {
  auto j = setup.open();
  std::promise<timestamp> heard;
  const auto subscription = j->follow_timers([&](timestamp earliest) { heard.set_value(earliest); });
  must(j->commit_and_wait(change_timers({{"a/1", {}, start}})));
  auto hears = heard.get_future();
  BOOST_TEST_REQUIRE((hears.wait_for(patience) == std::future_status::ready));
  BOOST_TEST((hears.get() == start));
  BOOST_TEST((timers_of(*j) == names{"a/1@0"}));
  j->close();
  must_fail(j->read_timers({}, never), journal_errc::closed);
}

// -- random commits against a set ---------------------------------------------------------------------------------------

struct timer_plan {
  struct change {
    std::size_t name, from, to; ///< a time of 0: none
  };
  struct step {
    bool passes;
    std::size_t events;
    std::vector<change> changes;
    enum { waits, written, reopened } then;
  };
  std::vector<step> steps;
};

constexpr std::array timer_names{"a/1", "a/2", "b/1", "b/\xC3\xBC"};
const std::array times{timestamp{}, timestamp{1us}, start, start + 256us, never};

void showValue(const timer_plan& plan, std::ostream& out) {
  for (const auto& step : plan.steps) {
    out << (step.passes ? "\ncommit" : "\nconflict") << " of " << step.events << " events";
    for (const auto& c : step.changes)
      out << ", " << timer_names[c.name] << " from " << c.from << " to " << c.to;
    out << (step.then == step.waits ? "" : step.then == step.written ? ", step" : ", reopen");
  }
}

rc::Gen<timer_plan> any_plan() {
  const auto below = [](std::size_t bound) { return *rc::gen::inRange<std::size_t>(0, bound); };
  return rc::gen::exec([=] {
    timer_plan plan;
    plan.steps.resize(below(40));
    for (auto& step : plan.steps) {
      step.passes = below(4) != 0;
      step.events = below(3);
      step.changes.resize(1 + below(4));
      for (auto& c : step.changes)
        c = {below(timer_names.size()), below(times.size()), below(times.size())};
      step.then = *rc::gen::weightedElement<decltype(step.then)>(
          {{6, step.waits}, {6, step.written}, {1, step.reopened}});
    }
    return plan;
  });
}

void timers_are_like_a_set(const case_setup& setup) {
  BOOST_TEST(rc::check("timers are like a set", [&] {
    const auto plan = *any_plan();
    const auto factory = setup.make_factory();
    auto options = setup.options();
    options.writer = writer_mode::stepped;
    auto j = factory->open(options);
    std::set<durable_timer> durable;
    auto expected = durable;
    std::size_t events = 0;
    for (const auto& step : plan.steps) {
      auto c = append("order-1", step.passes ? expected_version::any() : expected_version::exact(1'000),
                      happened_many(step.events));
      for (const auto& change : step.changes) {
        const auto from = times[change.from], to = times[change.to];
        const std::string name = timer_names[change.name];
        c.timers.push_back({name, from, to});
        if (!step.passes)
          continue;
        expected.erase({from, name});
        if (to != timestamp{})
          expected.insert({to, name});
      }
      events += step.passes ? step.events : 0;
      RC_ASSERT(submit(*j, std::move(c), nullptr, 0));
      if (step.then == timer_plan::step::written)
        j->step();
      if (step.then == timer_plan::step::reopened) {
        if (setup.persistent()) {
          j.reset();
          j = factory->open(options);
        } else {
          j->step();
        }
      }
      if (step.then != timer_plan::step::waits)
        durable = expected;
      const auto read = must(j->read_timers({}, never));
      RC_ASSERT(std::ranges::equal(read, durable));
      if (step.then != timer_plan::step::waits)
        RC_ASSERT(must(j->head()) == events);
    }
  }));
}

} // namespace

std::vector<conformance_case> timer_cases() {
  return {
      {"timers_are_read_in_order", timers_are_read_in_order},
      {"timers_are_moved_and_cancelled", timers_are_moved_and_cancelled},
      {"timers_go_with_their_commit_or_not_at_all", timers_go_with_their_commit_or_not_at_all},
      {"invalid_timers_are_refused", invalid_timers_are_refused},
      {"a_commit_of_too_many_timers_is_refused", a_commit_of_too_many_timers_is_refused},
      {"followers_of_timers_hear_the_earliest", followers_of_timers_hear_the_earliest},
      {"timers_of_a_writing_thread_become_durable", timers_of_a_writing_thread_become_durable},
      {"timers_are_like_a_set", timers_are_like_a_set},
  };
}

} // namespace eventcore::test
