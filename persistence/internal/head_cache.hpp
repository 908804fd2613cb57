#pragma once

#include <eventcore/persistence/event.hpp>

#include <optional>
#include <string>
#include <unordered_map>

namespace eventcore::internal {

/// Remembers the versions of the streams used last. Two generations: what is used moves to the young one; when `trim` finds
/// that full, it becomes the old one, and the old one is forgotten. So at least the last `capacity / 2` streams used are
/// always there, and all that were used since the last `trim`. Not thread-safe.
class head_cache {
public:
  explicit head_cache(std::size_t capacity)
      : generation_size_{capacity / 2 + 1} {}

  std::optional<stream_version> find(const std::string& stream) {
    if (auto i = young_.find(stream); i != young_.end())
      return i->second;
    auto moved = old_.extract(stream);
    if (moved.empty())
      return std::nullopt;
    return young_.insert(std::move(moved)).position->second;
  }

  void put(const std::string& stream, stream_version version) { young_[stream] = version; }

  /// Keeps the bound. Not while a transaction is open: what it appended is known here alone.
  void trim() {
    if (young_.size() < generation_size_)
      return;
    old_ = std::move(young_);
    young_ = {};
  }

  void clear() {
    young_.clear();
    old_.clear();
  }

private:
  std::size_t generation_size_;
  std::unordered_map<std::string, stream_version> young_;
  std::unordered_map<std::string, stream_version> old_;
};

} // namespace eventcore::internal
