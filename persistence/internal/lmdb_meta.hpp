#pragma once

#include <eventcore/persistence/internal/lmdb_env.hpp>
#include <eventcore/persistence/journal.hpp>

namespace eventcore::internal {

/// The version of the journal's format that this code reads and writes.
constexpr std::uint32_t format_version = 1;

/// What the journal says of itself. Errors: `wrong_format`, `cannot_open`.
result<journal_info> load_meta(lmdb_env& env);

/// The same, after it was written if the journal is new. Errors also: `wrong_journal`.
result<journal_info> load_or_create_meta(lmdb_env& env, const journal_options& options);

} // namespace eventcore::internal
