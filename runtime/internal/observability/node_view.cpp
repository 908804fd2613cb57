#include <eventcore/runtime/internal/observability/node_view.hpp>

#include <eventcore/actors/internal/caf_compat.hpp>
#include <eventcore/runtime/internal/observability/node_checks.hpp>

#include <spdlog/spdlog.h>

namespace eventcore::internal {

namespace {

using clock = std::chrono::steady_clock;

/// The scheduler's threads may all be busy for a while.
constexpr std::chrono::seconds longest_silence{10};
constexpr std::chrono::milliseconds patience{200};

/// Whether actors get their turn: one of them is asked, again and again.
class scheduler_check {
public:
  explicit scheduler_check(caf::actor_system& system)
      : system_{system}
      , echo_{system.spawn([]() -> caf::behavior { return {[](int n) { return n; }}; })} {}

  std::optional<std::string> operator()() {
    if (!question_) {
      asked_ = clock::now();
      question_ = std::make_unique<request_slot>(system_, echo_, caf::make_message(1));
    }
    if (question_->wait_until(clock::now() + patience)) {
      question_.reset();
      return std::nullopt;
    }
    const auto waited = clock::now() - asked_;
    if (waited < longest_silence)
      return std::nullopt;
    return "no actor had its turn for " +
           std::to_string(std::chrono::floor<std::chrono::seconds>(waited).count()) +
           " s; handlers that wait belong on threads of their own";
  }

private:
  caf::actor_system& system_;
  caf::actor echo_;
  std::unique_ptr<request_slot> question_;
  clock::time_point asked_;
};

} // namespace

node_view::node_view(const node_options& options, const std::string& service)
    : options_{options.admin} {
  if (options.log.enabled)
    log_ = std::make_unique<node_log>(options.log, service);
  if (!options.trace.endpoint.empty()) {
    if (auto started = otlp_exporter::start(options.trace, service))
      spans_ = *std::move(started);
    else
      spdlog::error("nothing is traced: {}", started.error().message());
  }
  telemetry_ = std::make_shared<internal::telemetry>(
      internal::telemetry::options{service, options.metrics, spans_, options.trace.sample});
}

node_view::~node_view() {
  close();
}

void node_view::open(eventcore::journal& journal, caf::actor_system& system,
                     std::function<std::vector<std::pair<std::string, projection_stats>>()> projections) {
  add_node_checks(ready_, journal, *telemetry_, options_);
  add_check("projections", [projections]() -> std::optional<std::string> {
    std::string problems;
    for (auto& [name, stats] : projections()) {
      auto why = stats.live.failure;
      for (auto& source : stats.live.sources)
        why = why ? why : source.failure;
      if (why)
        problems += (problems.empty() ? "" : "; ") + name + " stands: " + why->message();
    }
    return problems.empty() ? std::nullopt : std::optional{std::move(problems)};
  });
  add_check("running", [this]() -> std::optional<std::string> {
    return stopping_ ? std::optional<std::string>{"the node is shutting down"} : std::nullopt;
  });
  if (options_.listen.empty())
    return;
  live_.add("scheduler", [check = std::make_shared<scheduler_check>(system)] { return (*check)(); });
  metrics_ = std::make_unique<metrics_collector>(
      metrics_collector::sources{journal, *telemetry_, [this] { return ready_.report(); },
                                 std::move(projections), [this] { return extra(); }});
  auto opened = admin_server::open(options_,
                                   {[this] { return metrics_page(*metrics_); },
                                    [this] { return live_.report(); }, [this] { return ready_.report(); }},
                                   connections_);
  if (opened)
    admin_ = *std::move(opened);
  else
    spdlog::error("nobody can see this node from outside: {}", opened.error().message());
}

void node_view::close() {
  admin_.reset();
  ready_.stop();
  live_.stop();
}

void node_view::add_metric(extra_metric metric) {
  std::lock_guard guard{mutex_};
  extra_.push_back(std::move(metric));
}

std::vector<extra_metric> node_view::extra() const {
  std::vector<extra_metric> all;
  {
    std::lock_guard guard{mutex_};
    all = extra_;
  }
  const auto add = [&](std::string name, std::string help, std::map<std::string, std::string> labels,
                       bool counts, double value) {
    all.push_back({std::move(name), std::move(help), std::move(labels), counts, [value] { return value; }});
  };
  add(connections_metric, connections_help, {{"kind", "admin"}}, false, static_cast<double>(connections_));
  if (spans_) {
    add("eventcore_spans_exported_total", "Spans that the collector took", {}, true,
        static_cast<double>(spans_->exported()));
    add("eventcore_spans_dropped_total", "Spans that were not sent", {}, true,
        static_cast<double>(spans_->dropped()));
  }
  if (log_)
    add("eventcore_log_lines_lost_total", "Lines of the log that were not written", {}, true,
        static_cast<double>(log_->lost()));
  return all;
}

} // namespace eventcore::internal
