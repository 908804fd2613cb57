#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/persistence/stream_id.hpp>

namespace eventcore {

namespace {

error invalid(std::string_view text, const std::string& rule) {
  return make_error(journal_errc::invalid_stream_id, internal::quoted(text) + " is no stream id: " + rule);
}

} // namespace

result<stream_id> stream_id::parse(std::string_view text) {
  if (text.empty())
    return invalid(text, "it is empty; a stream id has 1 to 255 bytes");
  if (text.size() > max_size)
    return invalid(text, "it has " + std::to_string(text.size()) + " bytes; a stream id has 1 to 255 bytes");
  for (std::size_t at = 0; at < text.size();) {
    const auto c = internal::first_utf8_char(text.substr(at));
    if (c.size == 0)
      return invalid(text, "byte " + std::to_string(at + 1) + " is not well-formed UTF-8");
    if (c.is_control())
      return invalid(text,
                     "byte " + std::to_string(at + 1) + " is a control character; these are not allowed");
    if (c.code_point == '*' || c.code_point == '?' || c.code_point == '[' || c.code_point == ']')
      return invalid(text,
                     "it contains '" + std::string{text[at]} + "'; the characters * ? [ ] are not allowed");
    at += c.size;
  }
  return stream_id{std::string{text}};
}

result<stream_id> stream_id::of(std::string_view category, std::string_view key) {
  std::string text;
  text.reserve(category.size() + 1 + key.size());
  text.append(category).append(1, '-').append(key);
  if (category.find('-') != std::string_view::npos)
    return invalid(text,
                   "its category " + internal::quoted(category) + " contains '-', which ends a category");
  return parse(text);
}

} // namespace eventcore
