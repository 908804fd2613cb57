#include <eventcore/runtime/internal/end_signal.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

namespace eventcore::internal {

namespace {

/// The handler's end and the waiter's. What is in it stays there, for a signal that comes before somebody waits.
std::array<int, 2> pipe_ends{-1, -1};

extern "C" void note_signal(int signal) {
  const auto before = errno;
  const auto byte = static_cast<char>(signal);
  [[maybe_unused]] const auto full_is_enough = ::write(pipe_ends[1], &byte, 1);
  errno = before;
}

void install() {
  if (::pipe2(pipe_ends.data(), O_CLOEXEC) != 0 || ::fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK) != 0)
    throw std::system_error{errno, std::generic_category(), "no pipe for SIGTERM and SIGINT"};
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const auto signal : {SIGTERM, SIGINT})
    ::sigaction(signal, &action, nullptr);
}

} // namespace

void keep_end_signals() {
  [[maybe_unused]] static const bool once = (install(), true);
}

int wait_for_end_signal() {
  keep_end_signals();
  char byte = 0;
  while (::read(pipe_ends[0], &byte, 1) != 1) {
    // A handler of the program's own interrupted it.
  }
  return byte;
}

} // namespace eventcore::internal
