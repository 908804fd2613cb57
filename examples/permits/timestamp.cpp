#include "timestamp.hpp"

#include <chrono>
#include <cstddef>

namespace permits {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Takes text from the front; `ok` turns false for good when something else stands there.
struct scanner {
  std::string_view rest;
  bool ok = true;

  int number(std::size_t digits) {
    if (rest.size() < digits) {
      ok = false;
      return 0;
    }
    int value = 0;
    for (const char c : rest.substr(0, digits)) {
      ok = ok && is_digit(c);
      value = value * 10 + (c - '0');
    }
    rest.remove_prefix(digits);
    return value;
  }

  bool take(std::string_view any_of) {
    if (rest.empty() || any_of.find(rest.front()) == std::string_view::npos)
      return false;
    rest.remove_prefix(1);
    return true;
  }

  void expect(std::string_view any_of) { ok = take(any_of) && ok; }
};

std::chrono::microseconds fraction(scanner& in) {
  int micros = 0;
  std::size_t digits = 0;
  while (!in.rest.empty() && is_digit(in.rest.front())) {
    const int digit = in.number(1);
    if (digits++ < 6)
      micros = micros * 10 + digit;
  }
  in.ok = in.ok && digits >= 1 && digits <= 9;
  for (auto i = digits; i < 6; ++i)
    micros *= 10;
  return std::chrono::microseconds{micros};
}

std::chrono::minutes zone_offset(scanner& in, bool west) {
  const int hours = in.number(2);
  int minutes = 0;
  if (in.take(":") || !in.rest.empty())
    minutes = in.number(2);
  in.ok = in.ok && hours <= 23 && minutes <= 59;
  const auto offset = std::chrono::hours{hours} + std::chrono::minutes{minutes};
  return west ? -offset : offset;
}

} // namespace

std::optional<eventcore::timestamp> parse_timestamp(std::string_view text) {
  using namespace std::chrono;

  scanner in{text};
  const int y = in.number(4);
  in.expect("-");
  const int m = in.number(2);
  in.expect("-");
  const int d = in.number(2);
  in.expect(" T");
  const int hour = in.number(2);
  in.expect(":");
  const int minute = in.number(2);
  in.expect(":");
  const int second = in.number(2);
  const auto micros = in.take(".") ? fraction(in) : microseconds{0};
  auto offset = minutes{0};
  if (in.take("+"))
    offset = zone_offset(in, false);
  else if (in.take("-"))
    offset = zone_offset(in, true);
  else
    in.take("Z");

  const year_month_day date{year{y}, month{static_cast<unsigned>(m)}, day{static_cast<unsigned>(d)}};
  if (!in.ok || !in.rest.empty() || y < 1 || !date.ok() || hour > 23 || minute > 59 || second > 59)
    return std::nullopt;
  const eventcore::timestamp at =
      sys_days{date} + hours{hour} + minutes{minute} + seconds{second} + micros - offset;
  if (at < sys_days{year{1} / 1 / 1} || at >= sys_days{year{10'000} / 1 / 1})
    return std::nullopt;
  return at;
}

} // namespace permits
