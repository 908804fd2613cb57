#include "support/journal_helpers.hpp"
#include "support/registry_conformance.hpp"

#include <eventcore/runtime/discovery.hpp>
#include <eventcore/runtime/embedded_registry.hpp>

#include <atomic>
#include <future>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

/// Works as long as it is told to, and counts.
class moody_registry final : public service_registry {
public:
  std::atomic<bool> broken{false};
  std::atomic<bool> stuck{false};
  std::atomic<int> entered{0};
  std::atomic<int> withdrawn{0};
  std::atomic<int> asked{0};
  embedded_registry content{1h};

  result<void> enter(const service_info& instance) override {
    ++entered;
    return try_it([&] { return content.enter(instance); });
  }
  result<void> withdraw(std::string_view id) override {
    ++withdrawn;
    return try_it([&] { return content.withdraw(id); });
  }
  result<std::vector<service_info>> discover(std::string_view type) override {
    ++asked;
    return try_it([&] { return content.discover(type); });
  }
  result<std::optional<service_info>> find(std::string_view id) override {
    return try_it([&] { return content.find(id); });
  }

private:
  template <class F>
  auto try_it(F work) -> decltype(work()) {
    while (stuck)
      std::this_thread::yield();
    if (broken)
      return make_error(registry_errc::unavailable, "no registry today");
    return work();
  }
};

template <class Holds>
bool soon(Holds holds) {
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (!holds() && std::chrono::steady_clock::now() < give_up)
    std::this_thread::yield();
  return holds();
}

/// Asks again only after a failure, or when told to.
constexpr discovery_options rarely{.renew = 1h, .refresh = 1h, .retry = 1ms};
constexpr discovery_options often{.renew = 1ms, .refresh = 1ms, .retry = 1ms};

struct world {
  std::shared_ptr<moody_registry> registry = std::make_shared<moody_registry>();
  bool has(const std::string& id) { return registry->content.find(id)->has_value(); }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(nothing_is_asked_for_that_nobody_wants, world) {
  {
    discovery idle{registry, often};
    BOOST_TEST(idle.health().has_value());
    BOOST_TEST(idle.known("pay").empty());
    idle.withdraw();
  }
  BOOST_TEST(registry->entered == 0);
  BOOST_TEST(registry->asked == 0);
  BOOST_TEST(registry->withdrawn == 0);
}

BOOST_FIXTURE_TEST_CASE(a_registration_is_renewed_and_withdrawn, world) {
  {
    discovery me{registry, often};
    auto instance = payment_instance();
    instance.registered_at = {};
    me.announce(instance);
    BOOST_TEST(soon([&] { return registry->entered > 10; }));
    const auto first = **registry->content.find("pay@p1");
    BOOST_TEST(first.registered_at.time_since_epoch().count() > 0);
    instance = first;
    instance.endpoints["cluster"] = "127.0.0.1:2";
    me.announce(instance);
    BOOST_TEST(soon([&] { return *registry->content.find("pay@p1") == instance; }));
    me.withdraw();
    BOOST_TEST(!has("pay@p1"));
    const auto entered = registry->entered.load();
    me.withdraw();
    BOOST_TEST(registry->withdrawn == 1);
    BOOST_TEST(registry->entered == entered);
    me.announce(instance);
    BOOST_TEST(soon([&] { return has("pay@p1"); }));
  }
  BOOST_TEST(!has("pay@p1"));
  BOOST_TEST(registry->withdrawn == 2);
}

BOOST_FIXTURE_TEST_CASE(an_announcement_is_made_at_once, world) {
  discovery me{registry, rarely};
  me.announce(payment_instance());
  BOOST_TEST(soon([&] { return has("pay@p1"); }));
  me.announce(payment_instance()); // long before it is due
  BOOST_TEST(soon([&] { return registry->entered == 2; }));
}

BOOST_FIXTURE_TEST_CASE(an_announcement_counts_that_comes_while_the_one_before_is_withdrawn, world) {
  discovery me{registry, rarely};
  me.announce(payment_instance());
  BOOST_TEST(soon([&] { return has("pay@p1"); }));
  registry->stuck = true;
  auto left = std::async(std::launch::async, [&] { me.withdraw(); });
  BOOST_TEST(soon([&] { return registry->withdrawn == 1; }));
  me.announce(payment_instance());
  registry->stuck = false;
  left.get();
  BOOST_TEST(soon([&] { return registry->entered == 2 && has("pay@p1"); }));
}

BOOST_FIXTURE_TEST_CASE(a_registry_that_was_down_at_the_start_is_asked_again, world) {
  registry->broken = true;
  discovery me{registry, rarely};
  me.announce(payment_instance());
  me.watch("pay");
  BOOST_TEST(soon([&] { return registry->entered > 2 && registry->asked > 2 && !me.health(); }));
  BOOST_TEST(me.health().error().code() == registry_errc::unavailable);
  BOOST_TEST(me.health().error().message() == "no registry today");
  registry->broken = false;
  BOOST_TEST(soon([&] { return me.health().has_value() && has("pay@p1"); }));
}

BOOST_FIXTURE_TEST_CASE(what_is_known_stays_when_the_registry_fails, world) {
  must_pass(registry->content.enter(payment_instance("other", "j2")));
  std::atomic<int> changes{0};
  discovery me{registry, often, [&](auto&, auto&) { ++changes; }};
  me.watch("pay");
  BOOST_TEST(soon([&] { return me.known("pay").size() == 1; }));
  registry->broken = true;
  BOOST_TEST(soon([&] { return !me.health(); }));
  BOOST_TEST(me.known("pay").size() == 1u);
  registry->broken = false;
  BOOST_TEST(soon([&] { return me.health().has_value(); }));
  BOOST_TEST(me.known("pay").size() == 1u);
  BOOST_TEST(changes == 1);
}

BOOST_FIXTURE_TEST_CASE(changes_are_told_once, world) {
  std::mutex mutex;
  std::vector<std::size_t> told;
  discovery me{registry, often, [&](const std::string& type, const std::vector<service_info>& instances) {
                 std::lock_guard lock{mutex};
                 BOOST_TEST(type == "pay");
                 told.push_back(instances.size());
               }};
  const auto was_told = [&](std::vector<std::size_t> what) {
    return soon([&] {
      std::lock_guard lock{mutex};
      return told == what;
    });
  };
  me.watch("pay");
  me.watch("pay");
  BOOST_TEST(was_told({0}));
  must_pass(registry->content.enter(payment_instance("a")));
  BOOST_TEST(was_told({0, 1}));
  must_pass(registry->content.enter(payment_instance("b")));
  BOOST_TEST(was_told({0, 1, 2}));
  auto moved = payment_instance("b");
  moved.endpoints["cluster"] = "127.0.0.1:9";
  must_pass(registry->content.enter(moved));
  BOOST_TEST(was_told({0, 1, 2, 2}));
  must_pass(registry->content.withdraw("pay@a"));
  BOOST_TEST(was_told({0, 1, 2, 2, 1}));
  const auto asked = registry->asked.load();
  BOOST_TEST(soon([&] { return registry->asked > asked + 10; }));
  BOOST_TEST(was_told({0, 1, 2, 2, 1}));
}

BOOST_FIXTURE_TEST_CASE(a_taken_id_is_not_withdrawn, world) {
  must_pass(registry->content.enter(payment_instance("p1", "stranger")));
  {
    discovery me{registry, often};
    me.announce(payment_instance("p1", "me"));
    BOOST_TEST(soon([&] { return !me.health(); }));
    BOOST_TEST(me.health().error().code() == registry_errc::id_taken);
  }
  BOOST_TEST(registry->withdrawn == 0);
  BOOST_TEST(has("pay@p1"));
}

BOOST_FIXTURE_TEST_CASE(one_that_was_taken_over_is_not_withdrawn, world) {
  {
    discovery me{registry, often};
    me.announce(payment_instance("p1", "me"));
    BOOST_TEST(soon([&] { return has("pay@p1"); }));
    // As if both had entered at the same moment.
    while (!registry->content.enter(payment_instance("p1", "stranger")))
      must_pass(registry->content.withdraw("pay@p1"));
    BOOST_TEST(soon([&] { return !me.health(); }));
  }
  BOOST_TEST((**registry->content.find("pay@p1") == payment_instance("p1", "stranger")));
}

BOOST_FIXTURE_TEST_CASE(a_stuck_registry_holds_up_nobody_but_the_end, world) {
  registry->stuck = true;
  std::optional<discovery> me{std::in_place, registry, often};
  me->announce(payment_instance());
  me->watch("pay");
  BOOST_TEST(soon([&] { return registry->entered + registry->asked > 0; }));
  me->announce(payment_instance());
  me->watch("order");
  BOOST_TEST(me->known("pay").empty());
  BOOST_TEST(me->health().has_value());
  auto ended = std::async(std::launch::async, [&] { me.reset(); });
  registry->stuck = false;
  ended.get();
  BOOST_TEST(!has("pay@p1"));
}

BOOST_FIXTURE_TEST_CASE(a_registration_is_renewed_however_many_services_are_watched, world) {
  discovery me{registry, often};
  for (int i = 0; i < 200; ++i)
    me.watch("service" + std::to_string(i));
  me.announce(payment_instance());
  const auto before = registry->entered.load();
  BOOST_TEST(soon([&] { return registry->entered > before + 20; }));
  BOOST_TEST(soon([&] { return registry->asked > 400; }));
}
