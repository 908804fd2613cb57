#pragma once

#include <eventcore/persistence/error.hpp>
#include <eventcore/runtime/admin_options.hpp>
#include <eventcore/runtime/health.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

namespace eventcore::internal {

/// A node's HTTP interface for administration: `/metrics`, `/health/live` and `/health/ready`, on threads of its own.
///
/// One request a connection, so that nobody holds a thread who asks for nothing. Each has 2 s to send its request and 5 s to take
/// the answer.
class admin_server {
public:
  struct pages {
    std::function<std::string()> metrics;
    std::function<health_report()> live;
    std::function<health_report()> ready;
  };

  /// `connections` counts those that are answered or wait, and outlives the server. Pages are asked for as soon as this begins.
  /// Error: `invalid_argument` if the address is none, or is taken.
  static result<std::unique_ptr<admin_server>> open(const admin_options& options, pages content,
                                                    std::atomic<std::size_t>& connections);
  /// Waits for the pages that are asked for.
  ~admin_server();

  /// `host:port`, with the port that was taken.
  const std::string& address() const noexcept;

private:
  struct impl;
  explicit admin_server(std::unique_ptr<impl> content);
  std::unique_ptr<impl> impl_;
};

} // namespace eventcore::internal
