#pragma once

#include <eventcore/actors/internal/telemetry.hpp>
#include <eventcore/persistence/journal.hpp>
#include <eventcore/runtime/admin_options.hpp>
#include <eventcore/runtime/internal/observability/health_monitor.hpp>

namespace eventcore::internal {

/// Adds what every node looks after: `journal` (it can be written), `disk_space`, `overload`, `subscriptions` and `breakers`.
/// `journal` and `parts` outlive the monitor.
void add_node_checks(health_monitor& to, eventcore::journal& journal, const telemetry& parts,
                     const admin_options& options);

/// Where a reader stands, who has handled all up to `position`: the age of the next event; 0 if there is none.
double lag_seconds(journal_reader& journal, log_position position);

} // namespace eventcore::internal
