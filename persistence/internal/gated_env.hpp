#pragma once

#include <eventcore/persistence/errc.hpp>

#include <lmdb.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eventcore::internal {

/// The error of a failed LMDB call: `disk_full`, `corrupt` or `io_error`. `what` says what was tried, `if_damaged` what to do
/// about `corrupt`.
error lmdb_error(int code, const std::string& what,
                 std::string_view if_damaged = "restore the journal from a backup");

inline MDB_val to_val(std::string_view bytes) noexcept {
  return {bytes.size(), const_cast<char*>(bytes.data())};
}

inline std::string_view to_view(const MDB_val& val) noexcept {
  return {static_cast<const char*>(val.mv_data), val.mv_size};
}

/// What an environment's `data.mdb` should be and is, in bytes. LMDB leaves the last pages that it counts unwritten if a
/// transaction took and freed them: a writer extends the file after each commit, so that a short file has lost pages.
struct file_size {
  int fd = -1;
  std::size_t page = 0;
  std::size_t expected = 0;
  std::size_t found = 0;

  bool short_of_pages() const noexcept { return found < expected; }
};

std::optional<file_size> size_of_file(MDB_env* env) noexcept;

/// Brings the file to the size that LMDB counts. If it cannot be extended, those who open it say so; what was committed is
/// safe.
void extend_file(MDB_env* env) noexcept;

/// Error: `disk_full` if less than `reserve_bytes` are free; `io_error`. `subject` is what the message is about.
result<void> check_disk(const std::filesystem::path& dir, std::size_t reserve_bytes,
                        const std::string& subject);

/// Makes the names in `dir` durable. Returns 0 or the `errno`.
int sync_folder(const std::filesystem::path& dir) noexcept;

/// Closes a cursor at the end of its scope. Empty if it could not be opened.
class lmdb_cursor {
public:
  lmdb_cursor() = default;
  lmdb_cursor(MDB_txn* txn, MDB_dbi table) noexcept {
    if (mdb_cursor_open(txn, table, &cursor_) != 0)
      cursor_ = nullptr;
  }
  lmdb_cursor(lmdb_cursor&& other) noexcept
      : cursor_{std::exchange(other.cursor_, nullptr)} {}
  lmdb_cursor& operator=(lmdb_cursor&& other) noexcept {
    std::swap(cursor_, other.cursor_);
    return *this;
  }
  ~lmdb_cursor() {
    if (cursor_)
      mdb_cursor_close(cursor_);
  }

  int get(MDB_val& key, MDB_val& value, MDB_cursor_op op) noexcept {
    return cursor_ ? mdb_cursor_get(cursor_, &key, &value, op) : ENOMEM;
  }
  MDB_cursor* handle() const noexcept { return cursor_; }

private:
  MDB_cursor* cursor_ = nullptr;
};

/// An open LMDB environment behind a gate: all reads pass through `read`, so that `reopen` never leaves a reader with a
/// pointer into the old map. Thread-safe, save that write transactions belong to one thread.
class gated_env {
public:
  struct config {
    std::filesystem::path dir;
    std::size_t map_bytes = 0;
    bool read_only = false;
    unsigned max_tables = 0;
    /// Ends a write transaction; a seam for tests that make it fail.
    std::function<int(MDB_txn*)> commit = mdb_txn_commit;
    std::string subject;    ///< what messages are about, such as `journal folder /data`
    std::string if_damaged; ///< what messages say that is to be done
    /// The error of a file that is no LMDB file, or was cut short.
    journal_errc damaged = journal_errc::cannot_open;
  };

  virtual ~gated_env();
  gated_env(const gated_env&) = delete;

  /// Calls `f(txn)` with a read transaction and returns its result. `f` must not keep what it saw, nor call back to users.
  /// Nothing else of the environment may be called in it.
  template <class F>
  auto read(F&& f) -> decltype(f(std::declval<MDB_txn*>())) {
    std::shared_lock gate{gate_};
    auto txn = take_reader();
    if (!txn)
      return txn.error();
    struct giver {
      gated_env& env;
      MDB_txn* txn;
      ~giver() { env.give_reader(txn); }
    } back{*this, *txn};
    return f(*txn);
  }

  // -- for the one writer --

  result<MDB_txn*> begin_write();
  int commit_write(MDB_txn* txn);

  /// Closes the environment and opens it again: after a failed sync, nothing of the old map is to be trusted. Waits for
  /// readers. While it fails, reads and writes answer its error, and the next write tries again.
  result<void> reopen();

  /// Waits for readers; later calls answer `closed`.
  void close();

  /// Frees the places of readers whose process died.
  void drop_dead_readers() noexcept;

  const std::filesystem::path& dir() const noexcept { return config_.dir; }
  const std::string& subject() const noexcept { return config_.subject; }

protected:
  explicit gated_env(config how)
      : config_{std::move(how)} {}

  /// Opens the environment. Once, before all else.
  result<void> start();
  bool read_only() const noexcept { return config_.read_only; }

private:
  /// Opens, and where the environment is not read-only makes, what there is to open in `txn`, which the caller ends. Called
  /// whenever the environment is opened.
  virtual result<void> open_tables(MDB_txn* txn) = 0;

  result<void> try_start();
  void stop() noexcept;
  result<void> check_size() const;
  bool behind_end_is_free(std::size_t end) const;
  result<MDB_txn*> take_reader();
  bool has_seen_too_much(MDB_txn* txn) const noexcept;
  void give_reader(MDB_txn* txn) noexcept;
  error failed(const std::string& why) const;

  config config_;
  MDB_env* env_ = nullptr;
  bool closed_ = false;
  std::shared_mutex gate_;
  std::mutex pool_mutex_;
  std::vector<MDB_txn*> pool_; // reset read transactions
};

} // namespace eventcore::internal
