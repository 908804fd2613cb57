#pragma once

#include <eventcore/persistence/journal.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore {

/// An event that a subscription could not handle and put aside (`on_failure::park`). It stays where it is in the log.
struct dead_letter {
  log_position position = 0; ///< of the event, which names the letter
  std::string source{};      ///< the service whose log that is a position in; empty: the journal itself
  std::string stream;
  stream_version version = 0;
  std::string type;
  std::string why; ///< of the last try
  std::uint32_t attempts = 0;
  timestamp parked_at;
  bool replay_wanted = false; ///< the subscription is going to try it again
  stream_version letter = 0;  ///< of the letter, in the dead-letter stream
};

/// The subscriptions that have dead-letter streams, in order. Looks at the name of every stream.
result<std::vector<std::string>> list_dead_letter_subscriptions(journal_reader& journal);

/// The letters of a subscription that are neither handled since nor dropped, by position. Reads the whole dead-letter stream.
result<std::vector<dead_letter>> list_dead_letters(journal_reader& journal, std::string_view subscription);

/// The event that a letter is of: from the log, or, if it is of another service's, from the letter, which holds it. Error: it is not
/// there, because it was too large for the letter, say; those of the journal.
result<recorded_event> read_dead_letter_event(journal_reader& journal, std::string_view subscription,
                                              const dead_letter& letter);

/// Wants a letter, or all of them, to be tried again. The subscription does that when it runs next, or when it is told
/// (`subscription::replay_dead_letters`); out of its order in the stream, but between two other events of it. The number of
/// letters. Error: `no_such_letter`; those of the journal.
result<std::size_t> want_dead_letters_replayed(journal& journal, std::string_view subscription,
                                               std::optional<log_position> position = {});

/// Gives a letter up for good, or all of them. Errors as above.
result<std::size_t> drop_dead_letters(journal& journal, std::string_view subscription,
                                      std::optional<log_position> position = {});

} // namespace eventcore
