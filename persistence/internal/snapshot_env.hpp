#pragma once

#include <eventcore/persistence/internal/lmdb_env.hpp>
#include <eventcore/persistence/journal.hpp>

#include <atomic>
#include <compare>
#include <map>

namespace eventcore::internal {

/// Where a snapshot stands: those of one stream and type side by side, in order of version. Another stream and type may have
/// the same hash, so what stands there is compared.
struct snapshot_key {
  std::uint64_t hash_high = 0;
  std::uint64_t hash_low = 0;
  stream_version version = 0;

  static snapshot_key of(const stream_id& stream, const std::string& type, stream_version version);
  auto operator<=>(const snapshot_key&) const = default;
};

/// A snapshot that is to be written.
struct waiting_snapshot {
  std::string stream;
  snapshot content;
  std::size_t keep;
};

using snapshot_batch = std::map<snapshot_key, waiting_snapshot>;

/// The LMDB environment in a journal's folder `snapshots`. It is worth less than the journal, so nothing of it is ever an
/// error: what cannot be read is not there. The writer removes files that are damaged, of another format, or of another journal
/// or incarnation, and makes new ones. Thread-safe, save that `write` and `close` belong to one thread at a time.
class snapshot_env {
public:
  struct config {
    std::filesystem::path journal_dir;
    bool read_only = false;
    std::size_t map_bytes = 0;
    std::size_t reserve_disk_bytes = 0;
  };

  snapshot_env(const journal_info& owner, const config& how);
  ~snapshot_env();
  snapshot_env(const snapshot_env&) = delete;

  /// The newest with a version of at most `up_to`; damaged ones are passed over and counted.
  std::optional<snapshot> find(const stream_id& stream, const std::string& type, stream_version up_to);

  /// Writes all, durably, in one transaction, and deletes older ones as each demands. False: none was written.
  bool write(const snapshot_batch& batch);

  void close();

  std::uint64_t damaged() const noexcept { return damaged_; }

private:
  bool exists() const;
  bool open();
  bool open_or_remake();
  int start();
  int check_stamp();
  void stop();
  void remove_files();

  config config_;
  std::filesystem::path dir_;
  std::string stamp_;
  MDB_env* env_ = nullptr;
  MDB_dbi table_ = 0;
  bool closed_ = false;
  std::shared_mutex gate_; // held by readers, and by who opens or closes the environment
  std::atomic<std::uint64_t> damaged_{0};
};

} // namespace eventcore::internal
