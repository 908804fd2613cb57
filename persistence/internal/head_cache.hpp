#pragma once

#include <eventcore/persistence/event.hpp>
#include <eventcore/persistence/internal/stream_index.hpp>

#include <string>
#include <unordered_map>

namespace eventcore::internal {

/// Remembers the versions of the streams used last. Two generations: what is used moves to the young one;
/// when that is full it becomes the old one, and the old one is forgotten. So at least the last `capacity /
/// 2` streams used are always there. Not thread-safe.
class head_cache {
public:
  explicit head_cache(std::size_t capacity)
      : generation_size_{capacity / 2 + 1} {}

  /// Null: not known. What it points to may be changed, and stays until `trim`.
  stream_version* find(const std::string& stream) {
    if (auto i = young_.find(stream); i != young_.end())
      return &i->second;
    auto node = old_.extract(stream);
    return node ? &young_.insert(std::move(node)).position->second : nullptr;
  }

  /// For a stream that is not known.
  stream_version* put(const std::string& stream, stream_version version) {
    return &young_.emplace(stream, version).first->second;
  }

  /// Brings the cache back to its capacity. Only between transactions: what an open one appended is known here alone.
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
  struct hasher {
    std::size_t operator()(const std::string& stream) const noexcept { return hash_of(stream); }
  };
  using generation = std::unordered_map<std::string, stream_version, hasher>;

  std::size_t generation_size_;
  generation young_;
  generation old_;
};

} // namespace eventcore::internal
