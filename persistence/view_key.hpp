#pragma once

#include <eventcore/persistence/event.hpp>
#include <eventcore/persistence/view_store.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace eventcore {

/// How the keys of a view are written, so that the order of the bytes is the order of the values: integers (big endian, the sign
/// flipped), `bool`, `timestamp`, `uuid`, `std::string` (by its bytes), and tuples of these (by their first elements first).
///
/// A text takes two bytes more than it has, and one more for each NUL in it; a key takes `max_view_key` bytes at most.
template <class T>
struct view_key;

namespace internal {

template <std::unsigned_integral T>
void append_big_endian(std::string& out, T value) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8)
    out += static_cast<char>(static_cast<unsigned char>(value >> shift));
}

template <std::unsigned_integral T>
bool take_big_endian(std::string_view& bytes, T& out) {
  if (bytes.size() < sizeof(T))
    return false;
  out = 0;
  for (char byte : bytes.substr(0, sizeof(T)))
    out = static_cast<T>(static_cast<T>(out << (sizeof(T) > 1 ? 8 : 0)) | static_cast<unsigned char>(byte));
  bytes.remove_prefix(sizeof(T));
  return true;
}

/// Text up to, and without, the mark at its end, which sorts before all that may follow: a NUL is written as 00 FF, the
/// mark as 00 01.
void append_text(std::string& out, std::string_view text);
bool take_text(std::string_view& bytes, std::string& out);

} // namespace internal

/// What can be a view's key: has `name()`, `append(out, key)` and `take(bytes, key)`, which takes a key off the front of `bytes`.
template <class T>
concept view_key_type = requires(std::string& out, std::string_view& bytes, const T& key, T& parsed) {
  { view_key<T>::name() } -> std::same_as<std::string>;
  view_key<T>::append(out, key);
  { view_key<T>::take(bytes, parsed) } -> std::same_as<bool>;
};

template <std::integral T>
struct view_key<T> {
  using bits = std::make_unsigned_t<std::conditional_t<std::same_as<T, bool>, std::uint8_t, T>>;
  static constexpr bits sign =
      std::signed_integral<T> ? static_cast<bits>(bits{1} << (sizeof(bits) * 8 - 1)) : 0;

  static std::string name() {
    return (std::signed_integral<T> ? "int" : "uint") + std::to_string(sizeof(T) * 8);
  }
  static void append(std::string& out, T key) {
    internal::append_big_endian(out, static_cast<bits>(static_cast<bits>(key) ^ sign));
  }
  static bool take(std::string_view& bytes, T& key) {
    bits value = 0;
    if (!internal::take_big_endian(bytes, value))
      return false;
    key = static_cast<T>(static_cast<bits>(value ^ sign));
    return true;
  }
};

template <>
struct view_key<std::string> {
  static std::string name() { return "string"; }
  static void append(std::string& out, std::string_view key) {
    internal::append_text(out, key);
    out += {'\0', '\1'};
  }
  static bool take(std::string_view& bytes, std::string& key) { return internal::take_text(bytes, key); }
};

template <>
struct view_key<timestamp> {
  static std::string name() { return "timestamp"; }
  static void append(std::string& out, timestamp key) {
    view_key<std::int64_t>::append(out, key.time_since_epoch().count());
  }
  static bool take(std::string_view& bytes, timestamp& key) {
    std::int64_t count = 0;
    if (!view_key<std::int64_t>::take(bytes, count))
      return false;
    key = timestamp{std::chrono::microseconds{count}};
    return true;
  }
};

template <>
struct view_key<uuid> {
  static std::string name() { return "uuid"; }
  static void append(std::string& out, const uuid& key) { out.append(key.bytes.begin(), key.bytes.end()); }
  static bool take(std::string_view& bytes, uuid& key) {
    for (auto& byte : key.bytes)
      if (!internal::take_big_endian(bytes, byte))
        return false;
    return true;
  }
};

template <view_key_type First, view_key_type... Rest>
struct view_key<std::tuple<First, Rest...>> {
  using key_type = std::tuple<First, Rest...>;

  static std::string name() {
    return "(" + (view_key<First>::name() + ... + (", " + view_key<Rest>::name())) + ")";
  }
  static void append(std::string& out, const key_type& key) {
    std::apply(
        [&](auto&... element) {
          (view_key<std::remove_cvref_t<decltype(element)>>::append(out, element), ...);
        },
        key);
  }
  static bool take(std::string_view& bytes, key_type& key) {
    return std::apply(
        [&](auto&... element) {
          return (view_key<std::remove_cvref_t<decltype(element)>>::take(bytes, element) && ...);
        },
        key);
  }
};

/// The bytes of a key.
template <view_key_type Key>
std::string to_view_key(const Key& key) {
  std::string bytes;
  view_key<Key>::append(bytes, key);
  return bytes;
}

/// A stretch of a view's keys, in their order. Reading a page moves it behind the rows of the page.
template <view_key_type Key>
struct key_range : view_bounds {
  /// All keys.
  static key_range all() { return {}; }
  /// From `first` on.
  static key_range from(const Key& first) { return {{to_view_key(first), {}}}; }
  /// From `first` on and before `end`.
  static key_range between(const Key& first, const Key& end) {
    auto bounds = key_range{{to_view_key(first), to_view_key(end)}};
    if (bounds.end < bounds.begin)
      bounds.end = bounds.begin;
    return bounds;
  }
  /// Texts that begin with `text`.
  static key_range starting_with(std::string_view text) requires std::same_as<Key, std::string> {
    std::string bytes;
    internal::append_text(bytes, text);
    return {view_bounds::prefix(std::move(bytes))};
  }
  /// Tuples whose first elements are these.
  template <view_key_type... Leading>
  static key_range under(const Leading&... leading) requires requires {
    std::tuple_size<Key>::value;
  }
  { return {view_bounds::prefix(bytes_of(std::index_sequence_for<Leading...>{}, leading...))}; }

private:
  template <std::size_t... I, class... Leading>
  static std::string bytes_of(std::index_sequence<I...>, const Leading&... leading) {
    std::string bytes;
    (view_key<std::tuple_element_t<I, Key>>::append(bytes, leading), ...);
    return bytes;
  }
};

} // namespace eventcore
