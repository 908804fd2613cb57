#include "bench.pb.h"
#include "latencies.hpp"
#include "scenario.hpp"

#include <eventcore/actors/projection_host.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>

#include <random>
#include <stdexcept>

namespace bench {

namespace {

using namespace std::chrono_literals;

/// A row of about 120 bytes for each stream, read and written for each of its events.
struct balances : eventcore::projection<balances> {
  static constexpr std::string_view name = "balances";
  struct rows : eventcore::view<std::string, Balance> {
    static constexpr std::string_view name = "rows";
  };
  using views = eventcore::views<rows>;
  using events = eventcore::events<Added>;

  static void apply(views& v, const Added& e, const eventcore::event_context& c) {
    v.update<rows>(std::string{c.key()}, [&](auto& row) {
      row.set_events(row.events() + 1);
      row.set_amount(row.amount() + e.amount());
      if (row.padding().empty())
        row.set_padding(std::string(100, 'x'));
    });
  }
};

template <class T>
T must(eventcore::result<T> r) {
  if (!r)
    throw std::runtime_error(r.error().message());
  if constexpr (!std::is_void_v<T>)
    return *std::move(r);
}

/// Events for streams at random, in commits of a thousand.
void write_events(eventcore::journal& journal, std::size_t count) {
  Added added;
  added.set_amount(1);
  const eventcore::new_event event{Added::descriptor(), added.SerializeAsString()};
  std::minstd_rand random{1};
  constexpr std::size_t in_commit = 1'000;
  for (std::size_t i = 0; i < count; i += in_commit) {
    eventcore::commit c;
    const auto at = random();
    for (std::size_t n = 0; n < in_commit; ++n)
      c.appends.push_back({*eventcore::stream_id::of("account", std::to_string((at + n * 7'919) % view_rows)),
                           eventcore::expected_version::any(),
                           {event}});
    must(journal.commit_and_wait(std::move(c)));
  }
}

} // namespace

figure projection_apply(run_context& context) {
  const std::size_t count = context.quick ? 500'000 : 2'000'000;
  auto journal = must(eventcore::open_lmdb_journal(context.dir / "journal"));
  write_events(*journal, count);
  eventcore::projection_options options;
  options.folder = context.dir / "view";
  options.sources = {eventcore::make_journal_source(*journal)};
  const auto start = steady::now();
  auto view = must(eventcore::open_projection<balances>(options));
  must(view.catch_up(10min));
  const auto seconds = seconds_since(start);
  const auto stats = view.stats();
  view.stop();
  if (stats.live.events != count)
    throw std::runtime_error("the projection applied " + std::to_string(stats.live.events) + " of " +
                             std::to_string(count) + " events");
  figure f;
  f.value = static_cast<double>(count) / seconds;
  f.note = "events/s; each reads and writes a row of 120 bytes, of 100,000 at random; fsync; " +
           std::to_string(stats.live.events / stats.live.batches) + " events a transaction";
  return f;
}

} // namespace bench
