#pragma once

#include <eventcore/runtime/internal/cluster/wire.hpp>

#include <functional>
#include <mutex>
#include <utility>

namespace eventcore::internal {

/// Frames that wait to be sent on one connection. Whoever has something to send writes it here, on its own thread; the broker takes all
/// that is there whenever the connection has sent what it had, so frames travel alone when it is idle and together when it is
/// busy. Thread-safe.
class outbox {
public:
  /// `wake` tells the broker that there is something to take, once until it takes.
  explicit outbox(std::function<void()> wake)
      : wake_{std::move(wake)} {}

  /// Runs `fill(byte_buffer&)` under the lock. False: it is closed, and `fill` was not run.
  template <class F>
  bool write(F fill) {
    bool wake = false;
    {
      std::lock_guard lock{mutex_};
      if (closed_)
        return false;
      fill(buffer_);
      wake = !waking_ && !buffer_.empty();
      waking_ = waking_ || wake;
    }
    if (wake)
      wake_();
    return true;
  }

  /// Moves what is there to the end of `to`. False: there is nothing.
  bool take(byte_buffer& to) {
    std::lock_guard lock{mutex_};
    waking_ = false;
    if (buffer_.empty())
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
  }

private:
  std::function<void()> wake_;
  mutable std::mutex mutex_;
  byte_buffer buffer_;
  bool waking_ = false;
  bool closed_ = false;
};

} // namespace eventcore::internal
