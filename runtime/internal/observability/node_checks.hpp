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

/// The age of the next event that a subscription has to handle; 0 if there is none. If it follows another service, that is known of
/// events that are here; while the service is not reached, it is at least the time since then.
double lag_seconds(journal_reader& journal, const subscription_metrics& of);

} // namespace eventcore::internal
