#include <eventcore/persistence/internal/view_folder.hpp>

#include <atomic>
#include <charconv>
#include <functional>
#include <set>

namespace eventcore::internal {

namespace {

constexpr std::string_view prefix = "view-";
constexpr std::string_view lock_file = "writer.lock";

error cannot_open(const std::filesystem::path& dir, const std::string& why) {
  return make_error(journal_errc::cannot_open, "projection folder " + dir.string() + ' ' + why);
}

/// 0: it is no view's folder.
std::uint64_t number_of(std::string_view name) {
  std::uint64_t number = 0;
  if (!name.starts_with(prefix))
    return 0;
  name.remove_prefix(prefix.size());
  auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), number);
  return failed == std::errc{} && end == name.data() + name.size() && name[0] != '0' ? number : 0;
}

/// Removes a view's files and nothing else.
void remove_view(const std::filesystem::path& dir) {
  std::error_code failed;
  for (auto* name : {"data.mdb", "lock.mdb"})
    std::filesystem::remove(dir / name, failed);
  std::filesystem::remove(dir, failed);
}

result<void> set_live(view_store& view) {
  auto changes = view.begin();
  if (!changes)
    return changes.error();
  if (auto set = changes->set_live(); !set)
    return set;
  return changes->commit();
}

} // namespace

/// A view, and whether its files go with it.
struct view_folder::held_view {
  std::unique_ptr<view_store> store;
  std::atomic<bool> retired{false};

  explicit held_view(std::unique_ptr<view_store> opened)
      : store{std::move(opened)} {}
  ~held_view() {
    const auto dir = store->dir();
    store.reset();
    if (retired)
      remove_view(dir);
  }
};

result<std::unique_ptr<view_folder>> view_folder::open(const std::filesystem::path& dir,
                                                       const view_form& wanted, const view_options& options) {
  std::error_code failed;
  std::filesystem::create_directories(dir, failed);
  if (failed)
    return cannot_open(dir, "cannot be created: " + failed.message());
  auto lock = folder_lock::acquire(dir, folder_lock::mode::writer, "projection");
  if (!lock)
    return lock.error();
  std::unique_ptr<view_folder> folder{new view_folder{dir, wanted, options, *std::move(lock)}};
  if (auto found = folder->find_views(); !found)
    return found.error();
  return folder;
}

view_folder::~view_folder() {
  for (auto& view : {live_, building_})
    if (view)
      view->store->close();
}

result<void> view_folder::find_views() {
  std::set<std::uint64_t, std::greater<>> numbers;
  bool foreign = false;
  std::error_code failed;
  std::filesystem::directory_iterator entries{dir_, failed};
  if (failed)
    return cannot_open(dir_, "cannot be read: " + failed.message());
  for (auto& entry : entries) {
    const auto name = entry.path().filename().string();
    if (auto number = number_of(name); number > 0)
      numbers.insert(number);
    else
      foreign = foreign || name != lock_file;
  }
  if (foreign && numbers.empty())
    return cannot_open(dir_, "holds other files, but no view; name a new or an empty folder");
  std::optional<error> damage;
  for (auto number : numbers) {
    last_number_ = std::max(last_number_, number);
    const auto path = path_of(number);
    if (live_ || !std::filesystem::exists(path / "data.mdb", failed)) {
      remove_view(path);
      continue;
    }
    auto opened = view_store::open(path, options_);
    auto is_live = opened ? (*opened)->is_live() : result<bool>{opened.error()};
    if (!is_live && is_live.error().code() != journal_errc::corrupt)
      return is_live.error();
    if (!is_live)
      damage = is_live.error();
    else if (*is_live)
      live_ = std::make_shared<held_view>(*std::move(opened));
    else if (!building_ && (*opened)->form() == wanted_)
      building_ = std::make_shared<held_view>(*std::move(opened));
    if (opened && *opened)
      opened->reset();
    if (!is_live ||
        (!(live_ && live_->store->dir() == path) && !(building_ && building_->store->dir() == path)))
      remove_view(path);
  }
  if (live_)
    return {};
  damage_ = std::move(damage);
  if (building_) {
    live_ = std::move(building_);
    return set_live(*live_->store);
  }
  auto created = create(true);
  if (!created)
    return created.error();
  live_ = *std::move(created);
  return {};
}

std::shared_ptr<view_store> view_folder::live() const noexcept {
  return {live_, live_->store.get()};
}

std::shared_ptr<view_store> view_folder::building() const noexcept {
  return building_ ? std::shared_ptr<view_store>{building_, building_->store.get()} : nullptr;
}

result<void> view_folder::start_building() {
  if (building_)
    std::exchange(building_, nullptr)->retired = true;
  auto created = create(false);
  if (!created)
    return created.error();
  building_ = *std::move(created);
  return {};
}

result<void> view_folder::swap() {
  if (auto set = set_live(*building_->store); !set)
    return set;
  std::exchange(live_, std::exchange(building_, nullptr))->retired = true;
  return {};
}

result<std::shared_ptr<view_folder::held_view>> view_folder::create(bool live) {
  const auto path = path_of(last_number_ + 1);
  auto created = view_store::create(path, wanted_, live, options_);
  if (!created) {
    remove_view(path);
    return created.error();
  }
  ++last_number_;
  return std::make_shared<held_view>(*std::move(created));
}

std::filesystem::path view_folder::path_of(std::uint64_t number) const {
  return dir_ / (std::string{prefix} + std::to_string(number));
}

} // namespace eventcore::internal
