#pragma once

#include <cstdint>
#include <random>

namespace eventcore::internal {

/// 64 random bits from a generator of the thread's own (SplitMix64, seeded by the system); not for secrets.
inline std::uint64_t random_bits() {
  thread_local std::uint64_t state = [] {
    std::random_device seed;
    return std::uint64_t{seed()} << 32 | seed();
  }();
  auto z = state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

} // namespace eventcore::internal
