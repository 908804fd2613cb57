#pragma once

#include <eventcore/runtime/internal/control/control_protocol.hpp>

#include <functional>
#include <map>
#include <memory>

namespace eventcore::internal {

/// A kind of request: takes the whole request and returns the answer, an object. Called on the server's thread, one request at a
/// time; returns within `control_handler_limit`. What nlohmann's JSON throws (a field is missing or of another type) refuses the
/// request.
using control_handler = std::function<result<nlohmann::json>(const nlohmann::json& request)>;

/// By name, such as `sagas.operate`.
using control_handlers = std::map<std::string, control_handler, std::less<>>;

struct control_limits {
  /// One more ends the one that has been silent for the longest time.
  std::size_t connections = 32;
  /// For a request to come in whole, and for its answer to be taken. Then the connection ends.
  std::chrono::milliseconds patience{5'000};
};

/// Listens on a journal's control socket, which only the process's user can open. Two threads of its own: one for all connections, which
/// waits for none of them, and one for the handlers.
///
/// A request whose client is gone when its turn comes is not carried out.
class control_server {
public:
  /// The caller has the journal in `folder` open for writing, until the server is gone. A socket that is there is replaced.
  /// Error: `cannot_listen`.
  static result<std::unique_ptr<control_server>> open(const std::filesystem::path& folder,
                                                      control_handlers handlers, control_limits limits = {});

  /// Waits for a handler that runs, ends all connections and removes the socket.
  ~control_server();

private:
  struct impl;
  explicit control_server(std::unique_ptr<impl> content);
  std::unique_ptr<impl> impl_;
};

} // namespace eventcore::internal
