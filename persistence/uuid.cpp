#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/persistence/uuid.hpp>

#include <algorithm>
#include <chrono>
#include <random>

namespace eventcore {

namespace {

/// Value of a hexadecimal digit, -1 for any other character.
int hex_value(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

/// Whether a dash comes before this byte in the text form.
constexpr bool dash_before(std::size_t byte) {
  return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

constexpr std::size_t text_size = 36;

void set_version(uuid& id, std::uint8_t version) {
  id.bytes[6] = static_cast<std::uint8_t>(version << 4 | (id.bytes[6] & 0x0F));
  id.bytes[8] = static_cast<std::uint8_t>(0x80 | (id.bytes[8] & 0x3F));
}

void store_big_endian(std::uint64_t value, std::uint8_t* out, std::size_t size) {
  for (std::size_t i = size; i-- > 0; value >>= 8)
    out[i] = static_cast<std::uint8_t>(value);
}

std::uint64_t random_bits() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device source;
    std::seed_seq seed{source(), source(), source(), source(), source(), source(), source(), source()};
    return std::mt19937_64{seed};
  }();
  return generator();
}

/// A time as 48 bits of milliseconds and 12 bits of their fraction.
std::uint64_t ticks_from_microseconds(std::int64_t microseconds) {
  const auto us = static_cast<std::uint64_t>(std::max<std::int64_t>(microseconds, 0));
  return us / 1'000 << 12 | (us % 1'000) * 4'096 / 1'000;
}

std::int64_t system_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

} // namespace

result<uuid> uuid::parse(std::string_view text) {
  auto invalid = [text] {
    return make_error(
        journal_errc::invalid_argument,
        internal::quoted(text) +
            " is no UUID: write it as xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx in hexadecimal digits");
  };
  if (text.size() != text_size)
    return invalid();
  uuid id;
  std::size_t at = 0;
  for (std::size_t byte = 0; byte < id.bytes.size(); ++byte) {
    if (dash_before(byte) && text[at++] != '-')
      return invalid();
    const int high = hex_value(text[at]);
    const int low = hex_value(text[at + 1]);
    if (high < 0 || low < 0)
      return invalid();
    id.bytes[byte] = static_cast<std::uint8_t>(high << 4 | low);
    at += 2;
  }
  return id;
}

uuid uuid::random() {
  std::random_device source;
  uuid id;
  for (std::size_t i = 0; i < id.bytes.size(); i += 4)
    store_big_endian(source(), &id.bytes[i], 4);
  set_version(id, 4);
  return id;
}

std::string to_string(const uuid& id) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(text_size);
  for (std::size_t byte = 0; byte < id.bytes.size(); ++byte) {
    if (dash_before(byte))
      text += '-';
    text += digits[id.bytes[byte] >> 4];
    text += digits[id.bytes[byte] & 15];
  }
  return text;
}

event_id_generator::event_id_generator(clock now)
    : now_{now ? std::move(now) : clock{system_now}} {}

event_id event_id_generator::next() {
  const auto now = ticks_from_microseconds(now_());
  auto last = last_.load(std::memory_order_relaxed);
  std::uint64_t ticks;
  do
    ticks = std::max(now, last + 1);
  while (!last_.compare_exchange_weak(last, ticks, std::memory_order_relaxed));
  event_id id;
  store_big_endian(ticks >> 12, &id.bytes[0], 6);
  store_big_endian(ticks & 0x0FFF, &id.bytes[6], 2);
  store_big_endian(random_bits(), &id.bytes[8], 8);
  set_version(id, 7);
  return id;
}

void event_id_generator::observe(const event_id& id) noexcept {
  if (id.bytes[6] >> 4 != 7)
    return;
  std::uint64_t ticks = 0;
  for (std::size_t i = 0; i < 6; ++i)
    ticks = ticks << 8 | id.bytes[i];
  ticks = ticks << 12 | (id.bytes[6] & 0x0Fu) << 8 | id.bytes[7];
  auto last = last_.load(std::memory_order_relaxed);
  while (last < ticks && !last_.compare_exchange_weak(last, ticks, std::memory_order_relaxed)) {
  }
}

} // namespace eventcore
