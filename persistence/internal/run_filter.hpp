#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace eventcore::internal {

/// A Bloom filter (Bloom 1970) of the hashes in one run of the stream index. 16 bits an entry, all bits of a hash in one word:
/// of a hundred hashes that are not in the run, it admits about one.
class run_filter {
public:
  explicit run_filter(std::size_t entries);

  void add(std::uint64_t hash) noexcept { word_of(hash) |= bits_of(hash); }
  /// False: the run has no entry of this hash.
  bool may_have(std::uint64_t hash) const noexcept {
    const auto bits = bits_of(hash);
    return (words_[hash >> shift_] & bits) == bits;
  }

private:
  std::uint64_t& word_of(std::uint64_t hash) noexcept { return words_[hash >> shift_]; }
  static std::uint64_t bits_of(std::uint64_t hash) noexcept {
    std::uint64_t bits = 0;
    for (int shift = 0; shift < 24; shift += 6)
      bits |= std::uint64_t{1} << ((hash >> shift) & 63);
    return bits;
  }

  std::vector<std::uint64_t> words_;
  int shift_;
};

/// The filters that there are, by the run's id. They live in memory only, and only for runs that this process wrote: whoever finds none
/// looks into the run.
///
/// Thread-safe for many readers and one writer.
class run_filters {
public:
  using table = std::unordered_map<std::uint32_t, std::shared_ptr<const run_filter>>;

  /// Taken after the list of runs was read: it never holds a filter of another run than that list means.
  std::shared_ptr<const table> all() const {
    std::lock_guard lock{mutex_};
    return table_;
  }

  // -- for the writer --
  void put(std::uint32_t run, std::shared_ptr<const run_filter> filter);
  void erase(std::uint32_t run);
  /// Before ids are given out again.
  void clear();

private:
  template <class F>
  void change(F&& f);

  mutable std::mutex mutex_;
  std::shared_ptr<const table> table_ = std::make_shared<const table>();
};

} // namespace eventcore::internal
