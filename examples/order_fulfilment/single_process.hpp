#pragma once

#include "options.hpp"

namespace shop {

/// Runs all services in this process; the payment gateway is reached over HTTP. Returns the exit code.
int run_single_process(const options& opts);

} // namespace shop
