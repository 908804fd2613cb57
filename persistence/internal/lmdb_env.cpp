#include <eventcore/persistence/internal/lmdb_env.hpp>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace eventcore::internal {

namespace {

/// Read transactions at one time, over all processes.
constexpr unsigned max_readers = 1'024;
constexpr unsigned table_count = 6;
constexpr std::size_t max_pooled_readers = 16;
/// How often a reader looks whether the writer has brought the file to its size, and how long it waits in between.
constexpr int size_checks = 20;
constexpr std::chrono::milliseconds size_check_interval{10};

} // namespace

std::optional<file_size> size_of_file(MDB_env* env) noexcept {
  file_size size;
  MDB_envinfo info{};
  MDB_stat stat{};
  struct stat file {};
  if (mdb_env_get_fd(env, &size.fd) != 0 || mdb_env_info(env, &info) != 0 || mdb_env_stat(env, &stat) != 0 ||
      ::fstat(size.fd, &file) != 0)
    return std::nullopt;
  size.page = stat.ms_psize;
  size.expected = (info.me_last_pgno + 1) * size.page;
  size.found = static_cast<std::size_t>(file.st_size);
  return size;
}

void extend_file(MDB_env* env) noexcept {
  if (auto size = size_of_file(env); size && size->short_of_pages())
    (void)!::ftruncate(size->fd, static_cast<off_t>(size->expected));
}

result<void> check_disk(const std::filesystem::path& dir, std::size_t reserve_bytes) {
  struct statvfs disk {};
  if (::statvfs(dir.c_str(), &disk) != 0)
    return make_error(journal_errc::io_error, "journal folder " + dir.string() + ": " + std::strerror(errno));
  auto free_bytes = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  if (free_bytes >= reserve_bytes)
    return {};
  return make_error(journal_errc::disk_full,
                    "journal folder " + dir.string() + ": the disk has " + std::to_string(free_bytes >> 20) +
                        " MiB left, and " + std::to_string(reserve_bytes >> 20) +
                        " MiB are kept in reserve; nothing was written. Free some space");
}

int sync_folder(const std::filesystem::path& dir) noexcept {
  const auto fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const auto code = fd < 0 || ::fsync(fd) != 0 ? errno : 0;
  if (fd >= 0)
    ::close(fd);
  return code;
}

error lmdb_error(int code, const std::string& what) {
  auto text = what + ": " + mdb_strerror(code);
  switch (code) {
  case ENOSPC:
  case EDQUOT:
  case MDB_MAP_FULL:
    return make_error(journal_errc::disk_full, text);
  case MDB_CORRUPTED:
  case MDB_PAGE_NOTFOUND:
  case MDB_PANIC:
  case MDB_INVALID:
    return make_error(journal_errc::corrupt, text + "; restore the journal from a backup");
  default:
    return make_error(journal_errc::io_error, text);
  }
}

result<std::unique_ptr<lmdb_env>> lmdb_env::open(config how) {
  std::unique_ptr<lmdb_env> env{new lmdb_env{std::move(how)}};
  if (auto started = env->start(); !started)
    return started.error();
  return env;
}

lmdb_env::~lmdb_env() {
  stop();
}

result<void> lmdb_env::start() {
  auto fail = [&](int code, const char* what) -> error {
    if (env_)
      mdb_env_close(env_);
    env_ = nullptr;
    auto text = "journal folder " + config_.dir.string() + ": " + what + ": " + mdb_strerror(code);
    if (code == MDB_VERSION_MISMATCH)
      return make_error(journal_errc::wrong_format, text);
    if (code == MDB_INVALID || code == MDB_CORRUPTED)
      text += "; its data.mdb is no journal, or damaged: restore it from a backup";
    return make_error(journal_errc::cannot_open, text);
  };
  if (auto code = mdb_env_create(&env_))
    return fail(code, "mdb_env_create");
  if (auto code = mdb_env_set_maxdbs(env_, table_count))
    return fail(code, "mdb_env_set_maxdbs");
  if (auto code = mdb_env_set_maxreaders(env_, max_readers))
    return fail(code, "mdb_env_set_maxreaders");
  if (config_.map_bytes > 0)
    if (auto code = mdb_env_set_mapsize(env_, config_.map_bytes))
      return fail(code, "mdb_env_set_mapsize");
  unsigned flags = MDB_NOTLS | (config_.read_only ? MDB_RDONLY : 0u);
  if (auto code = mdb_env_open(env_, config_.dir.c_str(), flags, 0644))
    return fail(code, "cannot open its data.mdb");
  if (auto checked = check_size(); !checked) {
    mdb_env_close(env_);
    env_ = nullptr;
    return checked;
  }
  if (auto opened = open_tables(); !opened) {
    mdb_env_close(env_);
    env_ = nullptr;
    return opened;
  }
  return {};
}

/// A file that was cut would kill the process with SIGBUS on the first access behind its end.
/// A writer extends the file here too, in case it was killed between a commit and that.
result<void> lmdb_env::check_size() const {
  auto size = size_of_file(env_);
  for (int i = 1; config_.read_only && size && size->short_of_pages() && i < size_checks; ++i) {
    std::this_thread::sleep_for(size_check_interval);
    size = size_of_file(env_);
  }
  auto failed = [this](const std::string& why) {
    return make_error(journal_errc::cannot_open, "journal folder " + config_.dir.string() + ": " + why);
  };
  if (!size)
    return failed("cannot read the size of its data.mdb");
  if (!size->short_of_pages())
    return {};
  const auto cut_short = "data.mdb was cut short: " + std::to_string(size->expected - size->found) +
                         " bytes are missing at its end; ";
  if (config_.read_only)
    return failed(cut_short +
                  "open it for writing if its writer was killed just now, else restore it from a backup");
  if (::ftruncate(size->fd, static_cast<off_t>(size->expected)) != 0)
    return failed(std::string{"cannot extend data.mdb: "} + std::strerror(errno));
  if (behind_end_is_free(size->found / size->page))
    return {};
  if (::ftruncate(size->fd, static_cast<off_t>(size->found)) != 0)
    return failed(std::string{"cannot restore the size of data.mdb: "} + std::strerror(errno));
  return failed(cut_short + "restore it from a backup");
}

/// Whether LMDB's list of free pages names all pages from `end` on.
bool lmdb_env::behind_end_is_free(std::size_t end) const {
  constexpr MDB_dbi free_pages = 0;
  MDB_envinfo info{};
  MDB_txn* txn = nullptr;
  if (mdb_env_info(env_, &info) != 0 || mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn) != 0)
    return false;
  auto missing = info.me_last_pgno + 1 - end;
  {
    // A value is a count and as many page numbers.
    lmdb_cursor cursor{txn, free_pages};
    MDB_val key{};
    MDB_val value{};
    for (auto code = cursor.get(key, value, MDB_FIRST); code == 0; code = cursor.get(key, value, MDB_NEXT)) {
      std::vector<std::size_t> list(value.mv_size / sizeof(std::size_t));
      if (list.empty())
        continue;
      std::memcpy(list.data(), value.mv_data, list.size() * sizeof(std::size_t));
      for (std::size_t i = 1; i < list.size() && i <= list[0]; ++i)
        if (list[i] >= end && missing > 0)
          --missing;
    }
  }
  mdb_txn_abort(txn);
  return missing == 0;
}

int lmdb_env::commit_write(MDB_txn* txn) {
  auto code = config_.commit(txn);
  if (code == 0)
    extend_file(env_);
  return code;
}

result<void> lmdb_env::open_tables() {
  MDB_txn* txn = nullptr;
  auto fail = [&](int code, const char* what) {
    if (txn)
      mdb_txn_abort(txn);
    if (code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE)
      return make_error(journal_errc::cannot_open,
                        "journal folder " + config_.dir.string() +
                            ": data.mdb is an LMDB file, but no journal (no table '" + what + "')");
    return lmdb_error(code, "journal folder " + config_.dir.string() + ": " + what);
  };
  if (auto code = mdb_txn_begin(env_, nullptr, config_.read_only ? MDB_RDONLY : 0, &txn)) {
    txn = nullptr;
    return fail(code, "mdb_txn_begin");
  }
  unsigned create = config_.read_only ? 0u : MDB_CREATE;
  struct {
    const char* name;
    unsigned flags;
    MDB_dbi* handle;
  } const tables[table_count] = {{"meta", 0, &tables_.meta},   {"log", MDB_INTEGERKEY, &tables_.log},
                                 {"index", 0, &tables_.index}, {"cursors", 0, &tables_.cursors},
                                 {"types", 0, &tables_.types}, {"timers", 0, &tables_.timers}};
  if (!config_.read_only) {
    // A file that holds other tables is somebody else's.
    MDB_dbi main = 0;
    MDB_stat stat{};
    auto code = mdb_dbi_open(txn, nullptr, 0, &main);
    if (code == 0)
      code = mdb_stat(txn, main, &stat);
    if (code == 0 && stat.ms_entries > 0)
      code = mdb_dbi_open(txn, "meta", 0, &tables_.meta);
    if (code != 0)
      return fail(code, "meta");
  }
  for (auto& table : tables) {
    auto code = mdb_dbi_open(txn, table.name, table.flags | create, table.handle);
    if (code == MDB_NOTFOUND && table.handle == &tables_.timers)
      tables_.timers = no_table;
    else if (code != 0)
      return fail(code, table.name);
  }
  if (auto code = config_.read_only ? mdb_txn_commit(txn) : commit_write(txn)) {
    txn = nullptr;
    return fail(code, "cannot write its tables");
  }
  return {};
}

void lmdb_env::stop() noexcept {
  for (auto* txn : pool_)
    mdb_txn_abort(txn);
  pool_.clear();
  if (env_)
    mdb_env_close(env_);
  env_ = nullptr;
}

result<void> lmdb_env::reopen() {
  std::unique_lock gate{gate_};
  stop();
  return start();
}

void lmdb_env::close() {
  std::unique_lock gate{gate_};
  closed_ = true;
  stop();
}

result<MDB_txn*> lmdb_env::begin_write() {
  if (!env_)
    if (auto opened = reopen(); !opened)
      return opened.error();
  MDB_txn* txn = nullptr;
  if (auto code = mdb_txn_begin(env_, nullptr, 0, &txn))
    return lmdb_error(code, "journal folder " + config_.dir.string() + ": cannot begin a write transaction");
  return txn;
}

void lmdb_env::drop_dead_readers() noexcept {
  int dead = 0;
  if (env_)
    mdb_reader_check(env_, &dead);
}

result<MDB_txn*> lmdb_env::take_reader() {
  if (closed_)
    return make_error(journal_errc::closed, "the journal in " + config_.dir.string() + " is closed");
  if (!env_)
    return make_error(journal_errc::io_error,
                      "journal folder " + config_.dir.string() + " could not be opened again");
  MDB_txn* txn = nullptr;
  {
    std::lock_guard lock{pool_mutex_};
    if (!pool_.empty()) {
      txn = pool_.back();
      pool_.pop_back();
    }
  }
  auto code = txn ? mdb_txn_renew(txn) : mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
  if (code == 0)
    return txn;
  if (txn)
    mdb_txn_abort(txn);
  return lmdb_error(code, "journal folder " + config_.dir.string() + ": cannot begin a read transaction");
}

void lmdb_env::give_reader(MDB_txn* txn) noexcept {
  mdb_txn_reset(txn);
  std::lock_guard lock{pool_mutex_};
  if (pool_.size() < max_pooled_readers)
    pool_.push_back(txn);
  else
    mdb_txn_abort(txn);
}

} // namespace eventcore::internal
