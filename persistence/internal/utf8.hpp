#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace eventcore::internal {

/// One code point at the start of a text. Size 0: the text is empty or does not start with well-formed UTF-8.
struct utf8_char {
  char32_t code_point = 0;
  std::size_t size = 0;

  /// C0, DEL or C1.
  bool is_control() const noexcept { return code_point < 0x20 || (code_point >= 0x7F && code_point <= 0x9F); }
};

/// `first_utf8_char` for a text that starts with a byte of 0x80 or above.
utf8_char first_multibyte_char(std::string_view text) noexcept;

/// Decodes strictly: overlong forms, surrogates and values above U+10FFFF are not well-formed.
inline utf8_char first_utf8_char(std::string_view text) noexcept {
  if (text.empty())
    return {};
  const auto lead = static_cast<unsigned char>(text[0]);
  return lead < 0x80 ? utf8_char{lead, 1} : first_multibyte_char(text);
}

bool is_utf8(std::string_view text) noexcept;

/// `text` for use in a message: in quotes, control characters and malformed bytes as `\xNN`, and cut with
/// `...` after about `limit` bytes.
std::string quoted(std::string_view text, std::size_t limit = 64);

} // namespace eventcore::internal
