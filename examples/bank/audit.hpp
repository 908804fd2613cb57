#pragma once

#include <eventcore/persistence/journal.hpp>

#include <cstdint>
#include <map>
#include <string>

namespace bank {

/// What the journal alone says of a bank.
struct audit {
  std::map<std::string, std::int64_t> balances; ///< by account
  std::int64_t total = 0;
  std::int64_t paid_in = 0; ///< by opening accounts and by deposits
  std::uint64_t deposits = 0;
  std::uint64_t transfers = 0;
  std::uint64_t broken_transfers = 0; ///< that left an account twice, or did not arrive as they left
};

/// Reads the whole journal, without entities and snapshots. Error: the journal's, or a payload that does not parse.
eventcore::result<audit> audit_journal(eventcore::journal_reader& journal);

} // namespace bank
