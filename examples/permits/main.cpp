#include "ask_all.hpp"
#include "csv_reader.hpp"
#include "permit.hpp"

#include <eventcore/runtime/node.hpp>

#include <CLI/CLI.hpp>
#include <utf8.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <iomanip>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <unistd.h>
#include <unordered_set>
#include <vector>

namespace {

using namespace std::literals;
using eventcore::error;
using eventcore::result;
using permits::permit;

struct options {
  std::filesystem::path csv;
  std::filesystem::path journal;
  std::string durability = "fsync";
  std::size_t in_flight = 1'024;
  bool summary = false;

  std::string case_column = "case:concept:name";
  std::string activity_column = "concept:name";
  std::string instance_column = "concept:instance";
  std::string time_column = "time:timestamp";
  std::string resource_column = "org:resource";
};

// -- what the journal says
// -------------------------------------------------------------------------------------------

/// The summaries of all permits together.
struct figures {
  std::uint64_t cases = 0;
  std::uint64_t events = 0;
  std::map<std::string, std::uint64_t> events_by_activity;
  std::optional<std::int64_t> first_second;
  std::optional<std::int64_t> last_second;
};

/// Asks every permit in the journal for its summary. An entity whose answer differs from the length of its
/// stream is an error, since each event records one activity.
result<figures> ask_all_permits(eventcore::node& node, const options& opts) {
  figures total;
  std::optional<error> failure;
  std::string token;
  std::vector<eventcore::stream_head> heads;
  const auto prefix = std::string{permit::category} + "-";

  const auto next = [&]() -> std::optional<permits::question<permit, permits::GetSummary>> {
    while (!failure) {
      if (heads.empty()) {
        auto page = node.journal().list_streams(token);
        if (!page)
          failure = page.error();
        else if (page->empty())
          return std::nullopt;
        else
          heads = std::move(*page);
        continue;
      }
      const auto head = std::move(heads.back());
      heads.pop_back();
      if (!head.stream.starts_with(prefix))
        continue;
      return permits::question<permit, permits::GetSummary>{
          head.stream.substr(prefix.size()), {}, [&, head](const result<permits::Summary>& summary) {
            if (!summary) {
              failure = summary.error();
              return;
            }
            if (summary->events() != head.version)
              failure = error{std::make_error_code(std::errc::state_not_recoverable),
                              head.stream + " counts " + std::to_string(summary->events()) +
                                  " events, but its stream ends at version " + std::to_string(head.version)};
            ++total.cases;
            total.events += summary->events();
            for (const auto& [activity, events] : summary->events_by_activity())
              total.events_by_activity[activity] += events;
            const auto first = summary->first().seconds();
            const auto last = summary->last().seconds();
            total.first_second = std::min(total.first_second.value_or(first), first);
            total.last_second = std::max(total.last_second.value_or(last), last);
          }};
    }
    return std::nullopt;
  };
  permits::ask_all<permit, permits::GetSummary>(node, next, opts.in_flight).get();
  if (failure)
    return *failure;
  return total;
}

std::string utc(std::int64_t second) {
  const std::time_t time = second;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

void print(const figures& f) {
  constexpr std::size_t shown = 5;
  std::vector<std::pair<std::string, std::uint64_t>> activities{f.events_by_activity.begin(),
                                                                f.events_by_activity.end()};
  std::stable_sort(activities.begin(), activities.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });

  std::cout << "journal\n"
            << "  cases       " << f.cases << '\n'
            << "  events      " << f.events << '\n';
  if (f.first_second)
    std::cout << "  period      " << utc(*f.first_second) << " to " << utc(*f.last_second) << '\n';
  std::cout << "  activities  " << activities.size() << (activities.size() > shown ? ", most frequent:" : ":")
            << '\n';
  for (std::size_t i = 0; i < activities.size() && i < shown; ++i)
    std::cout << "  " << std::setw(10) << activities[i].second << "  " << activities[i].first << '\n';
}

// -- one run over a CSV file
// -----------------------------------------------------------------------------------------

/// What became of the rows. The counters are read while the run goes on; the rest when it is over.
struct tally {
  std::atomic<std::uint64_t> answered = 0; ///< recorded or rejected
  std::uint64_t rows = 0;                  ///< read
  std::uint64_t events = 0;
  std::map<std::string, std::uint64_t> events_by_activity;
  std::map<std::string, std::uint64_t> rejected;
  std::unordered_set<std::string> cases;
  std::optional<error> failure; ///< ends the run

  void reject(const std::string& reason) {
    ++rejected[reason];
    ++answered;
  }
  std::uint64_t rejections() const {
    std::uint64_t sum = 0;
    for (const auto& [reason, rows] : rejected)
      sum += rows;
    return sum;
  }
};

/// Columns of the CSV file by their use.
struct column_map {
  std::size_t case_id, activity, instance, time;
  std::optional<std::size_t> resource;

  static result<column_map> find(const permits::csv_reader& csv, const options& opts) {
    std::vector names{opts.case_column, opts.activity_column, opts.instance_column, opts.time_column};
    if (!opts.resource_column.empty())
      names.push_back(opts.resource_column);
    const auto at = csv.columns(names);
    if (!at)
      return error{at.error().code(),
                   at.error().message() +
                       "; set --case-column, --activity-column, --instance-column, --time-column or "
                       "--resource-column"};
    column_map columns{(*at)[0], (*at)[1], (*at)[2], (*at)[3], {}};
    if (at->size() > 4)
      columns.resource = (*at)[4];
    return columns;
  }
};

/// Why a row cannot become a command; empty if it can.
std::string unfit(const permits::csv_reader& csv, const column_map& columns) {
  if (csv.size() != csv.header().size())
    return "malformed_row";
  for (std::size_t i = 0; i < csv.size(); ++i) {
    const auto field = csv.field(i);
    if (!utf8::is_valid(field.begin(), field.end()))
      return "not_utf8";
  }
  const auto id = csv.field(columns.case_id);
  if (id.empty() || !eventcore::stream_id::of(permit::category, id))
    return "invalid_case";
  return {};
}

/// Reads the whole file without recording anything, so that a broken one leaves no half of its rows in the
/// journal. The number of rows.
result<std::uint64_t> check_file(const options& opts) {
  auto csv = permits::csv_reader::open(opts.csv);
  if (!csv)
    return csv.error();
  if (auto columns = column_map::find(*csv, opts); !columns)
    return columns.error();
  std::uint64_t rows = 0;
  for (;;) {
    const auto found = csv->next();
    if (!found)
      return found.error();
    if (!*found)
      return rows;
    ++rows;
  }
}

/// Sends all rows, in order, each to the entity of its case. Ready when all are answered.
class recording {
public:
  recording(permits::csv_reader csv, column_map columns)
      : csv_{std::move(csv)}
      , columns_{columns} {}

  std::future<void> start(eventcore::node& node, std::size_t in_flight) {
    return permits::ask_all<permit, permits::RecordActivity>(
        node, [this] { return next(); }, in_flight);
  }

  const tally& outcome() const noexcept { return tally_; }

private:
  std::optional<permits::question<permit, permits::RecordActivity>> next() {
    while (!tally_.failure) {
      const auto found = csv_.next();
      if (!found)
        tally_.failure = found.error();
      else if (!*found)
        return std::nullopt;
      else {
        ++tally_.rows;
        if (const auto reason = unfit(csv_, columns_); reason.empty())
          return command();
        else
          tally_.reject(reason);
      }
    }
    return std::nullopt;
  }

  permits::question<permit, permits::RecordActivity> command() {
    std::string id{csv_.field(columns_.case_id)};
    tally_.cases.insert(id);
    permits::RecordActivity c;
    std::string activity{csv_.field(columns_.activity)};
    c.set_activity(activity);
    c.set_instance(std::string{csv_.field(columns_.instance)});
    c.set_timestamp(std::string{csv_.field(columns_.time)});
    if (columns_.resource)
      c.set_resource(std::string{csv_.field(*columns_.resource)});
    c.set_row(tally_.rows);
    return {
        std::move(id), std::move(c),
        [this, activity = std::move(activity), row = tally_.rows](const result<permits::Recorded>& recorded) {
          if (recorded) {
            ++tally_.events;
            ++tally_.events_by_activity[activity];
            ++tally_.answered;
          } else if (recorded.error().code() == eventcore::entity_errc::rejected)
            tally_.reject(recorded.error().reason());
          else if (!tally_.failure)
            tally_.failure = error{recorded.error().code(),
                                   "row " + std::to_string(row) + ": " + recorded.error().message()};
        }};
  }

  permits::csv_reader csv_;
  column_map columns_;
  tally tally_;
};

/// Prints how far the run is, once a second, until it is over.
void show_progress(const std::future<void>& over, const tally& t, std::uint64_t rows) {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  std::uint64_t before = 0;
  while (over.wait_for(1s) != std::future_status::ready) {
    const auto now = t.answered.load();
    std::cerr << (terminal ? "\r" : "") << now << " of " << rows << " rows, " << now - before << " rows/s"
              << (terminal ? "   " : "\n") << std::flush;
    before = now;
  }
  if (terminal && before > 0)
    std::cerr << '\n';
}

/// What does not add up; empty if all does.
std::vector<std::string> contradictions(const tally& t, std::uint64_t rows, const figures& before,
                                        const figures& after) {
  std::vector<std::string> found;
  const auto expect = [&](const std::string& what, std::uint64_t is, std::uint64_t should_be) {
    if (is != should_be)
      found.push_back(what + ": " + std::to_string(is) + " instead of " + std::to_string(should_be));
  };
  expect("rows read", t.rows, rows);
  expect("events and rejected rows", t.events + t.rejections(), rows);
  expect("events in the journal", after.events, before.events + t.events);
  auto by_activity = before.events_by_activity;
  for (const auto& [activity, events] : t.events_by_activity)
    by_activity[activity] += events;
  for (const auto& [activity, events] : by_activity) {
    const auto entry = after.events_by_activity.find(activity);
    expect("events of activity " + activity, entry == after.events_by_activity.end() ? 0 : entry->second,
           events);
  }
  expect("activities", after.events_by_activity.size(), by_activity.size());
  return found;
}

int failed(const std::string& why) {
  std::cout << std::flush;
  std::cerr << "permits: " << why << '\n';
  return 1;
}

int record(eventcore::node& node, const options& opts, std::uint64_t rows) {
  const auto before = ask_all_permits(node, opts);
  if (!before)
    return failed(before.error().message());
  auto csv = permits::csv_reader::open(opts.csv);
  if (!csv)
    return failed(csv.error().message());
  const auto columns = column_map::find(*csv, opts);
  if (!columns)
    return failed(columns.error().message());

  recording run{std::move(*csv), *columns};
  const auto& t = run.outcome();
  const auto started = std::chrono::steady_clock::now();
  auto over = run.start(node, opts.in_flight);
  show_progress(over, t, rows);
  over.get();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  if (t.failure)
    return failed(t.failure->message() + "\nstopped after " + std::to_string(t.events) + " events and " +
                  std::to_string(t.rejections()) +
                  " rejected rows; what is recorded is kept, so run it again");

  const auto after = ask_all_permits(node, opts);
  if (!after)
    return failed(after.error().message());
  const auto per_second = static_cast<std::uint64_t>(static_cast<double>(t.events) / taken.count());
  std::cout << "this run\n"
            << "  rows        " << t.rows << " of " << t.cases.size() << " cases\n"
            << "  events      " << t.events << '\n'
            << "  rejected    " << t.rejections() << '\n';
  for (const auto& [reason, count] : t.rejected)
    std::cout << "  " << std::setw(10) << count << "  " << reason << '\n';
  std::cout << "  speed       " << per_second << " durable events/s (durability " << opts.durability << ")\n";
  print(*after);

  const auto found = contradictions(t, rows, *before, *after);
  for (const auto& contradiction : found)
    std::cerr << "permits: does not add up: " << contradiction << '\n';
  if (!found.empty())
    return 1;
  std::cout << "ok: " << t.rows << " rows = " << t.events << " events + " << t.rejections()
            << " rejected; the journal has " << after->events << " events of " << after->cases << " cases\n";
  return 0;
}

int summarize(eventcore::node& node, const options& opts) {
  const auto f = ask_all_permits(node, opts);
  if (!f)
    return failed(f.error().message());
  print(*f);
  std::cout << "ok: the journal has " << f->events << " events of " << f->cases
            << " cases (rejected rows leave nothing in a journal)\n";
  return 0;
}

int run(options opts) {
  const bool sample = opts.csv.empty();
  if (opts.journal.empty()) {
    const std::filesystem::path of_csv = PERMITS_BUILD_DIR "/permits-journal";
    const std::filesystem::path of_sample = PERMITS_BUILD_DIR "/permits-sample-journal";
    if (opts.summary)
      opts.journal = exists(of_csv) || !exists(of_sample) ? of_csv : of_sample;
    else
      opts.journal = sample ? of_sample : of_csv;
  }
  std::uint64_t rows = 0;
  if (!opts.summary) {
    if (sample)
      opts.csv = PERMITS_SAMPLE_CSV;
    const auto checked = check_file(opts);
    if (!checked)
      return failed(checked.error().message());
    rows = *checked;
    std::cout << "recording " << opts.csv.string() << " in " << opts.journal.string() << std::endl;
  }

  eventcore::node_options node_options;
  node_options.journal_dir = opts.journal;
  if (opts.durability == "relaxed")
    node_options.journal.durability = eventcore::durability::relaxed;
  node_options.journal.create = !opts.summary;
  auto node = eventcore::node::open(std::move(node_options));
  if (!node)
    return failed(node.error().message());
  if (!opts.summary)
    return record(*node, opts, rows);
  std::cout << "summary of " << opts.journal.string() << std::endl;
  return summarize(*node, opts);
}

} // namespace

int main(int argc, char** argv) {
  options opts;
  CLI::App app{
      "Reads an event log and records every row with the entity of its case: rows become commands, what the\n"
      "entities decide becomes events in a journal, durably.",
      "permits"};
  app.add_option("csv", opts.csv, "The event log, one row an event (default: a small sample)")
      ->type_name("CSV");
  app.add_flag("--summary", opts.summary,
               "Read no event log; rebuild every case from the journal and print the figures")
      ->excludes("csv");
  app.add_option("--journal", opts.journal,
                 "Folder of the journal (default: one of its own in the build folder)")
      ->type_name("DIR");
  app.add_option("--in-flight", opts.in_flight, "Commands that wait for their answers at one time")
      ->check(CLI::Range(1, 8'192))
      ->capture_default_str();
  app.add_option("--durability", opts.durability,
                 "fsync: answer when events are on disk; relaxed: a few milliseconds earlier")
      ->check(CLI::IsMember({"fsync", "relaxed"}))
      ->type_name("MODE")
      ->capture_default_str();
  const auto column = [&](const char* option, std::string& name, const char* holds) {
    app.add_option(option, name, std::string{"Column that holds "} + holds)
        ->type_name("NAME")
        ->capture_default_str()
        ->group("Columns");
  };
  column("--case-column", opts.case_column, "the case");
  column("--activity-column", opts.activity_column, "the activity");
  column("--instance-column", opts.instance_column, "the task instance, which is recorded once");
  column("--time-column", opts.time_column, "the time, such as 2011-10-11 13:45:40.276");
  column("--resource-column", opts.resource_column, "who did it (\"\": there is none)");
  app.footer("Exit status: 0 all rows are accounted for, 1 the run failed, 2 bad usage.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }

  try {
    return run(std::move(opts));
  } catch (const std::exception& e) {
    return failed(e.what());
  }
}
