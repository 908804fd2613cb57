#include "victim.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace crash {

using namespace std::literals;

victim::victim(const std::filesystem::path& journal, std::vector<std::string> args,
               const environment& extra) {
  args.insert(args.begin(), {CRASH_WRITER, journal.string()});
  std::vector<char*> argv;
  for (auto& arg : args)
    argv.push_back(arg.data());
  argv.push_back(nullptr);

  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    throw std::runtime_error{"no pipe: "s + std::strerror(errno)};
  pid_ = fork();
  if (pid_ == 0) {
    dup2(ends[1], STDOUT_FILENO);
    for (const auto& [name, value] : extra)
      setenv(name.c_str(), value.c_str(), 1);
    execv(argv.front(), argv.data());
    _exit(127);
  }
  close(ends[1]);
  pipe_ = ends[0];
  if (pid_ == -1)
    throw std::runtime_error{"no process: "s + std::strerror(errno)};
}

victim::~victim() {
  kill();
  was_killed();
  close(pipe_);
}

bool victim::wait_for_load() {
  const auto limit = clock::now() + 60s;
  while (promises_.empty() && take(limit)) {
  }
  return !promises_.empty();
}

void victim::watch(std::chrono::microseconds time) {
  const auto until = clock::now() + time;
  while (take(until)) {
  }
}

void victim::kill() {
  if (pid_ != -1)
    ::kill(pid_, SIGKILL);
}

bool victim::wait_for_end() {
  const auto limit = clock::now() + 60s;
  while (take(limit)) {
  }
  return ended_;
}

bool victim::was_killed() {
  if (pid_ == -1)
    return false;
  wait_for_end();
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/// Takes what it says next. False at its end or when the time is over.
bool victim::take(clock::time_point until) {
  if (ended_)
    return false;
  pollfd waiting{pipe_, POLLIN, 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
  if (left <= 0 || poll(&waiting, 1, static_cast<int>(left)) <= 0)
    return false;
  std::array<char, 64 * 1'024> bytes;
  const auto size = read(pipe_, bytes.data(), bytes.size());
  ended_ = size <= 0;
  if (ended_)
    return false;
  partly_.append(bytes.data(), static_cast<std::size_t>(size));
  std::size_t taken = 0;
  for (; partly_.size() - taken >= sizeof(promise); taken += sizeof(promise)) {
    promise p;
    std::memcpy(&p, partly_.data() + taken, sizeof p);
    promises_.push_back(p);
  }
  partly_.erase(0, taken);
  return true;
}

} // namespace crash
