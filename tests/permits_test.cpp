#include <permits/permit.hpp>
#include <permits/timestamp.hpp>
#include <support/program.hpp>
#include <support/temp_dir.hpp>

#include <eventcore/actors/given.hpp>

#include <boost/test/unit_test.hpp>

#include <google/protobuf/util/time_util.h>

#include <fstream>
#include <string>
#include <string_view>

using eventcore::given;
using eventcore::make;
using eventcore::test::program_result;
using eventcore::test::run_program;
using permits::permit;
using namespace std::literals;

// -- timestamps
// --------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(timestamps)

namespace {

/// Microseconds since the epoch.
std::int64_t micros(std::string_view text) {
  const auto at = permits::parse_timestamp(text);
  BOOST_TEST_REQUIRE(at.has_value(), "\"" << text << "\" was not taken for a time");
  return at->time_since_epoch().count();
}

} // namespace

BOOST_AUTO_TEST_CASE(every_admitted_form) {
  constexpr std::int64_t t = 1'318'340'740'000'000; // 2011-10-11 13:45:40 UTC
  BOOST_TEST(micros("2011-10-11 13:45:40") == t);
  BOOST_TEST(micros("2011-10-11T13:45:40") == t);
  BOOST_TEST(micros("2011-10-11T13:45:40Z") == t);
  BOOST_TEST(micros("2011-10-11 13:45:40.276") == t + 276'000);
  BOOST_TEST(micros("2011-10-11 13:45:40.000001") == t + 1);
  BOOST_TEST(micros("2011-10-11 13:45:40.123456789") == t + 123'456);
  BOOST_TEST(micros("2011-10-11T15:45:40+02:00") == t);
  BOOST_TEST(micros("2011-10-11T15:45:40.5+0200") == t + 500'000);
  BOOST_TEST(micros("2011-10-11T15:45:40+02") == t);
  BOOST_TEST(micros("2011-10-11T08:15:40-05:30") == t);
  BOOST_TEST(micros("2011-10-12T00:45:40+11:00") == t);
  BOOST_TEST(micros("2012-02-29 00:00:00") == 1'330'473'600'000'000);
  BOOST_TEST(micros("1969-12-31 23:59:59.999999") == -1);
}

BOOST_AUTO_TEST_CASE(what_is_no_time) {
  for (const auto text : {"",
                          "2011-10-11",
                          "2011-10-11 13:45",
                          "2011-10-11 13:45:4",
                          "2011-10-11  13:45:40",
                          " 2011-10-11 13:45:40",
                          "2011-10-11 13:45:40 ",
                          "2011-10-11 13:45:40.",
                          "2011-10-11 13:45:40.1234567890",
                          "2011-10-11 13:45:40,276",
                          "2011-10-11 13:45:40+",
                          "2011-10-11 13:45:40+2",
                          "2011-10-11 13:45:40+02:",
                          "2011-10-11 13:45:40+02:0",
                          "2011-10-11 13:45:40+24:00",
                          "2011-10-11 13:45:40+02:60",
                          "2011-10-11 13:45:40ZZ",
                          "2011-10-11 13:45:40 CET",
                          "2011-00-11 13:45:40",
                          "2011-13-11 13:45:40",
                          "2011-10-00 13:45:40",
                          "2011-10-32 13:45:40",
                          "2011-02-29 13:45:40",
                          "2011-04-31 13:45:40",
                          "2011-10-11 24:00:00",
                          "2011-10-11 13:60:00",
                          "2011-10-11 23:59:60",
                          "0000-01-01 00:00:00",
                          "0001-01-01 00:00:00+01:00",
                          "9999-12-31 23:59:59-01:00",
                          "-011-10-11 13:45:40",
                          "2011-1-11 13:45:40",
                          "11.10.2011 13:45:40",
                          "2011/10/11 13:45:40",
                          "1318340740",
                          "2011-10-11 13:45:4\xC2\xB2"})
    BOOST_TEST(!permits::parse_timestamp(text).has_value(), "\"" << text << "\" was taken for a time");
}

BOOST_AUTO_TEST_SUITE_END()

// -- the decider
// -------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(decider)

namespace {

permits::RecordActivity record(std::string activity, std::string instance,
                               std::string time = "2024-03-04 11:45:00") {
  return make<permits::RecordActivity>([&](auto& c) {
    c.set_activity(activity);
    c.set_instance(instance);
    c.set_timestamp(time);
    c.set_resource("L. Jansen");
    c.set_row(7);
  });
}

permits::ActivityRecorded recorded(std::string activity, std::string instance,
                                   std::string time = "2024-03-04T11:45:00Z") {
  return make<permits::ActivityRecorded>([&](auto& e) {
    e.set_activity(activity);
    e.set_instance(instance);
    google::protobuf::util::TimeUtil::FromString(time, e.mutable_at());
    e.set_resource("L. Jansen");
    e.set_row(7);
  });
}

} // namespace

BOOST_AUTO_TEST_CASE(an_activity_is_recorded) {
  given<permit>()
      .when(record("Decide", "t-1"))
      .then(recorded("Decide", "t-1"))
      .then_reply(permits::Recorded{});
}

BOOST_AUTO_TEST_CASE(other_instances_and_earlier_times_are_welcome) {
  given<permit>(recorded("Decide", "t-1"))
      .when(record("Decide", "t-2", "2023-01-01 00:00:00"))
      .then(recorded("Decide", "t-2", "2023-01-01T00:00:00Z"));
}

BOOST_AUTO_TEST_CASE(a_repeat_is_refused) {
  given<permit>(recorded("Decide", "t-1"))
      .when(record("Send decision", "t-1"))
      .then_rejected("duplicate_instance");
}

BOOST_AUTO_TEST_CASE(what_makes_no_sense_is_refused) {
  given<permit>().when(record("", "t-1")).then_rejected("empty_activity");
  given<permit>().when(record("Decide", "")).then_rejected("missing_instance");
  given<permit>().when(record("Decide", "t-1", "2024-02-30 10:00:00")).then_rejected("bad_timestamp");
}

BOOST_AUTO_TEST_CASE(the_summary_counts_by_activity) {
  given<permit>(recorded("Check", "t-1"), recorded("Decide", "t-2"),
                recorded("Check", "t-3", "2024-03-01T00:00:00Z"))
      .when(permits::GetSummary{})
      .then_reply(make<permits::Summary>([](auto& s) {
        s.set_events(3);
        (*s.mutable_events_by_activity())["Check"] = 2;
        (*s.mutable_events_by_activity())["Decide"] = 1;
        google::protobuf::util::TimeUtil::FromString("2024-03-01T00:00:00Z", s.mutable_first());
        google::protobuf::util::TimeUtil::FromString("2024-03-04T11:45:00Z", s.mutable_last());
      }));
}

BOOST_AUTO_TEST_SUITE_END()

// -- the program
// -------------------------------------------------------------------------------------------------------

namespace {

struct program {
  eventcore::test::temp_dir dir;
  std::string journal = dir.path() / "journal";

  program_result permits(std::vector<std::string> args) const {
    args.insert(args.end(), {"--journal", journal});
    return run_program("permits", args);
  }

  std::string csv(std::string_view content) const {
    const auto path = dir.path() / "log.csv";
    std::ofstream{path, std::ios::binary} << content;
    return path;
  }
};

constexpr auto header = "case:concept:name,concept:name,concept:instance,time:timestamp,org:resource\n";

void check_ok(const program_result& r) {
  BOOST_TEST_REQUIRE(r.exit_code == 0, "exit code " << r.exit_code << ": " << r.err << r.out);
  BOOST_TEST(r.printed("\nok: "));
}

void check_failed(const program_result& r, std::string_view why) {
  BOOST_TEST(r.exit_code == 1);
  BOOST_TEST(r.complained(why), "\"" << why << "\" is missing in: " << r.err);
}

void check_printed(const program_result& r, std::string_view text) {
  BOOST_TEST(r.printed(text), "\"" << text << "\" is missing in: " << r.out);
}

/// What the program says of the journal.
std::string journal_figures(const program_result& r) {
  const auto begin = r.out.find("\njournal\n");
  const auto end = r.out.find("\nok: ");
  BOOST_TEST_REQUIRE((begin != std::string::npos && end != std::string::npos), r.out);
  return r.out.substr(begin, end - begin);
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(the_program, program)

BOOST_AUTO_TEST_CASE(the_sample) {
  const auto first = permits({});
  check_ok(first);
  check_printed(first, "rows        63 of 10 cases\n"
                       "  events      58\n"
                       "  rejected    5\n"
                       "           1  bad_timestamp\n"
                       "           2  duplicate_instance\n"
                       "           1  empty_activity\n"
                       "           1  malformed_row\n");
  check_printed(first, "(durability fsync)");
  check_printed(first, "journal\n"
                       "  cases       10\n"
                       "  events      58\n"
                       "  period      2024-03-04 11:45:00 to 2024-03-28 15:34:03\n"
                       "  activities  8, most frequent:\n"
                       "          13  Check completeness\n"
                       "          10  Assess zoning\n"
                       "          10  Receive application\n"
                       "           7  Decide\n"
                       "           7  Hear neighbours\n");

  const auto summary = permits({"--summary"});
  check_ok(summary);
  BOOST_TEST(journal_figures(summary) == journal_figures(first));

  const auto second = permits({});
  check_ok(second);
  check_printed(second, "  events      0\n"
                        "  rejected    63\n");
  check_printed(second, "60  duplicate_instance");
  BOOST_TEST(journal_figures(second) == journal_figures(first));
}

BOOST_AUTO_TEST_CASE(many_rows_in_flight_keep_their_order) {
  std::string content = header;
  for (int i = 0; i < 1'500; ++i)
    for (const auto activity : {"first", "second"})
      content += "c" + std::to_string(i % 7) + "," + activity + ",t" + std::to_string(i) +
                 ",2024-01-01 00:00:00,x\n";
  for (const auto in_flight : {"1", "3000"}) {
    journal = dir.path() / in_flight;
    const auto r = permits({csv(content), "--in-flight", in_flight});
    check_ok(r);
    check_printed(r, "rows        3000 of 7 cases\n"
                     "  events      1500\n"
                     "  rejected    1500\n"
                     "        1500  duplicate_instance\n");
    check_printed(r, "  activities  1:\n        1500  first\n");
  }
}

BOOST_AUTO_TEST_CASE(relaxed_is_named) {
  const auto r = permits({"--durability", "relaxed"});
  check_ok(r);
  check_printed(r, "(durability relaxed)");
  BOOST_TEST(journal_figures(permits({"--summary"})) == journal_figures(r));
}

BOOST_AUTO_TEST_CASE(rows_that_cannot_be_commands_are_counted_by_reason) {
  const auto r = permits({csv(header +
                              "c1,A,t1,2024-01-01 00:00:00,x\n"
                              ",A,t2,2024-01-01 00:00:00,x\n"
                              "c*,A,t3,2024-01-01 00:00:00,x\n"s +
                              std::string(300, 'c') +
                              ",A,t4,2024-01-01 00:00:00,x\n"
                              "c1,\xFF,t5,2024-01-01 00:00:00,x\n"
                              "c1,A,t6,2024-01-01 00:00:00\n"
                              "c1,A,t7,2024-01-01 00:00:00,x,y\n"
                              "c1,A,,2024-01-01 00:00:00,x\n")});
  check_ok(r);
  check_printed(r, "  events      1\n"
                   "  rejected    7\n"
                   "           3  invalid_case\n"
                   "           2  malformed_row\n"
                   "           1  missing_instance\n"
                   "           1  not_utf8\n");
}

BOOST_AUTO_TEST_CASE(columns_of_other_names) {
  const auto r = permits({csv("when,what,task,id\n2024-01-01 00:00:00,Decide,t1,c1\n"), "--case-column", "id",
                          "--activity-column", "what", "--instance-column", "task", "--time-column", "when",
                          "--resource-column", ""});
  check_ok(r);
  check_printed(r, "1  Decide");
}

BOOST_AUTO_TEST_CASE(a_header_alone_is_a_log_without_rows) {
  const auto r = permits({csv(header)});
  check_ok(r);
  check_printed(r, "rows        0 of 0 cases");
}

BOOST_AUTO_TEST_CASE(files_that_are_no_event_log) {
  check_failed(
      permits({csv("id,concept:name\n1,2\n")}),
      "missing columns: case:concept:name, concept:instance, time:timestamp, org:resource; the file has: id, "
      "concept:name; set --case-column");
  check_failed(permits({csv("")}), "the file is empty");
  check_failed(permits({"no-such.csv"}), "no-such.csv: there is no such file");
  check_failed(permits({dir.path()}), "this is a folder");
  BOOST_TEST(!std::filesystem::exists(journal));
}

BOOST_AUTO_TEST_CASE(a_broken_file_leaves_nothing_half_written) {
  const auto good = header + "c1,A,t1,2024-01-01 00:00:00,x\n"s;
  check_failed(permits({csv(good + "c1,A,\"t2,2024-01-01 00:00:00,x\nc1,A,t3,2024-01-01 00:00:00,x\n")}),
               "line 3: broken quotes");
  check_failed(permits({csv(good + std::string(100'000'000, 'x'))}),
               "line 3: the record that starts here is longer");
  BOOST_TEST(!std::filesystem::exists(journal));
}

BOOST_AUTO_TEST_CASE(a_journal_that_cannot_be_opened) {
  const auto file = csv(header);
  journal = file;
  check_failed(permits({}), file);
  journal = dir.path() / "none";
  check_failed(permits({"--summary"}), journal);
  BOOST_TEST(!std::filesystem::exists(journal));
}

BOOST_AUTO_TEST_CASE(bad_usage) {
  for (const auto& args : std::vector<std::vector<std::string>>{{"--no-such-option"},
                                                                {"a.csv", "b.csv"},
                                                                {"--in-flight", "0"},
                                                                {"--in-flight", "many"},
                                                                {"--durability", "none"},
                                                                {"--summary", "a.csv"}}) {
    const auto r = permits(args);
    BOOST_TEST(r.exit_code == 2, args.front() << ": " << r.exit_code);
    BOOST_TEST(!r.err.empty());
  }
  BOOST_TEST(!std::filesystem::exists(journal));
}

BOOST_AUTO_TEST_CASE(help) {
  const auto r = permits({"--help"});
  BOOST_TEST(r.exit_code == 0);
  for (const auto option : {"CSV", "--journal", "--summary", "--in-flight", "--durability", "--case-column"})
    check_printed(r, option);
}

BOOST_AUTO_TEST_SUITE_END()
