#pragma once

#include "shop.pb.h"

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <vector>

namespace shop {

/// A file of orders or a catalogue is not as it should be. The text names the file, the line and what is wrong.
class bad_file : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Reads a catalogue: a JSON array of `{"sku", "name", "cents", "units"}`. Throws `bad_file`.
std::vector<Units> read_catalogue(const std::filesystem::path& file);

/// Reads orders, one JSON object a line, and checks all of them: ids of their own, known items, quantities above 0, prices not
/// below 0, a total that is an int64, customer and address. Empty lines are passed over. Takes the first `limit`.
/// Throws `bad_file`.
std::vector<PlaceOrder> read_orders(const std::filesystem::path& file, const std::vector<Units>& catalogue,
                                    std::size_t limit);

/// `count` orders out of a sample: the sample's own, then those again under other ids.
std::vector<PlaceOrder> make_orders(const std::vector<PlaceOrder>& sample, std::size_t count);

} // namespace shop
