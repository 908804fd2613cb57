#pragma once

#include "options.hpp"

namespace shop {

/// Runs one service as a node of a cluster, until SIGTERM. Returns the exit code.
int run_service(const options& opts);

} // namespace shop
