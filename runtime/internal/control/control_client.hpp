#pragma once

#include <eventcore/runtime/internal/control/control_protocol.hpp>

namespace eventcore::internal {

/// One connection to the node that has a journal open. Blocks; not thread-safe.
class control_client {
public:
  /// Returns when the node has said that it listens. Errors: `nobody_listens`, `not_understood`; `silent` after `within`.
  static result<control_client> connect(const std::filesystem::path& folder,
                                        std::chrono::milliseconds within);

  control_client(control_client&& other) noexcept;
  control_client& operator=(control_client&&) = delete;
  ~control_client();

  /// The process id of the node, as it says.
  long pid() const noexcept { return pid_; }

  /// Sends `request`, whose member `request` names its kind, and waits for the answer. Errors: `refused`; `no_answer` after
  /// `within`, and if the connection ends.
  result<nlohmann::json> ask(const nlohmann::json& request, std::chrono::milliseconds within);

private:
  explicit control_client(int socket) noexcept
      : socket_{socket} {}

  int socket_;
  long pid_ = 0;
};

} // namespace eventcore::internal
