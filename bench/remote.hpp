#pragma once

#include <filesystem>

namespace bench {

/// The other side of the remote scenarios, in a process of its own: says its ports, and ends with its standard input.
int serve_remote(const std::filesystem::path& dir);

} // namespace bench
