#include "load.hpp"

#include <random>

namespace crash {

std::string filler_of(std::uint64_t commit, std::uint32_t index, std::size_t size) {
  std::minstd_rand random{static_cast<std::uint32_t>(commit * 31 + index * 7 + size)};
  std::string filler(size, '\0');
  for (auto& byte : filler)
    byte = static_cast<char>(random() >> 8);
  return filler;
}

} // namespace crash
