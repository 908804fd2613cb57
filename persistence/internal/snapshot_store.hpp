#pragma once

#include <eventcore/persistence/internal/snapshot_env.hpp>

#include <condition_variable>
#include <functional>
#include <thread>

namespace eventcore::internal {

/// The snapshots of an LMDB journal: a bounded queue in front of their environment, and a thread that works it off in batches,
/// one transaction each, about every 50 ms or when much waits. In `writer_mode::stepped` the caller's steps do it.
/// Thread-safe. See `journal` for what each promises.
class snapshot_store {
public:
  /// `settle` returns when all that the journal acknowledged is durable: a snapshot must never outlive its events.
  snapshot_store(const journal_info& owner, const snapshot_env::config& how, writer_mode writer,
                 std::function<void()> settle);
  ~snapshot_store();

  result<std::optional<snapshot>> load(const stream_id& stream, const std::string& type,
                                       stream_version up_to);
  void save(const stream_id& stream, snapshot s, std::size_t keep);
  void flush();

  /// Writes what is queued.
  void step();

  /// Writes what is queued and releases the files; drops what comes later. Idempotent.
  void close();

  void add_to(journal_stats& stats) const;

private:
  void run();
  bool much_waits() const;

  snapshot_env env_;
  const writer_mode mode_;
  const std::function<void()> settle_;

  // The queue and what guards it.
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable batch_done_;
  snapshot_batch queued_;
  snapshot_batch writing_; // changed only by who holds `stepping_` too
  std::size_t queued_bytes_ = 0;
  std::size_t writing_bytes_ = 0;
  bool hurry_ = false; // somebody waits for what is queued
  bool closing_ = false;
  std::uint64_t batches_taken_ = 0;
  std::uint64_t batches_done_ = 0;
  std::uint64_t written_ = 0;
  std::uint64_t dropped_ = 0;

  std::mutex stepping_;
  std::thread thread_;
};

} // namespace eventcore::internal
