#pragma once

#include <string>
#include <string_view>

namespace eventcore::cli {

/// Standard output, written in whole lines.
///
/// Not thread-safe.
class output {
public:
  /// Adds `text` and a line end. Written at the latest by `flush`.
  void line(std::string_view text);

  void flush();

  /// Waits for `milliseconds`, less if the output closes. Flush first.
  void pause(int milliseconds);

  /// False once there is no sense in more lines: a write failed, the reader has gone, or the user asked for
  /// an end.
  bool open() const noexcept;

  /// From now on SIGINT and SIGTERM close the output instead of killing the process. Lines that were added
  /// are still written by `flush`, unless nobody reads them.
  void close_on_signal();

  /// The errno of a failed write; 0 if there was none. That the reader has gone is no fault.
  int fault() const noexcept;

private:
  std::string buffer_;
  int error_ = 0;
};

/// Says `eventcore: message` on standard error.
void complain(std::string_view message);

} // namespace eventcore::cli
