#include <eventcore/persistence/internal/view_env.hpp>

#include <eventcore/persistence/internal/lmdb_reader.hpp>

#include <eventcore/persistence/internal/view.pb.h>

#include <algorithm>

namespace eventcore::internal {

namespace {

constexpr std::uint32_t format_version = 1;
constexpr std::string_view form_key = "form";
constexpr const char* about_table = "view";
constexpr const char* cursors_table = "cursors";
constexpr std::string_view rows_prefix = "rows/";
constexpr unsigned max_tables = 66;
constexpr auto if_damaged = "rebuild the projection, which makes it anew from the events";

} // namespace

result<std::unique_ptr<view_env>> view_env::open(const std::filesystem::path& dir,
                                                 const view_options& options,
                                                 std::optional<creation> missing) {
  gated_env::config how{.dir = dir,
                        .map_bytes = options.map_bytes,
                        .max_tables = max_tables,
                        .subject = "view folder " + dir.string(),
                        .if_damaged = if_damaged,
                        .damaged = journal_errc::corrupt};
  if (options.commit)
    how.commit = options.commit;
  std::unique_ptr<view_env> env{new view_env{std::move(how), std::move(missing)}};
  if (auto started = env->start(); !started)
    return started.error();
  env->missing_.reset();
  env->drop_dead_readers();
  return env;
}

error view_env::failed(int code, const std::string& what) const {
  return lmdb_error(code, subject() + ": " + what, if_damaged);
}

error view_env::damaged(const std::string& what) const {
  return make_error(journal_errc::corrupt,
                    subject() + ": " + what + " is damaged: its checksum does not match; " + if_damaged);
}

result<void> view_env::open_tables(MDB_txn* txn) {
  MDB_dbi main = 0;
  MDB_stat stat{};
  auto code = mdb_dbi_open(txn, nullptr, 0, &main);
  if (code == 0)
    code = mdb_stat(txn, main, &stat);
  if (code != 0)
    return failed(code, "cannot read its list of tables");
  if (stat.ms_entries == 0 && !missing_)
    return make_error(journal_errc::corrupt, subject() + ": it was begun, but never finished; " + if_damaged);
  const bool create = stat.ms_entries == 0;
  const unsigned flags = create ? MDB_CREATE : 0u;
  for (auto [name, handle] : {std::pair{about_table, &about_}, std::pair{cursors_table, &cursors_}})
    if (code = mdb_dbi_open(txn, name, flags, handle); code != 0)
      return code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE
                 ? make_error(journal_errc::cannot_open, subject() + ": data.mdb holds no view")
                 : failed(code, std::string{"cannot open its table "} + name);
  if (create)
    if (auto written = write_form(*this, txn, missing_->form, missing_->live); !written)
      return written;
  auto found = read_form(*this, txn);
  if (!found)
    return found.error();
  form_ = std::move(found->first);
  rows_.assign(form_.tables.size(), 0);
  for (std::size_t i = 0; i != rows_.size(); ++i) {
    const auto name = std::string{rows_prefix} + form_.tables[i].name;
    if (code = mdb_dbi_open(txn, name.c_str(), flags, &rows_[i]); code != 0)
      return failed(code, "cannot open its table " + form_.tables[i].name);
  }
  return {};
}

result<std::pair<view_form, bool>> read_form(const view_env& env, MDB_txn* txn) {
  auto key = to_val(form_key);
  MDB_val value{};
  if (auto code = mdb_get(txn, env.about(), &key, &value))
    return env.failed(code, "cannot read what it says of itself");
  const auto content = unseal(to_view(value));
  format::ViewForm stored;
  if (!content || !stored.ParseFromArray(content->data(), static_cast<int>(content->size())))
    return env.damaged("what it says of itself");
  if (stored.format_version() != format_version)
    return make_error(journal_errc::wrong_format,
                      env.subject() + ": it is of format version " + std::to_string(stored.format_version()) +
                          ", and this program knows version " + std::to_string(format_version));
  view_form form{stored.projection(), stored.version(), {}, {stored.events().begin(), stored.events().end()}};
  for (auto& table : stored.tables())
    form.tables.push_back({table.name(), table.key(), table.value()});
  return std::pair{std::move(form), stored.live()};
}

result<void> write_form(const view_env& env, MDB_txn* txn, const view_form& form, bool live) {
  format::ViewForm stored;
  stored.set_format_version(format_version);
  stored.set_projection(form.projection);
  stored.set_version(form.version);
  for (auto& table : form.tables) {
    auto& t = *stored.add_tables();
    t.set_name(table.name);
    t.set_key(table.key);
    t.set_value(table.value);
  }
  *stored.mutable_events() = {form.events.begin(), form.events.end()};
  stored.set_live(live);
  const auto sealed = seal(stored.SerializeAsString());
  auto key = to_val(form_key);
  auto value = to_val(sealed);
  if (auto code = mdb_put(txn, env.about(), &key, &value, 0))
    return env.failed(code, "cannot write what it says of itself");
  return {};
}

} // namespace eventcore::internal
