#include "support/registry_conformance.hpp"

#include "support/journal_helpers.hpp"

#include <eventcore/runtime/registry_errc.hpp>

#include <atomic>
#include <thread>

namespace eventcore {

inline std::ostream& operator<<(std::ostream& out, const service_info& instance) {
  return out << instance.id;
}

namespace test {

namespace {

using steady_clock = std::chrono::steady_clock;

/// What an expiry may take longer on a busy machine.
constexpr std::chrono::seconds grace{20};

service_info instance_of(const std::string& type, const std::string& name) {
  service_info instance;
  instance.id = type + '@' + name;
  instance.name = name;
  instance.type = type;
  return instance;
}

bool is_there(registry_world& world, const std::string& id) {
  return must(world.registry().find(id)).has_value();
}

std::vector<std::string> ids_of(registry_world& world, const std::string& type) {
  std::vector<std::string> ids;
  for (const auto& instance : must(world.registry().discover(type)))
    ids.push_back(instance.id);
  return ids;
}

void wait_until(registry_world& world, const std::function<bool()>& holds) {
  const auto give_up = world.now() + patience;
  while (!holds() && world.now() < give_up)
    world.let_time_pass();
  BOOST_TEST_REQUIRE(holds());
}

void wait_until_there(registry_world& world, const service_info& instance) {
  wait_until(world, [&] { return must(world.registry().find(instance.id)) == instance; });
}

void check_expiry(registry_world& world, const std::string& id) {
  const auto begin = world.now();
  wait_until(world, [&] { return !is_there(world, id); });
  BOOST_TEST(((world.now() - begin) < world.time_to_live() + grace));
}

// -- cases

void an_empty_registry_is_empty(registry_world& world) {
  BOOST_TEST(must(world.registry().discover("pay")).empty());
  BOOST_TEST(must(world.registry().discover("")).empty());
  for (auto id : {"pay@p1", "pay", "", "@", "pay@", "@p1"})
    BOOST_TEST(!is_there(world, id));
}

void what_is_registered_is_found_as_it_is(registry_world& world) {
  const auto instance = payment_instance();
  must_pass(world.registry().enter(instance));
  wait_until_there(world, instance);
  BOOST_TEST(must(world.registry().discover("pay")) == std::vector{instance});
}

void a_registration_needs_only_names(registry_world& world) {
  const auto instance = instance_of("pay", "p1");
  must_pass(world.registry().enter(instance));
  wait_until_there(world, instance);
}

void odd_names_and_labels_are_kept(registry_world& world) {
  for (const auto* name :
       {"a b", "p/1?x=y#z%41&", "\"quoted\" \\", "K\u00e4se-\u65e5\u672c-\U0001F600", "p@1"}) {
    auto instance = instance_of("K\u00e4se/w\"are", name);
    instance.metadata["quotes \" ' \\ and\nnewlines\t\r"] = "\"'\\\n\r\t\b \u00fc\u65e5\U0001F600\x7f";
    instance.metadata[""] = "";
    instance.endpoints["h\"t\ntp"] = "http://[::1]:80/\u00fc?\"\n";
    instance.version = "1\n2";
    must_pass(world.registry().enter(instance));
    wait_until_there(world, instance);
  }
  BOOST_TEST(ids_of(world, "K\u00e4se/w\"are").size() == 5u);
}

void large_registrations_are_kept(registry_world& world) {
  auto instance = payment_instance();
  for (int i = 0; i < 400; ++i)
    instance.capabilities.push_back("shop.commands.DoSomethingOfTheKind" + std::to_string(i));
  must_pass(world.registry().enter(instance));
  wait_until_there(world, instance);
}

void a_type_is_found_alone_and_in_order(registry_world& world) {
  for (auto [type, name] : {std::pair{"pay", "c"}, {"pay", "a"}, {"payment", "a"}, {"pa", "a"}, {"pay", "b"}})
    must_pass(world.registry().enter(instance_of(type, name)));
  wait_until(world, [&] { return ids_of(world, "pay").size() == 3 && is_there(world, "payment@a"); });
  BOOST_TEST((ids_of(world, "pay") == std::vector<std::string>{"pay@a", "pay@b", "pay@c"}));
  BOOST_TEST((ids_of(world, "payment") == std::vector<std::string>{"payment@a"}));
  BOOST_TEST(ids_of(world, "p").empty());
}

void a_renewed_registration_stays(registry_world& world) {
  const auto instance = payment_instance();
  must_pass(world.registry().enter(instance));
  wait_until_there(world, instance);
  for (const auto end = world.now() + 2 * world.time_to_live(); world.now() < end; world.let_time_pass()) {
    must_pass(world.registry().enter(instance));
    BOOST_TEST(is_there(world, instance.id));
  }
}

void one_that_is_not_renewed_expires(registry_world& world) {
  must_pass(world.registry().enter(payment_instance()));
  check_expiry(world, "pay@p1");
  BOOST_TEST(ids_of(world, "pay").empty());
  must_pass(world.registry().enter(payment_instance()));
  wait_until_there(world, payment_instance());
}

void a_renewal_says_what_is_new(registry_world& world) {
  auto instance = payment_instance();
  must_pass(world.registry().enter(instance));
  instance.endpoints["cluster"] = "127.0.0.1:2";
  instance.endpoints.erase("http");
  instance.capabilities.clear();
  must_pass(world.registry().enter(instance));
  wait_until_there(world, instance);
  BOOST_TEST(ids_of(world, "pay").size() == 1u);
}

void a_withdrawn_one_is_gone(registry_world& world) {
  must_pass(world.registry().enter(payment_instance("p1")));
  must_pass(world.registry().enter(payment_instance("p2")));
  wait_until(world, [&] { return ids_of(world, "pay").size() == 2; });
  must_pass(world.registry().withdraw("pay@p1"));
  wait_until(world, [&] { return !is_there(world, "pay@p1"); });
  BOOST_TEST((ids_of(world, "pay") == std::vector<std::string>{"pay@p2"}));
  for (auto id : {"pay@p1", "pay@never", "no id"})
    must_pass(world.registry().withdraw(id));
}

void a_process_withdraws_at_its_end(registry_world& world) {
  const auto process = world.start(payment_instance());
  BOOST_TEST(is_there(world, "pay@p1"));
  process->stop();
  BOOST_TEST(!is_there(world, "pay@p1")); // long before it would expire
}

void a_killed_process_expires(registry_world& world) {
  const auto killed = world.start(payment_instance("killed"));
  const auto other = world.start(payment_instance("other", "j2"));
  killed->kill();
  check_expiry(world, "pay@killed");
  BOOST_TEST((ids_of(world, "pay") == std::vector<std::string>{"pay@other"}));
}

void an_id_is_the_same_after_a_restart(registry_world& world) {
  auto instance = payment_instance();
  const auto before = world.start(instance);
  before->kill();
  instance.endpoints["cluster"] = "127.0.0.1:2";
  instance.registered_at += std::chrono::seconds{5};
  const auto after = world.start(instance);
  wait_until_there(world, instance);
  BOOST_TEST(must(world.registry().discover("pay")) == std::vector{instance});
}

void an_id_belongs_to_one_service(registry_world& world) {
  const auto mine = payment_instance("p1", "j1");
  const auto stranger = payment_instance("p1", "j2");
  const auto process = world.start(mine);
  const auto refused = world.registry().enter(stranger);
  BOOST_TEST_REQUIRE(!refused);
  BOOST_TEST(refused.error().code() == registry_errc::id_taken);
  BOOST_TEST(refused.error().message().find("'pay@p1'") != std::string::npos);
  BOOST_TEST(must(world.registry().discover("pay")) == std::vector{mine});

  process->stop();
  must_pass(world.registry().enter(stranger));
  wait_until_there(world, stranger);
  check_expiry(world, "pay@p1");
  must_pass(world.registry().enter(mine));
  wait_until_there(world, mine);
}

void invalid_registrations_are_refused(registry_world& world) {
  const auto check = [&](const std::string& field, const std::function<void(service_info&)>& spoil) {
    BOOST_TEST_CONTEXT(field) {
      auto instance = payment_instance();
      spoil(instance);
      const auto refused = world.registry().enter(instance);
      BOOST_TEST_REQUIRE(!refused);
      BOOST_TEST(refused.error().code() == registry_errc::invalid_registration);
      BOOST_TEST(refused.error().message().find(field) != std::string::npos, refused.error().message());
    }
  };
  check("no name", [](auto& i) { i.name.clear(), i.id = "pay@"; });
  check("no type", [](auto& i) { i.type.clear(), i.id = "@p1"; });
  check("wrong id", [](auto& i) { i.id.clear(); });
  check("wrong id", [](auto& i) { i.id = "pay@p2"; });
  check("wrong type", [](auto& i) { i.type = "p@y", i.id = "p@y@p1"; });
  check("wrong type", [](auto& i) { i.type = "pa\ny", i.id = "pa\ny@p1"; });
  check("wrong name", [](auto& i) { i.name = std::string(129, 'p'), i.id = "pay@" + i.name; });
  check("wrong name", [](auto& i) { i.name = "p\xff", i.id = "pay@p\xff"; });
  check("version", [](auto& i) { i.version = "\xc3"; });
  check("health_check", [](auto& i) { i.health_check = "\xc3"; });
  check("capabilities", [](auto& i) { i.capabilities.push_back("\xc3"); });
  check("metadata", [](auto& i) { i.metadata["\xc3"] = "x"; });
  check("endpoints", [](auto& i) { i.endpoints["http"] = ""; });
  check("endpoints", [](auto& i) { i.endpoints[""] = "x:1"; });
  check("too large", [](auto& i) { i.metadata["x"] = std::string(25'000, 'x'); });
  BOOST_TEST(ids_of(world, "pay").empty());
}

void threads_use_it_at_once(registry_world& world) {
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const auto mine = payment_instance("p" + std::to_string(t));
      for (int i = 0; i < 10; ++i) {
        failures += !world.registry().enter(mine);
        failures += !world.registry().discover("pay");
        failures += !world.registry().find("pay@p0");
        if (i % 3 == 2)
          failures += !world.registry().withdraw(mine.id);
      }
    });
  for (auto& thread : threads)
    thread.join();
  BOOST_TEST(failures == 0);
  wait_until(world, [&] { return ids_of(world, "pay").size() == 4; });
}

constexpr std::pair<const char*, void (*)(registry_world&)> cases[] = {
    {"an_empty_registry_is_empty", an_empty_registry_is_empty},
    {"what_is_registered_is_found_as_it_is", what_is_registered_is_found_as_it_is},
    {"a_registration_needs_only_names", a_registration_needs_only_names},
    {"odd_names_and_labels_are_kept", odd_names_and_labels_are_kept},
    {"large_registrations_are_kept", large_registrations_are_kept},
    {"a_type_is_found_alone_and_in_order", a_type_is_found_alone_and_in_order},
    {"a_renewed_registration_stays", a_renewed_registration_stays},
    {"one_that_is_not_renewed_expires", one_that_is_not_renewed_expires},
    {"a_renewal_says_what_is_new", a_renewal_says_what_is_new},
    {"a_withdrawn_one_is_gone", a_withdrawn_one_is_gone},
    {"a_process_withdraws_at_its_end", a_process_withdraws_at_its_end},
    {"a_killed_process_expires", a_killed_process_expires},
    {"an_id_is_the_same_after_a_restart", an_id_is_the_same_after_a_restart},
    {"an_id_belongs_to_one_service", an_id_belongs_to_one_service},
    {"invalid_registrations_are_refused", invalid_registrations_are_refused},
    {"threads_use_it_at_once", threads_use_it_at_once},
};

} // namespace

bool register_registry_conformance(const std::string& name,
                                   std::function<std::unique_ptr<registry_world>()> make_world) {
  namespace ut = boost::unit_test;
  auto* suite = BOOST_TEST_SUITE(name);
  for (auto [case_name, body] : cases)
    suite->add(ut::make_test_case([body = body, make_world] { body(*make_world()); }, case_name, __FILE__,
                                  __LINE__));
  ut::framework::master_test_suite().add(suite);
  return true;
}

service_info payment_instance(const std::string& name, const std::string& journal) {
  auto instance = instance_of("pay", name);
  instance.version = "1.2";
  instance.endpoints = {{"cluster", "127.0.0.1:1"}, {"http", "http://localhost:8080/x"}};
  instance.health_check = "http://localhost:8081/health/ready";
  instance.capabilities = {"shop.Pay", "shop.Refund"};
  instance.metadata = {{"journal", journal}, {"rack", "7"}};
  instance.registered_at = timestamp{std::chrono::microseconds{1'700'000'000'123'456}};
  return instance;
}

} // namespace test

} // namespace eventcore
