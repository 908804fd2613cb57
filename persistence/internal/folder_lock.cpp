#include <eventcore/persistence/internal/folder_lock.hpp>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace eventcore::internal {

namespace {

/// The folders that this process has open.
struct registry {
  std::mutex mutex;
  std::set<std::filesystem::path> open;
};

registry& folders() {
  static registry instance;
  return instance;
}

} // namespace

struct folder_lock::held {
  std::filesystem::path dir;
  int fd = -1;

  ~held() {
    if (fd >= 0)
      ::close(fd);
    std::lock_guard lock{folders().mutex};
    folders().open.erase(dir);
  }
};

result<folder_lock> folder_lock::acquire(const std::filesystem::path& dir, mode how,
                                         const std::string& what) {
  std::error_code failed;
  auto canonical = std::filesystem::canonical(dir, failed);
  if (failed)
    return make_error(journal_errc::cannot_open, what + " folder " + dir.string() + ": " + failed.message());
  {
    std::lock_guard lock{folders().mutex};
    if (!folders().open.insert(canonical).second)
      return make_error(journal_errc::locked,
                        what + " folder " + dir.string() + " is open already in this process (pid " +
                            std::to_string(::getpid()) + "); use that " + what + " object");
  }
  auto mine = std::make_shared<held>();
  mine->dir = canonical;
  if (how == mode::writer) {
    auto file = (canonical / "writer.lock").string();
    mine->fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (mine->fd < 0)
      return make_error(journal_errc::cannot_open, "cannot write " + file + ": " + std::strerror(errno));
    if (::flock(mine->fd, LOCK_EX | LOCK_NB) != 0) {
      std::array<char, 32> pid{};
      auto size = ::pread(mine->fd, pid.data(), pid.size() - 1, 0);
      return make_error(journal_errc::locked,
                        what + " folder " + dir.string() + " is being written by process " +
                            (size > 0 ? std::string{pid.data()} : std::string{"(unknown)"}) + "; a " + what +
                            " has one writer at a time");
    }
    auto pid = std::to_string(::getpid());
    if (::ftruncate(mine->fd, 0) != 0 || ::pwrite(mine->fd, pid.data(), pid.size(), 0) < 0)
      return make_error(journal_errc::cannot_open, "cannot write " + file + ": " + std::strerror(errno));
  }
  return folder_lock{std::move(mine)};
}

} // namespace eventcore::internal
