#pragma once

#include <eventcore/persistence/journal.hpp>

#include <filesystem>

namespace eventcore {

/// Options of the LMDB backend.
struct lmdb_options : journal_options {
  /// Create folder and journal if there is none. Otherwise a missing journal is `cannot_open`.
  bool create = true;
  /// Address space reserved for the file, which is the bound of its size. It costs no memory and no disk.
  std::size_t map_bytes = std::size_t{1} << 40;
  /// The same for the snapshots' file. Where it is full, new snapshots are dropped.
  std::size_t snapshot_map_bytes = std::size_t{1} << 37;
  /// When less than this would remain free on the file system, commits are refused with `disk_full` and snapshots dropped.
  std::size_t reserve_disk_bytes = 64u << 20;
};

/// Opens the journal in folder `dir` for reading and writing. One opener at a time, in this process and among all others.
/// Takes no longer for a long journal than for a short one, also after a crash.
///
/// Snapshots lie in its subfolder `snapshots`, which may be deleted while nobody has the journal open. A file there that is
/// damaged, of another format, or of another journal or incarnation is removed; where none can be made, snapshots are dropped.
///
/// Errors, each naming the folder: `cannot_open` (a file, not writable, garbage, holds other files than a journal),
/// `wrong_format`, `wrong_journal`, `locked` (names the process id of the holder).
result<std::unique_ptr<journal>> open_lmdb_journal(const std::filesystem::path& dir,
                                                   lmdb_options options = {});

/// Opens the journal in folder `dir` for reading, also while another process writes it; what that process commits becomes
/// visible. Writes nothing but LMDB's own reader table. Errors as above, save `locked`, which is said only when this very
/// process has the journal open already.
result<std::unique_ptr<journal_reader>> open_lmdb_journal_reader(const std::filesystem::path& dir);

} // namespace eventcore
