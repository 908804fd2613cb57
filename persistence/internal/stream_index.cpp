#include <eventcore/persistence/internal/stream_index.hpp>

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>

namespace eventcore::internal {

namespace {

static_assert(std::endian::native == std::endian::little, "the journal's format is little endian");
static_assert(sizeof(index_entry) == 16 && sizeof(index_run) == 24);

constexpr std::string_view runs_name = "runs";
constexpr std::size_t checksum_size = sizeof(std::uint64_t);
constexpr std::size_t key_size = 20;
constexpr std::size_t page_usable = 4'096 - 16;
static_assert(checksum_size + chunk_entries * sizeof(index_entry) <= page_usable);
/// A merge goes on when it may write so many chunks at once, so that finding its place again does not count.
constexpr std::size_t merge_step = 8 * chunk_entries;

using key_bytes = std::array<char, key_size>;

/// Keys sort as (run, hash, position) do.
key_bytes make_key(std::uint32_t run, const index_entry& entry) noexcept {
  key_bytes key;
  auto put = [&, at = std::size_t{0}](auto number) mutable {
    for (int shift = (sizeof(number) - 1) * 8; shift >= 0; shift -= 8)
      key[at++] = static_cast<char>(number >> shift);
  };
  put(run);
  put(entry.hash);
  put(entry.position);
  return key;
}

std::uint32_t run_of(const MDB_val& key) noexcept {
  auto* p = static_cast<const unsigned char*>(key.mv_data);
  return (std::uint32_t{p[0]} << 24) | (std::uint32_t{p[1]} << 16) | (std::uint32_t{p[2]} << 8) | p[3];
}

error damaged(const char* what) {
  return make_error(journal_errc::corrupt, std::string{"the stream index is damaged ("} + what +
                                               "); restore the journal from a backup");
}

std::string_view view(const key_bytes& key) noexcept {
  return {key.data(), key.size()};
}

} // namespace

std::uint64_t hash_of(std::string_view stream) noexcept {
  return XXH3_64bits(stream.data(), stream.size());
}

result<std::vector<index_run>> load_runs(MDB_txn* txn, const lmdb_tables& tables) {
  std::vector<index_run> runs;
  auto key = to_val(runs_name);
  MDB_val value{};
  auto code = mdb_get(txn, tables.meta, &key, &value);
  if (code == MDB_NOTFOUND)
    return runs;
  if (code != 0)
    return lmdb_error(code, "cannot read the list of index runs");
  auto bytes = to_view(value);
  std::uint64_t checksum = 0;
  if (bytes.size() < checksum_size || (bytes.size() - checksum_size) % sizeof(index_run) != 0)
    return damaged("the list of runs has a wrong size");
  std::memcpy(&checksum, bytes.data(), checksum_size);
  bytes.remove_prefix(checksum_size);
  if (checksum != XXH3_64bits(bytes.data(), bytes.size()))
    return damaged("the list of runs has a wrong checksum");
  runs.resize(bytes.size() / sizeof(index_run));
  if (!runs.empty())
    std::memcpy(runs.data(), bytes.data(), bytes.size());
  return runs;
}

// -- run_cursor
// -------------------------------------------------------------------------------------------------------

result<bool> run_cursor::take(int code, const MDB_val& key, const MDB_val& value) {
  size_ = at_ = 0;
  if (code == MDB_NOTFOUND || (code == 0 && (key.mv_size != key_size || run_of(key) != run_)))
    return false;
  if (code != 0)
    return lmdb_error(code, "cannot read the stream index");
  auto bytes = to_view(value);
  std::uint64_t checksum = 0;
  auto entries = bytes.size() < checksum_size ? 0 : (bytes.size() - checksum_size) / sizeof(index_entry);
  if (entries == 0 || entries > chunk_entries ||
      bytes.size() != checksum_size + entries * sizeof(index_entry))
    return damaged("a chunk has a wrong size");
  std::memcpy(&checksum, bytes.data(), checksum_size);
  std::memcpy(chunk_.data(), bytes.data() + checksum_size, entries * sizeof(index_entry));
  if (checksum != XXH3_64bits(chunk_.data(), entries * sizeof(index_entry)))
    return damaged("a chunk has a wrong checksum");
  size_ = entries;
  return true;
}

result<bool> run_cursor::seek(index_entry target) {
  auto bytes = make_key(run_, target);
  auto key = to_val(view(bytes));
  MDB_val value{};
  auto code = cursor_.get(key, value, MDB_SET_RANGE);
  // The entry may stand inside the chunk before the first one that starts at or behind it.
  if (code == MDB_NOTFOUND)
    code = cursor_.get(key, value, MDB_LAST);
  else if (code == 0 && to_view(key) != view(bytes))
    code = cursor_.get(key, value, MDB_PREV);
  auto found = take(code, key, value);
  if (!found)
    return found;
  if (*found) {
    at_ = static_cast<std::size_t>(std::lower_bound(chunk_.begin(), chunk_.begin() + size_, target) -
                                   chunk_.begin());
    if (at_ < size_)
      return true;
  }
  // All before was smaller, or another run's: the next chunk, if it is this run's, starts with what is
  // sought.
  code = code == MDB_NOTFOUND ? cursor_.get(key, value, MDB_FIRST) : cursor_.get(key, value, MDB_NEXT);
  return take(code, key, value);
}

result<bool> run_cursor::seek_last_of(std::uint64_t hash) {
  index_entry beyond{hash, ~log_position{0}};
  auto bytes = make_key(run_, beyond);
  auto key = to_val(view(bytes));
  MDB_val value{};
  auto code = cursor_.get(key, value, MDB_SET_RANGE);
  code = cursor_.get(key, value, code == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
  auto found = take(code, key, value);
  if (!found || !*found)
    return found;
  at_ = static_cast<std::size_t>(std::lower_bound(chunk_.begin(), chunk_.begin() + size_, beyond) -
                                 chunk_.begin());
  if (at_ == 0)
    return false;
  --at_;
  return entry().hash == hash;
}

result<bool> run_cursor::next() {
  if (++at_ < size_)
    return true;
  return next_chunk();
}

result<bool> run_cursor::next_chunk() {
  MDB_val key{};
  MDB_val value{};
  auto code = cursor_.get(key, value, MDB_NEXT);
  return take(code, key, value);
}

// -- tail_index
// -------------------------------------------------------------------------------------------------------

tail_index::range tail_index::covered() const {
  std::shared_lock lock{mutex_};
  return {base_, base_ + nodes_.size()};
}

tail_index::range tail_index::find(std::uint64_t hash, log_position after, log_position up_to,
                                   std::size_t limit, std::vector<log_position>& out) const {
  auto begin = out.size();
  std::shared_lock lock{mutex_};
  range covered{base_, base_ + nodes_.size()};
  for (auto n = last_node(hash); n != 0 && base_ + n > after; n = nodes_[n - 1].previous)
    if (base_ + n <= up_to)
      out.push_back(base_ + n);
  lock.unlock();
  std::reverse(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end());
  if (out.size() - begin > limit)
    out.resize(begin + limit);
  return covered;
}

log_position tail_index::last_of(std::uint64_t hash) const {
  std::shared_lock lock{mutex_};
  auto n = last_node(hash);
  return n == 0 ? 0 : base_ + n;
}

std::vector<tail_index::occurrence> tail_index::occurrences(std::uint64_t above, bool from_start,
                                                            log_position after, log_position up_to) const {
  std::vector<occurrence> found;
  std::shared_lock lock{mutex_};
  for (auto n : slots_) {
    if (n == 0)
      continue;
    auto hash = nodes_[n - 1].hash;
    if (!from_start && hash <= above)
      continue;
    occurrence o{hash, 0, 0};
    for (; n != 0 && base_ + n > after; n = nodes_[n - 1].previous)
      if (base_ + n <= up_to) {
        ++o.count;
        o.last = std::max(o.last, base_ + n);
      }
    if (o.count > 0)
      found.push_back(o);
  }
  lock.unlock();
  std::ranges::sort(found, {}, &occurrence::hash);
  return found;
}

void tail_index::reset(log_position base) {
  std::unique_lock lock{mutex_};
  base_ = base;
  nodes_.clear();
  std::ranges::fill(slots_, 0);
}

void tail_index::append(const std::vector<std::uint64_t>& hashes) {
  std::unique_lock lock{mutex_};
  for (auto hash : hashes)
    push(hash);
}

void tail_index::push(std::uint64_t hash) {
  if (2 * nodes_.size() >= slots_.size())
    grow();
  auto& last = slot_of(hash);
  nodes_.push_back({hash, last});
  last = static_cast<std::uint32_t>(nodes_.size());
}

std::uint32_t& tail_index::slot_of(std::uint64_t hash) {
  auto mask = slots_.size() - 1;
  auto i = hash & mask;
  while (slots_[i] != 0 && nodes_[slots_[i] - 1].hash != hash)
    i = (i + 1) & mask;
  return slots_[i];
}

std::uint32_t tail_index::last_node(std::uint64_t hash) const {
  return slots_.empty() ? 0 : const_cast<tail_index*>(this)->slot_of(hash);
}

void tail_index::grow() {
  slots_.assign(std::max<std::size_t>(1'024, 2 * slots_.size()), 0);
  for (std::uint32_t n = 1; n <= nodes_.size(); ++n)
    slot_of(nodes_[n - 1].hash) = n;
}

void tail_index::drop_until(log_position base) {
  std::unique_lock lock{mutex_};
  auto kept = std::move(nodes_);
  auto dropped = std::min<std::size_t>(base - base_, kept.size());
  base_ = base;
  nodes_.clear();
  std::ranges::fill(slots_, 0);
  for (auto i = dropped; i < kept.size(); ++i)
    push(kept[i].hash);
}

std::vector<index_entry> tail_index::sorted() const {
  std::vector<index_entry> entries;
  {
    std::shared_lock lock{mutex_};
    entries.reserve(nodes_.size());
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      entries.push_back({nodes_[i].hash, base_ + i + 1});
  }
  std::ranges::sort(entries);
  return entries;
}

// -- index_writer
// -----------------------------------------------------------------------------------------------------

result<void> index_writer::load(MDB_txn* txn, const lmdb_tables& tables) {
  merges_.clear();
  garbage_.clear();
  filters_.clear();
  auto runs = load_runs(txn, tables);
  if (!runs)
    return runs.error();
  runs_ = *std::move(runs);
  next_id_ = 1;
  for (auto& run : runs_)
    next_id_ = std::max(next_id_, run.id + 1);
  // Runs that the list does not name are unfinished merges, or merged and not removed yet.
  lmdb_cursor cursor{txn, tables.index};
  for (std::uint32_t id = 0;;) {
    auto bytes = make_key(id, {0, 0});
    auto key = to_val(view(bytes));
    MDB_val value{};
    auto code = cursor.get(key, value, MDB_SET_RANGE);
    if (code == MDB_NOTFOUND)
      return {};
    if (code != 0)
      return lmdb_error(code, "cannot read the stream index");
    if (key.mv_size != key_size)
      return damaged("a key has a wrong size");
    id = run_of(key);
    if (std::ranges::find(runs_, id, &index_run::id) == runs_.end())
      garbage_.push_back(id);
    next_id_ = std::max(next_id_, ++id);
  }
}

result<void> index_writer::maintain(MDB_txn* txn, const lmdb_tables& tables, const tail_index& tail,
                                    std::size_t appended) {
  auto [base, head] = tail.covered();
  // A run may be written already whose entries the tail still holds: then `base` is behind `covered()`.
  if (base >= covered() && head - base >= tail_size)
    if (auto flushed = flush(txn, tables, tail); !flushed)
      return flushed;
  for (auto i = merges_.begin(); i != merges_.end();) {
    auto& m = i->second;
    m.budget += 2 * appended;
    if (m.budget < merge_step) {
      ++i;
      continue;
    }
    auto finished = advance(txn, tables, m);
    if (!finished)
      return finished.error();
    i = *finished ? merges_.erase(i) : std::next(i);
  }
  start_merges();
  return drop_garbage(txn, tables, 1 + appended / 32);
}

result<void> index_writer::flush(MDB_txn* txn, const lmdb_tables& tables, const tail_index& tail) {
  auto entries = tail.sorted();
  auto [base, head] = tail.covered();
  index_run run{next_id_++, 0, base + 1, head};
  for (std::size_t i = 0; i < entries.size(); i += chunk_entries)
    if (auto put = put_chunk(txn, tables, run.id, &entries[i], std::min(chunk_entries, entries.size() - i));
        !put)
      return put;
  auto filter = std::make_shared<run_filter>(entries.size());
  for (auto& entry : entries)
    filter->add(entry.hash);
  filters_.put(run.id, std::move(filter));
  runs_.push_back(run);
  return save_runs(txn, tables);
}

void index_writer::start_merges() {
  for (auto first = runs_.begin(); first != runs_.end();) {
    auto last = std::find_if(first, runs_.end(), [&](auto& r) { return r.level != first->level; });
    if (static_cast<std::size_t>(last - first) >= merge_width && !merges_.contains(first->level)) {
      merge m;
      m.inputs.assign(first, first + merge_width);
      m.output = next_id_++;
      if (first->level < filtered_level)
        m.filter = std::make_shared<run_filter>(m.inputs.back().last - m.inputs.front().first + 1);
      merges_.emplace(first->level, std::move(m));
    }
    first = last;
  }
}

result<bool> index_writer::advance(MDB_txn* txn, const lmdb_tables& tables, merge& m) {
  std::vector<run_cursor> sources;
  sources.reserve(m.inputs.size());
  auto start = m.done ? index_entry{m.done->hash, m.done->position + 1} : index_entry{0, 0};
  for (auto& input : m.inputs) {
    run_cursor source{txn, tables, input};
    auto found = source.seek(start);
    if (!found)
      return found;
    if (*found)
      sources.push_back(std::move(source));
  }
  auto behind = [](const run_cursor& a, const run_cursor& b) { return b.entry() < a.entry(); };
  std::array<index_entry, chunk_entries> chunk;
  std::size_t size = 0;
  while (!sources.empty() && m.budget > 0) {
    auto smallest = std::ranges::min_element(sources, [&](auto& a, auto& b) { return behind(b, a); });
    chunk[size++] = smallest->entry();
    if (m.filter)
      m.filter->add(smallest->entry().hash);
    auto more = smallest->next();
    if (!more)
      return more;
    if (!*more)
      sources.erase(smallest);
    if (size == chunk_entries || sources.empty()) {
      if (auto put = put_chunk(txn, tables, m.output, chunk.data(), size); !put)
        return put.error();
      m.done = chunk[size - 1];
      m.budget -= std::min(m.budget, size);
      size = 0;
      if (m.budget < chunk_entries)
        break;
    }
  }
  if (!sources.empty())
    return false;
  // Everything is written: the output takes the inputs' place.
  auto first = std::ranges::find(runs_, m.inputs.front().id, &index_run::id);
  index_run output{m.output, first->level + 1, m.inputs.front().first, m.inputs.back().last};
  if (m.filter)
    filters_.put(m.output, std::move(m.filter));
  for (auto& input : m.inputs) {
    filters_.erase(input.id);
    garbage_.push_back(input.id);
  }
  first = runs_.erase(first, first + static_cast<std::ptrdiff_t>(m.inputs.size()));
  runs_.insert(first, output);
  if (auto saved = save_runs(txn, tables); !saved)
    return saved.error();
  return true;
}

result<void> index_writer::put_chunk(MDB_txn* txn, const lmdb_tables& tables, std::uint32_t run,
                                     const index_entry* entries, std::size_t count) {
  auto bytes = make_key(run, entries[0]);
  auto key = to_val(view(bytes));
  auto size = count * sizeof(index_entry);
  MDB_val value{checksum_size + size, nullptr};
  if (auto code = mdb_put(txn, tables.index, &key, &value, MDB_RESERVE))
    return lmdb_error(code, "cannot write the stream index");
  auto checksum = XXH3_64bits(entries, size);
  std::memcpy(value.mv_data, &checksum, checksum_size);
  std::memcpy(static_cast<char*>(value.mv_data) + checksum_size, entries, size);
  return {};
}

result<void> index_writer::drop_garbage(MDB_txn* txn, const lmdb_tables& tables, std::size_t chunks) {
  while (!garbage_.empty() && chunks > 0) {
    lmdb_cursor cursor{txn, tables.index};
    auto bytes = make_key(garbage_.back(), {0, 0});
    auto key = to_val(view(bytes));
    MDB_val value{};
    auto code = cursor.get(key, value, MDB_SET_RANGE);
    for (; code == 0 && run_of(key) == garbage_.back() && chunks > 0; --chunks) {
      if (code = mdb_cursor_del(cursor.handle(), 0); code != 0)
        break;
      code = cursor.get(key, value, MDB_NEXT);
    }
    if (code != 0 && code != MDB_NOTFOUND)
      return lmdb_error(code, "cannot remove merged runs from the stream index");
    if (chunks > 0)
      garbage_.pop_back();
  }
  return {};
}

result<void> index_writer::save_runs(MDB_txn* txn, const lmdb_tables& tables) {
  auto size = runs_.size() * sizeof(index_run);
  auto key = to_val(runs_name);
  MDB_val value{checksum_size + size, nullptr};
  if (auto code = mdb_put(txn, tables.meta, &key, &value, MDB_RESERVE))
    return lmdb_error(code, "cannot write the list of index runs");
  auto checksum = XXH3_64bits(runs_.data(), size);
  std::memcpy(value.mv_data, &checksum, checksum_size);
  std::memcpy(static_cast<char*>(value.mv_data) + checksum_size, runs_.data(), size);
  return {};
}

} // namespace eventcore::internal
