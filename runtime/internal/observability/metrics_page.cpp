#include <eventcore/runtime/internal/observability/metrics_page.hpp>

#include <eventcore/runtime/internal/observability/node_checks.hpp>

#include <prometheus/text_serializer.h>

namespace eventcore::internal {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using labels = std::map<std::string, std::string>;

class page {
public:
  explicit page(std::string service)
      : service_{std::move(service)} {}

  void counter(const char* name, const char* help, labels of, double value) {
    series(name, help, MetricType::Counter, std::move(of)).counter.value += value;
  }
  void gauge(const char* name, const char* help, labels of, double value) {
    series(name, help, MetricType::Gauge, std::move(of)).gauge.value += value;
  }
  /// `counts` are those of each bound, and of what is above the last one.
  template <class Bounds, class Counts>
  void histogram(const char* name, const char* help, labels of, const Bounds& bounds, const Counts& counts,
                 double sum) {
    auto& h = series(name, help, MetricType::Histogram, std::move(of)).histogram;
    h.bucket.resize(bounds.size() + 1);
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i != h.bucket.size(); ++i) {
      h.bucket[i].upper_bound = i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity();
      h.bucket[i].cumulative_count += cumulative += counts[i];
    }
    h.sample_count += cumulative;
    h.sample_sum += sum;
  }

  std::vector<MetricFamily> families() && {
    std::vector<MetricFamily> all;
    for (auto& [name, f] : families_) {
      for (auto& [key, metric] : f.series)
        f.content.metric.push_back(std::move(metric));
      all.push_back(std::move(f.content));
    }
    return all;
  }

private:
  struct family {
    MetricFamily content;
    std::map<labels, ClientMetric> series;
  };

  ClientMetric& series(const char* name, const char* help, MetricType type, labels of) {
    auto& f = families_[name];
    if (f.content.name.empty())
      f.content = {name, help, type, {}};
    of.emplace("service", service_);
    auto [known, is_new] = f.series.try_emplace(std::move(of));
    if (is_new)
      for (auto& [label, value] : known->first)
        known->second.label.push_back({label, value});
    return known->second;
  }

  std::string service_;
  std::map<std::string, family> families_;
};

double number(std::uint64_t n) {
  return static_cast<double>(n);
}

const char* error_name(std::size_t value) {
  static constexpr std::array names{"other",
                                    "rejected",
                                    "invalid_id",
                                    "unknown_command",
                                    "overloaded",
                                    "deadline_exceeded",
                                    "decider_failed",
                                    "recovery_failed",
                                    "not_persisted",
                                    "conflict",
                                    "outcome_unknown",
                                    "stopped",
                                    "unexpected_reply",
                                    "key_reused",
                                    "invalid_command",
                                    "not_owned",
                                    "unreachable"};
  return value < names.size() ? names[value] : names[0];
}

void add_commands(page& to, const command_table& commands) {
  for (auto& row : commands.rows()) {
    const auto counts = row->read();
    std::uint64_t all = 0;
    for (auto count : counts.by_duration)
      all += count;
    if (row == commands.rows().back() && all == 0)
      continue; // commands of no known type
    const labels of{{"command_type", row->type}};
    to.counter("eventcore_commands_total", "Commands that were answered", of, number(all));
    to.histogram("eventcore_command_duration_seconds",
                 "From a command's arrival at its entity until its answer, which is durable", of,
                 command_metrics::bounds, counts.by_duration, counts.seconds);
    for (std::size_t value = 0; value != counts.errors.size(); ++value)
      if (counts.errors[value] > 0)
        to.counter("eventcore_command_errors_total", "Commands that were answered with an error",
                   {{"command_type", row->type}, {"error", error_name(value)}}, number(counts.errors[value]));
  }
}

void add_hosts(page& to, const telemetry& parts) {
  for (auto& host : parts.hosts.all()) {
    add_commands(to, host->commands);
    const labels of{{"category", host->category}};
    to.gauge("eventcore_entities_resident", "Entities in memory", of, number(host->resident.get()));
    to.gauge("eventcore_entities_recovering", "Entities that read their streams, or wait to", of,
             number(host->recovering.get()));
    to.counter("eventcore_entity_activations_total", "Entities that were started", of,
               number(host->activations.get()));
    to.counter("eventcore_entity_passivations_total", "Entities that left memory", of,
               number(host->passivations.get()));
  }
  for (auto& commands : parts.multi_stream.all()) {
    add_commands(to, commands->commands);
    const labels of{{"decider", commands->name}};
    to.gauge("eventcore_multi_stream_commands", "Commands of several streams that are under way", of,
             number(commands->under_way.get()));
    to.counter("eventcore_multi_stream_conflicts_total", "Tries that lost against another writer", of,
               number(commands->conflicts.get()));
    to.counter("eventcore_multi_stream_retries_total", "Tries after the first one", of,
               number(commands->retries.get()));
  }
}

void add_sagas(page& to, const telemetry& parts) {
  for (auto& sagas : parts.sagas.all()) {
    for (auto phase : {saga_phase::running, saga_phase::compensating, saga_phase::stuck})
      to.gauge("eventcore_sagas", "Unfinished sagas",
               {{"saga", sagas->category}, {"state", std::string{to_string(phase)}}},
               number(sagas->by_phase[static_cast<std::size_t>(phase)].get()));
    to.counter("eventcore_sagas_started_total", "Sagas that were started", {{"saga", sagas->category}},
               number(sagas->started.get()));
    const char* ended = "Sagas that have ended";
    to.counter("eventcore_sagas_ended_total", ended, {{"saga", sagas->category}, {"state", "completed"}},
               number(sagas->completed.get()));
    to.counter("eventcore_sagas_ended_total", ended, {{"saga", sagas->category}, {"state", "compensated"}},
               number(sagas->compensated.get()));
    to.counter("eventcore_saga_requests_total", "Requests to participants, compensations included",
               {{"saga", sagas->category}}, number(sagas->requests.get()));
  }
}

void add_subscriptions(page& to, const telemetry& parts, journal_reader& journal) {
  const auto head = journal.head();
  for (auto& s : parts.subscriptions.all()) {
    const labels of{{"subscription", s->name}};
    const auto position = s->position.get();
    for (auto& [type, events] : s->events_by_type())
      to.counter("eventcore_events_consumed_total", "Events that subscriptions are through with",
                 {{"subscription", s->name}, {"event_type", type}}, number(events));
    to.gauge("eventcore_event_lag_seconds", "Age of the next event to be handled; 0: there is none", of,
             lag_seconds(journal, *s));
    const auto end = s->source.empty() ? (head ? *head : 0) : s->head.get();
    to.gauge("eventcore_subscription_lag_events", "Positions of the log behind its end", of,
             end > position ? number(end - position) : 0);
    for (auto state : {subscription_state::catching_up, subscription_state::live,
                       subscription_state::retrying, subscription_state::stopped})
      to.gauge("eventcore_subscription_state", "1 for the state that the subscription is in",
               {{"subscription", s->name}, {"state", std::string{to_string(state)}}},
               s->state.load() == state ? 1 : 0);
    to.counter("eventcore_subscription_retries_total", "Events that were tried again", of,
               number(s->retries.get()));
    to.counter("eventcore_subscription_skipped_total", "Events that were given up and skipped", of,
               number(s->skipped.get()));
    to.counter("eventcore_subscription_parked_total", "Events that became dead letters", of,
               number(s->parked.get()));
    to.counter("eventcore_subscription_passed_over_total", "Events of types that are not declared", of,
               number(s->passed_over.get()));
  }
}

void add_projections(page& to, const std::vector<std::pair<std::string, projection_stats>>& projections) {
  for (auto& [name, stats] : projections) {
    for (auto& source : stats.live.sources)
      to.gauge("eventcore_projection_lag_events", "Positions of the source's log behind its end",
               {{"projection", name}, {"source", source.name}}, number(source.lag()));
    to.counter("eventcore_projection_events_total", "Events that were applied to the view that serves",
               {{"projection", name}}, number(stats.live.events));
    to.gauge("eventcore_projection_rebuilding", "1 while a view is built that will take its place",
             {{"projection", name}}, stats.rebuilding ? 1 : 0);
  }
}

void add_breakers(page& to, const metrics_list<breaker_metrics>& breakers) {
  for (auto& b : breakers.all()) {
    for (auto state :
         {breaker_state::closed, breaker_state::open, breaker_state::half_open, breaker_state::gave_up})
      to.gauge("eventcore_breakers", "Breakers by the state that they are in",
               {{"breaker", b->name}, {"state", to_string(state)}}, b->state.load() == state ? 1 : 0);
    const labels of{{"breaker", b->name}};
    to.gauge("eventcore_breaker_calls_under_way", "Calls that have passed and are not answered", of,
             number(b->under_way.get()));
    to.counter("eventcore_breaker_calls_total", "Calls that have passed", of, number(b->calls.get()));
    to.counter("eventcore_breaker_failures_total", "Calls that failed, time-outs included", of,
               number(b->failures.get()));
    to.counter("eventcore_breaker_refused_total",
               "Calls that were refused, because it is open or too many are under way", of,
               number(b->refused.get() + b->too_many.get()));
    to.counter("eventcore_breaker_opened_total", "How often it has opened", of, number(b->opened.get()));
  }
}

void add_journal(page& to, const journal_stats& s, result<log_position> head) {
  for (auto& [type, events] : s.events_by_type)
    to.counter("eventcore_events_published_total",
               "Events that were committed, from when on subscribers and other services get them",
               {{"event_type", type}}, number(events));
  to.gauge("eventcore_journal_head", "Position of the last event", {}, head ? number(*head) : 0);
  const char* commits = "Commits that were answered";
  to.counter("eventcore_journal_commits_total", commits, {{"result", "committed"}}, number(s.commits));
  to.counter("eventcore_journal_commits_total", commits, {{"result", "conflict"}}, number(s.conflicts));
  to.counter("eventcore_journal_commits_total", commits, {{"result", "failed"}}, number(s.failures));
  to.counter("eventcore_journal_event_bytes_total", "Encoded size of the events that were committed", {},
             number(s.event_bytes));
  to.histogram("eventcore_journal_commit_seconds", "To write a transaction out and sync it", {},
               s.sync_seconds.bounds, s.sync_seconds.counts, s.sync_seconds.sum);
  to.histogram("eventcore_journal_batch_commits", "Commits that one transaction took", {}, s.batch.bounds,
               s.batch.counts, s.batch.sum);
  to.gauge("eventcore_journal_queue_commits", "Commits that wait for the writer", {},
           number(s.pending_commits));
  to.gauge("eventcore_journal_queue_bytes", "What these reserved", {}, number(s.pending_bytes));
  to.gauge("eventcore_journal_queue_commits_limit", "Commits that may wait", {},
           number(s.max_pending_commits));
  to.counter("eventcore_journal_overloaded_total", "Reservations that were refused, because too much waits",
             {}, number(s.overloaded));
  const char* snapshots = "Snapshots that were handed over, and those that could not be read";
  to.counter("eventcore_snapshots_total", snapshots, {{"result", "written"}}, number(s.snapshots_written));
  to.counter("eventcore_snapshots_total", snapshots, {{"result", "dropped"}}, number(s.snapshots_dropped));
  to.counter("eventcore_snapshots_total", snapshots, {{"result", "damaged"}}, number(s.snapshots_damaged));
}

} // namespace

std::vector<MetricFamily> metrics_collector::Collect() const {
  page to{from_.parts.service()};
  add_journal(to, from_.journal.stats(), from_.journal.head());
  add_hosts(to, from_.parts);
  add_sagas(to, from_.parts);
  add_subscriptions(to, from_.parts, from_.journal);
  add_projections(to, from_.projections());
  add_breakers(to, from_.parts.breakers);
  add_breakers(to, breakers_without_node());
  for (auto& extra : from_.extra())
    extra.counts ? to.counter(extra.name.c_str(), extra.help.c_str(), extra.labels, extra.value())
                 : to.gauge(extra.name.c_str(), extra.help.c_str(), extra.labels, extra.value());
  const auto health = from_.health();
  for (auto& check : health.checks)
    to.gauge("eventcore_health_check", "1: nothing is wrong, by check", {{"check", check.name}},
             check.problem ? 0 : 1);
  to.gauge("eventcore_service_health", "1: the node is ready", {}, health.ok() ? 1 : 0);
  return std::move(to).families();
}

std::string metrics_page(const metrics_collector& collector) {
  return prometheus::TextSerializer{}.Serialize(collector.Collect());
}

} // namespace eventcore::internal
