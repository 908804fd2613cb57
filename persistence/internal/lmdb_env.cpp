#include <eventcore/persistence/internal/lmdb_env.hpp>

namespace eventcore::internal {

namespace {

constexpr unsigned table_count = 6;

} // namespace

result<std::unique_ptr<lmdb_env>> lmdb_env::open(config how) {
  // LMDB would begin anew in it. No journal's file begins empty: it comes to its place when it is whole.
  if (std::error_code missing; std::filesystem::file_size(how.dir / "data.mdb", missing) == 0 && !missing)
    return make_error(journal_errc::cannot_open,
                      "journal folder " + how.dir.string() +
                          ": its data.mdb is empty, so the events that it held are lost; restore the journal "
                          "from a backup, or remove the folder to begin a new one");
  gated_env::config generic{.dir = how.dir,
                            .map_bytes = how.map_bytes,
                            .read_only = how.read_only,
                            .max_tables = table_count,
                            .commit = std::move(how.commit),
                            .subject = "journal folder " + how.dir.string(),
                            .if_damaged = "restore the journal from a backup"};
  std::unique_ptr<lmdb_env> env{new lmdb_env{std::move(generic)}};
  if (auto started = env->start(); !started)
    return started.error();
  return env;
}

result<void> lmdb_env::open_tables(MDB_txn* txn) {
  auto fail = [&](int code, const char* what) {
    if (code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE)
      return make_error(journal_errc::cannot_open,
                        subject() + ": data.mdb is an LMDB file, but no journal (no table '" + what + "')");
    return lmdb_error(code, subject() + ": " + what);
  };
  unsigned create = read_only() ? 0u : MDB_CREATE;
  struct {
    const char* name;
    unsigned flags;
    MDB_dbi* handle;
  } const tables[table_count] = {{"meta", 0, &tables_.meta},   {"log", MDB_INTEGERKEY, &tables_.log},
                                 {"index", 0, &tables_.index}, {"cursors", 0, &tables_.cursors},
                                 {"types", 0, &tables_.types}, {"timers", 0, &tables_.timers}};
  if (!read_only()) {
    // A file that holds other tables is somebody else's.
    MDB_dbi main = 0;
    MDB_stat stat{};
    auto code = mdb_dbi_open(txn, nullptr, 0, &main);
    if (code == 0)
      code = mdb_stat(txn, main, &stat);
    if (code == 0 && stat.ms_entries > 0)
      code = mdb_dbi_open(txn, "meta", 0, &tables_.meta);
    if (code != 0)
      return fail(code, "meta");
  }
  for (auto& table : tables) {
    auto code = mdb_dbi_open(txn, table.name, table.flags | create, table.handle);
    if (code == MDB_NOTFOUND && table.handle == &tables_.timers)
      tables_.timers = no_table;
    else if (code != 0)
      return fail(code, table.name);
  }
  return {};
}

} // namespace eventcore::internal
