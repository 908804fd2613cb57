#pragma once

#include <eventcore/persistence/error.hpp>

#include <cstdint>
#include <string>
#include <system_error>

namespace eventcore {

/// What a journal can answer besides success. Values are stable; 0 is never used.
enum class journal_errc : std::uint8_t {
  /// An argument breaks a documented bound: nothing happened.
  invalid_argument = 1,
  /// The text is no stream id (spec 4).
  invalid_stream_id,
  /// An expected version or an expected cursor did not match: nothing of this commit was written. Read again, decide again.
  conflict,
  /// An earlier commit of the same writer epoch failed, so this one was refused unseen: nothing was written.
  epoch_closed,
  /// No writer credit (too many commits or bytes wait already): nothing happened. Try again later.
  overloaded,
  /// The commit is larger than a commit may be: nothing was written. Split it.
  too_large,
  /// The disk is full, or its reserve would be used up: nothing was written. Free space; writing resumes by itself.
  disk_full,
  /// Commit, sync or reopen failed in a way that leaves it open whether the events are durable. Read the stream to find
  /// out, or repeat with the same idempotency key.
  outcome_unknown,
  /// A record's checksum or content is wrong. The journal's file was damaged.
  corrupt,
  /// The folder holds no journal, or cannot be read or written.
  cannot_open,
  /// The folder holds a journal of another format version.
  wrong_format,
  /// The folder holds another journal than the one expected.
  wrong_journal,
  /// Another opener, in this process or another one, has the journal.
  locked,
  /// The journal is closed, or is closing.
  closed,
  /// The operating system or LMDB refused a read.
  io_error,
  /// The stream's category belongs to another service than the journal's (spec 1): nothing was written.
  not_owned,
};

const std::error_category& journal_category() noexcept;

inline std::error_code make_error_code(journal_errc e) noexcept {
  return {static_cast<int>(e), journal_category()};
}

/// Convenience: `return make_error(journal_errc::conflict, "...")`.
inline error make_error(journal_errc e, std::string message) {
  return {make_error_code(e), std::move(message)};
}

} // namespace eventcore

template <>
struct std::is_error_code_enum<eventcore::journal_errc> : std::true_type {};
