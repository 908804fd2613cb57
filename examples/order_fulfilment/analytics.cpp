#include <order_fulfilment/analytics.hpp>

#include <order_fulfilment/order.hpp>

#include <eventcore/persistence/lmdb_journal.hpp>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>
#include <unordered_map>

namespace shop {

namespace {

/// Finds texts of eight bytes and more in one pass over what is searched.
class needles {
public:
  void add(std::string_view text) {
    if (text.size() >= sizeof(std::uint64_t))
      by_begin_[begin_of(text.data())].push_back(text);
  }

  std::size_t count_in(std::string_view hay) const {
    std::size_t found = 0;
    for (std::size_t at = 0; at + sizeof(std::uint64_t) <= hay.size(); ++at)
      if (const auto some = by_begin_.find(begin_of(hay.data() + at)); some != by_begin_.end())
        for (const auto text : some->second)
          found += hay.substr(at).starts_with(text);
    return found;
  }

private:
  static std::uint64_t begin_of(const char* text) {
    std::uint64_t begin = 0;
    std::memcpy(&begin, text, sizeof begin);
    return begin;
  }

  std::unordered_map<std::uint64_t, std::vector<std::string_view>> by_begin_;
};

} // namespace

eventcore::result<analytics> analytics::open(const std::filesystem::path& dir) {
  eventcore::lmdb_options options;
  options.service = "analytics";
  options.categories = {std::string{order::category}};
  auto journal = eventcore::open_lmdb_journal(dir, options);
  if (!journal)
    return journal.error();
  return analytics{dir, *std::move(journal)};
}

eventcore::result<std::size_t> analytics::count_personal_data(const std::vector<PlaceOrder>& orders) const {
  needles personal;
  for (auto& placed : orders)
    for (const auto* text : {&placed.customer().email(), &placed.customer().name(), &placed.address()})
      personal.add(*text);
  std::size_t found = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{dir_})
    if (entry.is_regular_file()) {
      std::ifstream in{entry.path(), std::ios::binary};
      const std::string bytes{std::istreambuf_iterator<char>{in}, {}};
      if (!in.is_open() || in.bad())
        return eventcore::make_error(eventcore::journal_errc::io_error,
                                     entry.path().string() + ": cannot be read");
      found += personal.count_in(bytes);
    }
  return found;
}

eventcore::result<std::size_t> count_order_events(eventcore::journal_reader& journal) {
  const auto head = journal.head();
  if (!head)
    return head.error();
  std::size_t count = 0;
  eventcore::event_page page;
  const eventcore::log_filter orders{
      {std::string{order::category}},
      {OrderCreated::descriptor()->full_name(), OrderCancelled::descriptor()->full_name()}};
  for (eventcore::log_position next = 1; next <= *head; count += page.size())
    if (auto read = journal.read_log(next, page, orders); !read)
      return read.error();
  return count;
}

} // namespace shop
