#pragma once

#include <eventcore/actors/projection.hpp>

#include "projection.pb.h"
#include "test_events.pb.h"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>

/// The projection that tests are made with.
namespace eventcore::test {

/// What `apply` does with events whose text says so.
namespace texts {
inline constexpr std::string_view broken = "broken"; ///< throws, as long as `apply_is_broken`
inline constexpr std::string_view hidden = "hidden"; ///< makes a bad change and hides that it was refused
} // namespace texts

inline bool apply_is_broken = true;

inline void add(Sum& sum, std::int64_t number, log_position position) {
  sum.set_events(sum.events() + 1);
  sum.set_total(sum.total() + number);
  sum.set_digest((sum.digest() + position) * 0x9E3779B97F4A7C15u);
}

/// Sums of what happened: for each stream of each source, and for each text. The first depends on the order in each source, and
/// the second on nothing but the events.
template <std::uint32_t Version, class Events = events<Happened>>
struct sums_of : projection<sums_of<Version, Events>> {
  static constexpr std::string_view name = "sums";
  static constexpr std::uint32_t version = Version;
  struct by_stream : view<std::tuple<std::string, std::string>, Sum> {
    static constexpr std::string_view name = "by_stream";
  };
  struct by_text : view<std::string, Sum> {
    static constexpr std::string_view name = "by_text";
  };
  using views = eventcore::views<by_stream, by_text>;
  using events = Events;

  static void apply(views& v, const Happened& e, const event_context& c) {
    v.template update<by_stream>({std::string{c.source}, std::string{c.stream}},
                                 [&](auto& sum) { add(sum, e.number() * Version, c.position); });
    if (e.text() == texts::broken && apply_is_broken)
      throw std::runtime_error{"there is no way to apply this"};
    if (e.text() == texts::hidden)
      try {
        v.template put<by_text>(std::string(600, 'k'), Sum{});
      } catch (const std::exception&) {
      }
    v.template update<by_text>(e.text(), [&](auto& sum) { add(sum, e.number() * Version, 0); });
  }
  static void apply(views& v, const Other&) { v.template put<by_text>("other", Sum{}); }
};

using sums = sums_of<1>;

} // namespace eventcore::test
