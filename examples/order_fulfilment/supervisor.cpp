#include "supervisor.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shop {

namespace {

using namespace std::literals;

constexpr std::size_t failures_in_a_row = 5;

pid_t spawn(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (auto& argument : arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const auto parent = ::getpid();
  const auto pid = ::fork();
  if (pid == 0) { // nothing but system calls: this process has threads
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() == parent)
      ::execv("/proc/self/exe", argv.data());
    ::_exit(127);
  }
  return pid;
}

} // namespace

supervisor::supervisor(std::function<void(const std::string& what)> failed)
    : failed_{std::move(failed)} {}

supervisor::~supervisor() {
  for (auto& c : children_)
    stop(c.name, 10s);
}

supervisor::child& supervisor::find(std::string_view name) {
  const auto found = std::ranges::find(children_, name, &child::name);
  if (found == children_.end())
    throw std::logic_error{"there is no process " + std::string{name}};
  return *found;
}

void supervisor::start(std::string name, std::vector<std::string> arguments) {
  std::lock_guard guard{mutex_};
  auto& c = children_.emplace_back();
  c.name = std::move(name);
  c.arguments = std::move(arguments);
  c.watcher = std::jthread{[this, &c] { watch(c); }};
}

void supervisor::watch(child& c) {
  std::size_t failures = 0;
  std::unique_lock lock{mutex_};
  while (c.wanted) {
    c.pid = spawn(c.arguments);
    if (c.pid < 0) {
      failed_("there is no process for " + c.name);
      return;
    }
    ++c.started;
    changed_.notify_all();
    const auto pid = c.pid;
    lock.unlock();
    siginfo_t how{};
    while (::waitid(P_PID, static_cast<id_t>(pid), &how, WEXITED | WNOWAIT) != 0) {
      // interrupted
    }
    lock.lock();
    int status = 0;
    c.pid = -1; // before it is reaped: until then nobody else has its id
    ::waitpid(pid, &status, 0);
    c.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    ++(WIFSIGNALED(status) ? counts_.killed : c.exit_code == 0 ? counts_.restarts : counts_.failures);
    changed_.notify_all();
    failures = WIFEXITED(status) && c.exit_code != 0 ? failures + 1 : 0;
    if (failures == failures_in_a_row) {
      failed_(c.name + " does not start: it ended with exit code " + std::to_string(c.exit_code));
      return;
    }
    if (failures > 0)
      changed_.wait_for(lock, failures * 200ms, [&] { return !c.wanted; });
  }
}

void supervisor::signal(std::string_view name, int number) {
  std::lock_guard guard{mutex_};
  if (const auto pid = find(name).pid; pid > 0)
    ::kill(pid, number);
}

bool supervisor::restart(std::string_view name, std::chrono::seconds within) {
  std::unique_lock lock{mutex_};
  auto& c = find(name);
  const auto before = c.started;
  if (c.pid > 0)
    ::kill(c.pid, SIGTERM);
  return changed_.wait_for(lock, within, [&] { return c.started > before; });
}

int supervisor::stop(std::string_view name, std::chrono::seconds within) {
  std::unique_lock lock{mutex_};
  auto& c = find(name);
  c.wanted = false;
  changed_.notify_all();
  const auto is_gone = [&] { return c.pid < 0; };
  if (c.pid > 0) {
    ::kill(c.pid, SIGCONT);
    ::kill(c.pid, SIGTERM);
  }
  if (!changed_.wait_for(lock, within, is_gone)) {
    ::kill(c.pid, SIGKILL);
    changed_.wait(lock, is_gone);
    return -1;
  }
  return c.exit_code;
}

supervisor::counts supervisor::ends() const {
  std::lock_guard guard{mutex_};
  return counts_;
}

} // namespace shop
