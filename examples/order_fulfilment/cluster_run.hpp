#pragma once

#include "options.hpp"

namespace shop {

/// Runs the services as processes, places the orders from this one, and holds their journals to the orders when all have ended.
/// Returns the exit code.
int run_cluster(const options& opts);

} // namespace shop
