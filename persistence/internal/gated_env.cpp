#include <eventcore/persistence/internal/gated_env.hpp>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace eventcore::internal {

namespace {

/// Read transactions at one time, over all processes.
constexpr unsigned max_readers = 1'024;
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

result<void> check_disk(const std::filesystem::path& dir, std::size_t reserve_bytes,
                        const std::string& subject) {
  struct statvfs disk {};
  if (::statvfs(dir.c_str(), &disk) != 0)
    return make_error(journal_errc::io_error, subject + ": " + std::strerror(errno));
  auto free_bytes = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  if (free_bytes >= reserve_bytes)
    return {};
  return make_error(journal_errc::disk_full,
                    subject + ": the disk has " + std::to_string(free_bytes >> 20) + " MiB left, and " +
                        std::to_string(reserve_bytes >> 20) +
                        " MiB are kept in reserve; nothing was written. Free some space");
}

int sync_folder(const std::filesystem::path& dir) noexcept {
  const auto fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const auto code = fd < 0 || ::fsync(fd) != 0 ? errno : 0;
  if (fd >= 0)
    ::close(fd);
  return code;
}

error lmdb_error(int code, const std::string& what, std::string_view if_damaged) {
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
    return make_error(journal_errc::corrupt, text + "; " + std::string{if_damaged});
  default:
    return make_error(journal_errc::io_error, text);
  }
}

gated_env::~gated_env() {
  stop();
}

error gated_env::failed(const std::string& why) const {
  return make_error(journal_errc::cannot_open, config_.subject + ": " + why);
}

result<void> gated_env::start() {
  auto started = try_start();
  if (!started)
    stop();
  return started;
}

result<void> gated_env::try_start() {
  auto fail = [&](int code, const std::string& what) -> error {
    auto text = what + ": " + mdb_strerror(code);
    if (code == MDB_VERSION_MISMATCH)
      return make_error(journal_errc::wrong_format, config_.subject + ": " + text);
    if (code == MDB_INVALID || code == MDB_CORRUPTED)
      return make_error(config_.damaged,
                        config_.subject + ": " + text +
                            "; its data.mdb is no LMDB file, or damaged: " + config_.if_damaged);
    return failed(text);
  };
  if (auto code = mdb_env_create(&env_))
    return fail(code, "mdb_env_create");
  // LMDB ends the process over some damaged pages, and knows the name of its source file only.
  mdb_env_set_userctx(env_, this);
  mdb_env_set_assert(env_, [](MDB_env* env, const char*) {
    const auto& damaged = static_cast<const gated_env*>(mdb_env_get_userctx(env))->config_;
    std::fprintf(stderr, "%s: a page of its data.mdb is damaged, and LMDB ends the process; %s\n",
                 damaged.subject.c_str(), damaged.if_damaged.c_str());
  });
  if (auto code = mdb_env_set_maxdbs(env_, config_.max_tables))
    return fail(code, "mdb_env_set_maxdbs");
  if (auto code = mdb_env_set_maxreaders(env_, max_readers))
    return fail(code, "mdb_env_set_maxreaders");
  if (config_.map_bytes > 0)
    if (auto code = mdb_env_set_mapsize(env_, config_.map_bytes))
      return fail(code, "mdb_env_set_mapsize");
  unsigned flags = MDB_NOTLS | (config_.read_only ? MDB_RDONLY : 0u);
  if (auto code = mdb_env_open(env_, config_.dir.c_str(), flags, 0644))
    return fail(code, code == EACCES
                          ? "cannot open its data.mdb, or its lock.mdb, which readers write to, too"
                          : "cannot open its data.mdb");
  if (auto checked = check_size(); !checked)
    return checked;
  MDB_txn* txn = nullptr;
  if (auto code = mdb_txn_begin(env_, nullptr, config_.read_only ? MDB_RDONLY : 0u, &txn))
    return lmdb_error(code, config_.subject + ": mdb_txn_begin", config_.if_damaged);
  if (auto opened = open_tables(txn); !opened) {
    mdb_txn_abort(txn);
    return opened;
  }
  if (auto code = config_.read_only ? mdb_txn_commit(txn) : commit_write(txn))
    return lmdb_error(code, config_.subject + ": cannot write its tables", config_.if_damaged);
  return {};
}

/// A file that was cut would kill the process with SIGBUS on the first access behind its end.
/// A writer extends the file here too, in case it was killed between a commit and that.
result<void> gated_env::check_size() const {
  auto size = size_of_file(env_);
  for (int i = 1; config_.read_only && size && size->short_of_pages() && i < size_checks; ++i) {
    std::this_thread::sleep_for(size_check_interval);
    size = size_of_file(env_);
  }
  if (!size)
    return failed("cannot read the size of its data.mdb");
  if (!size->short_of_pages())
    return {};
  const auto cut_short = "data.mdb was cut short: " + std::to_string(size->expected - size->found) +
                         " bytes are missing at its end; ";
  if (config_.read_only)
    return failed(cut_short + "open it for writing if its writer was killed just now, else " +
                  config_.if_damaged);
  if (::ftruncate(size->fd, static_cast<off_t>(size->expected)) != 0)
    return failed(std::string{"cannot extend data.mdb: "} + std::strerror(errno));
  if (behind_end_is_free(size->found / size->page))
    return {};
  if (::ftruncate(size->fd, static_cast<off_t>(size->found)) != 0)
    return failed(std::string{"cannot restore the size of data.mdb: "} + std::strerror(errno));
  return make_error(config_.damaged, config_.subject + ": " + cut_short + config_.if_damaged);
}

/// Whether LMDB's list of free pages names all pages from `end` on.
bool gated_env::behind_end_is_free(std::size_t end) const {
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

int gated_env::commit_write(MDB_txn* txn) {
  auto code = config_.commit(txn);
  if (code == 0)
    extend_file(env_);
  return code;
}

void gated_env::stop() noexcept {
  for (auto* txn : pool_)
    mdb_txn_abort(txn);
  pool_.clear();
  if (env_)
    mdb_env_close(env_);
  env_ = nullptr;
}

result<void> gated_env::reopen() {
  std::unique_lock gate{gate_};
  stop();
  return start();
}

void gated_env::close() {
  std::unique_lock gate{gate_};
  closed_ = true;
  stop();
}

result<MDB_txn*> gated_env::begin_write() {
  if (closed_)
    return make_error(journal_errc::closed, config_.subject + " is closed");
  if (!env_)
    if (auto opened = reopen(); !opened)
      return opened.error();
  MDB_txn* txn = nullptr;
  if (auto code = mdb_txn_begin(env_, nullptr, 0, &txn))
    return lmdb_error(code, config_.subject + ": cannot begin a write transaction", config_.if_damaged);
  return txn;
}

void gated_env::drop_dead_readers() noexcept {
  int dead = 0;
  if (env_)
    mdb_reader_check(env_, &dead);
}

/// Whether a read transaction may show a commit that is not synced yet. LMDB takes the number of the last commit, and then the
/// state from the page that the next commit but one is written to: a thread that sleeps in between gets the state of that one, as
/// soon as it is written and before it is synced.
bool gated_env::has_seen_too_much(MDB_txn* txn) const noexcept {
  MDB_envinfo info{};
  return mdb_env_info(env_, &info) == 0 && info.me_last_txnid > mdb_txn_id(txn) + 1;
}

result<MDB_txn*> gated_env::take_reader() {
  if (closed_)
    return make_error(journal_errc::closed, config_.subject + " is closed");
  if (!env_)
    return make_error(journal_errc::io_error, config_.subject + " could not be opened again");
  MDB_txn* txn = nullptr;
  {
    std::lock_guard lock{pool_mutex_};
    if (!pool_.empty()) {
      txn = pool_.back();
      pool_.pop_back();
    }
  }
  auto code = txn ? mdb_txn_renew(txn) : mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
  while (code == 0 && has_seen_too_much(txn)) {
    mdb_txn_reset(txn);
    code = mdb_txn_renew(txn);
  }
  if (code == 0)
    return txn;
  if (txn)
    mdb_txn_abort(txn);
  return lmdb_error(code, config_.subject + ": cannot begin a read transaction", config_.if_damaged);
}

void gated_env::give_reader(MDB_txn* txn) noexcept {
  mdb_txn_reset(txn);
  std::lock_guard lock{pool_mutex_};
  if (pool_.size() < max_pooled_readers)
    pool_.push_back(txn);
  else
    mdb_txn_abort(txn);
}

} // namespace eventcore::internal
