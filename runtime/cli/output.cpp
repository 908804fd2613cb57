#include <eventcore/runtime/cli/output.hpp>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <iostream>

#include <poll.h>
#include <unistd.h>

namespace eventcore::cli {

namespace {

constexpr std::size_t buffer_size = 64 << 10;
/// Bounds how late a signal is noticed that comes right before a wait.
constexpr int longest_wait_ms = 50;
/// How long a reader may take to make room after a signal.
constexpr int grace_ms = 500;

volatile std::sig_atomic_t signalled = 0;

} // namespace

void output::line(std::string_view text) {
  if (error_ != 0)
    return;
  buffer_.append(text).push_back('\n');
  if (buffer_.size() >= buffer_size)
    flush();
}

void output::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty() && error_ == 0) {
    const bool ending = signalled != 0;
    pollfd reader{STDOUT_FILENO, POLLOUT, 0};
    const int ready = ::poll(&reader, 1, ending ? grace_ms : longest_wait_ms);
    if (ready == 0 && ending)
      break;
    if (ready <= 0)
      continue;
    // A pipe that is ready takes this much without blocking.
    const auto written = ::write(STDOUT_FILENO, rest.data(), std::min<std::size_t>(rest.size(), PIPE_BUF));
    if (written >= 0)
      rest.remove_prefix(static_cast<std::size_t>(written));
    else if (errno != EINTR && errno != EAGAIN)
      error_ = errno;
  }
  buffer_.clear();
}

void output::pause(int milliseconds) {
  // Without events to ask for, only errors end the wait: that the reader has gone.
  pollfd reader{STDOUT_FILENO, 0, 0};
  if (open() && ::poll(&reader, 1, milliseconds) > 0)
    error_ = EPIPE;
}

bool output::open() const noexcept {
  return error_ == 0 && signalled == 0;
}

void output::close_on_signal() {
  struct sigaction action {};
  action.sa_handler = [](int) { signalled = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

int output::fault() const noexcept {
  return error_ == EPIPE ? 0 : error_;
}

void complain(std::string_view message) {
  std::cerr << "eventcore: " << message << '\n';
}

} // namespace eventcore::cli
