#include "order_file.hpp"

#include "order.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <set>
#include <string>

namespace shop {

namespace {

using nlohmann::json;

/// A field of an object, with errors that say where it is missing.
const json& field(const json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (!object.is_object() || found == object.end())
    throw bad_file{std::string{"\""} + name + "\" is missing"};
  return *found;
}

std::string text(const json& object, const char* name) {
  auto& value = field(object, name);
  if (!value.is_string() || value.get_ref<const std::string&>().empty())
    throw bad_file{std::string{"\""} + name + "\" must be a text that is not empty"};
  return value.get<std::string>();
}

std::int64_t number(const json& object, const char* name, std::int64_t least) {
  auto& value = field(object, name);
  const auto fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() ||
       value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
  if (!fits || value.get<std::int64_t>() < least)
    throw bad_file{std::string{"\""} + name + "\" must be a whole number from " + std::to_string(least) +
                   " on, not " + value.dump().substr(0, 40)};
  return value.get<std::int64_t>();
}

/// Ids are parts of stream ids and of paths.
std::string id(const json& object, const char* name) {
  auto value = text(object, name);
  if (value.size() > 64 || !std::ranges::all_of(value, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
               c == '-' || c == '.';
      }))
    throw bad_file{std::string{"\""} + name + "\" must be 1 to 64 letters, digits, _, - and ., not \"" +
                   value.substr(0, 40) + '"'};
  return value;
}

PlaceOrder order_of(const json& line, const std::set<std::string>& skus) {
  PlaceOrder order;
  order.set_order_id(id(line, "order_id"));
  auto& customer = field(line, "customer");
  order.mutable_customer()->set_id(id(customer, "id"));
  order.mutable_customer()->set_name(text(customer, "name"));
  order.mutable_customer()->set_email(text(customer, "email"));
  order.set_address(text(line, "address"));
  auto& items = field(line, "items");
  if (!items.is_array() || items.empty())
    throw bad_file{"the order has no items"};
  for (auto& each : items) {
    auto& item = *order.add_items();
    item.set_sku(text(each, "sku"));
    if (!skus.contains(item.sku()))
      throw bad_file{"the catalogue has no item \"" + item.sku().substr(0, 40) + '"'};
    item.set_quantity(number(each, "quantity", 1));
    item.set_cents(number(each, "cents", 0));
  }
  if (!total_of(order.items()))
    throw bad_file{"the total is too large"};
  return order;
}

std::ifstream open(const std::filesystem::path& file) {
  std::ifstream in{file};
  if (!in)
    throw bad_file{file.string() + ": cannot be opened"};
  if (std::filesystem::is_directory(file)) // which can be opened, but not read
    throw bad_file{file.string() + ": is a folder"};
  return in;
}

} // namespace

std::vector<Units> read_catalogue(const std::filesystem::path& file) {
  auto in = open(file);
  const auto list = json::parse(in, nullptr, false);
  if (!list.is_array() || list.empty())
    throw bad_file{file.string() + ": a catalogue is a JSON array of items"};
  std::vector<Units> catalogue;
  std::set<std::string> skus;
  for (auto& each : list) {
    try {
      auto& units = catalogue.emplace_back();
      units.set_sku(id(each, "sku"));
      units.set_quantity(number(each, "units", 0));
      text(each, "name");
      number(each, "cents", 0);
      if (!skus.insert(units.sku()).second)
        throw bad_file{"the item \"" + units.sku() + "\" is there already"};
    } catch (const bad_file& e) {
      throw bad_file{file.string() + ": item " + std::to_string(catalogue.size()) + ": " + e.what()};
    }
  }
  return catalogue;
}

std::vector<PlaceOrder> read_orders(const std::filesystem::path& file, const std::vector<Units>& catalogue,
                                    std::size_t limit) {
  auto in = open(file);
  std::set<std::string> skus;
  for (auto& units : catalogue)
    skus.insert(units.sku());
  std::vector<PlaceOrder> orders;
  std::set<std::string> ids;
  std::size_t line_number = 0;
  for (std::string line; std::getline(in, line);) {
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      continue;
    try {
      const auto parsed = json::parse(line, nullptr, false);
      if (!parsed.is_object())
        throw bad_file{"this is no JSON object"};
      orders.push_back(order_of(parsed, skus));
      if (!ids.insert(orders.back().order_id()).second)
        throw bad_file{"the order \"" + orders.back().order_id() + "\" is there already"};
    } catch (const bad_file& e) {
      throw bad_file{file.string() + ":" + std::to_string(line_number) + ": " + e.what()};
    }
  }
  if (orders.empty())
    throw bad_file{file.string() + ": there are no orders"};
  orders.resize(std::min(orders.size(), limit));
  return orders;
}

std::vector<PlaceOrder> make_orders(const std::vector<PlaceOrder>& sample, std::size_t count) {
  std::vector<PlaceOrder> orders;
  for (std::size_t i = 0; i < count; ++i) {
    auto& order = orders.emplace_back(sample[i % sample.size()]);
    if (i >= sample.size())
      order.set_order_id(order.order_id() + '.' + std::to_string(i / sample.size()));
  }
  return orders;
}

} // namespace shop
