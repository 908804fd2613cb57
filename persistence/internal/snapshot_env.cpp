#include <eventcore/persistence/internal/snapshot_env.hpp>

#include <eventcore/persistence/internal/lmdb_reader.hpp>

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>

namespace eventcore::internal {

namespace {

constexpr unsigned max_readers = 1'024;
/// No snapshot's key: those have 24 bytes.
constexpr std::string_view stamp_key = "journal";
constexpr std::string_view format = "1";
constexpr stream_version last_version = std::numeric_limits<stream_version>::max();

constexpr std::size_t hash_size = 2 * sizeof(std::uint64_t);

std::string bytes_of(const snapshot_key& key) {
  std::string bytes;
  for (auto number : {key.hash_high, key.hash_low, key.version})
    for (int shift = 56; shift >= 0; shift -= 8)
      bytes += static_cast<char>(number >> shift);
  return bytes;
}

bool of_same_hash(const MDB_val& key, std::string_view bytes) {
  return key.mv_size == bytes.size() && to_view(key).starts_with(bytes.substr(0, hash_size));
}

template <class Number>
void put_number(std::string& out, Number number) {
  std::array<char, sizeof(number)> bytes;
  std::memcpy(bytes.data(), &number, sizeof(number));
  out.append(bytes.data(), bytes.size());
}

/// Takes the parts of a snapshot off the front of its content.
class scanner {
public:
  explicit scanner(std::string_view content)
      : rest_{content} {}

  template <class Number>
  bool number(Number& out) {
    if (rest_.size() < sizeof(out))
      return false;
    std::memcpy(&out, rest_.data(), sizeof(out));
    rest_.remove_prefix(sizeof(out));
    return true;
  }
  bool text(std::string_view& out) {
    std::uint8_t size = 0;
    if (!number(size) || rest_.size() < size)
      return false;
    out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  std::string_view rest() const { return rest_; }

private:
  std::string_view rest_;
};

/// A snapshot as it lies in the database.
struct stored_snapshot {
  stream_version version = 0;
  log_position position = 0;
  std::uint32_t type_version = 0;
  std::string_view stream;
  std::string_view type;
  std::string_view state;
};

std::string encode(const waiting_snapshot& s) {
  std::string content;
  content.reserve(s.content.state.size() + s.content.type.size() + s.stream.size() + 32);
  put_number(content, s.content.version);
  put_number(content, s.content.position);
  put_number(content, s.content.type_version);
  for (auto* text : {&s.stream, &s.content.type}) {
    put_number(content, static_cast<std::uint8_t>(text->size()));
    content += *text;
  }
  content += s.content.state;
  return seal(content);
}

std::optional<stored_snapshot> decode(std::string_view value) {
  auto content = unseal(value);
  if (!content)
    return std::nullopt;
  stored_snapshot s;
  scanner parts{*content};
  if (!parts.number(s.version) || !parts.number(s.position) || !parts.number(s.type_version) ||
      !parts.text(s.stream) || !parts.text(s.type))
    return std::nullopt;
  s.state = parts.rest();
  return s;
}

/// Moves to the last key that is not behind `wanted`.
int seek_back(lmdb_cursor& cursor, MDB_val& key, MDB_val& value, std::string_view wanted) {
  key = to_val(wanted);
  auto code = cursor.get(key, value, MDB_SET_RANGE);
  if (code == MDB_NOTFOUND)
    return cursor.get(key, value, MDB_LAST);
  return code == 0 && to_view(key) != wanted ? cursor.get(key, value, MDB_PREV) : code;
}

int put(MDB_txn* txn, MDB_dbi table, std::string_view key, std::string_view content) {
  auto k = to_val(key);
  auto v = to_val(content);
  return mdb_put(txn, table, &k, &v, 0);
}

/// Deletes all but the newest `keep` of the snapshots that share the hash of `at`.
int remove_old(MDB_txn* txn, MDB_dbi table, snapshot_key at, std::size_t keep) {
  at.version = last_version;
  const auto end = bytes_of(at);
  std::vector<std::string> old;
  {
    lmdb_cursor cursor{txn, table};
    MDB_val key{};
    MDB_val value{};
    auto code = seek_back(cursor, key, value, end);
    for (std::size_t seen = 0; code == 0 && of_same_hash(key, end); code = cursor.get(key, value, MDB_PREV))
      if (++seen > keep)
        old.emplace_back(to_view(key));
    if (code != 0 && code != MDB_NOTFOUND)
      return code;
  }
  for (auto& bytes : old) {
    auto key = to_val(bytes);
    if (auto code = mdb_del(txn, table, &key, nullptr))
      return code;
  }
  return 0;
}

/// Whether it says nothing of the files that an LMDB call failed with `code`.
bool is_want(int code) {
  constexpr std::array wants{ENOMEM, EMFILE, ENFILE, EAGAIN, ENOSPC, EDQUOT, MDB_READERS_FULL, MDB_MAP_FULL};
  return std::ranges::find(wants, code) != wants.end();
}

bool is_damage(int code) {
  constexpr std::array damage{MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_INVALID};
  return std::ranges::find(damage, code) != damage.end();
}

} // namespace

snapshot_key snapshot_key::of(const stream_id& stream, const std::string& type, stream_version version) {
  auto name = stream.str() + '\0' + type;
  auto hash = XXH3_128bits(name.data(), name.size());
  return {hash.high64, hash.low64, version};
}

snapshot_env::snapshot_env(const journal_info& owner, const config& how)
    : config_{std::filesystem::absolute(how.journal_dir), how.read_only, how.map_bytes,
              how.reserve_disk_bytes}
    , dir_{config_.journal_dir / "snapshots"}
    , stamp_{std::string{format} + " " + to_string(owner.id) + " " + to_string(owner.incarnation)} {
  if (exists())
    open();
}

snapshot_env::~snapshot_env() {
  stop();
}

void snapshot_env::close() {
  std::unique_lock gate{gate_};
  closed_ = true;
  stop();
}

bool snapshot_env::exists() const {
  std::error_code failed;
  return std::filesystem::exists(dir_ / "data.mdb", failed);
}

bool snapshot_env::open() {
  std::unique_lock gate{gate_};
  if (env_ || closed_)
    return env_ != nullptr;
  return config_.read_only ? start() == 0 : open_or_remake();
}

bool snapshot_env::open_or_remake() {
  std::error_code failed;
  std::filesystem::create_directory(dir_, failed);
  const bool is_new = !exists();
  auto code = start();
  if (code == 0 && !is_new)
    return true;
  if (code != 0) {
    if (is_want(code))
      return false;
    remove_files();
    code = start();
  }
  if (code == 0 && (sync_folder(dir_) != 0 || sync_folder(config_.journal_dir) != 0))
    stop();
  return env_ != nullptr;
}

int snapshot_env::start() {
  auto code = mdb_env_create(&env_);
  if (code == 0)
    code = mdb_env_set_maxreaders(env_, max_readers);
  if (code == 0 && config_.map_bytes > 0)
    code = mdb_env_set_mapsize(env_, config_.map_bytes);
  if (code == 0)
    code = mdb_env_open(env_, dir_.c_str(), MDB_NOTLS | (config_.read_only ? MDB_RDONLY : 0u), 0644);
  if (code == 0) {
    // The first access behind the end of a file that was cut would kill the process.
    auto size = size_of_file(env_);
    code = size && !size->short_of_pages() ? check_stamp() : MDB_CORRUPTED;
  }
  if (code != 0)
    stop();
  return code;
}

int snapshot_env::check_stamp() {
  MDB_txn* txn = nullptr;
  auto code = mdb_txn_begin(env_, nullptr, config_.read_only ? MDB_RDONLY : 0u, &txn);
  if (code != 0)
    return code;
  code = mdb_dbi_open(txn, nullptr, 0, &table_);
  auto key = to_val(stamp_key);
  MDB_val value{};
  if (code == 0)
    code = mdb_get(txn, table_, &key, &value);
  if (code == 0 && unseal(to_view(value)) != stamp_)
    code = MDB_INCOMPATIBLE;
  MDB_stat stat{};
  if (code == MDB_NOTFOUND && !config_.read_only && mdb_stat(txn, table_, &stat) == 0)
    code = stat.ms_entries == 0 ? put(txn, table_, stamp_key, seal(stamp_)) : MDB_INCOMPATIBLE;
  if (code != 0) {
    mdb_txn_abort(txn);
    return code;
  }
  code = mdb_txn_commit(txn);
  if (code == 0 && !config_.read_only)
    extend_file(env_);
  return code;
}

void snapshot_env::stop() {
  if (env_)
    mdb_env_close(env_);
  env_ = nullptr;
}

void snapshot_env::remove_files() {
  // Both: a reader in another process that still has them open keeps a pair that fits.
  for (auto* name : {"data.mdb", "lock.mdb"}) {
    std::error_code failed;
    std::filesystem::remove(dir_ / name, failed);
  }
}

std::optional<snapshot> snapshot_env::find(const stream_id& stream, const std::string& type,
                                           stream_version up_to) {
  std::shared_lock gate{gate_};
  if (!env_ && config_.read_only && exists()) {
    // The writer may have made it since.
    gate.unlock();
    open();
    gate.lock();
  }
  MDB_txn* txn = nullptr;
  if (!env_ || mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn) != 0)
    return std::nullopt;
  std::optional<snapshot> found;
  {
    const auto wanted = bytes_of(snapshot_key::of(stream, type, up_to));
    lmdb_cursor cursor{txn, table_};
    MDB_val key{};
    MDB_val value{};
    auto code = seek_back(cursor, key, value, wanted);
    for (; code == 0 && !found && of_same_hash(key, wanted); code = cursor.get(key, value, MDB_PREV)) {
      auto stored = decode(to_view(value));
      auto whole = stored && to_view(key).substr(hash_size) ==
                                 std::string_view{bytes_of({0, 0, stored->version})}.substr(hash_size);
      if (!whole)
        ++damaged_;
      else if (stored->stream == stream.str() && stored->type == type)
        found = snapshot{stored->version, stored->position, type, stored->type_version,
                         std::string{stored->state}};
    }
  }
  mdb_txn_abort(txn);
  return found;
}

bool snapshot_env::write(const snapshot_batch& batch) {
  if (!check_disk(config_.journal_dir, config_.reserve_disk_bytes, "snapshots") || !open())
    return false;
  int dead = 0;
  mdb_reader_check(env_, &dead);
  MDB_txn* txn = nullptr;
  auto code = mdb_txn_begin(env_, nullptr, 0, &txn);
  for (auto i = batch.begin(); code == 0 && i != batch.end(); ++i) {
    code = put(txn, table_, bytes_of(i->first), encode(i->second));
    if (code == 0)
      code = remove_old(txn, table_, i->first, i->second.keep);
  }
  if (code == 0)
    code = mdb_txn_commit(std::exchange(txn, nullptr));
  if (code == 0) {
    extend_file(env_);
    return true;
  }
  if (txn)
    mdb_txn_abort(txn);
  // Neither the map nor the kernel's view of the file is to be trusted: the next write opens it again.
  std::unique_lock gate{gate_};
  stop();
  if (is_damage(code))
    remove_files();
  return false;
}

} // namespace eventcore::internal
