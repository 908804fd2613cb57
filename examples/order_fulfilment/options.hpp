#pragma once

#include "faults.hpp"

#include <eventcore/runtime/node_options.hpp>

#include "shop.pb.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace shop {

struct options {
  std::filesystem::path journal = ORDER_BUILD_DIR "/order-fulfilment-journal";
  std::filesystem::path catalogue = ORDER_SAMPLE_DIR "/catalogue.json";
  std::filesystem::path rules = ORDER_SAMPLE_DIR "/federation.json";
  std::string orders = ORDER_SAMPLE_DIR "/orders.jsonl"; ///< or how many are to be made of this file's
  std::size_t first = 100'000;
  std::size_t at_once = 32;
  std::uint64_t kill_at = 0;
  bool journal_given = false;
  bool resume = false;
  faults injected;

  // -- several processes
  bool cluster = false;
  std::string service{};          ///< this process is one of them
  eventcore::node_options node{}; ///< of this process
  std::uint32_t chaos = 0;        ///< faults of processes
  std::uint32_t rolling = 0;      ///< restarts of all processes in order
  std::uint32_t longest_stop = 3; ///< seconds that a process is stopped for
  bool admin = false;             ///< each process has an admin port
  std::filesystem::path certificates{};
  std::string consul{}; ///< URL; empty: the processes have seeds
  std::filesystem::path history{};
  std::vector<std::string> arguments{}; ///< all, for the other processes
};

/// What is sold, and what is ordered: enough of the former for the latter.
struct business {
  std::vector<Units> catalogue;
  std::vector<PlaceOrder> orders;
};

/// Reads both, or makes orders out of the sample. Throws `bad_file`.
business read_business(const options& opts);

} // namespace shop
