#pragma once

#include <eventcore/persistence/journal.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace eventcore {

enum class verify_pass : std::uint8_t {
  log,     ///< the log from its first position on; `done` and `total` are positions
  streams, ///< every stream from its first version on; `done` and `total` are events
};

struct verify_options {
  /// The report lists this many problems; it counts all.
  std::size_t max_problems = 100;
  /// Called after each page and with `done == total` at the end of a pass that got there.
  std::function<void(verify_pass, std::uint64_t done, std::uint64_t total)> on_progress = nullptr;
};

/// What `verify_journal` found.
struct verify_report {
  log_position head = 0;     ///< everything up to here was looked at
  std::uint64_t events = 0;  ///< sound events in the log
  std::uint64_t streams = 0; ///< streams that have events up to `head`
  std::uint64_t types = 0;   ///< event types that the journal knows

  std::uint64_t problem_count = 0;
  /// Sentences for people, each naming position, or stream and version; in the order in which they were
  /// found.
  std::vector<std::string> problems;

  bool ok() const noexcept { return problem_count == 0; }
};

/// Checks the whole journal, up to the head that it has at the start; a process that writes meanwhile does no
/// harm.
///
/// First the log: every record sound, positions without a gap, every event decodable by the journal's own
/// descriptors. Then every stream through the journal's index: versions from 1 without a gap, and every event
/// of the log found in its stream exactly once. At last the timers, up to the first that is damaged. Goes on behind a damaged record, which can therefore be
/// reported twice: in the log and in its stream.
///
/// Takes one bit of memory for each event, and about two reads of the whole journal.
verify_report verify_journal(journal_reader& journal, const verify_options& options = {});

} // namespace eventcore
