#pragma once

#include <eventcore/persistence/journal.hpp>

#include "test_events.pb.h"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Short forms for tests of the journal.
namespace eventcore {

inline std::ostream& operator<<(std::ostream& out, const uuid& id) {
  return out << to_string(id);
}

inline std::ostream& operator<<(std::ostream& out, journal_errc e) {
  return out << make_error_code(e).message();
}

namespace test {

/// How long a test waits for what must happen soon.
constexpr std::chrono::seconds patience{60};

inline stream_id sid(std::string_view text) {
  auto id = stream_id::parse(text);
  if (!id)
    throw std::invalid_argument{id.error().message()};
  return *id;
}

inline new_event happened(std::int64_t number, std::string text = {}) {
  Happened message;
  message.set_number(number);
  message.set_text(std::move(text));
  return {Happened::descriptor(), message.SerializeAsString(), 1};
}

inline new_event other(bool flag = true) {
  Other message;
  message.set_flag(flag);
  return {Other::descriptor(), message.SerializeAsString(), 1};
}

/// `count` events that say `first`, `first + 1` and so on.
inline std::vector<new_event> happened_many(std::size_t count, std::int64_t first = 1) {
  std::vector<new_event> events;
  for (std::size_t i = 0; i < count; ++i)
    events.push_back(happened(first + static_cast<std::int64_t>(i)));
  return events;
}

inline std::int64_t number_of(const recorded_event& event) {
  Happened message;
  if (event.type != Happened::descriptor()->full_name() || !message.ParseFromString(event.payload))
    throw std::invalid_argument{"the event at position " + std::to_string(event.position) +
                                " is no Happened"};
  return message.number();
}

inline commit append(const stream_id& stream, expected_version expected, std::vector<new_event> events) {
  commit c;
  c.appends.push_back({stream, expected, std::move(events)});
  return c;
}

inline commit append(std::string_view stream, expected_version expected, std::vector<new_event> events) {
  return append(sid(stream), expected, std::move(events));
}

inline commit move_cursor(std::string name, log_position expected, log_position position) {
  commit c;
  c.cursors.push_back({std::move(name), expected, position});
  return c;
}

template <class T>
void must_pass(const result<T>& r) {
  if (!r)
    BOOST_FAIL(r.error().message());
}

/// The value of a result that must be there.
template <class T>
T must(result<T> r) {
  must_pass(r);
  return *std::move(r);
}

/// The error's message, of a result that must have failed with `code`.
template <class T>
std::string must_fail(const result<T>& r, journal_errc code) {
  BOOST_REQUIRE(!r.has_value());
  BOOST_TEST_REQUIRE(r.error().code() == make_error_code(code), r.error().message());
  BOOST_TEST(!r.error().message().empty());
  return r.error().message();
}

inline void check_contains(const std::string& text, std::string_view part) {
  BOOST_TEST((text.find(part) != std::string::npos), "'" << part << "' is missing in: " << text);
}

/// Keeps all answers, in their order.
class recorder final : public commit_listener {
public:
  struct answer {
    std::uint64_t ticket;
    result<committed> outcome;
  };

  void on_commit(std::uint64_t ticket, const result<committed>& outcome) noexcept override {
    {
      std::lock_guard lock{mutex_};
      answers_.push_back(
          {ticket, outcome ? result<committed>{*outcome} : result<committed>{outcome.error()}});
    }
    changed_.notify_all();
  }

  std::size_t size() const {
    std::lock_guard lock{mutex_};
    return answers_.size();
  }

  /// False if there are fewer than `count` answers after a generous time.
  bool wait_for(std::size_t count) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, patience, [&] { return answers_.size() >= count; });
  }

  /// Forgets the answers and gives them out.
  std::vector<answer> take() {
    std::lock_guard lock{mutex_};
    return std::exchange(answers_, {});
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<answer> answers_;
};

/// Reserves and submits. False: there was no credit.
inline bool submit(journal& j, commit c, std::shared_ptr<commit_listener> listener, std::uint64_t ticket) {
  auto credit = j.reserve();
  if (!credit)
    return false;
  j.submit(std::move(c), *std::move(credit), std::move(listener), ticket);
  return true;
}

/// A stream's events from version `from` on, page by page.
inline std::vector<recorded_event> read_stream(journal_reader& j, const stream_id& stream,
                                               stream_version from = 1, read_limits limits = {}) {
  std::vector<recorded_event> all;
  stream_cursor where{stream, from};
  event_page page;
  for (;;) {
    must_pass(j.read_stream(where, page, limits));
    if (page.empty())
      return all;
    all.insert(all.end(), page.begin(), page.end());
  }
}

/// The log's events from position `from` on, page by page, up to the head.
inline std::vector<recorded_event> read_log(journal_reader& j, log_position from = 1,
                                            const log_filter& filter = {}, read_limits limits = {}) {
  std::vector<recorded_event> all;
  const auto head = must(j.head());
  event_page page;
  for (auto next = from; next <= head;) {
    const auto before = next;
    must_pass(j.read_log(next, page, filter, limits));
    BOOST_REQUIRE_GT(next, before);
    all.insert(all.end(), page.begin(), page.end());
  }
  return all;
}

inline std::vector<std::int64_t> numbers(const std::vector<recorded_event>& events) {
  std::vector<std::int64_t> found;
  for (const auto& event : events)
    found.push_back(number_of(event));
  return found;
}

} // namespace test
} // namespace eventcore
