#pragma once

#include "load.hpp"

#include <eventcore/persistence/journal.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace crash {

/// What must have been durable when the process died.
enum class promised : std::uint8_t {
  all,   ///< every promise
  prefix ///< of the promised commits those that the journal still reaches; the others lie behind its end
};

/// All that a journal should hold after the processes that wrote to it died one after the other. Each check
/// reads what came since the one before it.
class history {
public:
  /// Compares `journal` with the promises of the last process. Returns what is wrong:
  /// - a position, or a version of a stream, that is missing or there twice, in the log or through the
  /// stream;
  /// - an event in a wrong place or with other content than was written;
  /// - a commit of which a part is missing, its cursor move included;
  /// - a promise that was not kept.
  std::vector<std::string> check(eventcore::journal_reader& journal, const std::vector<promise>& promises,
                                 promised kept = promised::all);

  eventcore::log_position head() const noexcept { return head_; }
  /// Promises of commits that were not kept, over all checks with `promised::prefix`.
  std::size_t lost() const noexcept { return lost_; }

private:
  struct commit_place {
    eventcore::log_position first;
    std::uint32_t size;
  };

  void check_log(eventcore::journal_reader& journal);
  void check_event(const eventcore::recorded_event& e);
  void check_streams(eventcore::journal_reader& journal);
  void check_cursors(eventcore::journal_reader& journal);
  void check_promises(const std::vector<promise>& promises, promised kept);
  void wrong(std::string what) { problems_.push_back(std::move(what)); }

  eventcore::log_position head_ = 0;
  std::unordered_map<std::string, eventcore::stream_version> versions_;
  std::map<std::string, eventcore::log_position> cursors_;
  std::size_t lost_ = 0;

  // Of the check that runs.
  std::vector<std::string> problems_;
  std::unordered_map<std::uint64_t, commit_place> commits_;
  /// New events by stream: the version before the first of them, and their positions.
  std::map<std::string, std::pair<eventcore::stream_version, std::vector<eventcore::log_position>>>
      new_events_;
  std::uint64_t open_commit_ = 0; // of which not all events were seen yet
  std::uint32_t open_index_ = 0;
  std::uint32_t open_size_ = 0;
};

} // namespace crash
