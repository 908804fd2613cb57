#include <eventcore/persistence/internal/lmdb_store.hpp>

#include <eventcore/persistence/internal/record_codec.hpp>
#include <eventcore/persistence/internal/timer_key.hpp>

#include <cerrno>
#include <cstring>

namespace eventcore::internal {

namespace {

constexpr std::uint64_t transactions_between_reader_checks = 4'096;

std::string to_bytes(log_position position) {
  std::string bytes(sizeof(position), '\0');
  std::memcpy(bytes.data(), &position, sizeof(position));
  return bytes;
}

} // namespace

result<void> lmdb_store::load() {
  auto loaded = env_.read([&](MDB_txn* txn, const lmdb_tables& tables) -> result<void> {
    auto head = last_position(txn, tables);
    if (!head)
      return head.error();
    if (auto index = index_.load(txn, tables); !index)
      return index;
    if (index_.covered() > *head)
      return make_error(journal_errc::corrupt, "the stream index goes up to position " +
                                                   std::to_string(index_.covered()) +
                                                   ", but the log ends at " + std::to_string(*head) +
                                                   "; restore the journal from a backup");
    head_ = *head;
    tail_.reset(index_.covered());
    return extend_tail(txn, tables, tail_, *head, true);
  });
  stale_ = !loaded;
  return loaded;
}

result<void> lmdb_store::begin() {
  if (auto room = check_disk(env_.dir(), reserve_disk_bytes_, env_.subject()); !room)
    return room;
  auto txn = env_.begin_write();
  if (!txn)
    return txn.error();
  if (stale_) {
    // The environment was opened again, or a transaction with index changes was undone.
    if (auto loaded = load(); !loaded) {
      mdb_txn_abort(*txn);
      return loaded;
    }
  }
  txn_ = *txn;
  log_.emplace(txn_, env_.tables().log);
  appended_.clear();
  if (++transactions_ % transactions_between_reader_checks == 0)
    env_.drop_dead_readers();
  return {};
}

result<stream_version> lmdb_store::version_of(const stream_id& stream) {
  auto head = reader_.head_of(txn_, env_.tables(), index_.runs(), stream);
  if (!head)
    return head.error();
  return head->version;
}

result<log_position> lmdb_store::cursor(const std::string& name) {
  auto key = to_val(name);
  MDB_val value{};
  auto code = mdb_get(txn_, env_.tables().cursors, &key, &value);
  if (code == MDB_NOTFOUND)
    return log_position{0};
  if (code != 0)
    return lmdb_error(code, "cannot read cursor " + name);
  auto content = unseal(to_view(value));
  log_position position = 0;
  if (!content || content->size() != sizeof(position))
    return make_error(journal_errc::corrupt, "cursor " + name + " is damaged: its checksum does not match");
  std::memcpy(&position, content->data(), sizeof(position));
  return position;
}

result<void> lmdb_store::append(const stream_id& stream, stream_version version, std::string_view body) {
  auto position = head_ + 1;
  MDB_val key{sizeof(position), &position};
  MDB_val value{record_size(body.size(), version), nullptr};
  if (auto code = mdb_cursor_put(log_->handle(), &key, &value, MDB_APPEND | MDB_RESERVE))
    return lmdb_error(code, "cannot append to the log at position " + std::to_string(position));
  finish_record({static_cast<char*>(value.mv_data), value.mv_size}, body, version, position);
  head_ = position;
  appended_.push_back(hash_of(stream.str()));
  return {};
}

result<void> lmdb_store::put(MDB_dbi table, std::string_view key, std::string_view content,
                             const char* what) {
  auto k = to_val(key);
  auto sealed = seal(content);
  auto v = to_val(sealed);
  if (auto code = mdb_put(txn_, table, &k, &v, 0))
    return lmdb_error(code, std::string{"cannot write "} + what);
  return {};
}

result<void> lmdb_store::put_cursor(const std::string& name, log_position position) {
  return put(env_.tables().cursors, name, to_bytes(position), "a cursor");
}

result<void> lmdb_store::change_timer(const timer_change& change) {
  const auto table = env_.tables().timers;
  if (change.from != timestamp{}) {
    const auto bytes = timer_key({change.from, change.name});
    auto key = to_val(bytes);
    if (auto code = mdb_del(txn_, table, &key, nullptr); code != 0 && code != MDB_NOTFOUND)
      return lmdb_error(code, "cannot remove a timer");
  }
  if (change.to == timestamp{})
    return {};
  const auto bytes = timer_key({change.to, change.name});
  const auto sealed = timer_value(bytes);
  auto key = to_val(bytes);
  auto value = to_val(sealed);
  if (auto code = mdb_put(txn_, table, &key, &value, 0))
    return lmdb_error(code, "cannot write a timer");
  return {};
}

result<void> lmdb_store::put_event_type(const event_type_info& type) {
  auto key = sortable_key(type.name, hash_of(type.descriptors));
  auto k = to_val(key);
  MDB_val found{};
  auto code = mdb_get(txn_, env_.tables().types, &k, &found);
  if (code == 0)
    return {};
  if (code != MDB_NOTFOUND)
    return lmdb_error(code, "cannot read the event types");
  return put(env_.tables().types, key, to_bytes(type.first_position) + type.descriptors, "an event type");
}

result<void> lmdb_store::commit() {
  log_.reset();
  if (auto kept = index_.maintain(txn_, env_.tables(), tail_, appended_.size()); !kept) {
    abort();
    return kept;
  }
  if (auto code = env_.commit_write(std::exchange(txn_, nullptr)))
    return recover(code);
  if (index_.covered() > tail_.covered().base)
    tail_.drop_until(index_.covered());
  tail_.append(appended_);
  return {};
}

/// After a failed commit neither the map nor the kernel's view of the file is to be trusted.
error lmdb_store::recover(int code) {
  const auto before = head_ - appended_.size();
  head_ = before; // unless more is found on disk
  auto why = "the journal could not commit to " + env_.dir().string() + " (" + mdb_strerror(code) + ")";
  stale_ = true;
  if (auto opened = env_.reopen(); !opened)
    return make_error(journal_errc::outcome_unknown,
                      why + ", and opening it again failed: " + opened.error().message());
  if (auto loaded = load(); !loaded)
    return make_error(journal_errc::outcome_unknown,
                      why + ", and reading it again failed: " + loaded.error().message());
  // LMDB writes its commit mark last, into a page that is on disk already: a full disk cannot stop that write.
  bool full = code == ENOSPC || code == EDQUOT || code == MDB_MAP_FULL;
  if (full && head_ == before)
    return make_error(journal_errc::disk_full, why + "; nothing was written. Free some space");
  return make_error(journal_errc::outcome_unknown, why + "; whether the events are on disk is not known");
}

void lmdb_store::abort() noexcept {
  log_.reset();
  if (txn_)
    mdb_txn_abort(std::exchange(txn_, nullptr));
  head_ -= appended_.size();
  appended_.clear();
  stale_ = true;
}

} // namespace eventcore::internal
