#pragma once

#include <eventcore/persistence/journal.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct MDB_txn;

namespace eventcore {

/// Bounds of a view's rows, in bytes.
constexpr std::size_t max_view_key = 511;
constexpr std::size_t max_view_value = 16u << 20;

/// A table of a view: rows of a value under a key. Keys are byte strings, in byte order.
struct view_table {
  std::string name;  ///< 1 to 64 bytes, of its own in the view
  std::string key;   ///< type of the keys
  std::string value; ///< type of the values

  friend bool operator==(const view_table&, const view_table&) = default;
};

/// What a view is made of and by. It is stored in the view: one of another form is of no use, and is built anew.
struct view_form {
  std::string projection;
  std::uint32_t version = 1; ///< raised by the user when the same events make another view
  std::vector<view_table> tables;
  std::vector<std::string> events; ///< types of the events that are applied, sorted

  friend bool operator==(const view_form&, const view_form&) = default;
};

/// How far the events of one source are in the view.
struct view_cursor {
  std::string source;
  uuid journal;     ///< of which journal the position is,
  uuid incarnation; ///< and of which of its histories
  log_position position = 0;
  timestamp occurred_at{}; ///< of the last event that was applied
};

/// A stretch of a table's keys, from `begin` on and before `end`.
struct view_bounds {
  std::string begin;
  std::string end; ///< empty: to the table's end

  /// All keys that begin with `bytes`.
  static view_bounds prefix(std::string bytes);
};

struct view_row {
  std::string key;
  std::string value;
};

struct view_options {
  /// Address space reserved for the file, which is the bound of its size. It costs no memory and no disk.
  std::size_t map_bytes = std::size_t{1} << 37;
  /// When less than this would remain free on the file system, changes are refused with `disk_full`.
  std::size_t reserve_disk_bytes = 64u << 20;
  /// Ends a write transaction; a seam for tests that make it fail. Empty: `mdb_txn_commit`.
  std::function<int(MDB_txn*)> commit;
};

/// A view in an LMDB environment of its own, with the cursors of the sources that it is made of, so that both change in one
/// transaction. Its reads are thread-safe; each sees one state of the whole view, copies out and holds nothing when it returns.
///
/// Errors: `corrupt` (names the view, and table and key if it is a row), `io_error`, `closed`; `invalid_argument` for a key that
/// is empty or longer than `max_view_key`, naming both.
class view_store {
public:
  class transaction;

  /// Makes an empty view in folder `dir`, durably. The folder holds no view yet. Errors: `cannot_open`, `disk_full`.
  static result<std::unique_ptr<view_store>> create(const std::filesystem::path& dir, const view_form& form,
                                                    bool live, const view_options& options = {});
  /// Opens the view in folder `dir`. Errors: `cannot_open` (there is none, or it is damaged), `wrong_format`.
  static result<std::unique_ptr<view_store>> open(const std::filesystem::path& dir,
                                                  const view_options& options = {});
  ~view_store();

  const view_form& form() const noexcept;
  const std::filesystem::path& dir() const noexcept;

  /// The value under `key`, if there is one. `table` is a place in `form().tables`.
  result<std::optional<std::string>> get(std::size_t table, std::string_view key);

  /// The next rows in `where`, `limits` at most and at least one if there is one; moves `where` behind them. None is the end.
  result<std::vector<view_row>> list(std::size_t table, view_bounds& where, read_limits limits = {});

  result<std::vector<view_cursor>> cursors();

  /// Whether it serves, or is being built beside another one.
  result<bool> is_live();

  /// Begins to change the view: one transaction at a time, of one thread at a time. Error: `disk_full`.
  result<transaction> begin();

  /// Waits for readers; later calls answer `closed`.
  void close();

private:
  struct impl;
  explicit view_store(std::unique_ptr<impl> content) noexcept;
  std::unique_ptr<impl> impl_;
};

/// Changes of a view that become durable together, or not at all: the destructor undoes what was not committed. It sees its own
/// changes. After an error of a change, only its end may follow.
class view_store::transaction {
public:
  transaction(transaction&& other) noexcept;
  transaction& operator=(transaction&& other) noexcept;
  ~transaction();

  /// Points into the database until the next change.
  result<std::optional<std::string_view>> get(std::size_t table, std::string_view key);
  result<std::vector<view_row>> list(std::size_t table, view_bounds& where, read_limits limits = {});

  /// Error: `too_large`, for a value over `max_view_value`.
  result<void> put(std::size_t table, std::string_view key, std::string_view value);
  /// Whether there was one.
  result<bool> erase(std::size_t table, std::string_view key);
  result<void> put_cursor(const view_cursor& cursor);
  /// From now on the view serves.
  result<void> set_live();

  /// About how many bytes of memory the changes so far take at most, until they are committed.
  std::size_t memory() const;

  /// Makes the changes durable with one sync, then visible. After an error they may have happened or not: the environment was
  /// opened again, and the cursors say which.
  result<void> commit();

private:
  friend class view_store;
  transaction(view_store::impl& store, MDB_txn* txn);

  view_store::impl* store_ = nullptr;
  MDB_txn* txn_ = nullptr;
  std::vector<std::size_t> changes_; ///< by table
  std::size_t large_values_ = 0;     ///< bytes of those that have pages of their own
};

} // namespace eventcore
