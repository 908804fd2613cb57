#pragma once

#include <eventcore/persistence/internal/folder_lock.hpp>
#include <eventcore/persistence/view_store.hpp>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace eventcore::internal {

/// The folder of a projection: subfolders `view-1`, `view-2` and so on, each a view by itself. At most one of them serves and at
/// most one is being built beside it. A view says itself whether it serves, so that the one that was built takes the other's
/// place by one transaction of its own, and whenever the process ends, one of the two serves: of several that do, the one with
/// the highest number, and the others are removed.
///
/// Not thread-safe, save for the views.
class view_folder {
public:
  /// Opens or makes the folder for views of form `wanted`, for this process alone. A view that serves is kept whatever its form
  /// is; one of another form that is being built is removed, as are unfinished and damaged ones. Without a view that serves
  /// there is one afterwards: what was being built, or an empty one.
  ///
  /// Errors: `cannot_open` (names the folder; it holds other files, or cannot be written), `locked`, `disk_full`.
  static result<std::unique_ptr<view_folder>> open(const std::filesystem::path& dir, const view_form& wanted,
                                                   const view_options& options = {});
  view_folder(const view_folder&) = delete;
  /// Closes both views, once their readers have ended.
  ~view_folder();

  /// Never null.
  std::shared_ptr<view_store> live() const noexcept;
  /// Null: none is being built.
  std::shared_ptr<view_store> building() const noexcept;
  /// What was wrong with the view that served before, if it had to be given up.
  const std::optional<error>& damage() const noexcept { return damage_; }

  /// Begins an empty view beside the one that serves, in place of another that is being built.
  result<void> start_building();

  /// Lets the view that is being built serve, durably. The one before is removed when the last user lets go of it.
  result<void> swap();

private:
  struct held_view;

  view_folder(std::filesystem::path dir, view_form wanted, view_options options, folder_lock lock)
      : dir_{std::move(dir)}
      , wanted_{std::move(wanted)}
      , options_{std::move(options)}
      , lock_{std::move(lock)} {}

  result<void> find_views();
  result<std::shared_ptr<held_view>> create(bool live);
  std::filesystem::path path_of(std::uint64_t number) const;

  std::filesystem::path dir_;
  view_form wanted_;
  view_options options_;
  folder_lock lock_;
  std::uint64_t last_number_ = 0;
  std::shared_ptr<held_view> live_;
  std::shared_ptr<held_view> building_;
  std::optional<error> damage_;
};

} // namespace eventcore::internal
