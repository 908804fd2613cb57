#pragma once

#include <eventcore/actors/internal/telemetry.hpp>
#include <eventcore/runtime/internal/observability/admin_server.hpp>
#include <eventcore/runtime/internal/observability/health_monitor.hpp>
#include <eventcore/runtime/internal/observability/metrics_page.hpp>
#include <eventcore/runtime/internal/observability/node_log.hpp>
#include <eventcore/runtime/internal/observability/otlp_exporter.hpp>
#include <eventcore/runtime/node_options.hpp>

#include <atomic>

namespace eventcore::internal {

/// All by which a node is seen from outside: its log, its telemetry, its health, and the HTTP interface that shows them. What cannot
/// be had (a port that is taken) is logged as an error, and the node runs without.
class node_view {
public:
  /// The log and the telemetry, which the node's parts need when they are made.
  node_view(const node_options& options, const std::string& service);
  ~node_view();

  const std::shared_ptr<internal::telemetry>& telemetry() const noexcept { return telemetry_; }

  /// Opens the rest. `journal` and `system` outlive `close`.
  void open(eventcore::journal& journal, caf::actor_system& system,
            std::function<std::vector<std::pair<std::string, projection_stats>>()> projections);
  /// The node is not ready any more.
  void stopping() noexcept { stopping_ = true; }
  /// Nobody can ask any more. Idempotent.
  void close();

  void add_check(std::string name, health_check check) { ready_.add(std::move(name), std::move(check)); }
  void add_metric(extra_metric metric);
  health_report ready() { return ready_.report(); }
  /// Empty: nobody listens.
  std::string address() const { return admin_ ? admin_->address() : std::string{}; }

private:
  std::vector<extra_metric> extra() const;

  const admin_options options_;
  std::unique_ptr<node_log> log_;
  std::shared_ptr<otlp_exporter> spans_;
  std::shared_ptr<internal::telemetry> telemetry_;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::vector<extra_metric> extra_;
  health_monitor ready_;
  health_monitor live_;
  std::unique_ptr<metrics_collector> metrics_;
  std::atomic<std::size_t> connections_{0}; ///< of `admin_`
  std::unique_ptr<admin_server> admin_;
};

} // namespace eventcore::internal
