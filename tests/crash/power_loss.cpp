/// A disk that loses power, for the journal of this process.
///
/// Linked into a program, the functions below take the place of the system's. They count what the program
/// does to the files called data.mdb below the folder POWER_LOSS_FOLDER, remember what each 512-byte sector
/// held at the last sync and since, and at operation POWER_LOSS_AT give every sector that is not synced one
/// of its contents since then, at random by POWER_LOSS_SEED, cut the file's end off if its growth is not
/// synced, and kill the process. A write is atomic for a sector and for nothing larger. A write through a
/// descriptor with O_DSYNC syncs what it wrote and nothing else. A file's making or renaming is undone, or
/// not, if its folder is not synced.
///
/// With POWER_LOSS_LIE=1 fsync and fdatasync do nothing, as on a disk that lies. Without POWER_LOSS_AT, all
/// is as always.
///
/// Writes through a memory map are not seen.

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

template <class Function>
Function* system_function(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

ssize_t system_pread(int fd, void* to, std::size_t size, off_t at) {
  static const auto f = system_function<ssize_t(int, void*, std::size_t, off_t)>("pread");
  return f(fd, to, size, at);
}
ssize_t system_pwrite(int fd, const void* from, std::size_t size, off_t at) {
  static const auto f = system_function<ssize_t(int, const void*, std::size_t, off_t)>("pwrite");
  return f(fd, from, size, at);
}
int system_ftruncate(int fd, off_t size) {
  static const auto f = system_function<int(int, off_t)>("ftruncate");
  return f(fd, size);
}

constexpr off_t sector_size = 512;
constexpr off_t sectors_of_page = 8;
using sector = std::array<char, sector_size>;

struct sector_range {
  off_t first;
  off_t end;
};

/// A file, and what it would hold if its unsynced writes were lost.
class tracked_file {
public:
  explicit tracked_file(const std::string& path)
      : fd_{open(path.c_str(), O_RDWR | O_CLOEXEC)}
      , synced_size_{size()} {
    if (fd_ == -1)
      std::abort();
  }

  off_t size() const {
    struct stat s {};
    fstat(fd_, &s);
    return s.st_size;
  }

  void remember(sector_range sectors) {
    last_ = sectors;
    for (auto s = sectors.first; s < sectors.end; ++s) {
      sector content{}; // zeros behind the file's end
      system_pread(fd_, content.data(), content.size(), s * sector_size);
      unsynced_[s].push_back(content);
    }
  }

  void synced() {
    unsynced_.clear();
    synced_size_ = size();
  }

  void last_write_synced() {
    unsynced_.erase(unsynced_.lower_bound(last_.first), unsynced_.lower_bound(last_.end));
    synced_size_ = std::max(synced_size_, std::min(size(), last_.end * sector_size));
  }

  void lose_power(std::mt19937_64& random) {
    const auto chance = [&](unsigned one_in) { return random() % one_in == 0; };
    const auto full_size = size();
    auto left_size = full_size;
    switch (random() % 4) {
    case 0: // nothing arrived
      for (const auto& [s, contents] : unsynced_)
        put(s, contents.front());
      left_size = std::min(full_size, synced_size_);
      break;
    case 1: // any sector may have arrived, in any of its contents
      for (const auto& [s, contents] : unsynced_)
        if (const auto i = random() % (contents.size() + 1); i < contents.size())
          put(s, contents[i]);
      if (full_size > synced_size_ && chance(2))
        left_size = synced_size_ +
                    static_cast<off_t>(random() % static_cast<std::uint64_t>(full_size - synced_size_));
      break;
    case 2: { // whole pages arrived or did not
      auto page = off_t{-1};
      bool lost = false;
      for (const auto& [s, contents] : unsynced_) {
        if (s / sectors_of_page != page) {
          page = s / sectors_of_page;
          lost = chance(2);
        }
        if (lost)
          put(s, contents.front());
      }
      break;
    }
    case 3: // all arrived but for a part of the last write
      for (auto s = last_.first; s < last_.end; ++s)
        if (const auto found = unsynced_.find(s); found != unsynced_.end() && chance(2))
          put(s, found->second.back());
      break;
    }
    if (left_size < full_size)
      system_ftruncate(fd_, left_size);
  }

private:
  void put(off_t s, const sector& content) {
    system_pwrite(fd_, content.data(), content.size(), s * sector_size);
  }

  int fd_;
  off_t synced_size_;
  sector_range last_{0, 0};
  /// By number of the sector: what it held at the last sync, then after each write but the last.
  std::map<off_t, std::vector<sector>> unsynced_;
};

class disk {
public:
  static disk& the() {
    static disk d;
    return d;
  }

  bool holds(std::string_view path) const { return power_loss_at_ != 0 && path.starts_with(folder_); }

  /// The path of a data.mdb or a folder on this disk; else empty.
  std::string path_of(int fd) const {
    if (power_loss_at_ == 0)
      return {};
    std::array<char, 4'096> path;
    const auto link = "/proc/self/fd/" + std::to_string(fd);
    const auto size = readlink(link.c_str(), path.data(), path.size());
    std::string text{path.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
    struct stat s {};
    const bool known = text.starts_with(folder_) && fstat(fd, &s) == 0 &&
                       (S_ISDIR(s.st_mode) || text.ends_with("/data.mdb"));
    return known ? text : std::string{};
  }

  template <class Write>
  auto write(const std::string& path, int fd, off_t at, std::size_t size, Write write) {
    std::lock_guard lock{mutex_};
    auto& file = file_at(path, fd);
    file.remember({at / sector_size, (at + static_cast<off_t>(size) + sector_size - 1) / sector_size});
    const auto written = write();
    count();
    if ((fcntl(fd, F_GETFL) & O_DSYNC) != 0)
      file.last_write_synced();
    return written;
  }

  template <class Truncate>
  int truncate(const std::string& path, int fd, off_t size, Truncate truncate) {
    std::lock_guard lock{mutex_};
    auto& file = file_at(path, fd);
    file.remember({size / sector_size, (file.size() + sector_size - 1) / sector_size});
    const auto code = truncate();
    count();
    return code;
  }

  template <class Sync>
  int sync(const std::string& path, int fd, Sync sync) {
    std::lock_guard lock{mutex_};
    count();
    if (lies_)
      return 0;
    struct stat s {};
    if (fstat(fd, &s) == 0 && S_ISDIR(s.st_mode))
      std::erase_if(changes_, [&](const change& c) { return c.to.substr(0, c.to.rfind('/')) == path; });
    else
      file_at(path, fd).synced();
    return sync();
  }

  template <class Rename>
  int rename(const std::string& from, const std::string& to, Rename rename) {
    std::lock_guard lock{mutex_};
    const auto code = rename();
    if (code == 0) {
      std::erase_if(changes_, [&](const change& c) { return c.to == from; });
      changes_.push_back({from, to});
    }
    count();
    return code;
  }

private:
  struct change {
    std::string from; // empty: the file was made
    std::string to;
  };

  disk() {
    const auto number = [](const char* name) {
      const auto* text = std::getenv(name);
      return text ? std::strtoull(text, nullptr, 10) : 0;
    };
    power_loss_at_ = number("POWER_LOSS_AT");
    random_.seed(number("POWER_LOSS_SEED"));
    lies_ = number("POWER_LOSS_LIE") != 0;
    if (const auto* folder = std::getenv("POWER_LOSS_FOLDER"))
      folder_ = folder;
  }

  tracked_file& file_at(const std::string& path, int fd) {
    struct stat s {};
    fstat(fd, &s);
    const auto found = files_.find(s.st_ino);
    if (found != files_.end())
      return found->second;
    if (s.st_size == 0)
      changes_.push_back({"", path});
    return files_.try_emplace(s.st_ino, path).first->second;
  }

  void count() {
    if (++operations_ == power_loss_at_)
      lose_power();
  }

  [[noreturn]] void lose_power() {
    for (auto& [number, file] : files_)
      file.lose_power(random_);
    if (random_() % 2 == 0)
      for (auto c = changes_.rbegin(); c != changes_.rend(); ++c) {
        if (c->from.empty())
          unlink(c->to.c_str());
        else
          renameat(AT_FDCWD, c->to.c_str(), AT_FDCWD, c->from.c_str());
      }
    kill(getpid(), SIGKILL);
    for (;;)
      pause();
  }

  std::mutex mutex_;
  std::string folder_;
  std::uint64_t power_loss_at_ = 0;
  bool lies_ = false;
  std::mt19937_64 random_;
  std::uint64_t operations_ = 0;
  std::map<ino_t, tracked_file> files_;
  std::vector<change> changes_; // of folders, not synced
};

std::size_t size_of(const iovec* parts, int count) {
  std::size_t size = 0;
  for (int i = 0; i < count; ++i)
    size += parts[i].iov_len;
  return size;
}

} // namespace

extern "C" {

ssize_t write(int fd, const void* from, std::size_t size) {
  static const auto next = system_function<ssize_t(int, const void*, std::size_t)>("write");
  const auto path = disk::the().path_of(fd);
  if (path.empty())
    return next(fd, from, size);
  return disk::the().write(path, fd, lseek(fd, 0, SEEK_CUR), size, [&] { return next(fd, from, size); });
}

ssize_t writev(int fd, const iovec* parts, int count) {
  static const auto next = system_function<ssize_t(int, const iovec*, int)>("writev");
  const auto path = disk::the().path_of(fd);
  if (path.empty())
    return next(fd, parts, count);
  return disk::the().write(path, fd, lseek(fd, 0, SEEK_CUR), size_of(parts, count),
                           [&] { return next(fd, parts, count); });
}

ssize_t pwrite(int fd, const void* from, std::size_t size, off_t at) {
  const auto path = disk::the().path_of(fd);
  if (path.empty())
    return system_pwrite(fd, from, size, at);
  return disk::the().write(path, fd, at, size, [&] { return system_pwrite(fd, from, size, at); });
}

ssize_t pwrite64(int fd, const void* from, std::size_t size, off64_t at) {
  return pwrite(fd, from, size, at);
}

ssize_t pwritev(int fd, const iovec* parts, int count, off_t at) {
  static const auto next = system_function<ssize_t(int, const iovec*, int, off_t)>("pwritev");
  const auto path = disk::the().path_of(fd);
  if (path.empty())
    return next(fd, parts, count, at);
  return disk::the().write(path, fd, at, size_of(parts, count), [&] { return next(fd, parts, count, at); });
}

ssize_t pwritev64(int fd, const iovec* parts, int count, off64_t at) {
  return pwritev(fd, parts, count, at);
}

int ftruncate(int fd, off_t size) noexcept {
  const auto path = disk::the().path_of(fd);
  if (path.empty())
    return system_ftruncate(fd, size);
  return disk::the().truncate(path, fd, size, [&] { return system_ftruncate(fd, size); });
}

int ftruncate64(int fd, off64_t size) noexcept {
  return ftruncate(fd, size);
}

int fsync(int fd) {
  static const auto next = system_function<int(int)>("fsync");
  const auto path = disk::the().path_of(fd);
  if (path.empty())
    return next(fd);
  return disk::the().sync(path, fd, [&] { return next(fd); });
}

int fdatasync(int fd) {
  static const auto next = system_function<int(int)>("fdatasync");
  const auto path = disk::the().path_of(fd);
  if (path.empty())
    return next(fd);
  return disk::the().sync(path, fd, [&] { return next(fd); });
}

int rename(const char* from, const char* to) noexcept {
  static const auto next = system_function<int(const char*, const char*)>("rename");
  if (!disk::the().holds(to))
    return next(from, to);
  return disk::the().rename(from, to, [&] { return next(from, to); });
}

} // extern "C"
