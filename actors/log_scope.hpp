#pragma once

#include <eventcore/persistence/event.hpp>

#include <string_view>

namespace eventcore {

/// What the log lines of this thread are about, while it lives: a node's log adds it to each line that is written meanwhile, the
/// user's own lines included. The runtime opens one around `decide` and around each event that a handler gets.
///
/// What is given must outlive it. Scopes end in the reverse order of their beginnings.
class log_scope {
public:
  log_scope(std::string_view stream, log_position position, std::string_view traceparent) noexcept
      : stream{stream}
      , position{position}
      , traceparent{traceparent}
      , outer_{current_} {
    current_ = this;
  }
  log_scope(const log_scope&) = delete;
  log_scope& operator=(const log_scope&) = delete;
  ~log_scope() { current_ = outer_; }

  /// Of this thread; null: there is none.
  static const log_scope* current() noexcept { return current_; }

  const std::string_view stream; ///< empty: none
  const log_position position;   ///< 0: none
  const std::string_view traceparent;

private:
  const log_scope* outer_;
  static thread_local constinit inline const log_scope* current_ = nullptr;
};

} // namespace eventcore
