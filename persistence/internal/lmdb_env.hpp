#pragma once

#include <eventcore/persistence/internal/gated_env.hpp>

#include <memory>

namespace eventcore::internal {

/// The tables of a journal. All but the log have byte strings for keys, in byte order.
struct lmdb_tables {
  MDB_dbi meta;    ///< name -> value, see lmdb_meta.hpp
  MDB_dbi log;     ///< position (native 64 bit) -> record
  MDB_dbi index;   ///< run, stream hash, position -> packed entries, see stream_index.hpp
  MDB_dbi cursors; ///< name -> position, checksum
  MDB_dbi types;   ///< name, NUL, hash of the descriptors -> checksum, first position, descriptors
  MDB_dbi
      timers; ///< see timer_key.hpp; `no_table` if the file is older than timers and open for reading only
};

constexpr MDB_dbi no_table = ~MDB_dbi{0};

/// The open LMDB environment of a journal.
class lmdb_env final : public gated_env {
public:
  struct config {
    std::filesystem::path dir;
    std::size_t map_bytes = 0;
    bool read_only = false;
    /// Ends a write transaction; a seam for tests that make it fail.
    std::function<int(MDB_txn*)> commit = mdb_txn_commit;
  };

  static result<std::unique_ptr<lmdb_env>> open(config how);

  /// Calls `f(txn, tables)` as `gated_env::read` does.
  template <class F>
  auto read(F&& f) -> decltype(f(std::declval<MDB_txn*>(), std::declval<const lmdb_tables&>())) {
    return gated_env::read([&](MDB_txn* txn) { return f(txn, tables_); });
  }

  const lmdb_tables& tables() const noexcept { return tables_; }

private:
  explicit lmdb_env(gated_env::config how)
      : gated_env{std::move(how)} {}

  result<void> open_tables(MDB_txn* txn) override;

  lmdb_tables tables_{};
};

} // namespace eventcore::internal
