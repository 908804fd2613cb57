#include <eventcore/runtime/internal/federation/emails.hpp>

#include <eventcore/persistence/internal/utf8.hpp>

#include <algorithm>

namespace eventcore::internal {

namespace {

/// More than any mail server takes; it keeps the search linear.
constexpr std::size_t longest_local = 1'024;

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_alnum(char c) {
  return is_letter(c) || (c >= '0' && c <= '9');
}

/// Whether the byte at `at` is part of a well-formed character beyond ASCII.
bool is_beyond_ascii(std::string_view text, std::size_t at) {
  for (std::size_t before = 0; before < 4 && before <= at; ++before)
    if (const auto c = first_utf8_char(text.substr(at - before)); c.size > 1)
      return c.size > before;
  return false;
}

/// What may stand before the @ without quotes (RFC 5322, RFC 6532).
bool is_local(std::string_view text, std::size_t at) {
  return is_alnum(text[at]) ||
         std::string_view{".!#$%&'*+/=?^_`{|}~-"}.find(text[at]) != std::string_view::npos ||
         is_beyond_ascii(text, at);
}

bool is_domain(std::string_view text, std::size_t at) {
  return is_alnum(text[at]) || std::string_view{".-_"}.find(text[at]) != std::string_view::npos ||
         is_beyond_ascii(text, at);
}

/// How long the @ at `at` is; 0: there is none.
std::size_t at_size(std::string_view text, std::size_t at) {
  if (at < text.size() && text[at] == '@')
    return 1;
  return text.substr(std::min(at, text.size()), 3) == "%40" ? 3 : 0;
}

struct range {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Where the domain that starts at `begin` ends; `begin` if there is none.
std::size_t end_of_domain(std::string_view text, std::size_t begin, email_form form) {
  if (begin < text.size() && text[begin] == '[') {
    const auto close = text.find_first_of("]@ \n", begin);
    return close != std::string_view::npos && text[close] == ']' && close > begin + 1 ? close + 1 : begin;
  }
  auto end = begin;
  while (end < text.size() && is_domain(text, end))
    ++end;
  while (end > begin && !is_alnum(text[end - 1]) && !is_beyond_ascii(text, end - 1))
    --end;
  if (form == email_form::text)
    return end;
  // The last dot with two letters behind it.
  for (auto dot = end; dot > begin; --dot)
    if (text[dot - 1] == '.' && dot + 1 < end && is_letter(text[dot]) && is_letter(text[dot + 1]))
      return end;
  return begin;
}

/// Where the part before the @ at `at` begins, not before `floor`; `at` if there is none.
std::size_t begin_of_local(std::string_view text, std::size_t floor, std::size_t at) {
  floor = std::max(floor, at - std::min(at, longest_local));
  if (at > floor && text[at - 1] == '"') {
    const auto before = text.substr(floor, at - 1 - floor);
    const auto open = before.rfind('"');
    if (open != std::string_view::npos)
      return floor + open;
  }
  auto begin = at;
  while (begin > floor && is_local(text, begin - 1))
    --begin;
  // Not in the middle of a character.
  while (begin < at && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80)
    ++begin;
  return begin;
}

std::optional<range> find_email(std::string_view text, std::size_t from, email_form form) {
  for (auto at = text.find_first_of("@%", from); at != std::string_view::npos;
       at = text.find_first_of("@%", at + 1)) {
    auto size = at_size(text, at);
    if (size == 0)
      continue;
    const auto begin = begin_of_local(text, from, at);
    auto end = end_of_domain(text, at + size, form);
    if (begin == at || end == at + size)
      continue;
    // What hangs on an address would be one with the mask before it.
    while ((size = at_size(text, end)) > 0) {
      const auto further = end_of_domain(text, end + size, form);
      if (further == end + size)
        break;
      end = further;
    }
    return range{begin, end};
  }
  return std::nullopt;
}

/// Masks each address that is found from left to right.
std::optional<std::string> mask_once(std::string_view text, email_form form) {
  auto found = find_email(text, 0, form);
  if (!found)
    return std::nullopt;
  std::string masked;
  std::size_t done = 0;
  for (; found; found = find_email(text, done, form)) {
    masked.append(text.substr(done, found->begin - done)).append(masked_email);
    done = found->end;
  }
  return masked.append(text.substr(done));
}

} // namespace

bool holds_email(std::string_view text, email_form form) {
  return find_email(text, 0, form).has_value();
}

std::optional<std::string> mask_emails(std::string_view text, email_form form) {
  auto masked = mask_once(text, form);
  // A mask can be the quoted part of a further address. Each round leaves fewer @ that a domain follows.
  for (auto again = masked; again; again = mask_once(*masked, form))
    masked = std::move(again);
  return masked;
}

} // namespace eventcore::internal
