#pragma once

#include <caf/all.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace eventcore::internal {

class subscription_name;

/// The running subscriptions of a node by name. Thread-safe.
class subscription_directory : public std::enable_shared_from_this<subscription_directory> {
public:
  /// Takes the name until the value is destroyed. Empty: it is taken.
  subscription_name take(const std::string& name);

  /// Null: there is none.
  caf::actor find(const std::string& name) const {
    std::lock_guard guard{mutex_};
    auto i = running_.find(name);
    return i == running_.end() ? caf::actor{} : i->second;
  }
  /// Those that have an actor: not those that are being started.
  std::vector<std::pair<std::string, caf::actor>> all() const {
    std::lock_guard guard{mutex_};
    std::vector<std::pair<std::string, caf::actor>> found;
    for (auto& entry : running_)
      if (entry.second)
        found.push_back(entry);
    return found;
  }

private:
  friend class subscription_name;

  mutable std::mutex mutex_;
  std::map<std::string, caf::actor> running_;
};

/// A name that is taken. Movable.
class subscription_name {
public:
  subscription_name() = default;
  subscription_name(std::shared_ptr<subscription_directory> of, std::string name)
      : directory_{std::move(of)}
      , name_{std::move(name)} {}
  subscription_name(subscription_name&& other) noexcept = default;
  subscription_name& operator=(subscription_name&& other) noexcept {
    std::swap(directory_, other.directory_);
    std::swap(name_, other.name_);
    return *this;
  }
  ~subscription_name() { release(); }

  explicit operator bool() const noexcept { return directory_ != nullptr; }
  const std::string& str() const noexcept { return name_; }

  void set_actor(caf::actor actor) {
    std::lock_guard guard{directory_->mutex_};
    directory_->running_[name_] = std::move(actor);
  }
  void release() {
    if (!directory_)
      return;
    const auto directory = std::move(directory_);
    caf::actor gone;
    std::lock_guard guard{directory->mutex_};
    gone = std::move(directory->running_[name_]);
    directory->running_.erase(name_);
  }

private:
  std::shared_ptr<subscription_directory> directory_;
  std::string name_;
};

inline subscription_name subscription_directory::take(const std::string& name) {
  std::lock_guard guard{mutex_};
  if (!running_.try_emplace(name).second)
    return {};
  return {shared_from_this(), name};
}

} // namespace eventcore::internal
