#include "support/account.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/log_scope.hpp>
#include <eventcore/actors/trace_context.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/node.hpp>

#include <boost/test/unit_test.hpp>
#include <httplib.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <sys/mount.h>

#include <fstream>
#include <iostream>

using namespace eventcore;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 5min; // longer than a machine may stand still
const std::string trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::vector<std::string> lines;
  std::ifstream in{file};
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  return lines;
}

node_options logging(log_form form, const std::filesystem::path& file) {
  node_options options;
  options.name = "till";
  options.log = {.enabled = true, .form = form, .file = file};
  return options;
}

struct writer : subscriber<writer> {
  using events = eventcore::events<bank::Opened>;
  void handle(const bank::Opened& e) { spdlog::info("an account for {}", e.owner()); }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_line_of_json_says_what_it_is_about) {
  test::temp_dir dir;
  const auto file = dir.path() / "logs" / "till.json";
  {
    node n{open_memory_journal(), logging(log_form::json, file)};
    spdlog::info("quotes \"and\"\nlines {}", "\xff");
    auto written = n.subscribe<writer>({.name = "writer"});
    BOOST_REQUIRE(written);
    command_context context;
    context.metadata.traceparent = trace;
    n.host<account>().tell("alice", make<bank::Open>([](auto& c) { c.set_owner("Alice"); }), context);
    BOOST_REQUIRE(n.host<account>().ask("alice", bank::GetBalance{}, patience));
    BOOST_REQUIRE(written->reached(1, patience));
  }
  spdlog::debug("this goes elsewhere");
  const auto lines = lines_of(file);
  BOOST_REQUIRE(lines.size() == 2u);
  const auto first = nlohmann::json::parse(lines[0]);
  BOOST_TEST(first["message"] == "quotes \"and\"\nlines \xef\xbf\xbd");
  BOOST_TEST(first["level"] == "info");
  BOOST_TEST(first["service"] == "till");
  BOOST_TEST(!first.contains("stream"));
  const auto time = first["time"].get<std::string>();
  BOOST_TEST(time.size() == std::string{"2026-01-01T00:00:00.000000Z"}.size(), time);
  const auto second = nlohmann::json::parse(lines[1]);
  BOOST_TEST(second["message"] == "an account for Alice");
  BOOST_TEST(second["stream"] == "account-alice");
  BOOST_TEST(second["position"] == 1);
  BOOST_TEST(second["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736");
}

BOOST_AUTO_TEST_CASE(a_line_of_text_stays_one) {
  test::temp_dir dir;
  const auto file = dir.path() / "till.log";
  {
    node n{open_memory_journal(), logging(log_form::text, file)};
    log_scope scope{"account-alice", 7, trace};
    spdlog::warn("one\ntwo\x01");
  }
  const auto lines = lines_of(file);
  BOOST_REQUIRE(lines.size() == 1u);
  BOOST_TEST(lines[0].ends_with(" warning  one\\ntwo\\x01 [stream=account-alice position=7 "
                                "trace_id=4bf92f3577b34da6a3ce929d0e0e4736]"),
             lines[0]);
}

BOOST_AUTO_TEST_CASE(a_log_without_room_is_counted_and_keeps_nobody_from_work) {
  test::temp_dir dir;
  const auto disk = dir.path() / "disk";
  std::filesystem::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=64k") != 0) {
    std::cerr
        << "SKIPPED a_log_without_room_is_counted_and_keeps_nobody_from_work: a small file system can be "
           "mounted by root only\n";
    return;
  }
  struct unmount {
    std::filesystem::path disk;
    ~unmount() { ::umount(disk.c_str()); }
  } later{disk};
  auto options = logging(log_form::json, disk / "till.json");
  options.admin.listen = "0";
  node n{open_memory_journal(), options};
  const auto lost = [&] {
    httplib::Client client{"http://" + n.admin_address()};
    client.set_read_timeout(120);
    const auto answer = client.Get("/metrics");
    BOOST_REQUIRE(answer);
    const auto& page = answer->body;
    const auto at = page.find("\neventcore_log_lines_lost_total{service=\"till\"} ");
    BOOST_REQUIRE(at != std::string::npos);
    return std::stoi(page.substr(page.find('}', at) + 2));
  };
  BOOST_TEST(lost() == 0);
  for (int i = 0; i < 1'000; ++i)
    spdlog::info("{:0200}", i);
  while (lost() == 0)
    std::this_thread::sleep_for(1ms);
  n.host<account>().tell("alice", bank::Open{});
  BOOST_TEST(n.host<account>().ask("alice", bank::GetBalance{}, patience).has_value());
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_had_is_no_reason_to_fail) {
  test::temp_dir dir;
  std::ofstream{dir.path() / "file"} << "no folder";
  node n{open_memory_journal(), logging(log_form::text, dir.path() / "file" / "till.log")};
  BOOST_TEST(n.host<account>().ask("alice", bank::GetBalance{}, patience).has_value());
}
