#include "support/account.hpp"
#include "support/outside_program.hpp"
#include "support/slow_clock.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/breaker.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/node.hpp>

#include <boost/test/unit_test.hpp>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include <sys/mount.h>
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <iostream>
#include <thread>

using namespace eventcore;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 5min; // longer than a machine may stand still

bank::Deposit deposit(std::int64_t cents) {
  return make<bank::Deposit>([&](auto& c) { c.set_cents(cents); });
}

node_options seen_options(const std::filesystem::path& dir) {
  node_options options;
  options.name = "till";
  options.journal_dir = dir;
  options.admin.listen = "0";
  options.admin.min_free_disk = 0;
  return options;
}

node open(node_options options) {
  auto opened = node::open(std::move(options));
  BOOST_REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message()));
  return *std::move(opened);
}

std::string body_of(const node& n, const std::string& path, int status = 200) {
  httplib::Client client{"http://" + n.admin_address()};
  client.set_read_timeout(120);
  auto answer = client.Get(path.c_str());
  BOOST_REQUIRE_MESSAGE(answer, path + " is not answered");
  BOOST_TEST(answer->status == status, answer->body);
  return answer->body;
}

/// Waits until the check of this name says what is wrong; how long that took.
std::chrono::milliseconds until_problem(const node& n, const std::string& check, std::string& problem) {
  const test::slow_clock clock;
  httplib::Client client{"http://" + n.admin_address()};
  client.set_read_timeout(30);
  while (clock.elapsed() < 10s) {
    auto answer = client.Get("/health/ready");
    if (!answer)
      continue;
    const auto said = nlohmann::json::parse(answer->body);
    for (auto& one : said["checks"])
      if (one["name"] == check && one["ok"] == false) {
        BOOST_TEST(answer->status == 503);
        problem = one["problem"];
        return clock.elapsed();
      }
  }
  return 10s;
}

/// A check that takes long, on a slow machine say, is a problem for the time being.
void until_healthy(const node& n) {
  while (!n.health().ok())
    std::this_thread::sleep_for(1ms);
}

bool has_line(const std::string& page, const std::string& line) {
  return page.find('\n' + line + '\n') != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_CASE(metrics_show_what_a_node_did_by_name_and_label) {
  test::temp_dir dir;
  auto n = open(seen_options(dir.path()));
  auto accounts = n.host<account>();
  accounts.tell("alice", bank::Open{});
  for (int i = 0; i < 3; ++i)
    BOOST_REQUIRE(accounts.ask("alice", deposit(100), patience));
  BOOST_REQUIRE(!accounts.ask("bob", deposit(100), patience));
  until_healthy(n);
  const auto page = body_of(n, "/metrics");
  for (auto* line : {
           R"(eventcore_commands_total{command_type="bank.Deposit",service="till"} 4)",
           R"(eventcore_commands_total{command_type="bank.Open",service="till"} 1)",
           R"(eventcore_commands_total{command_type="bank.Withdraw",service="till"} 0)",
           R"(eventcore_command_errors_total{command_type="bank.Deposit",error="rejected",service="till"} 1)",
           R"(eventcore_command_duration_seconds_count{command_type="bank.Deposit",service="till"} 4)",
           R"(eventcore_events_published_total{event_type="bank.Deposited",service="till"} 3)",
           R"(eventcore_entities_resident{category="account",service="till"} 2)",
           R"(eventcore_journal_head{service="till"} 4)",
           R"(eventcore_service_health{service="till"} 1)",
           R"(eventcore_health_check{check="journal",service="till"} 1)",
           "# TYPE eventcore_command_duration_seconds histogram",
           "# TYPE eventcore_journal_commit_seconds histogram",
           "# TYPE eventcore_journal_batch_commits histogram",
           "# TYPE eventcore_active_connections gauge",
       })
    BOOST_TEST(has_line(page, line), std::string{line} + "\n" + page);
  BOOST_TEST(page.find("alice") == std::string::npos, "a stream id is no label");
}

BOOST_AUTO_TEST_CASE(labels_may_hold_anything) {
  test::temp_dir dir;
  auto n = open(seen_options(dir.path()));
  breaker odd{{.name = "say \"no\"\nC:\\temp"}};
  breaker same{{.name = "say \"no\"\nC:\\temp"}};
  n.add_gauge("shop_shelves", "Shelves \\ of the\nshop", {{"room", "a \"b\"\n"}}, [] { return 7; });
  const auto page = body_of(n, "/metrics");
  BOOST_TEST(
      has_line(page, R"(eventcore_breakers{breaker="say \"no\"\nC:\\temp",service="till",state="closed"} 2)"),
      "two of one name are one series: " + page);
  BOOST_TEST(has_line(page, R"(shop_shelves{room="a \"b\"\n",service="till"} 7)"), page);
}

BOOST_AUTO_TEST_CASE(promtool_accepts_the_page) {
  test::temp_dir dir;
  auto n = open(seen_options(dir.path() / "journal"));
  auto accounts = n.host<account>();
  accounts.tell("alice", bank::Open{});
  BOOST_REQUIRE(accounts.ask("alice", deposit(100), patience));
  breaker odd{{.name = "say \"no\"\nC:\\temp"}};
  const auto file = dir.path() / "page";
  std::ofstream{file} << body_of(n, "/metrics");
  const auto program = test::debian_program("-", "prometheus", "prometheus promtool");
  if (program.empty())
    return test::skip_loudly("promtool_accepts_the_page", "there is no promtool to be had here");
  const auto promtool = std::filesystem::path{program}.parent_path() / "promtool";
  BOOST_TEST(std::system((promtool.string() + " check metrics < " + file.string() + " >&2").c_str()) == 0);
}

BOOST_AUTO_TEST_CASE(a_healthy_node_is_live_and_ready) {
  test::temp_dir dir;
  auto n = open(seen_options(dir.path()));
  until_healthy(n);
  const auto live = nlohmann::json::parse(body_of(n, "/health/live"));
  BOOST_TEST(live["ok"] == true);
  BOOST_TEST(live["checks"][0]["name"] == "scheduler");
  const auto ready = nlohmann::json::parse(body_of(n, "/health/ready"));
  BOOST_TEST(ready["ok"] == true);
  std::string names;
  for (auto& check : ready["checks"])
    names += check["name"].get<std::string>() + ' ';
  BOOST_TEST(names == "journal disk_space overload subscriptions breakers projections running ");
  body_of(n, "/", 404);
}

BOOST_AUTO_TEST_CASE(checks_of_the_users_own_are_asked_too) {
  test::temp_dir dir;
  auto n = open(seen_options(dir.path()));
  std::atomic<bool> here = false;
  n.add_health_check("peers", [&]() -> std::optional<std::string> {
    return here ? std::nullopt : std::optional<std::string>{"shipping \"cannot\" be\nreached"};
  });
  n.add_health_check("odd", []() -> std::optional<std::string> { throw std::runtime_error{"odd indeed"}; });
  std::string problem;
  BOOST_TEST(until_problem(n, "peers", problem) < 2s);
  BOOST_TEST(problem == "shipping \"cannot\" be\nreached");
  BOOST_TEST(until_problem(n, "odd", problem) < 2s);
  BOOST_TEST(problem == "the check failed: odd indeed");
  BOOST_TEST(has_line(body_of(n, "/metrics"), R"(eventcore_health_check{check="peers",service="till"} 0)"));
  n.add_health_check("odd", [] { return std::nullopt; });
  here = true;
  until_healthy(n);
}

BOOST_AUTO_TEST_CASE(a_check_that_does_not_return_is_named) {
  test::temp_dir dir;
  auto n = open(seen_options(dir.path()));
  std::atomic<bool> stuck = true;
  n.add_health_check("tape", [&]() -> std::optional<std::string> {
    while (stuck)
      std::this_thread::sleep_for(1ms);
    return std::nullopt;
  });
  std::string problem;
  BOOST_TEST(until_problem(n, "tape", problem) < 2s);
  BOOST_TEST(problem.starts_with("it has not been found out after "), problem);
  stuck = false;
}

BOOST_AUTO_TEST_CASE(a_journal_that_hangs_is_named) {
  journal_options stepped;
  stepped.writer = writer_mode::stepped;
  auto journal = open_memory_journal(stepped);
  auto& hanging = *journal;
  node n{std::move(journal), seen_options({})};
  std::string problem;
  BOOST_TEST(until_problem(n, "journal", problem) < 2s);
  BOOST_TEST(problem.starts_with("a commit was not answered within "), problem);
  hanging.step();
  while (!n.health().ok())
    hanging.step();
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_named) {
  test::temp_dir dir;
  const auto disk = dir.path() / "disk";
  std::filesystem::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=64m") != 0) {
    std::cerr << "SKIPPED a_full_disk_is_named: a small file system can be mounted by root only\n";
    return;
  }
  struct unmount {
    std::filesystem::path disk;
    ~unmount() { ::umount(disk.c_str()); }
  } later{disk};
  auto options = seen_options(disk / "journal");
  options.admin.min_free_disk = 4u << 20;
  options.journal.reserve_disk_bytes = 1u << 20;
  auto n = open(options);
  until_healthy(n);
  {
    std::ofstream ballast{disk / "ballast"};
    const std::string mebibyte(1u << 20, 'b');
    while (ballast << mebibyte && ballast.flush())
      ;
  }
  std::string problem;
  BOOST_TEST(until_problem(n, "disk_space", problem) < 2s);
  BOOST_TEST(problem.find("MiB are free for") != std::string::npos, problem);
  BOOST_TEST(until_problem(n, "journal", problem) < 2s);
  BOOST_TEST_MESSAGE(problem);
  std::filesystem::remove(disk / "ballast");
  until_healthy(n);
}

BOOST_AUTO_TEST_CASE(an_overloaded_node_says_so) {
  test::temp_dir dir;
  auto options = seen_options(dir.path());
  options.journal.max_pending_commits = 2;
  auto n = open(options);
  auto accounts = n.host<account>();
  std::atomic<bool> done = false;
  std::thread crowd{[&] {
    while (!done)
      for (int i = 0; i < 64; ++i)
        accounts.tell(std::to_string(i), bank::Open{});
  }};
  std::string problem;
  const auto took = until_problem(n, "overload", problem);
  done = true;
  crowd.join();
  BOOST_TEST(took < 2s);
  BOOST_TEST(problem.starts_with("the journal's writer has "), problem);
  until_healthy(n);
}

BOOST_AUTO_TEST_CASE(an_open_breaker_is_named) {
  test::temp_dir dir;
  auto n = open(seen_options(dir.path()));
  breaker payments{{.name = "payments", .failures = 1}};
  static_cast<void>(
      payments.call([]() -> result<void> { return make_error(journal_errc::io_error, "the line is dead"); }));
  std::string problem;
  BOOST_TEST(until_problem(n, "breakers", problem) < 2s);
  BOOST_TEST(problem == "payments is open");
  BOOST_TEST(has_line(body_of(n, "/metrics"),
                      R"(eventcore_breakers{breaker="payments",service="till",state="open"} 1)"));
}

namespace {

struct auditor : subscriber<auditor> {
  using events = eventcore::events<bank::Opened>;
  static inline std::atomic<bool> refuses = true;
  result<void> handle(const bank::Opened&) {
    return refuses ? result<void>{make_error(journal_errc::io_error, "no ink")} : result<void>{};
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_subscription_that_stopped_is_named_and_its_lag_is_seen) {
  test::temp_dir dir;
  auto n = open(seen_options(dir.path()));
  auto audit = n.subscribe<auditor>({.name = "audit", .retries = 0});
  BOOST_REQUIRE(audit);
  n.host<account>().tell("alice", bank::Open{});
  std::string problem;
  BOOST_TEST(until_problem(n, "subscriptions", problem) < 4s);
  BOOST_TEST(problem == "audit has stopped");
  const auto page = body_of(n, "/metrics");
  BOOST_TEST(has_line(page, R"(eventcore_subscription_lag_events{service="till",subscription="audit"} 1)"),
             page);
  BOOST_TEST(page.find(R"(eventcore_event_lag_seconds{service="till",subscription="audit"} )") !=
                 std::string::npos,
             page);
  auditor::refuses = false;
  BOOST_REQUIRE(audit->resume(patience));
  BOOST_REQUIRE(audit->reached(1, patience));
  until_healthy(n);
  BOOST_TEST(has_line(
      body_of(n, "/metrics"),
      R"(eventcore_events_consumed_total{event_type="bank.Opened",service="till",subscription="audit"} 1)"));
}

BOOST_AUTO_TEST_CASE(an_event_from_the_end_of_time_is_not_late) {
  test::temp_dir dir;
  auditor::refuses = true;
  auto n = open(seen_options(dir.path()));
  auto audit = n.subscribe<auditor>({.name = "audit", .retries = 0});
  BOOST_REQUIRE(audit);
  command_context late;
  late.now = timestamp::max();
  n.host<account>().tell("alice", bank::Open{}, late);
  BOOST_REQUIRE(n.host<account>().ask("alice", bank::GetBalance{}, patience));
  const auto page = body_of(n, "/metrics");
  BOOST_TEST(has_line(page, R"(eventcore_event_lag_seconds{service="till",subscription="audit"} 0)"), page);
}

namespace {

struct welcome : saga<welcome> {
  static constexpr std::string_view category = "welcome";
  using input = bank::Transfer;
  static void define(definition<input>& saga) {
    saga.step("open")
        .request<account>([](const input& t) { return to(t.to(), bank::Open{}); })
        .confirmed_later()
        .within(1h);
  }
};

std::string sagas(const std::string& state, int count) {
  return R"(eventcore_sagas{saga="welcome",service="till",state=")" + state + "\"} " + std::to_string(count);
}

} // namespace

BOOST_AUTO_TEST_CASE(sagas_are_counted_by_state_over_restarts_too) {
  test::temp_dir dir;
  {
    auto n = open(seen_options(dir.path()));
    n.host<account>();
    auto welcomes = n.saga<welcome>();
    for (auto* id : {"a", "b", "c"})
      BOOST_REQUIRE(welcomes.start(id, make<bank::Transfer>([&](auto& t) { t.set_to(id); }), patience));
    auto page = body_of(n, "/metrics");
    BOOST_TEST(has_line(page, sagas("running", 3)), page);
    BOOST_REQUIRE(welcomes.confirm("a", "open", nullptr, patience));
    page = body_of(n, "/metrics");
    BOOST_TEST(has_line(page, sagas("running", 2)), page);
    BOOST_TEST(
        has_line(page, R"(eventcore_sagas_ended_total{saga="welcome",service="till",state="completed"} 1)"));
  }
  auto n = open(seen_options(dir.path()));
  n.host<account>();
  auto welcomes = n.saga<welcome>();
  // Before it was found among the unfinished ones, or after.
  const auto confirmed = welcomes.confirm("b", "open", nullptr, patience);
  BOOST_REQUIRE_MESSAGE(confirmed, (confirmed ? "" : confirmed.error().message()));
  const test::slow_clock clock;
  while (!has_line(body_of(n, "/metrics"), sagas("running", 1)) && clock.elapsed() < 30s)
    std::this_thread::sleep_for(1ms);
  BOOST_TEST(has_line(body_of(n, "/metrics"), sagas("running", 1)), body_of(n, "/metrics"));
  BOOST_REQUIRE(welcomes.confirm("c", "open", nullptr, patience));
  BOOST_TEST(has_line(body_of(n, "/metrics"), sagas("running", 0)));
}

BOOST_AUTO_TEST_CASE(a_thousand_scrapes_at_once_are_answered) {
  test::temp_dir dir;
  auto n = open(seen_options(dir.path()));
  n.host<account>().tell("alice", bank::Open{});
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max; // the crowd itself needs a thousand
  ::setrlimit(RLIMIT_NOFILE, &files);
  std::atomic<int> good{0};
  std::vector<std::thread> crowd;
  for (int i = 0; i < 1'000; ++i)
    crowd.emplace_back([&] {
      httplib::Client client{"http://" + n.admin_address()};
      client.set_connection_timeout(60);
      client.set_read_timeout(60);
      auto answer = client.Get("/metrics");
      if (!answer) // it had no turn for two seconds, which is all that a request has to come in
        answer = client.Get("/metrics");
      good += answer && answer->status == 200 &&
              answer->body.find("eventcore_commands_total") != std::string::npos;
    });
  for (auto& thread : crowd)
    thread.join();
  BOOST_TEST(good == 1'000);
}

BOOST_AUTO_TEST_CASE(who_says_nothing_keeps_nobody_out_for_long) {
  test::temp_dir dir;
  auto options = seen_options(dir.path());
  options.admin.threads = 2;
  auto n = open(options);
  const auto address = n.admin_address();
  const auto port = std::stoi(address.substr(address.rfind(':') + 1));
  std::vector<int> sockets;
  for (int i = 0; i < 4; ++i) {
    const int s = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    BOOST_REQUIRE(::connect(s, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0);
    sockets.push_back(s);
  }
  body_of(n, "/health/live");
  for (int s : sockets)
    ::close(s);
}

BOOST_AUTO_TEST_CASE(a_port_that_is_taken_is_no_reason_to_fail) {
  test::temp_dir dir;
  auto first = open(seen_options(dir.path() / "a"));
  auto options = seen_options(dir.path() / "b");
  options.admin.listen = first.admin_address();
  auto second = open(options);
  BOOST_TEST(second.admin_address().empty());
  until_healthy(second);
}

BOOST_AUTO_TEST_CASE(a_stopping_node_is_not_ready) {
  test::temp_dir dir;
  auto n = open(seen_options(dir.path()));
  n.stop();
  std::string problem;
  until_problem(n, "running", problem);
  BOOST_TEST(problem == "the node is shutting down");
}
