#include "raw_lmdb.hpp"
#include "bench.pb.h"
#include "latencies.hpp"
#include "scenario.hpp"

#include "record.pb.h"

#include <lmdb.h>

#include <cstring>
#include <random>
#include <stdexcept>

namespace bench {

namespace {

void check(int code) {
  if (code != 0)
    throw std::runtime_error(mdb_strerror(code));
}

/// An LMDB environment with one table, opened as the journal opens its own.
struct raw_log {
  MDB_env* env = nullptr;
  MDB_dbi table = 0;

  raw_log(const std::filesystem::path& dir, bool write, unsigned flags = MDB_INTEGERKEY) {
    check(mdb_env_create(&env));
    check(mdb_env_set_maxdbs(env, 8));
    check(mdb_env_set_mapsize(env, std::size_t{1} << 40));
    check(mdb_env_open(env, dir.c_str(), MDB_NOTLS | (write ? 0u : MDB_RDONLY), 0644));
    MDB_txn* txn = nullptr;
    check(mdb_txn_begin(env, nullptr, write ? 0 : MDB_RDONLY, &txn));
    check(mdb_dbi_open(txn, "log", flags | (write ? MDB_CREATE : 0u), &table));
    check(mdb_txn_commit(txn));
  }
  ~raw_log() { mdb_env_close(env); }
  raw_log(const raw_log&) = delete;
};

/// Commits `batch` records of `size` bytes at a time.
figure append(run_context& context, std::size_t batch, std::size_t size) {
  raw_log log{context.dir, true};
  std::string record(size, 'x');
  std::uint64_t position = 0;
  latencies times;
  auto start = steady::now();
  auto end = start + std::chrono::duration_cast<steady::duration>(context.length());
  for (auto before = start; before < end; before = steady::now()) {
    MDB_txn* txn = nullptr;
    check(mdb_txn_begin(log.env, nullptr, 0, &txn));
    MDB_cursor* cursor = nullptr;
    check(mdb_cursor_open(txn, log.table, &cursor));
    for (std::size_t i = 0; i < batch; ++i) {
      ++position;
      MDB_val key{sizeof(position), &position};
      MDB_val value{size, record.data()};
      check(mdb_cursor_put(cursor, &key, &value, MDB_APPEND));
    }
    mdb_cursor_close(cursor);
    check(mdb_txn_commit(txn));
    times.add(steady::now() - before);
  }
  figure f;
  f.value = static_cast<double>(position) / seconds_since(start);
  f.p50_us = times.percentile(0.50);
  f.p99_us = times.percentile(0.99);
  f.note =
      "fsync; " + std::to_string(batch) + " records of " + std::to_string(size) + " bytes a commit, log only";
  return f;
}

} // namespace

struct lmdb_log::impl {
  raw_log log;
  std::uint64_t position = 0;
};

lmdb_log::lmdb_log(const std::filesystem::path& dir)
    : impl_{new impl{{dir, true}}} {}

lmdb_log::~lmdb_log() = default;

void lmdb_log::commit(std::string_view record) {
  MDB_txn* txn = nullptr;
  check(mdb_txn_begin(impl_->log.env, nullptr, 0, &txn));
  ++impl_->position;
  MDB_val key{sizeof(impl_->position), &impl_->position};
  MDB_val value{record.size(), const_cast<char*>(record.data())};
  check(mdb_put(txn, impl_->log.table, &key, &value, MDB_APPEND));
  check(mdb_txn_commit(txn));
}

figure raw_lmdb_log(run_context& context) {
  return append(context, context.batch_events, context.record_bytes);
}

figure raw_lmdb_commit(run_context& context) {
  return append(context, 1, context.record_bytes);
}

figure raw_lmdb_update(run_context& context) {
  constexpr std::size_t batch = 65'536;
  raw_log log{context.dir, true, 0};
  std::string row(120, 'x');
  std::minstd_rand random{1};
  std::uint64_t done = 0;
  const auto start = steady::now();
  const auto end = start + std::chrono::duration_cast<steady::duration>(context.length());
  while (steady::now() < end) {
    MDB_txn* txn = nullptr;
    check(mdb_txn_begin(log.env, nullptr, 0, &txn));
    for (std::size_t i = 0; i < batch; ++i) {
      const auto name = std::to_string(random() % view_rows);
      MDB_val key{name.size(), const_cast<char*>(name.data())};
      MDB_val value{};
      if (mdb_get(txn, log.table, &key, &value) == 0)
        row.assign(static_cast<const char*>(value.mv_data), value.mv_size);
      ++row[0];
      value = {row.size(), row.data()};
      check(mdb_put(txn, log.table, &key, &value, 0));
    }
    check(mdb_txn_commit(txn));
    done += batch;
  }
  figure f;
  f.value = static_cast<double>(done) / seconds_since(start);
  f.note = "rows/s; rows of 120 bytes, of 100,000 at random; fsync; 65,536 a transaction";
  return f;
}

figure raw_lmdb_scan_parse(run_context& context) {
  raw_log log{context.dir, false};
  MDB_txn* txn = nullptr;
  MDB_cursor* cursor = nullptr;
  check(mdb_txn_begin(log.env, nullptr, MDB_RDONLY, &txn));
  check(mdb_cursor_open(txn, log.table, &cursor));
  eventcore::format::Record record;
  Added added;
  std::uint64_t events = 0;
  std::int64_t total = 0;
  auto start = steady::now();
  MDB_val key{};
  MDB_val value{};
  while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
    if (!record.ParseFromArray(static_cast<const char*>(value.mv_data) + 8,
                               static_cast<int>(value.mv_size) - 8) ||
        !added.ParseFromString(record.payload()))
      throw std::runtime_error("a record does not parse");
    total += added.amount();
    ++events;
  }
  auto seconds = seconds_since(start);
  mdb_cursor_close(cursor);
  mdb_txn_abort(txn);
  if (total != 1'000'000)
    throw std::runtime_error("the log does not hold what was written");
  figure f;
  f.value = static_cast<double>(events) / seconds;
  f.note = "LMDB cursor over the log, record and payload parsed by Protobuf's classes, no checksum";
  return f;
}

} // namespace bench
