#pragma once

#include <eventcore/runtime/http_client.hpp>

#include <memory>
#include <optional>

namespace eventcore::internal {

/// A target's options, checked, and the parts of its URL.
struct http_target {
  http_target_options options;
  bool tls = false;
  std::string host; ///< an IPv6 address without its brackets
  std::uint16_t port = 80;
  std::string prefix; ///< empty, or `/` and more, without a slash at its end

  /// Errors: `http_errc::invalid_request`.
  static result<http_target> of(http_target_options options);
};

/// One call on its way.
struct http_job {
  std::string method; ///< such as `POST`
  std::string what;   ///< for messages, such as `POST /orders to payments`
  std::string path;   ///< with the target's prefix
  std::string body;
  std::map<std::string, std::string> headers; ///< the names in lower case
  std::chrono::steady_clock::time_point deadline;
  std::uint64_t id = 0; ///< given by whoever submits it, for itself

  /// Set when it is finished.
  std::optional<result<HttpAnswer>> outcome{};

  /// A call with the headers of its context and of its target. Errors: `http_errc::invalid_request`.
  static result<http_job> of(const http_target& target, const HttpCall& call, std::string idempotency_key,
                             std::string traceparent);
};

using http_job_ptr = std::shared_ptr<http_job>;

/// One connection to a target, kept open between calls. To be used by one thread at a time, on which SIGPIPE is blocked.
class http_connection {
public:
  explicit http_connection(std::shared_ptr<const http_target> target);
  ~http_connection();

  /// Makes a call. Ends about the job's deadline at the latest, unless the system's resolver takes longer; then nothing is sent.
  result<HttpAnswer> call(const http_job& job);

  /// The next call may run, whatever was broken off before. To be called before it.
  void begin();

  /// Makes the call under way end soon. From any thread.
  void break_off();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace eventcore::internal
