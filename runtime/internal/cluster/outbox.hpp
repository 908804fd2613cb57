#pragma once

#include <eventcore/runtime/internal/cluster/wire.hpp>
#include <eventcore/runtime/internal/sockets.hpp>

#include <functional>
#include <mutex>
#include <type_traits>
#include <utility>

namespace eventcore::internal {

/// Frames that wait to be sent on one connection. Whoever has something to send writes it here, on its own thread; the broker takes all
/// that is there whenever the connection has sent what it had, so frames travel alone when it is idle and together when it is
/// busy. A frame that has no company to wait for can do without the broker. Thread-safe.
class outbox {
public:
  /// `wake` tells the broker that there is something to take, once until it takes.
  explicit outbox(std::function<void()> wake)
      : wake_{std::move(wake)} {}

  /// The connection's socket, duplicated, if what is written can be sent as it is.
  void open_shortcut(socket_handle socket) {
    std::lock_guard lock{mutex_};
    if (!closed_)
      shortcut_ = std::move(socket);
  }

  /// Runs `fill(byte_buffer&)` under the lock. If that returns true, all that waits is sent at once, in this thread, as far as the
  /// connection takes it and the broker is not sending. False: it is closed, and `fill` was not run.
  template <class F>
  bool write(F fill) {
    bool wake = false;
    {
      std::lock_guard lock{mutex_};
      if (closed_)
        return false;
      if constexpr (std::is_void_v<std::invoke_result_t<F, byte_buffer&>>)
        fill(buffer_);
      else if (fill(buffer_) && shortcut_ && !broker_sends_)
        buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(send_some(
                                                             shortcut_, buffer_.data(), buffer_.size())));
      wake = !waking_ && !buffer_.empty();
      waking_ = waking_ || wake;
    }
    if (wake)
      wake_();
    return true;
  }

  /// For the broker, which has sent all that it took before: moves what is there to the end of `to`. False: there is nothing.
  bool take(byte_buffer& to) {
    std::lock_guard lock{mutex_};
    waking_ = false;
    broker_sends_ = !buffer_.empty();
    if (!broker_sends_)
      return false;
    if (to.empty())
      to.swap(buffer_);
    else
      to.insert(to.end(), buffer_.begin(), buffer_.end());
    buffer_.clear();
    return true;
  }

  std::size_t size() const {
    std::lock_guard lock{mutex_};
    return buffer_.size();
  }

  void close() {
    std::lock_guard lock{mutex_};
    closed_ = true;
    buffer_ = {};
    shortcut_ = {};
  }

private:
  std::function<void()> wake_;
  mutable std::mutex mutex_;
  byte_buffer buffer_;
  socket_handle shortcut_;
  bool waking_ = false;
  bool broker_sends_ = false;
  bool closed_ = false;
};

} // namespace eventcore::internal
