#include <eventcore/persistence/internal/timer_key.hpp>

#include <eventcore/persistence/internal/utf8.hpp>

#include <xxhash.h>

#include <cstring>

namespace eventcore::internal {

namespace {

constexpr std::size_t due_size = sizeof(std::uint64_t);

} // namespace

std::string timer_key(const durable_timer& timer) {
  const auto due = static_cast<std::uint64_t>(timer.due.time_since_epoch().count());
  std::string key;
  key.reserve(due_size + timer.name.size());
  for (int shift = 56; shift >= 0; shift -= 8)
    key += static_cast<char>(due >> shift);
  return key += timer.name;
}

std::string timer_value(std::string_view key) {
  const auto checksum = XXH3_64bits(key.data(), key.size());
  std::string value(sizeof(checksum), '\0');
  std::memcpy(value.data(), &checksum, sizeof(checksum));
  return value;
}

result<durable_timer> parse_timer(std::string_view key, std::string_view value) {
  durable_timer timer;
  if (key.size() > due_size)
    timer.name = key.substr(due_size);
  if (value != timer_value(key) || timer.name.empty())
    return make_error(journal_errc::corrupt,
                      "timer " + quoted(timer.name) +
                          " is damaged: its checksum does not match; restore the journal "
                          "from a backup");
  std::uint64_t due = 0;
  for (const unsigned char byte : key.substr(0, due_size))
    due = due << 8 | byte;
  timer.due = timestamp{std::chrono::microseconds{static_cast<std::int64_t>(due)}};
  return timer;
}

} // namespace eventcore::internal
