#pragma once

#include <eventcore/persistence/event.hpp>
#include <eventcore/persistence/internal/lmdb_env.hpp>
#include <eventcore/persistence/internal/run_filter.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <shared_mutex>
#include <string_view>
#include <vector>

/// Finds a stream's events in the log: a log-structured merge index (O'Neil et al. 1996) whose write-ahead
/// log is the journal itself.
///
/// An entry is (hash of the stream's id, position): 16 bytes an event. The newest events are indexed in
/// memory only
/// (`tail_index`) and indexed again from the log at open. When the tail is full it becomes a sorted run in
/// LMDB; when `merge_width` runs of one level stand side by side they are merged to one of the next level, a
/// few entries with each transaction, so that no commit pays for a whole merge. Runs cover ranges of
/// positions that do not overlap and are in order, so a stream's entries, run after run, are in order of
/// version.
///
/// Two streams may share a hash: whoever follows an entry looks at the stream's name in the record.
namespace eventcore::internal {

struct index_entry {
  std::uint64_t hash;
  log_position position;
  friend auto operator<=>(const index_entry&, const index_entry&) = default;
};

/// One sorted run: all entries of positions `first` to `last`.
struct index_run {
  std::uint32_t id;
  std::uint32_t level;
  log_position first;
  log_position last;
};

std::uint64_t hash_of(std::string_view stream) noexcept;

/// Events that the tail holds before it becomes a run, and so the number of records read again at open, at
/// most about twice.
constexpr std::size_t tail_size = 32'768;
/// Runs of one level that are merged to one of the next.
constexpr std::size_t merge_width = 8;
/// Runs of this level at most have a filter: that is where most runs are, and what bounds the filters' memory, at about 10 MiB.
constexpr std::uint32_t filtered_level = 1;
/// Entries stored as one LMDB value, so that it fills one page.
constexpr std::size_t chunk_entries = 254;

/// The runs as the transaction sees them, in order of position. Error: `corrupt`, `io_error`.
result<std::vector<index_run>> load_runs(MDB_txn* txn, const lmdb_tables& tables);

/// Goes through the entries of one run in order of (hash, position).
class run_cursor {
public:
  run_cursor(MDB_txn* txn, const lmdb_tables& tables, const index_run& run)
      : cursor_{txn, tables.index}
      , run_{run.id} {}

  /// Goes to the first entry that is not before `target`. False: there is none.
  result<bool> seek(index_entry target);
  /// Goes to the last entry of `hash`. False: there is none.
  result<bool> seek_last_of(std::uint64_t hash);
  /// False: that was the last one.
  result<bool> next();
  /// Goes to the chunk behind the present one. False: that was the last one.
  result<bool> next_chunk();

  const index_entry& entry() const noexcept { return chunk_[at_]; }

private:
  result<bool> take(int code, const MDB_val& key, const MDB_val& value);

  lmdb_cursor cursor_;
  std::uint32_t run_;
  std::array<index_entry, chunk_entries> chunk_;
  std::size_t size_ = 0;
  std::size_t at_ = 0;
};

/// The entries behind the last run, in memory. Thread-safe for many readers and one writer.
class tail_index {
public:
  /// Positions covered: (`base`, `head`].
  struct range {
    log_position base;
    log_position head;
  };
  range covered() const;

  /// Appends the positions of `hash` in (`after`, `up_to`] to `out`, oldest first, `limit` at most. Returns
  /// what was covered.
  range find(std::uint64_t hash, log_position after, log_position up_to, std::size_t limit,
             std::vector<log_position>& out) const;
  /// The last position of `hash`; 0 if there is none here.
  log_position last_of(std::uint64_t hash) const;
  /// Distinct hashes above `above`, in order, and how often and where last each occurs in (`after`, `up_to`].
  struct occurrence {
    std::uint64_t hash;
    std::uint64_t count;
    log_position last;
  };
  std::vector<occurrence> occurrences(std::uint64_t above, bool from_start, log_position after,
                                      log_position up_to) const;

  // -- for the writer --
  void reset(log_position base);
  void append(const std::vector<std::uint64_t>& hashes);
  /// Forgets all up to `base`, which became a run.
  void drop_until(log_position base);
  /// All entries, sorted.
  std::vector<index_entry> sorted() const;

private:
  struct node {
    std::uint64_t hash;
    std::uint32_t previous; // 1 + index of the event before of the same hash; 0: none
  };
  void push(std::uint64_t hash);
  void grow();
  std::uint32_t& slot_of(std::uint64_t hash);
  std::uint32_t last_node(std::uint64_t hash) const;

  mutable std::shared_mutex mutex_;
  log_position base_ = 0;
  std::vector<node> nodes_; // of positions base_ + 1, base_ + 2, ...
  /// An open-addressing hash table: the last event of each hash (1 + index of its node), or 0.
  std::vector<std::uint32_t> slots_;
};

/// The index's writing half. Belongs to the thread of the write transaction.
class index_writer {
public:
  explicit index_writer(run_filters& filters)
      : filters_{filters} {}

  /// Takes up the runs, and what an earlier process left unfinished. Does not fill the tail.
  result<void> load(MDB_txn* txn, const lmdb_tables& tables);

  /// The index's share in a write transaction that appends `appended` events: turns a full tail into a run,
  /// merges, and removes what was merged. After an error, or if the transaction does not commit, `load` must
  /// follow.
  result<void> maintain(MDB_txn* txn, const lmdb_tables& tables, const tail_index& tail,
                        std::size_t appended);

  const std::vector<index_run>& runs() const noexcept { return runs_; }
  /// The last position that a run covers.
  log_position covered() const noexcept { return runs_.empty() ? 0 : runs_.back().last; }

private:
  struct merge {
    std::vector<index_run> inputs;
    std::uint32_t output;
    std::shared_ptr<run_filter> filter; // null: the output has none
    std::optional<index_entry> done;    // the last entry written
    std::size_t budget = 0;
  };

  result<void> flush(MDB_txn* txn, const lmdb_tables& tables, const tail_index& tail);
  void start_merges();
  result<bool> advance(MDB_txn* txn, const lmdb_tables& tables, merge& m);
  result<void> put_chunk(MDB_txn* txn, const lmdb_tables& tables, std::uint32_t run,
                         const index_entry* entries, std::size_t count);
  result<void> drop_garbage(MDB_txn* txn, const lmdb_tables& tables, std::size_t chunks);
  result<void> save_runs(MDB_txn* txn, const lmdb_tables& tables);

  run_filters& filters_;
  std::vector<index_run> runs_;
  std::uint32_t next_id_ = 1;
  std::map<std::uint32_t, merge> merges_; // by level of the inputs
  std::vector<std::uint32_t> garbage_;    // runs to be removed
};

} // namespace eventcore::internal
