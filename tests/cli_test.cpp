// Runs the command-line tool as a process, on journals that are written through the journal's API.

#include <support/journal_helpers.hpp>
#include <support/program.hpp>
#include <support/temp_dir.hpp>

#include <eventcore/persistence/lmdb_journal.hpp>

#include <nlohmann/json.hpp>

#include <atomic>
#include <csignal>
#include <optional>
#include <set>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <unistd.h>

using namespace eventcore;
using namespace eventcore::test;
using nlohmann::json;

extern char** environ;

namespace {

program_result run(const std::vector<std::string>& args) {
  return run_program("eventcore", args);
}

program_result run(std::vector<std::string> args, const std::filesystem::path& journal_dir) {
  args.insert(args.end(), {"--journal", journal_dir.string()});
  return run(args);
}

/// Each line of `text` as JSON. Every line must end, and must hold no control character.
std::vector<json> parse_lines(const std::string& text) {
  std::vector<json> lines;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) {
    BOOST_TEST_REQUIRE(!in.eof(), "unfinished line: " << line);
    lines.push_back(json::parse(line));
  }
  return lines;
}

/// What a run must print on standard output while all is well.
std::vector<json> lines_of(const program_result& r) {
  BOOST_TEST_REQUIRE(r.exit_code == 0, "exit code " << r.exit_code << ": " << r.err);
  BOOST_TEST(r.err == "");
  return parse_lines(r.out);
}

template <class T>
std::vector<T> column(const std::vector<json>& lines, const char* name) {
  std::vector<T> values;
  for (const auto& line : lines)
    values.push_back(line.at(name).get<T>());
  return values;
}

std::vector<std::uint64_t> range(std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint64_t> values;
  for (auto n = first; n <= last; ++n)
    values.push_back(n);
  return values;
}

/// The tool while it runs, with its standard output in a pipe.
class running_tool {
public:
  explicit running_tool(std::vector<std::string> args) {
    int ends[2];
    BOOST_REQUIRE_EQUAL(pipe2(ends, O_CLOEXEC), 0);
    out_ = ends[0];
    args.insert(args.begin(), std::string{EVENTCORE_BIN_DIR} + "/eventcore");
    std::vector<char*> argv;
    for (auto& arg : args)
      argv.push_back(arg.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    const int code = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    BOOST_REQUIRE_EQUAL(code, 0);
  }
  running_tool(const running_tool&) = delete;
  running_tool& operator=(const running_tool&) = delete;
  ~running_tool() {
    close_output();
    if (pid_ != 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  /// The next line; none at the end of the output, or if it does not come for a long time.
  std::optional<std::string> line() {
    for (;;) {
      if (const auto end = text_.find('\n'); end != std::string::npos) {
        auto found = text_.substr(0, end);
        text_.erase(0, end + 1);
        return found;
      }
      pollfd ready{out_, POLLIN, 0};
      if (::poll(&ready, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) <= 0)
        return std::nullopt;
      char chunk[16'384];
      const auto size = ::read(out_, chunk, sizeof(chunk));
      if (size <= 0)
        return std::nullopt;
      text_.append(chunk, static_cast<std::size_t>(size));
    }
  }

  /// What came without a line end.
  const std::string& rest() const { return text_; }

  void send(int signal) { ::kill(pid_, signal); }

  void close_output() {
    if (out_ >= 0)
      ::close(std::exchange(out_, -1));
  }

  /// The exit code, 128 + n after signal n, or -1 if the tool does not end for a long time.
  int wait() {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    int status = 0;
    while (::waitpid(pid_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline)
        return -1;
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

private:
  pid_t pid_ = 0;
  int out_ = -1;
  std::string text_;
};

/// A folder with a journal in it: `order-1` to `order-3` and `user-1`, two events each, in turn (positions 1
/// to 8).
struct sample {
  temp_dir dir;
  std::filesystem::path path = dir.path() / "journal";

  sample() {
    auto j = open();
    std::int64_t number = 0;
    for (int round = 0; round < 2; ++round)
      for (const auto* stream : {"order-1", "order-2", "user-1", "order-3"}) {
        ++number;
        auto event = round == 1 && std::string_view{stream} == "user-1"
                         ? other()
                         : happened(number, "marker-" + std::to_string(number) + ".");
        must(j->commit_and_wait(append(stream, expected_version::any(), {std::move(event)})));
      }
  }

  std::unique_ptr<journal> open() const {
    lmdb_options options;
    options.service = "shop";
    return must(open_lmdb_journal(path, std::move(options)));
  }

  program_result run(std::vector<std::string> args) const { return ::run(std::move(args), path); }

  /// Where `marker` stands in the journal's file. An older copy of its page may be there, too.
  std::vector<std::size_t> places_of(const std::string& marker) const {
    std::ostringstream content;
    content << std::ifstream{path / "data.mdb", std::ios::binary}.rdbuf();
    const auto bytes = content.str();
    std::vector<std::size_t> places;
    for (auto at = bytes.find(marker); at != std::string::npos; at = bytes.find(marker, at + 1))
      places.push_back(at);
    BOOST_REQUIRE(!places.empty());
    return places;
  }

  /// Flips one bit of the journal's file at each of `places`.
  void flip(const std::vector<std::size_t>& places) const {
    std::fstream file{path / "data.mdb", std::ios::binary | std::ios::in | std::ios::out};
    for (const auto place : places) {
      const auto byte = file.seekg(static_cast<std::streamoff>(place)).get();
      file.seekp(static_cast<std::streamoff>(place)).put(static_cast<char>(byte ^ 1));
    }
    BOOST_REQUIRE(file.good());
  }
};

/// Commits events to eight streams, three at a time, as many as it is allowed to, until destroyed. A bound
/// keeps the journal small while the readers are slow.
class busy_writer {
public:
  busy_writer(journal& j, std::int64_t allowed)
      : journal_{j}
      , allowed_{allowed}
      , thread_{[this] { write(); }} {}
  ~busy_writer() {
    stop_ = true;
    allow(1);
    thread_.join();
  }

  void allow(std::int64_t more) {
    allowed_ += more;
    allowed_.notify_one();
  }

private:
  void write() {
    for (std::int64_t n = 0; !stop_; ++n) {
      for (auto allowed = allowed_.load(); n * 3 >= allowed && !stop_; allowed = allowed_.load())
        allowed_.wait(allowed);
      const auto stream = "busy-" + std::to_string(n % 8);
      if (!journal_.commit_and_wait(append(stream, expected_version::any(), happened_many(3, n * 3))))
        return;
    }
  }

  journal& journal_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::int64_t> allowed_;
  std::thread thread_;
};

std::string joined(const std::vector<std::string>& args) {
  std::string text = "eventcore";
  for (const auto& arg : args)
    text += " " + arg;
  return text;
}

bool wait_for_head(journal& j, log_position head) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (must(j.head()) < head) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  return true;
}

} // namespace

// -- usage
// ------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(help_lists_the_verbs_and_each_verb_has_an_example) {
  const auto help = run({"--help"});
  BOOST_TEST(help.exit_code == 0);
  BOOST_TEST(help.err == "");
  check_contains(help.out, "Examples:");
  check_contains(help.out, "Exit codes:");
  for (const std::string verb : {"info", "schema", "show", "streams", "tail", "verify"}) {
    check_contains(help.out, "\n  " + verb + " ");
    const auto of_verb = run({verb, "--help"});
    BOOST_TEST(of_verb.exit_code == 0);
    check_contains(of_verb.out, "Example");
    check_contains(of_verb.out, "\n  eventcore " + verb + " ");
    check_contains(of_verb.out, "--journal");
  }
  check_contains(run({"--version"}).out, "eventcore ");
}

BOOST_AUTO_TEST_CASE(bad_usage_is_said_and_exits_with_2) {
  const std::vector<std::vector<std::string>> all{
      {},
      {"fly"},
      {"--fly"},
      {"info", "--fly"},
      {"info", "more"},
      {"show"},
      {"show", ""},
      {"show", "order-*"},
      {"show", "order-\n1"},
      {"show", std::string(256, 'x')},
      {"show", "order-1", "order-2"},
      {"show", "order-1", "--from", "0"},
      {"show", "order-1", "--from", "-1"},
      {"show", "order-1", "--limit", "many"},
      {"show", "order-1", "--limit", "99999999999999999999999"},
      {"streams", "--category", "order-1"},
      {"tail", "-n", "x"},
      {"tail", "--from", "0"},
      {"tail", "--from", "1", "-n", "1"},
      {"verify", "--journal"},
      {"info", "--journal", ""},
  };
  const sample s;
  for (const auto& args : all) {
    const auto names_journal = std::ranges::find(args, "--journal") != args.end();
    const auto r = args.empty() || names_journal ? run(args) : s.run(args);
    const auto shown = joined(args);
    BOOST_TEST(r.exit_code == 2, shown << " ended with " << r.exit_code);
    BOOST_TEST(r.out == "", shown);
    BOOST_TEST(r.err.starts_with("eventcore: "), shown << " said " << r.err);
    BOOST_TEST(r.complained("--help'"), shown << " said " << r.err);
  }
  check_contains(run({"fly"}).err, "fly");
  check_contains(run({}).err, "a verb is missing");
}

BOOST_AUTO_TEST_CASE(a_folder_without_a_journal_is_named) {
  const temp_dir dir;
  const auto missing = dir.path() / "missing";
  const auto file = dir.path() / "file";
  const auto empty = dir.path() / "empty";
  const auto garbage = dir.path() / "garbage";
  const auto emptied = dir.path() / "emptied";
  std::ofstream{file} << "text";
  std::filesystem::create_directory(empty);
  std::filesystem::create_directory(garbage);
  std::ofstream{garbage / "data.mdb"} << std::string(100'000, 'x');
  std::filesystem::create_directory(emptied);
  std::ofstream{emptied / "data.mdb"};
  for (const auto& folder : {missing, file, empty, garbage, emptied})
    for (const std::vector<std::string>& args : {std::vector<std::string>{"info"},
                                                 {"show", "order-1"},
                                                 {"streams"},
                                                 {"tail"},
                                                 {"tail", "--follow"},
                                                 {"verify"}}) {
      const auto r = run(args, folder);
      const auto shown = joined(args) + " on " + folder.string();
      BOOST_TEST(r.exit_code == 1, shown << " ended with " << r.exit_code);
      BOOST_TEST(r.out == "", shown);
      BOOST_TEST(r.err.starts_with("eventcore: "), shown << " said " << r.err);
      check_contains(r.err, folder.string());
    }
  check_contains(run({"info"}, emptied).err, "data.mdb is empty");
  BOOST_TEST(!std::filesystem::exists(missing));
  BOOST_TEST(std::filesystem::is_empty(empty));
}

BOOST_AUTO_TEST_CASE(the_journal_can_be_named_before_and_after_the_verb_and_is_data_by_default) {
  const sample s;
  const auto expected = s.run({"streams"}).out;
  BOOST_TEST(expected != "");
  BOOST_TEST(run({"-j", s.path.string(), "streams"}).out == expected);
  BOOST_TEST(run({"streams", "-j", s.path.string()}).out == expected);

  std::filesystem::rename(s.path, s.dir.path() / "data");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(s.dir.path());
  const auto by_default = run({"streams"});
  std::filesystem::current_path(before);
  BOOST_TEST(by_default.out == expected);
}

BOOST_AUTO_TEST_CASE(output_that_cannot_be_written_is_an_error) {
  const sample s;
  const auto command = [&](const std::string& redirection) {
    const auto status = std::system(("'" EVENTCORE_BIN_DIR "/eventcore' tail -j '" + s.path.string() + "' " +
                                     redirection + " 2>'" + (s.dir.path() / "err").string() + "'")
                                        .c_str());
    std::ostringstream err;
    err << std::ifstream{s.dir.path() / "err"}.rdbuf();
    return program_result{WEXITSTATUS(status), {}, err.str()};
  };
  const auto full = command(">/dev/full");
  BOOST_TEST(full.exit_code == 1);
  check_contains(full.err, "eventcore: cannot write to standard output: No space left on device");
  const auto closed = command(">&-");
  BOOST_TEST(closed.exit_code == 1);
  check_contains(closed.err, "eventcore: cannot write to standard output");
  // In particular, nothing was written into a file of the journal that took the closed descriptor's number.
  BOOST_TEST(s.run({"verify"}).exit_code == 0);
}

// -- info
// -------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(info_says_what_the_journal_is) {
  const sample s;
  const auto about = s.open()->info();

  const auto lines = lines_of(s.run({"info", "--json", "--types"}));
  BOOST_REQUIRE_EQUAL(lines.size(), 1u);
  const auto& info = lines.front();
  BOOST_TEST(info.at("journal") == s.path.string());
  BOOST_TEST(info.at("id") == to_string(about.id));
  BOOST_TEST(info.at("incarnation") == to_string(about.incarnation));
  BOOST_TEST(info.at("format_version") == about.format_version);
  BOOST_TEST(info.at("service") == "shop");
  BOOST_TEST(info.at("head") == 8);
  BOOST_TEST(info.at("file_bytes").get<std::uint64_t>() > 0);
  BOOST_TEST(info.at("event_types") == 2);
  BOOST_TEST(info.at("types") == json::parse(R"([
    {"type": "eventcore.test.Happened", "first_position": 1},
    {"type": "eventcore.test.Other", "first_position": 7}])"));

  const auto text = s.run({"info"});
  BOOST_TEST(text.exit_code == 0);
  for (const auto& [name, value] : info.items())
    if (name != "types") {
      check_contains("\n" + text.out, "\n" + name + " ");
      check_contains(text.out, value.is_string() ? value.get<std::string>() : value.dump());
    }
  BOOST_TEST(!text.printed("eventcore.test.Other"));
}

// -- streams
// ----------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(streams_lists_every_stream_once) {
  const sample s;
  std::set<json> found;
  for (auto& line : lines_of(s.run({"streams"})))
    found.insert(line);
  const std::set<json> expected{
      {{"stream", "order-1"}, {"version", 2}, {"position", 5}},
      {{"stream", "order-2"}, {"version", 2}, {"position", 6}},
      {{"stream", "user-1"}, {"version", 2}, {"position", 7}},
      {{"stream", "order-3"}, {"version", 2}, {"position", 8}},
  };
  BOOST_TEST((found == expected));
  const auto users = lines_of(s.run({"streams", "--category", "user"}));
  BOOST_TEST((column<std::string>(users, "stream") == std::vector<std::string>{"user-1"}));
  BOOST_TEST(lines_of(s.run({"streams", "-c", "user", "-c", "order"})).size() == 4u);
  BOOST_TEST(lines_of(s.run({"streams", "-c", "order", "--limit", "2"})).size() == 2u);
  for (const auto& args : {std::vector<std::string>{"-c", "orde"}, {"-c", "user", "-c", "orde"}}) {
    auto all = args;
    all.insert(all.begin(), "streams");
    const auto r = s.run(all);
    BOOST_TEST(r.exit_code == 1);
    BOOST_TEST(parse_lines(r.out).size() == args.size() / 2 - 1);
    check_contains(r.err, s.path.string() + " has no stream of category orde\n");
  }
  BOOST_TEST(lines_of(s.run({"streams", "--limit", "0"})).empty());
}

BOOST_AUTO_TEST_CASE(streams_lists_more_streams_than_one_page_holds) {
  const temp_dir dir;
  constexpr int count = 3'000;
  {
    auto j = must(open_lmdb_journal(dir.path()));
    commit c;
    for (int i = 0; i < count; ++i)
      c.appends.push_back({sid("many-" + std::to_string(i)), expected_version::none(), {happened(i)}});
    must(j->commit_and_wait(std::move(c)));
  }
  std::set<std::string> names;
  const auto lines = lines_of(run({"streams"}, dir.path()));
  for (auto& name : column<std::string>(lines, "stream"))
    names.insert(name);
  BOOST_TEST(lines.size() == static_cast<std::size_t>(count));
  BOOST_TEST(names.size() == static_cast<std::size_t>(count));
}

// -- show
// -------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(show_prints_an_event_as_json) {
  const temp_dir dir;
  recorded_event stored;
  {
    auto j = must(open_lmdb_journal(dir.path()));
    auto c =
        append("order-1", expected_version::none(), {happened(-9'007'199'254'740'993, "a\n\"b\" \u00e4")});
    c.appends.front().events.front().schema_version = 3;
    c.metadata.correlation_id = "c-1";
    c.metadata.headers["k"] = "v";
    c.occurred_at = timestamp{std::chrono::microseconds{1'709'210'096'000'007}};
    must(j->commit_and_wait(std::move(c)));
    must(j->commit_and_wait(append("order-1", expected_version::exact(1), {happened(0)})));
    stored = read_stream(*j, sid("order-1")).front();
  }
  const auto lines = lines_of(run({"show", "order-1"}, dir.path()));
  BOOST_REQUIRE_EQUAL(lines.size(), 2u);
  const json expected{{"position", 1},
                      {"stream", "order-1"},
                      {"version", 1},
                      {"id", to_string(stored.id)},
                      {"type", "eventcore.test.Happened"},
                      {"schema_version", 3},
                      {"occurred_at", "2024-02-29T12:34:56.000007Z"},
                      {"metadata", {{"correlation_id", "c-1"}, {"headers", {{"k", "v"}}}}},
                      {"data", {{"number", "-9007199254740993"}, {"text", "a\n\"b\" \u00e4"}}}};
  BOOST_TEST(lines[0] == expected);
  BOOST_TEST(!lines[1].contains("metadata"));
  // Fields that have their default value are said, too.
  BOOST_TEST(lines[1].at("data") == json::parse(R"({"number": "0", "text": ""})"));
}

BOOST_AUTO_TEST_CASE(show_prints_a_part_of_a_stream) {
  const temp_dir dir;
  {
    auto j = must(open_lmdb_journal(dir.path()));
    must(j->commit_and_wait(append("order-1", expected_version::none(), happened_many(3'000))));
  }
  const auto versions = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {"show", "order-1"});
    return column<std::uint64_t>(lines_of(run(args, dir.path())), "version");
  };
  BOOST_TEST((versions({}) == range(1, 3'000)));
  BOOST_TEST((versions({"--from", "2000"}) == range(2'000, 3'000)));
  BOOST_TEST((versions({"--limit", "1500"}) == range(1, 1'500)));
  BOOST_TEST((versions({"--from", "2000", "-n", "3"}) == range(2'000, 2'002)));
  BOOST_TEST((versions({"--from", "2999", "--limit", "18446744073709551615"}) == range(2'999, 3'000)));
  BOOST_TEST((versions({"--from", "3001"}).empty()));
  BOOST_TEST((versions({"--limit", "0"}).empty()));
}

BOOST_AUTO_TEST_CASE(show_says_that_a_stream_has_no_events) {
  const sample s;
  const auto r = s.run({"show", "order-4711"});
  BOOST_TEST(r.exit_code == 1);
  BOOST_TEST(r.out == "");
  check_contains(r.err, "eventcore: stream order-4711 has no events");
}

BOOST_AUTO_TEST_CASE(control_characters_in_a_payload_stay_on_their_line) {
  const temp_dir dir;
  const std::string text = "\x1b[31m \x7f \xc2\x9b"
                           "31m \r\n \xc3\xa4 \xe2\x82\xac";
  {
    auto j = must(open_lmdb_journal(dir.path()));
    must(j->commit_and_wait(append("order-1", expected_version::none(), {happened(1, text)})));
  }
  const auto r = run({"show", "order-1"}, dir.path());
  const auto lines = lines_of(r);
  BOOST_REQUIRE_EQUAL(lines.size(), 1u);
  BOOST_TEST(lines[0].at("data").at("text") == text);
  for (const auto* control : {"\x1b", "\x7f", "\xc2\x9b", "\r"})
    BOOST_TEST(!r.printed(control));
  BOOST_TEST(r.printed("\xc3\xa4 \xe2\x82\xac"));
}

// -- tail
// -------------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(tail_prints_the_last_events_that_the_filter_admits) {
  const sample s;
  const auto positions = [&](std::vector<std::string> args) {
    args.insert(args.begin(), "tail");
    return column<std::uint64_t>(lines_of(s.run(args)), "position");
  };
  using list = std::vector<std::uint64_t>;
  BOOST_TEST((positions({}) == range(1, 8)));
  BOOST_TEST((positions({"-n", "3"}) == range(6, 8)));
  BOOST_TEST((positions({"-n", "0"}) == list{}));
  BOOST_TEST((positions({"--from", "5"}) == range(5, 8)));
  BOOST_TEST((positions({"--from", "9"}) == list{}));
  BOOST_TEST((positions({"-n", "2", "--category", "order"}) == list{6, 8}));
  BOOST_TEST((positions({"-c", "order", "-c", "user", "-n", "2"}) == list{7, 8}));
  BOOST_TEST((positions({"--type", "eventcore.test.Other"}) == list{7}));
  BOOST_TEST((positions({"--from", "4", "-c", "user"}) == list{7}));
  BOOST_TEST((positions({"-c", "user", "-t", "eventcore.test.Happened"}) == list{3}));
  BOOST_TEST((positions({"-n", "0", "-c", "nobody"}) == list{}));
  const auto says = [&](std::vector<std::string> args, const std::string& why) {
    args.insert(args.begin(), "tail");
    const auto r = s.run(args);
    BOOST_TEST(r.exit_code == 1);
    BOOST_TEST(r.out == "");
    check_contains(r.err, s.path.string() + " has no event " + why + '\n');
  };
  says({"-c", "nobody", "-c", "none"}, "of category nobody or none");
  says({"-t", "test.Nothing"}, "of type test.Nothing");
  says({"-c", "user", "-t", "eventcore.test.Other", "--from", "8"},
       "of category user and of type eventcore.test.Other from position 8 on");
}

BOOST_AUTO_TEST_CASE(tail_prints_ten_events_by_default_and_finds_rare_ones_far_back) {
  const temp_dir dir;
  {
    auto j = must(open_lmdb_journal(dir.path()));
    must(j->commit_and_wait(append("rare-1", expected_version::none(), happened_many(2))));
    must(j->commit_and_wait(append("often-1", expected_version::none(), happened_many(6'000))));
    must(j->commit_and_wait(append("rare-1", expected_version::exact(2), happened_many(1))));
    must(j->commit_and_wait(append("often-1", expected_version::exact(6'000), happened_many(6'000))));
  }
  const auto positions = [&](std::vector<std::string> args) {
    args.insert(args.begin(), "tail");
    return column<std::uint64_t>(lines_of(run(args, dir.path())), "position");
  };
  using list = std::vector<std::uint64_t>;
  BOOST_TEST((positions({}) == range(11'994, 12'003)));
  BOOST_TEST((positions({"-c", "rare"}) == list{1, 2, 6'003}));
  BOOST_TEST((positions({"-c", "rare", "-n", "2"}) == list{2, 6'003}));
  BOOST_TEST((positions({"-c", "rare", "-n", "1"}) == list{6'003}));
}

BOOST_AUTO_TEST_CASE(tail_of_an_empty_journal_prints_nothing) {
  const temp_dir dir;
  must(open_lmdb_journal(dir.path()));
  BOOST_TEST(lines_of(run({"tail"}, dir.path())).empty());
  BOOST_TEST(run({"tail", "-c", "order"}, dir.path()).exit_code == 1);
  BOOST_TEST(lines_of(run({"streams"}, dir.path())).empty());
  BOOST_TEST(run({"verify"}, dir.path()).exit_code == 0);
  BOOST_TEST(lines_of(run({"info", "--json"}, dir.path())).at(0).at("head") == 0);
}

BOOST_AUTO_TEST_CASE(tail_follows_another_process_without_a_gap) {
  const sample s;
  const auto j = s.open();
  running_tool tool{{"tail", "--follow", "-n", "3", "-j", s.path.string()}};
  auto expected = log_position{6};
  const auto follow_to = [&](log_position last) {
    for (; expected <= last; ++expected) {
      const auto line = tool.line();
      BOOST_TEST_REQUIRE(line.has_value(), "no line for position " << expected);
      BOOST_REQUIRE_EQUAL(json::parse(*line).at("position").get<log_position>(), expected);
    }
  };
  follow_to(8);
  {
    const busy_writer writer{*j, 4'000};
    follow_to(3'000);
  }
  follow_to(must(j->head()));
  // A type that the journal did not know when the tool started.
  must(j->commit_and_wait(append("detail-1", expected_version::none(), {{Detailed::descriptor(), "", 1}})));
  BOOST_TEST(json::parse(tool.line().value_or("null")).at("type") == "eventcore.test.Detailed");
  tool.send(SIGTERM);
  BOOST_TEST(tool.wait() == 0);
  BOOST_TEST(!tool.line().has_value());
}

BOOST_AUTO_TEST_CASE(tail_follows_what_the_filter_admits) {
  const sample s;
  const auto j = s.open();
  running_tool tool{{"tail", "-f", "-n", "1", "-c", "user", "-j", s.path.string()}};
  BOOST_TEST(json::parse(tool.line().value_or("null")).at("position") == 7);
  must(j->commit_and_wait(append("order-9", expected_version::none(), happened_many(2'000))));
  must(j->commit_and_wait(append("user-9", expected_version::none(), {happened(1)})));
  BOOST_TEST(json::parse(tool.line().value_or("null")).at("stream") == "user-9");
  tool.send(SIGINT);
  BOOST_TEST(tool.wait() == 0);
}

BOOST_AUTO_TEST_CASE(tail_ends_quietly_when_its_reader_goes_away) {
  const sample s;
  // Nothing is written any more: the end is noticed all the same.
  running_tool tool{{"tail", "--follow", "-j", s.path.string()}};
  BOOST_TEST(tool.line().has_value());
  tool.close_output();
  BOOST_TEST(tool.wait() == 0);
}

BOOST_AUTO_TEST_CASE(tail_ends_on_a_signal_with_a_whole_line_or_when_its_reader_does_not_read) {
  const temp_dir dir;
  const auto j = must(open_lmdb_journal(dir.path()));
  must(j->commit_and_wait(append("order-1", expected_version::none(), happened_many(20'000))));
  const std::vector<std::string> args{"tail", "--follow", "--from", "1", "-j", dir.path().string()};

  running_tool stuck{args};
  BOOST_TEST(stuck.line().has_value());
  stuck.send(SIGTERM);
  BOOST_TEST(stuck.wait() == 0);

  running_tool read{args};
  BOOST_TEST(read.line().has_value());
  read.send(SIGTERM);
  while (const auto line = read.line())
    BOOST_TEST(json::accept(*line));
  BOOST_TEST(read.rest() == "");
  BOOST_TEST(read.wait() == 0);
}

BOOST_AUTO_TEST_CASE(a_crash_while_reading_is_explained_and_exits_with_1) {
  // As when the memory map meets a damaged page.
  const sample s;
  running_tool tool{{"tail", "--follow", "-j", s.path.string()}};
  BOOST_TEST(tool.line().has_value());
  tool.send(SIGBUS);
  BOOST_TEST(tool.wait() == 1);
}

// -- while a process writes
// -------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(everything_is_consistent_while_a_process_writes) {
  const sample s;
  const auto j = s.open();
  busy_writer writer{*j, 0};
  for (int round = 1; round <= 5; ++round) {
    writer.allow(2'000);
    BOOST_REQUIRE(wait_for_head(*j, must(j->head()) + 1));
    const auto before = must(j->head());

    const auto verified = s.run({"verify"});
    BOOST_TEST(verified.exit_code == 0);
    BOOST_TEST(verified.err == "");

    std::uint64_t events = 0;
    for (const auto version : column<std::uint64_t>(lines_of(s.run({"streams"})), "version"))
      events += version;
    BOOST_TEST(events >= before);

    const auto versions = column<std::uint64_t>(lines_of(s.run({"show", "busy-0"})), "version");
    BOOST_TEST((versions == range(1, versions.size())));

    const auto positions = column<std::uint64_t>(lines_of(s.run({"tail", "--from", "1"})), "position");
    BOOST_TEST((positions == range(1, positions.size())));
    BOOST_TEST(positions.size() >= before);
  }
}

// -- what is wrong with a journal
// -------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_payload_that_does_not_decode_is_shown_as_bytes) {
  const sample s;
  {
    const auto j = s.open();
    must(j->commit_and_wait(
        append("order-1", expected_version::exact(2), {{Happened::descriptor(), "\xff", 1}})));
    must(j->commit_and_wait(append("order-1", expected_version::exact(3), {happened(4)})));
  }
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{"show", "order-1"}, {"tail", "-c", "order"}}) {
    const auto r = s.run(args);
    BOOST_TEST(r.exit_code == 1);
    const auto lines = parse_lines(r.out);
    BOOST_REQUIRE_GE(lines.size(), 4u);
    const auto& wrong = lines[lines.size() - 2];
    BOOST_TEST(wrong.at("version") == 3);
    BOOST_TEST(wrong.at("data").is_null());
    BOOST_TEST(wrong.at("data_base64") == "/w==");
    for (const auto* part : {"order-1", "version 3", "position 9", "eventcore.test.Happened"}) {
      check_contains(wrong.at("error").get<std::string>(), part);
      check_contains(r.err, part);
    }
    BOOST_TEST(lines.back().at("data").at("number") == "4");
  }
  const auto verified = s.run({"verify"});
  BOOST_TEST(verified.exit_code == 1);
  check_contains(verified.err, "position 9");
  check_contains(verified.out, "1 problem");
}

BOOST_AUTO_TEST_CASE(bytes_that_the_type_does_not_describe_are_counted) {
  const sample s;
  {
    const auto j = s.open();
    auto event = happened(7);
    event.payload += "\x98\x06\x01"; // field 99 = 1
    must(j->commit_and_wait(append("order-1", expected_version::exact(2), {event})));
  }
  const auto lines = lines_of(s.run({"show", "order-1"}));
  BOOST_TEST(!lines.at(0).contains("undescribed_bytes"));
  BOOST_TEST(lines.at(2).at("undescribed_bytes") == 3);
  BOOST_TEST(lines.at(2).at("data").at("number") == "7");
}

BOOST_AUTO_TEST_CASE(a_damaged_record_is_reported_and_the_rest_is_shown) {
  const sample s;
  {
    const auto j = s.open();
    for (std::int64_t n = 9; n <= 11; ++n)
      must(j->commit_and_wait(
          append("order-1", expected_version::any(), {happened(n, "marker-" + std::to_string(n) + ".")})));
  }
  // order-1: versions 1 to 5 at positions 1, 5, 9, 10, 11. The first, one in the middle, and the last.
  for (const auto& [version, position] :
       std::vector<std::pair<std::uint64_t, std::uint64_t>>{{1, 1}, {4, 10}, {5, 11}}) {
    const auto places = s.places_of("marker-" + std::to_string(position) + ".");
    s.flip(places);
    const auto at_position = "position " + std::to_string(position);

    const auto shown = s.run({"show", "order-1"});
    BOOST_TEST(shown.exit_code == 1);
    check_contains(shown.err, at_position);
    const auto events = parse_lines(shown.out);
    BOOST_TEST((column<std::uint64_t>(events, "version") == range(1, 5)));
    for (const auto& e : events) {
      BOOST_TEST(e.at("data").is_null() == (e.at("version") == version));
      BOOST_TEST(e.contains("error") == (e.at("version") == version));
    }
    const auto behind = s.run({"show", "order-1", "--from", "3", "-n", "1"});
    BOOST_TEST((column<std::uint64_t>(parse_lines(behind.out), "version") == range(3, 3)));
    BOOST_TEST(behind.exit_code == 0);

    const auto tailed = s.run({"tail", "-n", "100"});
    BOOST_TEST(tailed.exit_code == 1);
    check_contains(tailed.err, at_position);
    BOOST_TEST((column<std::uint64_t>(parse_lines(tailed.out), "position") == range(1, 11)));
    BOOST_TEST(parse_lines(tailed.out).at(position - 1).contains("error"));

    BOOST_TEST(lines_of(s.run({"streams"})).size() == 4u);

    const auto verified = s.run({"verify"});
    BOOST_TEST(verified.exit_code == 1);
    check_contains(verified.err, at_position);
    check_contains(verified.err, "stream order-1, version " + std::to_string(version));
    check_contains(verified.out, "10 of 11 events sound");
    check_contains(verified.out, "2 problems");

    s.flip(places);
    BOOST_TEST(s.run({"verify"}).exit_code == 0);
  }
}
