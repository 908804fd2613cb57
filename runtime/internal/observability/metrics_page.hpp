#pragma once

#include <eventcore/actors/internal/telemetry.hpp>
#include <eventcore/actors/projection_host.hpp>
#include <eventcore/persistence/journal.hpp>
#include <eventcore/runtime/health.hpp>

#include <prometheus/collectable.h>

#include <functional>

namespace eventcore::internal {

/// A value that somebody outside of the node's parts knows.
struct extra_metric {
  std::string name;
  std::string help;
  std::map<std::string, std::string> labels;
  bool counts = false; ///< it never falls
  std::function<double()> value;
};

inline constexpr auto connections_metric = "eventcore_active_connections";
inline constexpr auto connections_help = "Open connections by what they are for";

/// Reads what a node's parts have counted, and makes metrics of it: runtime/README.md lists them. Series that would be the same
/// (two breakers of one name) are added up, so each is there once. Thread-safe.
class metrics_collector final : public prometheus::Collectable {
public:
  struct sources {
    eventcore::journal& journal;
    const telemetry& parts;
    std::function<health_report()> health;
    std::function<std::vector<std::pair<std::string, projection_stats>>()> projections;
    std::function<std::vector<extra_metric>()> extra;
  };

  explicit metrics_collector(sources from)
      : from_{std::move(from)} {}

  std::vector<prometheus::MetricFamily> Collect() const override;

private:
  const sources from_;
};

/// In Prometheus' text format.
std::string metrics_page(const metrics_collector& collector);

} // namespace eventcore::internal
