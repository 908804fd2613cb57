#pragma once

#include <eventcore/persistence/internal/lmdb_env.hpp>
#include <eventcore/persistence/internal/stream_index.hpp>
#include <eventcore/persistence/journal.hpp>

#include <mutex>

namespace eventcore::internal {

/// All reads of an LMDB journal. Thread-safe. See `journal_reader` for what each promises.
class lmdb_reader {
public:
  /// Who fills the tail index.
  enum class tail_owner : std::uint8_t {
    writer, ///< the journal's writer in this process
    reader, ///< this reader itself, from the log: another process writes
  };

  lmdb_reader(lmdb_env& env, tail_index& tail, const run_filters& filters, tail_owner owner)
      : env_{env}
      , tail_{tail}
      , filters_{filters}
      , owner_{owner} {}

  result<log_position> head();
  result<stream_head> head_of(const stream_id& stream);
  result<void> read_stream(stream_cursor& where, event_page& page, read_limits limits);
  result<void> read_log(log_position& next, event_page& page, const log_filter& filter, read_limits limits);
  result<std::vector<stream_head>> list_streams(std::string& token, std::size_t limit);
  result<std::vector<event_type_info>> event_types();
  result<log_position> load_cursor(const std::string& name);
  result<std::vector<durable_timer>> read_timers(const durable_timer& after, timestamp until,
                                                 std::size_t limit);

  /// `head_of` inside a transaction of the caller's, which sees all that the tail holds.
  result<stream_head> head_of(MDB_txn* txn, const lmdb_tables& tables, const std::vector<index_run>& runs,
                              const stream_id& stream);

private:
  /// What one read transaction sees of log and index.
  struct view {
    MDB_txn* txn;
    const lmdb_tables& tables;
    std::vector<index_run> runs;
    log_position head;
    std::shared_ptr<const run_filters::table> filters;
    /// False: the run has no entry of this hash.
    bool may_have(const index_run& run, std::uint64_t hash) const {
      auto filter = filters->find(run.id);
      return filter == filters->end() || filter->second->may_have(hash);
    }
    /// The position up to which `runs` go; the tail covers the rest.
    log_position indexed() const { return runs.empty() ? 0 : runs.back().last; }
  };

  /// Calls `f(view)` with a transaction whose runs, together with the tail, cover the whole log.
  template <class F>
  auto with_view(F&& f) -> decltype(f(std::declval<view&>()));
  result<void> catch_up(view& v);

  result<void> find_positions(view& v, std::uint64_t hash, log_position after, std::size_t limit,
                              std::vector<log_position>& out);
  result<log_position> find_start(view& v, std::uint64_t hash, const stream_id& stream,
                                  stream_version version);
  result<stream_head> find_head(view& v, const stream_id& stream);
  result<stream_head> find_head_slowly(view& v, std::uint64_t hash, const std::string& stream);

  lmdb_env& env_;
  tail_index& tail_;
  const run_filters& filters_;
  tail_owner owner_;
  std::mutex catching_up_;
};

/// The last position of the log as `txn` sees it.
result<log_position> last_position(MDB_txn* txn, const lmdb_tables& tables);

/// Reads the log behind `tail` into it, up to `head`. A damaged record is indexed by the stream that it names.
/// Error: `corrupt`, if one names none and `strict`.
result<void> extend_tail(MDB_txn* txn, const lmdb_tables& tables, tail_index& tail, log_position head,
                         bool strict);

// -- the forms of small values, shared with those who write them -----------------------------------------------------------------

/// `name`, NUL, `number`: keys of one name sort by number.
std::string sortable_key(const std::string& name, std::uint64_t number);
/// Puts a checksum in front.
std::string seal(std::string_view content);
/// Checks and takes off the checksum.
std::optional<std::string_view> unseal(std::string_view value);

} // namespace eventcore::internal
