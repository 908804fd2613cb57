#pragma once

#include "support/journal_helpers.hpp"
#include "support/sums.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/projection_host.hpp>
#include <eventcore/persistence/memory_journal.hpp>

#include <map>
#include <tuple>

namespace eventcore {

inline std::ostream& operator<<(std::ostream& out, projection_errc e) {
  return out << make_error_code(e).message();
}

namespace test {

/// A source that fails, repeats and changes its history at will, on a journal in memory.
class unsteady_source final : public event_source {
public:
  explicit unsteady_source(std::string name)
      : name_{std::move(name)} {
    start_anew();
  }

  /// Another journal takes the place of the one before.
  void start_anew() { journal = open_memory_journal(); }

  std::unique_ptr<eventcore::journal> journal;
  std::optional<error> fails;
  std::optional<history> other_history;
  std::optional<log_position> other_head;
  /// Delivers so many events before the position that was asked for once more.
  log_position repeats = 0;
  std::size_t opened = 0;
  read_limits limits; ///< of a page

  void append(std::string_view stream, std::vector<new_event> events) {
    commit c;
    c.appends.push_back({sid(stream), expected_version::any(), std::move(events)});
    must_pass(journal->commit_and_wait(std::move(c)));
  }
  void happened(std::string_view stream, std::int64_t number, std::string text = "t") {
    append(stream, {test::happened(number, std::move(text))});
  }

  const std::string& name() const noexcept override { return name_; }
  result<history> current_history() override {
    if (fails)
      return *fails;
    return other_history.value_or(history{journal->info().id, journal->info().incarnation});
  }
  result<log_position> head() override {
    if (fails)
      return *fails;
    return other_head ? *other_head : journal->head();
  }
  std::unique_ptr<event_feed> open(log_position from, log_filter filter,
                                   std::function<void()> on_more) override {
    ++opened;
    return std::make_unique<feed>(*this, from > repeats ? from - repeats : 1, std::move(filter),
                                  std::move(on_more));
  }

private:
  struct feed final : event_feed {
    feed(unsteady_source& owner, log_position from, log_filter filter, std::function<void()> on_more)
        : owner{owner}
        , inner{make_journal_source(*owner.journal)->open(from, std::move(filter), std::move(on_more))} {}
    result<delivered_events> read(read_limits limits) override {
      if (owner.fails)
        return *owner.fails;
      return inner->read({.events = std::min(limits.events, owner.limits.events), .bytes = limits.bytes});
    }
    unsteady_source& owner;
    std::unique_ptr<event_feed> inner;
  };

  std::string name_;
};

/// Sources, and the folder of a projection that goes on step by step.
struct projection_world {
  using time = std::chrono::steady_clock::time_point;

  temp_dir dir;
  std::vector<std::shared_ptr<unsteady_source>> sources;
  time now{std::chrono::hours{1}};
  projection_options options;
  projection_handle open_one;

  explicit projection_world(std::vector<std::string> names = {"a", "b"}) {
    for (auto& name : names)
      add_source(name);
    options.folder = dir.path() / "sums";
    options.mode = writer_mode::stepped;
    options.clock = [this] { return now; };
    apply_is_broken = true;
  }

  unsteady_source& add_source(const std::string& name) {
    sources.push_back(std::make_shared<unsteady_source>(name));
    return *sources.back();
  }
  unsteady_source& source(std::size_t i) { return *sources[i]; }

  template <class P = sums>
  projection_host<P> open() {
    close();
    options.sources.assign(sources.begin(), sources.end());
    auto opened = must(open_projection<P>(options));
    open_one = opened;
    return opened;
  }
  void close() {
    if (open_one)
      open_one.stop();
    open_one = {};
  }
  ~projection_world() { close(); }

  /// Steps until nothing is left to do.
  static void settle(const projection_handle& p) {
    for (int i = 0; p.step(); ++i)
      BOOST_REQUIRE(i < 100'000);
  }
};

/// A row as text, `-` if there is none.
inline std::string text_of(const std::optional<Sum>& row) {
  return row ? std::to_string(row->events()) + ":" + std::to_string(row->total()) : "-";
}

template <class P>
std::string by_text(const projection_host<P>& p, const std::string& text) {
  return text_of(must(p.template get<typename P::by_text>(text)));
}

/// All rows of `sums`, in a form that can be compared.
using all_sums = std::map<std::string, std::tuple<std::int64_t, std::int64_t, std::uint64_t>>;

template <class P>
all_sums rows_of(const projection_host<P>& p) {
  all_sums all;
  const auto take = [&](const std::string& key, const Sum& sum) {
    all[key] = {sum.events(), sum.total(), sum.digest()};
  };
  auto streams = key_range<std::tuple<std::string, std::string>>::all();
  for (auto page = must(p.template list<typename P::by_stream>(streams, 100)); !page.empty();
       page = must(p.template list<typename P::by_stream>(streams, 100)))
    for (auto& [key, sum] : page)
      take(std::get<0>(key) + '/' + std::get<1>(key), sum);
  auto texts = key_range<std::string>::all();
  for (auto page = must(p.template list<typename P::by_text>(texts, 100)); !page.empty();
       page = must(p.template list<typename P::by_text>(texts, 100)))
    for (auto& [key, sum] : page)
      take(key, sum);
  return all;
}

/// What the rows must be when each source is applied up to its position.
inline all_sums fold_of(const std::vector<std::pair<event_source*, journal_reader*>>& sources,
                        const std::vector<log_position>& positions) {
  std::map<std::string, Sum> sums;
  for (std::size_t i = 0; i != sources.size(); ++i)
    for (auto& event : read_log(*sources[i].second)) {
      Happened e;
      if (event.position > positions[i] || event.type != Happened::descriptor()->full_name() ||
          !e.ParseFromString(event.payload))
        continue;
      add(sums[sources[i].first->name() + '/' + event.stream], e.number(), event.position);
      add(sums[e.text()], e.number(), 0);
    }
  all_sums all;
  for (auto& [key, sum] : sums)
    all[key] = {sum.events(), sum.total(), sum.digest()};
  return all;
}

} // namespace test
} // namespace eventcore
