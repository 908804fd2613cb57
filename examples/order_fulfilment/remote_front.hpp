#pragma once

#include "customers.hpp"

#include <eventcore/runtime/service.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <string>

namespace shop {

/// The checkout of the order service, as customers in another process see it: a call that fails without a refusal is repeated
/// with the same key until it is answered. Thread-safe.
class remote_front {
public:
  /// `history`: a file that gets a line of JSON for each call: who, what, when, what for an answer; empty: none.
  remote_front(eventcore::service_handle checkout, const std::filesystem::path& history);

  eventcore::result<eventcore::saga_phase> place(const PlaceOrder& order);
  eventcore::result<eventcore::saga_phase> await(const std::string& order);
  /// Of the order service; fails if it does not answer soon.
  eventcore::result<ShopStatus> status() const;

  /// Calls that were repeated, by what they had been answered.
  std::map<std::string, std::size_t> repeated() const;

private:
  template <class Command>
  eventcore::result<eventcore::saga_phase> ask(const std::string& order, const char* what,
                                               const Command& command, std::chrono::milliseconds within,
                                               bool until_ended);
  void note(const std::string& order, const char* what, std::chrono::steady_clock::time_point invoked,
            const eventcore::result<OrderProgress>& answer);

  const eventcore::service_handle checkout_;
  mutable std::mutex mutex_;
  std::ofstream history_;
  std::map<std::string, std::size_t> repeated_;
};

} // namespace shop
