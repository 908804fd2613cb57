#include <eventcore/persistence/internal/utf8.hpp>

namespace eventcore::internal {

utf8_char first_multibyte_char(std::string_view text) noexcept {
  auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const char32_t lead = byte(0);
  std::size_t size;
  char32_t smallest;
  char32_t code_point;
  if ((lead & 0xE0) == 0xC0) {
    size = 2;
    smallest = 0x80;
    code_point = lead & 0x1F;
  } else if ((lead & 0xF0) == 0xE0) {
    size = 3;
    smallest = 0x800;
    code_point = lead & 0x0F;
  } else if ((lead & 0xF8) == 0xF0) {
    size = 4;
    smallest = 0x10000;
    code_point = lead & 0x07;
  } else {
    return {};
  }
  if (text.size() < size)
    return {};
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80)
      return {};
    code_point = code_point << 6 | (byte(i) & 0x3F);
  }
  const bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
  if (code_point < smallest || surrogate || code_point > 0x10FFFF)
    return {};
  return {code_point, size};
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto c = first_utf8_char(text);
    if (c.size == 0)
      return false;
    text.remove_prefix(c.size);
  }
  return true;
}

std::string quoted(std::string_view text, std::size_t limit) {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out = "'";
  for (std::size_t taken = 0; taken < text.size();) {
    if (taken >= limit) {
      out += "...";
      break;
    }
    const auto rest = text.substr(taken);
    const auto c = first_utf8_char(rest);
    if (c.size > 0 && !c.is_control()) {
      out += rest.substr(0, c.size);
      taken += c.size;
    } else {
      const auto byte = static_cast<unsigned char>(rest[0]);
      out += {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
      ++taken;
    }
  }
  out += '\'';
  return out;
}

} // namespace eventcore::internal
