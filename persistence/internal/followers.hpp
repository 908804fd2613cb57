#pragma once

#include <eventcore/persistence/journal.hpp>

#include <mutex>

namespace eventcore::internal {

/// Functions that want to hear of each new `T`. Thread-safe.
template <class T>
class followers {
public:
  tail_subscription add(std::function<void(T)> call) {
    auto entry = std::make_shared<follower>();
    entry->call = std::move(call);
    std::lock_guard lock{mutex_};
    std::erase_if(all_, [](auto& f) { return f.expired(); });
    all_.push_back(entry);
    return tail_subscription{std::shared_ptr<void>{entry.get(), [entry](void*) {
                                                     std::lock_guard guard{entry->mutex};
                                                     entry->call = nullptr;
                                                   }}};
  }

  void notify(const T& value) {
    std::vector<std::shared_ptr<follower>> alive;
    {
      std::lock_guard lock{mutex_};
      for (auto& f : all_)
        if (auto strong = f.lock())
          alive.push_back(std::move(strong));
    }
    for (auto& f : alive) {
      std::lock_guard guard{f->mutex};
      if (f->call)
        f->call(value);
    }
  }

private:
  struct follower {
    std::recursive_mutex mutex;
    std::function<void(T)> call;
  };

  std::mutex mutex_;
  std::vector<std::weak_ptr<follower>> all_;
};

} // namespace eventcore::internal
