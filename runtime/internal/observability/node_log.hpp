#pragma once

#include <eventcore/runtime/admin_options.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace eventcore::internal {

/// Takes the process's log over while it lives: a line is put together where it is written, with what `log_scope` knows, and
/// goes to its place on a thread of spdlog's. What cannot be written is counted, and keeps nobody from anything. Of several, the
/// one that began last has the log; after the last one's end lines go where they went before. Any thread may write while one begins
/// or ends, only not while the first one of the process begins.
class node_log {
public:
  node_log(const log_options& options, std::string service);
  ~node_log();

  /// Lines that were pushed out of the full queue, or that could not be written (the disk is full).
  std::uint64_t lost() const noexcept;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace eventcore::internal
