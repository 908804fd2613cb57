#pragma once

#include <eventcore/persistence/journal.hpp>

#include <atomic>
#include <deque>
#include <mutex>

namespace eventcore::internal {

/// The newest events of the log in memory, for those who follow it. The writer only copies encoded records, and only
/// while somebody keeps the tail; the first reader of a batch decodes it, once for all readers, on its own thread.
///
/// Thread-safe for many readers and one writer.
class log_tail {
public:
  /// Holds about `max_bytes`: of the newest transactions as many batches as fit.
  explicit log_tail(std::size_t max_bytes);
  log_tail(const log_tail&) = delete;
  ~log_tail();

  /// The tail is kept while one of these lives; it is empty when the last one goes.
  tail_subscription keep();
  /// The batch that holds `position`; null if it is not in memory.
  std::shared_ptr<const event_page> find(log_position position) const;

  // -- for the writer --

  /// Takes in a record of the open transaction; `position` is that of the record before plus one.
  void add(std::string_view body, stream_version version, log_position position) {
    if (kept_->keepers.load(std::memory_order_relaxed) > 0)
      stage(body, version, position);
  }
  /// The transaction is durable.
  void publish();
  /// It was undone.
  void discard() { staged_.clear(); }

private:
  class batch;
  class page_pool;

  /// What keepers share with the tail.
  struct content {
    std::atomic<std::size_t> keepers{0};
    std::mutex mutex;
    std::deque<std::shared_ptr<batch>> batches; // in order of position
    std::size_t bytes = 0;
  };

  void stage(std::string_view body, stream_version version, log_position position);

  const std::size_t max_bytes_;
  const std::shared_ptr<content> kept_;
  const std::shared_ptr<page_pool> pool_;
  std::vector<std::shared_ptr<batch>> staged_; // the writer's
};

} // namespace eventcore::internal
