#pragma once

#include <eventcore/persistence/internal/lmdb_env.hpp>
#include <eventcore/persistence/internal/lmdb_reader.hpp>
#include <eventcore/persistence/internal/store.hpp>
#include <eventcore/persistence/internal/stream_index.hpp>

namespace eventcore::internal {

/// The writing half of an LMDB journal. Fills the tail index that its readers use.
class lmdb_store final : public store {
public:
  lmdb_store(lmdb_env& env, tail_index& tail, run_filters& filters, lmdb_reader& reader,
             std::size_t reserve_disk_bytes)
      : env_{env}
      , tail_{tail}
      , reader_{reader}
      , reserve_disk_bytes_{reserve_disk_bytes}
      , index_{filters} {}

  /// Takes up what the journal holds: the index's runs, and its tail from the log. Error: `corrupt`, `io_error`.
  result<void> load();

  result<void> begin() override;
  log_position head() const noexcept override { return head_; }
  result<stream_version> version_of(const stream_id& stream) override;
  result<log_position> cursor(const std::string& name) override;
  result<void> append(const stream_id& stream, stream_version version, std::string_view body) override;
  result<void> put_cursor(const std::string& name, log_position position) override;
  result<void> change_timer(const timer_change& change) override;
  result<void> put_event_type(const event_type_info& type) override;
  result<void> commit() override;
  void abort() noexcept override;

private:
  result<void> put(MDB_dbi table, std::string_view key, std::string_view content, const char* what);
  error recover(int code);

  lmdb_env& env_;
  tail_index& tail_;
  lmdb_reader& reader_;
  std::size_t reserve_disk_bytes_;
  index_writer index_;
  log_position head_ = 0;
  bool stale_ = false; // `load` is due before the next transaction

  // The open transaction.
  MDB_txn* txn_ = nullptr;
  std::optional<lmdb_cursor> log_;
  std::vector<std::uint64_t> appended_; // hashes of the streams, in order of position
  std::uint64_t transactions_ = 0;
};

} // namespace eventcore::internal
