#include <eventcore/persistence/view_key.hpp>

namespace eventcore::internal {

namespace {

constexpr char escaped_nul = '\xFF';
constexpr char end_mark = '\x01';

} // namespace

void append_text(std::string& out, std::string_view text) {
  out.reserve(out.size() + text.size() + 2);
  for (char c : text) {
    out += c;
    if (c == '\0')
      out += escaped_nul;
  }
}

bool take_text(std::string_view& bytes, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
    if (bytes[i] != '\0') {
      out += bytes[i];
      continue;
    }
    const char mark = bytes[++i];
    if (mark == end_mark) {
      bytes.remove_prefix(i + 1);
      return true;
    }
    if (mark != escaped_nul)
      return false;
    out += '\0';
  }
  return false;
}

} // namespace eventcore::internal
