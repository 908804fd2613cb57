#pragma once

#include "support/journal_conformance.hpp"
#include "support/journal_helpers.hpp"

#include <map>
#include <thread>
#include <tuple>
#include <vector>

namespace eventcore::test {

/// What a case of the suite is given: a journal of its own.
struct case_setup {
  eventcore::durability durability;
  make_journal_factory make_factory;
  std::shared_ptr<journal_factory> factory;

  bool persistent() const { return factory->persistent(); }

  journal_options options() const {
    journal_options options;
    options.durability = durability;
    return options;
  }
  std::unique_ptr<journal> open() const { return factory->open(options()); }
  std::unique_ptr<journal> open(const journal_options& options) const { return factory->open(options); }
  std::unique_ptr<journal> open_stepped() const {
    auto stepped = options();
    stepped.writer = writer_mode::stepped;
    return factory->open(stepped);
  }
};

struct conformance_case {
  const char* name;
  void (*body)(const case_setup& setup);
};

std::vector<conformance_case> append_cases();  ///< events, expected versions, groups, epochs
std::vector<conformance_case> bounds_cases();  ///< of commits and of what waits
std::vector<conformance_case> reading_cases(); ///< streams, the log, cursors
std::vector<conformance_case> content_cases(); ///< streams, types and snapshots
std::vector<conformance_case> life_cases();    ///< following, figures, the end, many, durability
std::vector<conformance_case> model_cases();   ///< random steps against a model made of maps
std::vector<conformance_case> tail_cases();    ///< the newest events in memory, and feeds
std::vector<conformance_case> timer_cases();

// -- what cases of several files need --

inline constexpr auto none = expected_version::none();
inline constexpr auto any = expected_version::any();
inline constexpr auto exact = &expected_version::exact;

inline auto fields(const recorded_event& e) {
  return std::tie(e.position, e.stream, e.version, e.id, e.type, e.schema_version, e.occurred_at, e.payload,
                  e.metadata, e.answer.key, e.answer.content);
}

/// Waits until all that was acknowledged is durable: at once with `durability::fsync`.
inline void wait_for_head(const case_setup& setup, journal& j, log_position head) {
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (setup.durability == durability::relaxed && must(j.head()) < head &&
         std::chrono::steady_clock::now() < give_up)
    std::this_thread::yield();
  BOOST_TEST_REQUIRE(must(j.head()) == head);
}

inline const std::error_code success{};
inline const std::error_code conflict = journal_errc::conflict;
inline const std::error_code epoch_closed = journal_errc::epoch_closed;

/// The codes of answers in their order; success is an empty code.
inline std::vector<std::error_code> codes(const std::vector<recorder::answer>& answers) {
  std::vector<std::error_code> found;
  for (const auto& answer : answers)
    found.push_back(answer.outcome ? std::error_code{} : answer.outcome.error().code());
  return found;
}

inline void check_codes(const std::vector<recorder::answer>& answers,
                        const std::vector<std::error_code>& expected) {
  BOOST_TEST(codes(answers) == expected, boost::test_tools::per_element());
}

inline snapshot saved(stream_version version, std::string type, std::string state = "state") {
  return {version, 3 * version, std::move(type), 7, std::move(state)};
}

/// Every stream, by pages of `limit`.
inline std::map<std::string, stream_head> list_all(journal_reader& j, std::size_t limit) {
  std::map<std::string, stream_head> found;
  std::string token;
  for (;;) {
    auto page = must(j.list_streams(token, limit));
    BOOST_TEST_REQUIRE(page.size() <= limit);
    if (page.empty())
      return found;
    for (auto& head : page)
      BOOST_TEST_REQUIRE(found.emplace(head.stream, head).second, head.stream << " came twice");
  }
}

} // namespace eventcore::test
