#include <eventcore/persistence/view_store.hpp>

#include <eventcore/persistence/internal/lmdb_reader.hpp>
#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/persistence/internal/view_env.hpp>

#include <eventcore/persistence/internal/view.pb.h>

#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace eventcore {

using internal::lmdb_cursor;
using internal::to_val;
using internal::to_view;
using internal::view_env;

namespace {

/// Larger ones do not share a page with others.
constexpr std::size_t large_value = 1'500;
constexpr std::uint64_t transactions_between_reader_checks = 1'024;

std::string place(const view_env& env, std::size_t table, std::string_view key) {
  return "table " + env.form().tables[table].name + ", key " + internal::quoted(key);
}

result<void> check_key(const view_env& env, std::size_t table, std::string_view key) {
  if (!key.empty() && key.size() <= max_view_key)
    return {};
  return make_error(journal_errc::invalid_argument,
                    env.subject() + ": " + place(env, table, key) + " takes " + std::to_string(key.size()) +
                        " bytes; a key takes 1 to " + std::to_string(max_view_key));
}

result<std::optional<std::string_view>> get_row(const view_env& env, MDB_txn* txn, std::size_t table,
                                                std::string_view key) {
  if (auto good = check_key(env, table, key); !good)
    return good.error();
  auto k = to_val(key);
  MDB_val value{};
  auto code = mdb_get(txn, env.rows(table), &k, &value);
  if (code == MDB_NOTFOUND)
    return std::optional<std::string_view>{};
  if (code != 0)
    return env.failed(code, "cannot read " + place(env, table, key));
  auto content = internal::unseal(to_view(value));
  if (!content)
    return env.damaged(place(env, table, key));
  return content;
}

result<std::vector<view_row>> list_rows(const view_env& env, MDB_txn* txn, std::size_t table,
                                        view_bounds& where, read_limits limits) {
  std::vector<view_row> rows;
  std::size_t bytes = 0;
  lmdb_cursor cursor{txn, env.rows(table)};
  auto key = to_val(where.begin);
  MDB_val value{};
  auto code = cursor.get(key, value, where.begin.empty() ? MDB_FIRST : MDB_SET_RANGE);
  for (; code == 0; code = cursor.get(key, value, MDB_NEXT)) {
    const auto found = to_view(key);
    if (!where.end.empty() && found >= where.end)
      break;
    auto content = internal::unseal(to_view(value));
    if (!content)
      return env.damaged(place(env, table, found));
    bytes += found.size() + content->size();
    if (!rows.empty() && (rows.size() >= limits.events || bytes > limits.bytes))
      break;
    rows.push_back({std::string{found}, std::string{*content}});
  }
  if (code != 0 && code != MDB_NOTFOUND)
    return env.failed(code, "cannot read its table " + env.form().tables[table].name);
  if (!rows.empty())
    where.begin = rows.back().key + '\0';
  return rows;
}

uuid uuid_of(const std::string& bytes) {
  uuid id;
  if (bytes.size() == id.bytes.size())
    std::memcpy(id.bytes.data(), bytes.data(), bytes.size());
  return id;
}

std::string bytes_of(const uuid& id) {
  return {id.bytes.begin(), id.bytes.end()};
}

} // namespace

view_bounds view_bounds::prefix(std::string bytes) {
  view_bounds bounds{bytes, std::move(bytes)};
  // The first that does not begin so: the last byte that can be raised is.
  while (!bounds.end.empty() && bounds.end.back() == '\xFF')
    bounds.end.pop_back();
  if (!bounds.end.empty())
    bounds.end.back() = static_cast<char>(static_cast<unsigned char>(bounds.end.back()) + 1);
  return bounds;
}

struct view_store::impl {
  std::unique_ptr<view_env> env;
  std::size_t reserve_disk_bytes = 0;
  std::uint64_t transactions = 0;
};

view_store::view_store(std::unique_ptr<impl> content) noexcept
    : impl_{std::move(content)} {}
view_store::~view_store() = default;

result<std::unique_ptr<view_store>> view_store::create(const std::filesystem::path& dir,
                                                       const view_form& form, bool live,
                                                       const view_options& options) {
  const auto fail = [&](const std::string& why) {
    return make_error(journal_errc::cannot_open, "view folder " + dir.string() + ": " + why);
  };
  std::error_code failed;
  std::filesystem::create_directories(dir, failed);
  if (failed)
    return fail("cannot be created: " + failed.message());
  if (std::filesystem::exists(dir / "data.mdb", failed))
    return fail("it holds a data.mdb already");
  if (auto room = internal::check_disk(dir, options.reserve_disk_bytes, "view folder " + dir.string()); !room)
    return room.error();
  auto env = view_env::open(dir, options, view_env::creation{form, live});
  if (!env)
    return env.error();
  for (auto& folder : {dir, std::filesystem::absolute(dir).parent_path()})
    if (auto code = internal::sync_folder(folder))
      return fail(std::string{"cannot be synced: "} + std::strerror(code));
  return std::unique_ptr<view_store>{
      new view_store{std::make_unique<impl>(impl{*std::move(env), options.reserve_disk_bytes})}};
}

result<std::unique_ptr<view_store>> view_store::open(const std::filesystem::path& dir,
                                                     const view_options& options) {
  std::error_code failed;
  if (!std::filesystem::exists(dir / "data.mdb", failed))
    return make_error(journal_errc::cannot_open, "view folder " + dir.string() + " holds no view");
  auto env = view_env::open(dir, options, std::nullopt);
  if (!env)
    return env.error();
  return std::unique_ptr<view_store>{
      new view_store{std::make_unique<impl>(impl{*std::move(env), options.reserve_disk_bytes})}};
}

const view_form& view_store::form() const noexcept {
  return impl_->env->form();
}

const std::filesystem::path& view_store::dir() const noexcept {
  return impl_->env->dir();
}

result<std::optional<std::string>> view_store::get(std::size_t table, std::string_view key) {
  auto& env = *impl_->env;
  return env.read([&](MDB_txn* txn) -> result<std::optional<std::string>> {
    auto found = get_row(env, txn, table, key);
    if (!found)
      return found.error();
    return *found ? std::optional<std::string>{**found} : std::nullopt;
  });
}

result<std::vector<view_row>> view_store::list(std::size_t table, view_bounds& where, read_limits limits) {
  auto& env = *impl_->env;
  return env.read([&](MDB_txn* txn) { return list_rows(env, txn, table, where, limits); });
}

result<std::vector<view_cursor>> view_store::cursors() {
  auto& env = *impl_->env;
  return env.read([&](MDB_txn* txn) -> result<std::vector<view_cursor>> {
    std::vector<view_cursor> all;
    lmdb_cursor cursor{txn, env.cursors()};
    MDB_val key{};
    MDB_val value{};
    auto code = cursor.get(key, value, MDB_FIRST);
    for (; code == 0; code = cursor.get(key, value, MDB_NEXT)) {
      const auto content = internal::unseal(to_view(value));
      format::ViewCursor stored;
      if (!content || !stored.ParseFromArray(content->data(), static_cast<int>(content->size())))
        return env.damaged("the cursor of source " + internal::quoted(to_view(key)));
      all.push_back({std::string{to_view(key)}, uuid_of(stored.journal_id()), uuid_of(stored.incarnation()),
                     stored.position(), timestamp{std::chrono::microseconds{stored.occurred_at_us()}}});
    }
    if (code != MDB_NOTFOUND)
      return env.failed(code, "cannot read its cursors");
    return all;
  });
}

result<bool> view_store::is_live() {
  auto& env = *impl_->env;
  return env.read([&](MDB_txn* txn) -> result<bool> {
    auto found = internal::read_form(env, txn);
    if (!found)
      return found.error();
    return found->second;
  });
}

result<view_store::transaction> view_store::begin() {
  auto& env = *impl_->env;
  if (auto room = internal::check_disk(env.dir(), impl_->reserve_disk_bytes, env.subject()); !room)
    return room.error();
  auto txn = env.begin_write();
  if (!txn)
    return txn.error();
  if (++impl_->transactions % transactions_between_reader_checks == 0)
    env.drop_dead_readers();
  return transaction{*impl_, *txn};
}

void view_store::close() {
  impl_->env->close();
}

// -- transaction -------------------------------------------------------------------------------------------------

view_store::transaction::transaction(view_store::impl& store, MDB_txn* txn)
    : store_{&store}
    , txn_{txn}
    , changes_(store.env->form().tables.size()) {}

view_store::transaction::transaction(transaction&& other) noexcept
    : store_{other.store_}
    , txn_{std::exchange(other.txn_, nullptr)}
    , changes_{std::move(other.changes_)}
    , large_values_{other.large_values_} {}

view_store::transaction& view_store::transaction::operator=(transaction&& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(txn_, other.txn_);
  std::swap(changes_, other.changes_);
  std::swap(large_values_, other.large_values_);
  return *this;
}

view_store::transaction::~transaction() {
  if (txn_)
    mdb_txn_abort(txn_);
}

result<std::optional<std::string_view>> view_store::transaction::get(std::size_t table,
                                                                     std::string_view key) {
  return get_row(*store_->env, txn_, table, key);
}

result<std::vector<view_row>> view_store::transaction::list(std::size_t table, view_bounds& where,
                                                            read_limits limits) {
  return list_rows(*store_->env, txn_, table, where, limits);
}

result<void> view_store::transaction::put(std::size_t table, std::string_view key, std::string_view value) {
  auto& env = *store_->env;
  if (auto good = check_key(env, table, key); !good)
    return good;
  if (value.size() > max_view_value)
    return make_error(journal_errc::too_large, env.subject() + ": the value of " + place(env, table, key) +
                                                   " takes " + std::to_string(value.size()) +
                                                   " bytes; a value takes " + std::to_string(max_view_value) +
                                                   " at most");
  ++changes_[table];
  if (value.size() > large_value)
    large_values_ += value.size();
  // As `seal` does, without a copy.
  const auto checksum = XXH3_64bits(value.data(), value.size());
  auto k = to_val(key);
  MDB_val v{sizeof(checksum) + value.size(), nullptr};
  if (auto code = mdb_put(txn_, env.rows(table), &k, &v, MDB_RESERVE))
    return env.failed(code, "cannot write " + place(env, table, key));
  std::memcpy(v.mv_data, &checksum, sizeof(checksum));
  std::memcpy(static_cast<char*>(v.mv_data) + sizeof(checksum), value.data(), value.size());
  return {};
}

result<bool> view_store::transaction::erase(std::size_t table, std::string_view key) {
  auto& env = *store_->env;
  if (auto good = check_key(env, table, key); !good)
    return good.error();
  auto k = to_val(key);
  ++changes_[table];
  auto code = mdb_del(txn_, env.rows(table), &k, nullptr);
  if (code != 0 && code != MDB_NOTFOUND)
    return env.failed(code, "cannot erase " + place(env, table, key));
  return code == 0;
}

result<void> view_store::transaction::put_cursor(const view_cursor& cursor) {
  auto& env = *store_->env;
  format::ViewCursor stored;
  stored.set_journal_id(bytes_of(cursor.journal));
  stored.set_incarnation(bytes_of(cursor.incarnation));
  stored.set_position(cursor.position);
  stored.set_occurred_at_us(cursor.occurred_at.time_since_epoch().count());
  const auto sealed = internal::seal(stored.SerializeAsString());
  auto key = to_val(cursor.source);
  auto value = to_val(sealed);
  if (auto code = mdb_put(txn_, env.cursors(), &key, &value, 0))
    return env.failed(code, "cannot write the cursor of source " + internal::quoted(cursor.source));
  return {};
}

std::size_t view_store::transaction::memory() const {
  auto bytes = large_values_;
  for (std::size_t table = 0; table != changes_.size(); ++table) {
    // A change copies a page of each level of the tree, at most, and all together copy each page once.
    MDB_stat tree{};
    if (changes_[table] > 0 && mdb_stat(txn_, store_->env->rows(table), &tree) == 0)
      bytes += std::min(changes_[table] * tree.ms_depth, tree.ms_leaf_pages + tree.ms_branch_pages) *
               tree.ms_psize;
  }
  return bytes;
}

result<void> view_store::transaction::set_live() {
  return internal::write_form(*store_->env, txn_, store_->env->form(), true);
}

result<void> view_store::transaction::commit() {
  auto& env = *store_->env;
  auto code = env.commit_write(std::exchange(txn_, nullptr));
  if (code == 0)
    return {};
  // Neither the map nor the kernel's view of the file is to be trusted.
  auto why = env.failed(code, "cannot commit");
  if (auto opened = env.reopen(); !opened)
    return error{why.code(), why.message() + "; opening it again failed, too: " + opened.error().message()};
  return why;
}

} // namespace eventcore
