#pragma once

#include <eventcore/persistence/error.hpp>

#include <compare>
#include <functional>
#include <string>
#include <string_view>

namespace eventcore {

/// The name of a stream, such as `order-4711`: 1 to 255 bytes of UTF-8, no control characters, none of `* ? [ ]`
/// (spec 4). Its category is the part before the first `-`, or the whole id where there is none.
///
/// A value of this type is always valid; `parse` is the only way to make one from text. Immutable, comparable by bytes.
class stream_id {
public:
  static constexpr std::size_t max_size = 255;

  /// Checks `text`. Error: `invalid_stream_id`, naming the text and the rule that it breaks.
  static result<stream_id> parse(std::string_view text);

  /// The id `category-key`. Errors as `parse`; a category with a `-` in it is refused too.
  static result<stream_id> of(std::string_view category, std::string_view key);

  const std::string& str() const noexcept { return text_; }
  std::string_view category() const noexcept { return std::string_view{text_}.substr(0, text_.find('-')); }

  friend bool operator==(const stream_id&, const stream_id&) = default;
  friend auto operator<=>(const stream_id&, const stream_id&) = default;

private:
  explicit stream_id(std::string text)
      : text_{std::move(text)} {}

  std::string text_;
};

} // namespace eventcore

template <>
struct std::hash<eventcore::stream_id> {
  std::size_t operator()(const eventcore::stream_id& id) const noexcept {
    return std::hash<std::string>{}(id.str());
  }
};
