#pragma once

#include <eventcore/persistence/event.hpp>
#include <eventcore/persistence/internal/stream_index.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eventcore::internal {

/// Remembers the versions of the streams used last. Two generations: what is used moves to the young one;
/// when that is full it becomes the old one, and the old one is forgotten. So at least the last `capacity /
/// 2` streams used are always there. Not thread-safe.
class head_cache {
public:
  explicit head_cache(std::size_t capacity)
      : generation_size_{capacity / 2 + 1} {}

  /// Null: not known. What it points to may be changed, and stays until `trim`.
  stream_version* find(std::string_view stream) {
    const auto hash = hash_of(stream);
    if (auto* known = young_.find(hash, stream))
      return &known->version;
    auto* known = old_.find(hash, stream);
    return known ? &young_.add(hash, std::move(known->stream), known->version) : nullptr;
  }

  /// For a stream that is not known.
  stream_version* put(std::string_view stream, stream_version version) {
    return &young_.add(hash_of(stream), std::string{stream}, version);
  }

  /// Brings the cache back to its capacity. Only between transactions: what an open one appended is known here alone.
  void trim() {
    if (young_.size() < generation_size_)
      return;
    std::swap(old_, young_);
    young_.clear();
  }

  void clear() {
    young_.clear();
    old_.clear();
  }

private:
  struct head {
    stream_version version;
    std::string stream;
  };

  /// Open addressing with linear probing: a look-up costs two cache lines, one of the places and the head's own.
  class generation {
  public:
    std::size_t size() const noexcept { return size_; }

    head* find(std::uint64_t hash, std::string_view stream) noexcept {
      if (size_ == 0)
        return nullptr;
      const auto tag = tag_of(hash);
      for (auto i = hash & mask(); places_[i].number != 0; i = (i + 1) & mask())
        if (places_[i].tag == tag)
          if (auto& found = at(places_[i].number - 1); found.stream == stream)
            return &found;
      return nullptr;
    }

    stream_version& add(std::uint64_t hash, std::string stream, stream_version version) {
      if (2 * (size_ + 1) > places_.size())
        grow();
      if (size_ == blocks_.size() * block_size)
        blocks_.push_back(std::make_unique<head[]>(block_size));
      auto& added = at(size_++);
      added.version = version;
      added.stream = std::move(stream);
      settle(hash, size_);
      return added.version;
    }

    /// Keeps the memory.
    void clear() noexcept {
      size_ = 0;
      std::ranges::fill(places_, place{});
    }

  private:
    struct place {
      std::uint32_t tag = 0;    ///< the upper half of the hash
      std::uint32_t number = 0; ///< of the head, from 1; 0: free
    };
    static constexpr std::size_t block_size = 1'024;

    static std::uint32_t tag_of(std::uint64_t hash) noexcept {
      return static_cast<std::uint32_t>(hash >> 32);
    }
    std::size_t mask() const noexcept { return places_.size() - 1; }
    head& at(std::size_t index) noexcept { return blocks_[index / block_size][index % block_size]; }

    void settle(std::uint64_t hash, std::size_t number) noexcept {
      auto i = hash & mask();
      while (places_[i].number != 0)
        i = (i + 1) & mask();
      places_[i] = {tag_of(hash), static_cast<std::uint32_t>(number)};
    }

    void grow() {
      places_.assign(std::max<std::size_t>(2 * places_.size(), 64), {});
      for (std::size_t i = 0; i != size_; ++i)
        settle(hash_of(at(i).stream), i + 1);
    }

    std::vector<std::unique_ptr<head[]>> blocks_; // where heads stay
    std::size_t size_ = 0;
    std::vector<place> places_; // a power of two, at most half full
  };

  std::size_t generation_size_;
  generation young_;
  generation old_;
};

} // namespace eventcore::internal
