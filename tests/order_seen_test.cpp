/// The services of order fulfilment as processes, seen from outside by programs that we did not write: OpenTelemetry's decoder of spans,
/// and Prometheus.

#include "support/otlp_collector.hpp"
#include "support/outside_program.hpp"
#include "support/program.hpp"
#include "support/raw_server.hpp"

#include <boost/test/unit_test.hpp>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <map>
#include <set>
#include <sstream>

using namespace eventcore::test;
using namespace std::literals;
using nlohmann::json;

namespace {

constexpr auto patience = 2min;
const std::set<std::string> services{"order", "payment", "inventory", "shipping"}; // those that take commands

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream{file}.rdbuf();
  return std::move(text).str();
}

/// A program that runs beside the test, with a file for what it prints. Ends with this object, and so do all that it started.
class running_program {
public:
  running_program(std::vector<std::string> command, const std::filesystem::path& output) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1); // whom it leaves behind we can wait for
    std::vector<char*> argv;
    for (auto& word : command)
      argv.push_back(word.data());
    argv.push_back(nullptr);
    const auto parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      ::dup2(out, 1);
      ::dup2(out, 2);
      if (::getppid() == parent)
        ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  running_program(const running_program&) = delete;
  running_program& operator=(const running_program&) = delete;
  ~running_program() {
    if (!has_ended())
      ::kill(pid_, SIGTERM);
    while (::waitpid(pid_, nullptr, 0) == pid_) {
    }
  }

  bool has_ended() {
    siginfo_t how{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &how, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           how.si_pid == pid_;
  }

private:
  pid_t pid_ = -1;
};

/// After all `running_program`s: none of their children runs any more.
void await_children() {
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
}

bool wait_until(auto done) {
  for (const auto end = std::chrono::steady_clock::now() + patience; !done();
       std::this_thread::sleep_for(50ms))
    if (std::chrono::steady_clock::now() > end)
      return false;
  return true;
}

/// A real Prometheus on loopback with a configuration file.
class prometheus {
public:
  prometheus(const std::string& program, const std::filesystem::path& configuration,
             const std::filesystem::path& folder)
      : output_{folder / "output"} {
    for (int attempt = 0; attempt < 5; ++attempt) { // somebody else may have taken the port
      port_ = raw_server{[](auto&) {}}.port();
      running_.emplace(std::vector<std::string>{program, "--config.file=" + configuration.string(),
                                                "--storage.tsdb.path=" + (folder / "data").string(),
                                                "--web.listen-address=127.0.0.1:" + std::to_string(port_)},
                       output_);
      if (wait_until([&] { return running_->has_ended() || get("/-/ready").first == 200; }) &&
          !running_->has_ended())
        return;
      running_.reset();
    }
    BOOST_FAIL("Prometheus does not start: " << text_of(output_));
  }

  /// The answer's data, as of its HTTP API.
  json ask(const std::string& path) const {
    const auto [status, body] = get("/api/v1/" + path);
    BOOST_REQUIRE_MESSAGE(status == 200, path << ": " << status << ' ' << body);
    return json::parse(body)["data"];
  }

  /// The value of each series that a query finds, by one of its labels.
  std::map<std::string, double> values(const std::string& query, const std::string& label) const {
    std::map<std::string, double> found;
    const auto data = ask("query?query=" + query);
    for (auto& series : data.at("result"))
      found[series["metric"].value(label, "")] = std::stod(series["value"][1].get<std::string>());
    return found;
  }

private:
  std::pair<int, std::string> get(const std::string& path) const {
    httplib::Client client{"127.0.0.1", port_};
    client.set_read_timeout(60);
    auto answer = client.Get(path.c_str());
    return answer ? std::pair{answer->status, answer->body} : std::pair{0, std::string{}};
  }

  std::filesystem::path output_;
  int port_ = 0;
  std::optional<running_program> running_;
};

} // namespace

BOOST_AUTO_TEST_CASE(an_order_is_one_trace_through_all_services) {
  constexpr std::size_t count = 5;
  otlp_collector to;
  const temp_dir dir;
  const auto run = run_program("order_fulfilment",
                               {"--cluster", "--first", std::to_string(count), "--journal",
                                (dir.path() / "shop").string(), "--eventcore.trace.endpoint=" + to.url()});
  BOOST_REQUIRE_MESSAGE(run.exit_code == 0, run.out << run.err);
  const auto spans = to.spans();
  if (!spans)
    return;
  std::map<std::string, std::map<std::string, json>> traces; // each by span
  std::set<std::string> orders;
  for (auto& span : *spans) {
    auto& trace = traces[span["trace"]];
    BOOST_TEST(trace.emplace(span["span"].get<std::string>(), span).second, "a span's id is its own");
    if (span["name"] == "execute_command_eventcore.StartSaga" &&
        span["attributes"]["eventcore.stream"].get<std::string>().starts_with("order_saga-"))
      orders.insert(span["trace"].get<std::string>());
  }
  BOOST_TEST(orders.size() == count, "an order has a trace of its own");
  for (auto& id : orders) {
    std::string root;
    std::set<std::string> seen_in;
    std::map<std::string, std::string> service_of;
    for (auto& [own, span] : traces.at(id)) {
      BOOST_TEST_CONTEXT(span.dump()) {
        const std::string service = span["resource"]["service.name"];
        const std::string name = span["name"];
        BOOST_TEST(name == "execute_command_" + span["attributes"].value("command.type", ""));
        BOOST_TEST(span["attributes"]["service.name"] == service);
        seen_in.insert(service);
        service_of[name] = service;
        const std::string parent = span["parent"];
        if (parent.empty()) {
          BOOST_TEST(root.empty(), "one begins it");
          root = name;
          continue;
        }
        const auto above = traces.at(id).find(parent);
        BOOST_REQUIRE(above != traces.at(id).end());
        // What a saga asks for follows from what was recorded in the order's service.
        BOOST_TEST(above->second["resource"]["service.name"] == "order");
        BOOST_TEST(above->second["begin"].get<std::string>() <= span["begin"].get<std::string>());
      }
    }
    BOOST_TEST(root == "execute_command_eventcore.StartSaga");
    BOOST_TEST(seen_in == services, boost::test_tools::per_element());
    for (auto& [command, service] : std::map<std::string, std::string>{{"CreateOrder", "order"},
                                                                       {"TakePayment", "payment"},
                                                                       {"ReserveItems", "inventory"},
                                                                       {"ScheduleShipping", "shipping"}})
      BOOST_TEST(service_of["execute_command_shop." + command] == service, command);
  }
}

BOOST_AUTO_TEST_CASE(prometheus_scrapes_all_nodes_of_a_running_cluster) {
  const auto program = debian_program("-", "prometheus", "prometheus promtool");
  if (program.empty())
    return skip_loudly("the cluster was not scraped", "no Prometheus can be had here");
  const auto promtool = std::filesystem::path{program}.parent_path() / "promtool";
  const temp_dir dir;
  const auto journals = dir.path() / "shop";
  const auto output = dir.path() / "output";
  {
    // More orders than it gets time for.
    running_program shop{{EVENTCORE_BIN_DIR "/order_fulfilment", "--cluster", "--admin", "--orders", "100000",
                          "--journal", journals.string()},
                         output};
    const auto configuration = journals / "prometheus.yml";
    BOOST_REQUIRE_MESSAGE(wait_until([&] {
                            return shop.has_ended() ||
                                   text_of(output).find(configuration.string()) != std::string::npos;
                          }) &&
                              !shop.has_ended(),
                          text_of(output));
    const prometheus seen{program, configuration, dir.path()};
    const auto all_work = [&] {
      const auto committed = seen.values("sum(eventcore_journal_head)by(service)", "service");
      return std::ranges::count_if(committed, [](auto& entry) { return entry.second > 0; }) == 5;
    };
    BOOST_REQUIRE_MESSAGE(wait_until(all_work), text_of(output));
    const std::map<std::string, double> well{{"analytics", 1}, {"customers", 1}, {"inventory", 1},
                                             {"order", 1},     {"payment", 1},   {"shipping", 1}};
    BOOST_TEST(wait_until([&] { return seen.values("eventcore_service_health", "service") == well; }),
               seen.ask("query?query=eventcore_health_check==0").dump());
    const auto up = seen.values("up", "instance");
    BOOST_TEST(up.size() == 6u);
    for (auto& [instance, is_up] : up)
      BOOST_TEST(is_up == 1, instance);
    const auto took = seen.values("sum(eventcore_commands_total)by(service)", "service");
    for (auto& service : services)
      BOOST_TEST(took.at(service) > 0, service);
    for (auto& [instance, is_up] : up) {
      httplib::Client client{"http://" + instance};
      client.set_read_timeout(60);
      auto answer = client.Get("/metrics");
      BOOST_REQUIRE_MESSAGE(answer, instance);
      const auto page = dir.path() / "page";
      std::ofstream{page} << answer->body;
      const auto check = promtool.string() + " check metrics < " + page.string() + " >&2";
      BOOST_TEST(std::system(check.c_str()) == 0, answer->body);
    }
    BOOST_TEST(!shop.has_ended());
  }
  await_children();
}
