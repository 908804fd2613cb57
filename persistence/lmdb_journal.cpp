#include <eventcore/persistence/lmdb_journal.hpp>

#include <eventcore/persistence/internal/commit_writer.hpp>
#include <eventcore/persistence/internal/folder_lock.hpp>
#include <eventcore/persistence/internal/lmdb_journal.hpp>
#include <eventcore/persistence/internal/lmdb_meta.hpp>
#include <eventcore/persistence/internal/lmdb_store.hpp>
#include <eventcore/persistence/internal/snapshot_store.hpp>

#include <cstring>
#include <memory>

namespace eventcore {

namespace {

using internal::folder_lock;
using internal::lmdb_env;
using internal::lmdb_reader;

constexpr std::string_view data_file = "data.mdb";
/// Where a new data file is made, in the journal's folder.
constexpr std::string_view workshop = "new";

error cannot_open(const std::filesystem::path& dir, const std::string& why) {
  return make_error(journal_errc::cannot_open, "journal folder " + dir.string() + " " + why);
}

/// What lies in `dir`, before anything is created in it. True: a journal's data file is there. LMDB's lock file or snapshots
/// alone are not what an unfinished creation leaves.
result<bool> inspect(const std::filesystem::path& dir) {
  std::error_code failed;
  auto status = std::filesystem::status(dir, failed);
  if (status.type() == std::filesystem::file_type::not_found)
    return false;
  if (failed)
    return cannot_open(dir, "cannot be read: " + failed.message());
  if (!std::filesystem::is_directory(status))
    return cannot_open(dir, "is no folder; name the folder that holds the journal");
  bool foreign = false;
  bool lost = false;
  std::filesystem::directory_iterator entries{dir, failed};
  if (failed)
    return cannot_open(dir, "cannot be read: " + failed.message());
  for (auto& entry : entries) {
    auto name = entry.path().filename();
    if (name == data_file)
      return true;
    lost = lost || name == "lock.mdb";
    foreign = foreign || (name != "lock.mdb" && name != "writer.lock" && name != workshop);
  }
  if (lost && !std::filesystem::exists(dir / data_file, failed)) // it may have come meanwhile
    return cannot_open(dir,
                       "has lost its data.mdb, which holds the events; restore the journal from a backup, "
                       "or remove the folder to begin a new one");
  if (foreign)
    return cannot_open(dir, "holds other files, but no journal; name a new or an empty folder");
  return false;
}

/// Makes the data file of a new journal aside and moves it to its place when all of it is durable: LMDB does
/// not sync the first pages of a file before it relies on them, so that a power loss would leave a file that
/// it refuses.
result<void> create_data_file(const std::filesystem::path& dir, const lmdb_options& options,
                              const internal::commit_function& commit) {
  const auto aside = dir / workshop;
  std::error_code failed;
  std::filesystem::remove_all(aside, failed);
  if (!failed)
    std::filesystem::create_directory(aside, failed);
  if (failed)
    return cannot_open(dir, "cannot be written: " + failed.message());
  {
    auto env = lmdb_env::open({.dir = aside, .map_bytes = options.map_bytes, .commit = commit});
    if (!env)
      return env.error();
    if (auto info = internal::load_or_create_meta(**env, options); !info)
      return info.error();
  }
  std::filesystem::rename(aside / data_file, dir / data_file, failed);
  if (failed)
    return cannot_open(dir, "cannot be written: " + failed.message());
  for (auto& folder : {dir, std::filesystem::absolute(dir).parent_path()})
    if (auto code = internal::sync_folder(folder))
      return cannot_open(folder, std::string{"cannot be synced: "} + std::strerror(code));
  std::filesystem::remove_all(aside, failed); // what stays is removed by the next creation
  return {};
}

class lmdb_journal final : public journal {
public:
  lmdb_journal(folder_lock lock, std::unique_ptr<lmdb_env> env, journal_info info,
               const lmdb_options& options)
      : lock_{std::move(lock)}
      , env_{std::move(env)}
      , info_{std::move(info)}
      , options_{options}
      , reader_{*env_, tail_, filters_, lmdb_reader::tail_owner::writer}
      , store_{*env_, tail_, filters_, reader_, options.reserve_disk_bytes}
      , snapshots_{info_,
                   {.journal_dir = env_->dir(),
                    .map_bytes = options.snapshot_map_bytes,
                    .reserve_disk_bytes = options.reserve_disk_bytes},
                   options.writer,
                   [this] { writer_->settle(); }} {}

  ~lmdb_journal() override { close(); }

  result<void> start() {
    if (auto loaded = store_.load(); !loaded)
      return loaded;
    event_id last_id;
    if (auto last = store_.head(); last > 0) {
      event_page page;
      auto next = last;
      // A damaged last record stops its stream's readers, not the journal.
      if (reader_.read_log(next, page, {}, {.events = 1}) && !page.empty())
        last_id = page.begin()->id;
    }
    writer_.emplace(store_, options_, last_id);
    return {};
  }

  const journal_info& info() const noexcept override { return info_; }
  result<log_position> head() override { return reader_.head(); }

  result<stream_head> head_of(const stream_id& stream) override {
    writer_->settle(stream.str());
    return reader_.head_of(stream);
  }

  result<void> read_stream(stream_cursor& where, event_page& page, read_limits limits) override {
    writer_->settle(where.stream.str());
    return reader_.read_stream(where, page, limits);
  }

  result<void> read_log(log_position& next, event_page& page, const log_filter& filter,
                        read_limits limits) override {
    return reader_.read_log(next, page, filter, limits);
  }

  result<std::vector<stream_head>> list_streams(std::string& token, std::size_t limit) override {
    writer_->settle();
    return reader_.list_streams(token, limit);
  }

  result<std::vector<event_type_info>> event_types() override { return reader_.event_types(); }

  result<std::optional<snapshot>> load_snapshot(const stream_id& stream, const std::string& type,
                                                stream_version up_to) override {
    return snapshots_.load(stream, type, up_to);
  }

  result<log_position> load_cursor(const std::string& name) override {
    writer_->settle();
    return reader_.load_cursor(name);
  }

  result<std::vector<durable_timer>> read_timers(const durable_timer& after, timestamp until,
                                                 std::size_t limit) override {
    return reader_.read_timers(after, until, limit);
  }

  result<writer_credit> reserve(std::size_t bytes) override { return writer_->reserve(bytes); }

  void submit(commit c, writer_credit credit, std::shared_ptr<commit_listener> listener,
              std::uint64_t ticket) override {
    writer_->submit(std::move(c), std::move(credit), std::move(listener), ticket);
  }

  void save_snapshot(const stream_id& stream, snapshot s, std::size_t keep) override {
    snapshots_.save(stream, std::move(s), keep);
  }

  void flush_snapshots() override { snapshots_.flush(); }

  tail_subscription follow_tail(std::function<void(log_position)> on_durable) override {
    return writer_->follow_tail(std::move(on_durable));
  }

  tail_subscription keep_tail() override { return writer_->tail().keep(); }
  std::shared_ptr<const event_page> recent(log_position position) override {
    return writer_->tail().find(position);
  }

  tail_subscription follow_timers(std::function<void(timestamp)> on_set) override {
    return writer_->follow_timers(std::move(on_set));
  }

  journal_stats stats() const override {
    auto stats = writer_->stats();
    snapshots_.add_to(stats);
    return stats;
  }

  std::size_t step() override {
    auto answered = writer_->step();
    snapshots_.step();
    return answered;
  }

  void close() override {
    if (writer_)
      writer_->close();
    snapshots_.close();
    env_->close();
    lock_.reset();
  }

private:
  std::optional<folder_lock> lock_;
  std::unique_ptr<lmdb_env> env_;
  journal_info info_;
  lmdb_options options_;
  internal::tail_index tail_;
  internal::run_filters filters_;
  lmdb_reader reader_;
  internal::lmdb_store store_;
  internal::snapshot_store snapshots_;
  std::optional<internal::commit_writer> writer_;
};

class lmdb_journal_reader final : public journal_reader {
public:
  lmdb_journal_reader(folder_lock lock, std::unique_ptr<lmdb_env> env, journal_info info)
      : lock_{std::move(lock)}
      , env_{std::move(env)}
      , info_{std::move(info)}
      , reader_{*env_, tail_, filters_, lmdb_reader::tail_owner::reader}
      , snapshots_{info_, {.journal_dir = env_->dir(), .read_only = true}} {}

  const journal_info& info() const noexcept override { return info_; }
  result<log_position> head() override { return reader_.head(); }
  result<stream_head> head_of(const stream_id& stream) override { return reader_.head_of(stream); }

  result<void> read_stream(stream_cursor& where, event_page& page, read_limits limits) override {
    return reader_.read_stream(where, page, limits);
  }

  result<void> read_log(log_position& next, event_page& page, const log_filter& filter,
                        read_limits limits) override {
    return reader_.read_log(next, page, filter, limits);
  }

  result<std::vector<stream_head>> list_streams(std::string& token, std::size_t limit) override {
    return reader_.list_streams(token, limit);
  }

  result<std::vector<event_type_info>> event_types() override { return reader_.event_types(); }

  result<std::optional<snapshot>> load_snapshot(const stream_id& stream, const std::string& type,
                                                stream_version up_to) override {
    return snapshots_.find(stream, type, up_to);
  }

  result<log_position> load_cursor(const std::string& name) override { return reader_.load_cursor(name); }

  result<std::vector<durable_timer>> read_timers(const durable_timer& after, timestamp until,
                                                 std::size_t limit) override {
    return reader_.read_timers(after, until, limit);
  }

private:
  folder_lock lock_;
  std::unique_ptr<lmdb_env> env_;
  journal_info info_;
  internal::tail_index tail_;
  internal::run_filters filters_;
  lmdb_reader reader_;
  internal::snapshot_env snapshots_;
};

} // namespace

result<std::unique_ptr<journal>> internal::open_lmdb_journal(const std::filesystem::path& dir,
                                                             const lmdb_options& options,
                                                             commit_function commit) {
  auto exists = inspect(dir);
  if (!exists)
    return exists.error();
  if (!*exists && !options.create)
    return cannot_open(dir, "holds no journal");
  if (std::error_code failed; !*exists && !std::filesystem::create_directories(dir, failed) && failed)
    return cannot_open(dir, "cannot be created: " + failed.message());
  auto lock = folder_lock::acquire(dir, folder_lock::mode::writer);
  if (!lock)
    return lock.error();
  // Asked again: the last holder of the lock may have made it.
  if (!std::filesystem::exists(dir / data_file))
    if (auto created = create_data_file(dir, options, commit); !created)
      return created.error();
  auto env = lmdb_env::open({.dir = dir, .map_bytes = options.map_bytes, .commit = std::move(commit)});
  if (!env)
    return env.error();
  auto info = load_or_create_meta(**env, options);
  if (!info)
    return info.error();
  info->folder = dir.string();
  auto opened = std::make_unique<lmdb_journal>(*std::move(lock), *std::move(env), *std::move(info), options);
  if (auto started = opened->start(); !started)
    return error{started.error().code(), "journal folder " + dir.string() + ": " + started.error().message()};
  return std::unique_ptr<journal>{std::move(opened)};
}

result<std::unique_ptr<journal>> open_lmdb_journal(const std::filesystem::path& dir, lmdb_options options) {
  return internal::open_lmdb_journal(dir, options, mdb_txn_commit);
}

result<std::unique_ptr<journal_reader>> open_lmdb_journal_reader(const std::filesystem::path& dir) {
  auto exists = inspect(dir);
  if (!exists)
    return exists.error();
  if (!*exists)
    return cannot_open(dir, std::filesystem::exists(dir) ? "holds no journal" : "does not exist");
  auto lock = folder_lock::acquire(dir, folder_lock::mode::reader);
  if (!lock)
    return lock.error();
  auto env = lmdb_env::open({.dir = dir, .read_only = true});
  if (!env)
    return env.error();
  auto info = internal::load_meta(**env);
  if (!info)
    return info.error();
  info->folder = dir.string();
  return std::unique_ptr<journal_reader>{
      std::make_unique<lmdb_journal_reader>(*std::move(lock), *std::move(env), *std::move(info))};
}

} // namespace eventcore
