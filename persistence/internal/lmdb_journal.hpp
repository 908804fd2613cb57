#pragma once

#include <eventcore/persistence/lmdb_journal.hpp>

#include <lmdb.h>

#include <functional>

namespace eventcore::internal {

/// Ends a write transaction, as `mdb_txn_commit` does.
using commit_function = std::function<int(MDB_txn*)>;

/// `eventcore::open_lmdb_journal`, with commits that a test can make fail.
result<std::unique_ptr<journal>> open_lmdb_journal(const std::filesystem::path& dir,
                                                   const lmdb_options& options, commit_function commit);

} // namespace eventcore::internal
