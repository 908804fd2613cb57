#include <eventcore/actors/trace_context.hpp>

#include <eventcore/actors/internal/random_bits.hpp>

namespace eventcore {

namespace {

constexpr std::size_t version_0_size = 55;

/// Lower-case digits only, as the recommendation wants.
bool read_hex(std::string_view digits, std::uint64_t& value) noexcept {
  value = 0;
  for (char c : digits) {
    if (c >= '0' && c <= '9')
      value = value << 4 | static_cast<unsigned>(c - '0');
    else if (c >= 'a' && c <= 'f')
      value = value << 4 | static_cast<unsigned>(c - 'a' + 10);
    else
      return false;
  }
  return true;
}

void write_hex(char* at, std::uint64_t value) noexcept {
  for (int i = 15; i >= 0; --i, value >>= 4)
    at[i] = "0123456789abcdef"[value & 15];
}

std::uint64_t new_id() {
  for (;;)
    if (auto id = internal::random_bits())
      return id;
}

} // namespace

std::optional<trace_context> trace_context::parse(std::string_view text) noexcept {
  if (text.size() < version_0_size || text[2] != '-' || text[35] != '-' || text[52] != '-')
    return std::nullopt;
  trace_context c;
  std::uint64_t version = 0, flags = 0;
  if (!read_hex(text.substr(0, 2), version) || !read_hex(text.substr(3, 16), c.trace_high) ||
      !read_hex(text.substr(19, 16), c.trace_low) || !read_hex(text.substr(36, 16), c.span) ||
      !read_hex(text.substr(53, 2), flags))
    return std::nullopt;
  const bool has_more = text.size() > version_0_size;
  if (version == 0xff || (has_more && (version == 0 || text[version_0_size] != '-')))
    return std::nullopt;
  if ((c.trace_high == 0 && c.trace_low == 0) || c.span == 0)
    return std::nullopt;
  c.sampled = (flags & 1) != 0;
  return c;
}

trace_context trace_context::begin(bool sampled) {
  return {new_id(), new_id(), new_id(), sampled};
}

trace_context trace_context::child() const {
  auto c = *this;
  c.span = new_id();
  return c;
}

std::string trace_context::str() const {
  std::string text = "00-................................-................-00";
  write_hex(&text[3], trace_high);
  write_hex(&text[19], trace_low);
  write_hex(&text[36], span);
  if (sampled)
    text.back() = '1';
  return text;
}

std::string trace_context::trace_id() const {
  return str().substr(3, 32);
}

std::string trace_context::span_id() const {
  return str().substr(36, 16);
}

} // namespace eventcore
