#pragma once

#include <eventcore/persistence/internal/gated_env.hpp>
#include <eventcore/persistence/view_store.hpp>

#include <memory>

namespace eventcore::internal {

/// The LMDB environment of a view. Its tables:
///
/// | table | key | value |
/// |---|---|---|
/// | `view` | `form` | checksum, `ViewForm` of view.proto |
/// | `cursors` | a source's name | checksum, `ViewCursor` |
/// | `rows/` and a table's name | the row's | checksum, the row's value |
class view_env final : public gated_env {
public:
  /// Makes a view of this form, if there is none.
  struct creation {
    view_form form;
    bool live;
  };

  static result<std::unique_ptr<view_env>> open(const std::filesystem::path& dir, const view_options& options,
                                                std::optional<creation> missing);

  const view_form& form() const noexcept { return form_; }
  MDB_dbi about() const noexcept { return about_; }
  MDB_dbi cursors() const noexcept { return cursors_; }
  MDB_dbi rows(std::size_t table) const { return rows_.at(table); }

  /// The error of a failed LMDB call.
  error failed(int code, const std::string& what) const;
  error damaged(const std::string& what) const;

private:
  view_env(gated_env::config how, std::optional<creation> missing)
      : gated_env{std::move(how)}
      , missing_{std::move(missing)} {}

  result<void> open_tables(MDB_txn* txn) override;

  std::optional<creation> missing_;
  view_form form_;
  MDB_dbi about_ = 0;
  MDB_dbi cursors_ = 0;
  std::vector<MDB_dbi> rows_;
};

/// What a view says of itself, in `txn`. The second: whether it is live.
result<std::pair<view_form, bool>> read_form(const view_env& env, MDB_txn* txn);
result<void> write_form(const view_env& env, MDB_txn* txn, const view_form& form, bool live);

} // namespace eventcore::internal
