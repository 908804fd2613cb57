#include <eventcore/persistence/internal/lmdb_meta.hpp>

#include <charconv>

namespace eventcore::internal {

namespace {

// All values are text, so that `mdb_dump -p -s meta` shows them.
constexpr std::string_view format_key = "format_version";
constexpr std::string_view id_key = "journal_id";
constexpr std::string_view incarnation_key = "incarnation";
constexpr std::string_view service_key = "service";
constexpr std::string_view created_key = "created_at_us";

std::string place(const lmdb_env& env) {
  return "journal folder " + env.dir().string() + ": ";
}

result<std::optional<journal_info>> read_meta(lmdb_env& env) {
  return env.read([&](MDB_txn* txn, const lmdb_tables& tables) -> result<std::optional<journal_info>> {
    auto get = [&](std::string_view name) -> std::optional<std::string> {
      auto key = to_val(name);
      MDB_val value{};
      if (mdb_get(txn, tables.meta, &key, &value) != 0)
        return std::nullopt;
      return std::string{to_view(value)};
    };
    auto number = [](const std::string& text) {
      std::uint64_t value = 0;
      auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
      return failed == std::errc{} && end == text.data() + text.size() ? std::optional{value} : std::nullopt;
    };
    auto format = get(format_key);
    if (!format)
      return std::optional<journal_info>{};
    if (*format != std::to_string(format_version))
      return make_error(journal_errc::wrong_format, place(env) + "it is of format version " + *format +
                                                        ", and this program knows version " +
                                                        std::to_string(format_version) +
                                                        "; use a program of the matching version");
    auto id = uuid::parse(get(id_key).value_or(""));
    auto incarnation = uuid::parse(get(incarnation_key).value_or(""));
    auto created = number(get(created_key).value_or(""));
    if (!id || !incarnation || !created)
      return make_error(journal_errc::cannot_open,
                        place(env) + "what it says of itself is damaged; restore it from a backup");
    return std::optional<journal_info>{
        journal_info{format_version, *id, *incarnation, get(service_key).value_or(""),
                     timestamp{std::chrono::microseconds{static_cast<std::int64_t>(*created)}}}};
  });
}

result<void> write_meta(lmdb_env& env, const journal_options& options) {
  auto txn = env.begin_write();
  if (!txn)
    return txn.error();
  auto now = options.clock ? options.clock()
                           : std::chrono::duration_cast<std::chrono::microseconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count();
  std::pair<std::string_view, std::string> const values[] = {
      {format_key, std::to_string(format_version)},
      {id_key, to_string(options.expected_id.is_nil() ? uuid::random() : options.expected_id)},
      {incarnation_key, to_string(uuid::random())},
      {service_key, options.service},
      {created_key, std::to_string(now)}};
  for (auto& [name, text] : values) {
    auto key = to_val(name);
    auto value = to_val(text);
    if (auto code = mdb_put(*txn, env.tables().meta, &key, &value, 0)) {
      mdb_txn_abort(*txn);
      return lmdb_error(code, place(env) + "cannot write what it says of itself");
    }
  }
  if (auto code = env.commit_write(*txn))
    return lmdb_error(code, place(env) + "cannot write what it says of itself");
  return {};
}

} // namespace

result<journal_info> load_meta(lmdb_env& env) {
  auto found = read_meta(env);
  if (!found)
    return found.error();
  if (!*found)
    return make_error(journal_errc::cannot_open,
                      place(env) + "it was created, but never finished; open it for writing");
  return **std::move(found);
}

result<journal_info> load_or_create_meta(lmdb_env& env, const journal_options& options) {
  auto found = read_meta(env);
  if (!found)
    return found.error();
  if (!*found) {
    if (auto written = write_meta(env, options); !written)
      return written.error();
    return load_meta(env);
  }
  auto info = **std::move(found);
  if (!options.expected_id.is_nil() && info.id != options.expected_id)
    return make_error(journal_errc::wrong_journal, place(env) + "it holds journal " + to_string(info.id) +
                                                       ", but journal " + to_string(options.expected_id) +
                                                       " was expected; check the folder");
  return info;
}

} // namespace eventcore::internal
