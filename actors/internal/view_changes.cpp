#include <eventcore/actors/projection_type.hpp>

#include <eventcore/persistence/internal/utf8.hpp>

#include <stdexcept>

namespace eventcore::internal {

namespace {

/// Ends a user's function whose change is refused.
class view_failure : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

} // namespace

void view_changes::fail(const error& why) {
  if (!failure_)
    failure_ = why;
  throw view_failure{why.message()};
}

template <class T>
T view_changes::must(result<T> outcome) {
  if (!outcome)
    fail(outcome.error());
  if constexpr (!std::is_void_v<T>)
    return *std::move(outcome);
}

std::optional<std::string_view> view_changes::get(std::size_t table, std::string_view key) {
  return must(changes_.get(table, key));
}

void view_changes::put(std::size_t table, std::string_view key, std::string_view value) {
  must(changes_.put(table, key, value));
}

bool view_changes::erase(std::size_t table, std::string_view key) {
  return must(changes_.erase(table, key));
}

std::vector<view_row> view_changes::list(std::size_t table, view_bounds& where, std::size_t limit) {
  return must(changes_.list(table, where, {.events = limit}));
}

void view_changes::fail_damaged(std::string_view key, std::string_view type) {
  fail(make_error(journal_errc::corrupt,
                  "the row under key " + quoted(key) + " does not parse as " + std::string{type}));
}

void view_changes::fail_unserialisable(std::string_view type) {
  fail(make_error(journal_errc::invalid_argument,
                  "the value is a " + std::string{type} + " that cannot be serialised"));
}

} // namespace eventcore::internal
