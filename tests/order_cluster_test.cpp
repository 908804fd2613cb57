/// The services of order fulfilment as processes: each fails, is killed, stopped and restarted, and the books are the same.

#include "support/history_checker.hpp"
#include "support/order_run.hpp"
#include "support/program.hpp"

#include <order_fulfilment/audit.hpp>

#include <eventcore/actors/errc.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <iostream>
#include <map>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::literals;

namespace {

constexpr std::array services{"order", "payment", "inventory", "shipping"};

/// What one order may be answered, in an order of its calls.
struct order_model {
  using state = std::string; ///< empty, RUNNING, or a final phase
  struct input {
    bool place;
  };
  using output = std::string;

  static bool is_final(const state& s) { return s == "COMPLETED" || s == "COMPENSATED"; }
  static bool step(state& s, const input& in, const output* out) {
    if (!out) { // it may have been placed
      if (in.place && s.empty())
        s = "RUNNING";
      return true;
    }
    if (s.empty() && !in.place)
      return false; // there is no order to wait for
    if (is_final(s))
      return *out == s;
    s = is_final(*out) ? *out : "RUNNING";
    return *out == s || *out == "COMPENSATING";
  }
  static bool inert(const input&, const output*) { return false; }
  static std::string describe(const input& in, const output* out) {
    return (in.place ? "place: "s : "await: "s) + (out ? *out : "unknown");
  }
  static std::string describe(const state& s) { return s.empty() ? "not placed" : s; }
};

struct cluster {
  const temp_dir dir;

  program_result run(const std::string& name, std::vector<std::string> more) const {
    more.insert(more.end(), {"--cluster", "--journal", (dir.path() / name).string(), "--history",
                             (dir.path() / (name + ".history")).string()});
    return run_program("order_fulfilment", more);
  }

  shop::audit audit(const std::string& name) const {
    std::vector<std::unique_ptr<journal_reader>> readers;
    std::vector<journal_reader*> journals;
    for (auto* service : services) {
      auto opened = open_lmdb_journal_reader(dir.path() / name / service);
      BOOST_REQUIRE(opened);
      journals.push_back(opened->get());
      readers.push_back(*std::move(opened));
    }
    auto found = shop::audit_journals(journals);
    BOOST_REQUIRE(found);
    return *std::move(found);
  }

  /// Holds what customers were told to an order of calls that is possible, and to the journals: a call that was acknowledged took
  /// effect exactly once, any other at most once. The number of calls.
  std::size_t check_history(const std::string& name, const shop::audit& books) const {
    std::map<std::string, std::vector<operation<order_model>>> by_order;
    std::map<std::string, std::string> told;
    std::size_t calls = 0;
    std::ifstream in{dir.path() / (name + ".history")};
    for (std::string line; std::getline(in, line); ++calls) {
      const auto call = nlohmann::json::parse(line);
      auto& op = by_order[call["order"]].emplace_back();
      op.invoked = call["invoked"];
      op.input.place = call["call"] == "place";
      if (call.contains("completed")) {
        op.completed = call["completed"].get<std::uint64_t>();
        op.output = call["answer"].get<std::string>();
        if (order_model::is_final(*op.output))
          told[call["order"]] = *op.output;
      }
    }
    for (auto& [order, calls_of_order] : by_order) {
      const auto violation = find_violation(calls_of_order);
      BOOST_TEST(!violation.has_value(), "order " << order << ": " << violation.value_or(""));
      const auto& trail = books.orders.at(order);
      BOOST_TEST(trail.ends == 1u);
      BOOST_TEST(told[order] ==
                 (trail.ended == shop::order_trail::outcome::completed ? "COMPLETED" : "COMPENSATED"));
      for (auto& [type, times] : trail.effects)
        BOOST_TEST(times == 1u, "order " << order << ": " << type << " happened " << times << " times");
    }
    BOOST_TEST(by_order.size() == books.orders.size());
    return calls;
  }
};

std::string after(const std::string& text, std::string_view begin) {
  const auto at = text.find(begin);
  return at == std::string::npos ? "nothing" : text.substr(at);
}

std::map<std::string, shop::order_trail::outcome> ends_of(const shop::audit& books) {
  std::map<std::string, shop::order_trail::outcome> ends;
  for (auto& [order, trail] : books.orders)
    ends.emplace(order, trail.ended);
  return ends;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(order_cluster_test, cluster)

BOOST_AUTO_TEST_CASE(the_books_are_those_of_a_run_in_one_process) {
  const std::vector<std::string> args{"--first", "80", "--fail", "0.1"};
  auto alone = args;
  alone.insert(alone.end(), {"--journal", (dir.path() / "alone").string()});
  const auto one = run_program("order_fulfilment", alone);
  BOOST_TEST(one.exit_code == 0, one.out << one.err);
  const auto five = run("five", args);
  BOOST_TEST(five.exit_code == 0, five.out << five.err);
  BOOST_TEST(after(five.out, "audit") == after(one.out, "audit"));
  check_history("five", audit("five"));
}

BOOST_AUTO_TEST_CASE(each_participant_fails_in_turn_and_what_was_reserved_is_released) {
  for (auto* participant : services) {
    const auto name = "failing-"s + participant;
    const auto run = this->run(name, {"--first", "12", "--fail", participant + "=1"s});
    BOOST_TEST(run.exit_code == 0, participant << run.out << run.err);
    BOOST_TEST(run.printed("ok: 12 orders, 0 completed, 12 compensated"), run.out);
  }
}

BOOST_AUTO_TEST_CASE(the_books_are_the_same_whatever_processes_are_killed_and_stopped) {
  const std::vector<std::string> args{"--orders", "300", "--fail", "payment=0.1,shipping=0.05"};
  const auto calm = run("calm", args);
  BOOST_TEST(calm.exit_code == 0, calm.out << calm.err);
  auto wild_args = args;
  wild_args.insert(wild_args.end(), {"--chaos", "12", "--longest-stop", "3"});
  const auto wild = run("wild", wild_args);
  BOOST_TEST(wild.exit_code == 0, wild.out << wild.err);
  BOOST_TEST(after(wild.out, "audit") == after(calm.out, "audit"));
  const auto books = audit("wild");
  BOOST_TEST((ends_of(books) == ends_of(audit("calm"))));
  const auto calls = check_history("wild", books);
  BOOST_TEST_MESSAGE(calls << " calls; " << after(wild.out, "processes").substr(0, 200));
}

BOOST_AUTO_TEST_CASE(a_rolling_restart_under_load_is_seen_by_nobody) {
  const auto run = this->run("rolling", {"--orders", "1200", "--rolling", "2", "--at-once", "16"});
  BOOST_TEST(run.exit_code == 0, run.out << run.err);
  BOOST_TEST(run.printed("restarted in order 10;"), run.out);
  BOOST_TEST(run.printed("ok: 1200 orders, 1200 completed, 0 compensated"), run.out);
  // Time-outs may be repeated with the same key; no other failure is seen.
  std::ifstream in{dir.path() / "rolling.history"};
  for (std::string line; std::getline(in, line);) {
    const auto call = nlohmann::json::parse(line);
    if (call.contains("error"))
      BOOST_TEST((call["error"] == make_error_code(entity_errc::outcome_unknown).message() ||
                  call["error"] == make_error_code(entity_errc::deadline_exceeded).message()),
                 line);
  }
  check_history("rolling", audit("rolling"));
}

BOOST_AUTO_TEST_CASE(few_orders_wait_for_all_restarts_among_them) {
  const auto run = this->run("few", {"--first", "60", "--rolling", "3"});
  BOOST_TEST(run.exit_code == 0, run.out << run.err);
  BOOST_TEST(run.printed("restarted in order 15;"), run.out);
  BOOST_TEST(run.printed("ok: 60 orders, 60 completed"), run.out);
}

BOOST_AUTO_TEST_CASE(the_processes_speak_tls_where_they_have_certificates) {
  const auto certificates = (dir.path() / "certificates").string();
  BOOST_REQUIRE(std::system((EVENTCORE_SOURCE_DIR "/runtime/make_certificates " + certificates +
                             " order payment inventory shipping analytics customers")
                                .c_str()) == 0);
  const auto run = this->run("tls", {"--first", "20", "--certificates", certificates});
  BOOST_TEST(run.exit_code == 0, run.out << run.err);
  BOOST_TEST(run.printed("ok: 20 orders, 20 completed"), run.out);
  std::filesystem::remove(dir.path() / "certificates" / "payment.pem");
  const auto lacking = this->run("lacking", {"--first", "2", "--certificates", certificates});
  BOOST_TEST(lacking.exit_code == 1);
  BOOST_TEST(lacking.complained("payment.pem"), lacking.err);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_said_and_goes_by) {
  const auto disk = dir.path() / "disk";
  std::filesystem::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=512m") != 0) {
    std::cerr << "SKIPPED a_full_disk_is_said_and_goes_by: a small file system can be mounted by root only\n";
    return;
  }
  struct unmount {
    std::filesystem::path disk;
    ~unmount() { ::umount(disk.c_str()); }
  } later{disk};
  order_run run{disk, "--cluster --orders 2000"};
  BOOST_REQUIRE(run.says("order up"));
  // The journals keep 64 MiB in reserve.
  const int ballast = ::open((disk / "ballast").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  BOOST_REQUIRE(::posix_fallocate(ballast, 0,
                                  static_cast<off_t>(std::filesystem::space(disk).available - (32u << 20))) ==
                0);
  ::close(ballast);
  for (auto* service : services)
    BOOST_TEST(run.says("order_fulfilment ("s + service + "): not ready: "), service << run.err());
  BOOST_TEST(run.err().find("disk_space: ") != std::string::npos);
  std::filesystem::remove(disk / "ballast");
  BOOST_TEST(run.wait() == 0, run.out() << run.err());
  BOOST_TEST(run.out().find("ok: 2000 orders, 2000 completed") != std::string::npos, run.out());
}

BOOST_AUTO_TEST_CASE(a_start_that_failed_does_not_keep_the_next_one_out) {
  const auto certificates = (dir.path() / "certificates").string();
  std::filesystem::create_directory(certificates);
  const auto failed = run("again", {"--first", "2", "--certificates", certificates});
  BOOST_TEST(failed.exit_code == 1);
  BOOST_TEST(failed.complained("customers.pem"), failed.err);
  const auto second = run("again", {"--first", "2"});
  BOOST_TEST(second.exit_code == 0, second.out << second.err);
  const auto third = run("again", {"--first", "2"});
  BOOST_TEST(third.exit_code == 1);
  BOOST_TEST(third.complained("go on with them by --resume"), third.err);
}

BOOST_AUTO_TEST_CASE(flags_that_need_the_cluster_say_so) {
  BOOST_TEST(run_program("order_fulfilment", {"--chaos", "3"}).exit_code == 2);
  BOOST_TEST(run_program("order_fulfilment", {"--cluster", "--kill-at", "3"}).exit_code == 2);
  BOOST_TEST(run_program("order_fulfilment", {"--service", "bank"}).exit_code == 2);
}

BOOST_AUTO_TEST_SUITE_END()
