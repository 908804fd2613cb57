#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace eventcore {

/// How a node is seen from outside: `/metrics`, `/health/live` and `/health/ready` over HTTP (spec 33, 40).
struct admin_options {
  /// `host:port`, or `port` alone, which is on the loopback address; port 0 takes a free one. Empty: nobody listens. Whoever
  /// reaches it can read it, so keep it inside.
  std::string listen{};
  /// Requests at one time. Others wait for their turn, in the kernel if it comes to that.
  std::size_t threads = 8;
  /// Requests that have 2 s to come in and are taken off the kernel's hands; each has a file descriptor.
  std::size_t max_waiting = 128;

  // What makes a node not ready.
  /// Less is free on the disk of the journal.
  std::uintmax_t min_free_disk = std::uintmax_t{64} << 20;
  /// A subscription is behind by more.
  std::chrono::milliseconds max_lag{60'000};
};

/// Spans of commands (spec 39), sent to a collector by OTLP over HTTP.
struct trace_options {
  /// `http://host:port` of the collector; `/v1/traces` goes behind it. Empty: nothing is traced; trace contexts that come in
  /// are passed on as they are.
  std::string endpoint{};
  /// The share of the traces beginning here that are recorded, 0 to 1. For a trace that began elsewhere, it was decided there.
  double sample = 1;
  /// Spans that wait to be sent; more are dropped, and counted. Nobody ever waits for the collector.
  std::size_t max_waiting = 8'192;
  /// Spans in one request, and how long the first of them waits for others.
  std::size_t batch = 512;
  std::chrono::milliseconds interval{1'000};
  /// Of one request. A collector that has too much to do is asked again, with pauses; what it refuses is dropped.
  std::chrono::milliseconds call_limit{5'000};
};

enum class log_form : std::uint8_t {
  text, ///< time, level, message, and in brackets what the line is about
  json, ///< one object a line
};

/// Where the log lines of the process go, those of the user's own `spdlog::info(...)` included.
struct log_options {
  /// False: they go where spdlog sends them by default, in its form.
  bool enabled = false;
  log_form form = log_form::text;
  /// Appended to; its folder is made if there is none. Empty: standard error. A file that cannot be opened is said there, too.
  std::filesystem::path file{};
  /// Lines that wait to be written, by a thread of its own; when there are more, the oldest ones are lost, and counted.
  std::size_t max_waiting = 8'192;
};

} // namespace eventcore
