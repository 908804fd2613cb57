#pragma once

#include <eventcore/actors/projection.hpp>
#include <eventcore/actors/projection_errc.hpp>
#include <eventcore/persistence/event_source.hpp>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore {

struct projection_options {
  /// Where the view lies. Empty: `projections/<name>` in the folder of the node's journal.
  std::filesystem::path folder;
  /// The services whose events are applied, each once. Empty: the node's own journal. One that is added later is applied from
  /// its start on; if one is taken away, the view is rebuilt.
  std::vector<std::shared_ptr<event_source>> sources;
  view_options view;
  /// Bounds of one transaction, which is synced once: events, bytes of their payloads, and bytes of memory that their changes take.
  /// Each source has one page of the log, of at most 4,096 events and 1 MiB, before the bounds are looked at again.
  std::size_t max_batch_events = 65'536;
  std::size_t max_batch_bytes = 32u << 20;
  std::size_t max_batch_memory = 64u << 20;
  /// What failed is tried again after this time, doubled each time, at most `max_backoff`.
  std::chrono::milliseconds backoff{200};
  std::chrono::milliseconds max_backoff{30'000};
  /// Events are applied by a thread of the projection's own, or when somebody calls `step`, for deterministic tests.
  writer_mode mode = writer_mode::thread;
  /// For retries; empty: the steady clock.
  std::function<std::chrono::steady_clock::time_point()> clock;
};

/// Where a projection stands.
struct projection_stats {
  struct source {
    std::string name;
    log_position position = 0;    ///< everything up to here is in the view, or passed over
    log_position head = 0;        ///< of the source, as far as it is known
    timestamp occurred_at{};      ///< of the last event that was applied
    std::optional<error> failure; ///< why nothing comes from it

    std::uint64_t lag() const noexcept { return head > position ? head - position : 0; }
  };
  struct build {
    std::uint32_t version = 0; ///< of the projection that the view is made by
    std::vector<source> sources;
    std::optional<error> failure; ///< why it stands, all sources
    std::uint64_t events = 0;     ///< applied since it was opened
    std::uint64_t batches = 0;    ///< transactions
    std::uint64_t repeated = 0;   ///< events that a source delivered again, and that were passed over
  };

  build live;                           ///< the view that serves
  std::optional<build> rebuilding;      ///< the one that will take its place
  std::optional<error> damage;          ///< of the view that was there before, and was given up
  std::optional<error> rebuild_failure; ///< why a wanted one cannot be begun
  std::uint64_t rebuilt = 0;            ///< how often one did, since the projection was opened
};

/// A projection that runs, without types. Cheap to copy; empty when default made. Thread-safe. After the end of what it was
/// opened by, a node say, all answers are `stopped`.
class projection_handle {
public:
  struct impl;

  projection_handle() = default;
  explicit projection_handle(std::shared_ptr<impl> content)
      : impl_{std::move(content)} {}

  explicit operator bool() const noexcept { return impl_ != nullptr; }

  /// As `view_store` does, from the view that serves. Errors: those too, `not_ready`, `stopped`.
  result<std::optional<std::string>> get(std::size_t table, std::string_view key) const;
  result<std::vector<view_row>> list(std::size_t table, view_bounds& where, read_limits limits) const;
  error damaged(std::size_t table, std::string_view key) const;

  /// Waits until the view that serves holds all events of `source` up to `position`, at most `within`: to read what one has
  /// written. A view of another history of the source has none of them. Errors: `not_reached`, `unknown_source`, `stopped`.
  result<void> wait_until(std::string_view source, log_position position,
                          std::chrono::nanoseconds within) const;
  /// The same for the first source, which is the node's journal by default.
  result<void> wait_until(log_position position, std::chrono::nanoseconds within) const;
  /// The same for all that the sources hold now. Errors also: those of a source that cannot tell.
  result<void> catch_up(std::chrono::nanoseconds within) const;

  /// Begins to build the view from the start, beside the one that serves, which it replaces when it has caught up. It goes on
  /// after a restart. Does nothing if a view is being built already.
  void rebuild() const;
  /// Waits until no view is being built, at most `within`. Errors: `not_reached`, `stopped`.
  result<void> wait_rebuilt(std::chrono::nanoseconds within) const;

  projection_stats stats() const;

  /// Applies the events of one transaction at most. False: there was nothing to do. Only for `writer_mode::stepped`, on one
  /// thread at a time.
  bool step() const;

  /// Commits what is under way and releases the files. Idempotent.
  void stop() const;

private:
  std::shared_ptr<impl> impl_;
};

/// A projection `P` that runs, to be queried from any thread. Each read sees one state of the view, some events old at most.
template <class P>
class projection_host : public projection_handle {
public:
  projection_host() = default;
  explicit projection_host(projection_handle untyped)
      : projection_handle{std::move(untyped)} {}

  /// The value under `key` in table `T`, if there is one.
  template <class T>
  result<std::optional<typename T::value_type>> get(const typename T::key_type& key) const {
    auto bytes = to_view_key(key);
    auto found = projection_handle::get(P::views::template place<T>, bytes);
    if (!found)
      return found.error();
    if (!*found)
      return std::optional<typename T::value_type>{};
    std::optional<typename T::value_type> value{std::in_place};
    if (!value->ParseFromString(**found))
      return damaged(P::views::template place<T>, bytes);
    return value;
  }

  /// The next rows of table `T` in `where`, which is moved behind them: `limit` at most and about 1 MiB. None is the end. Pages
  /// see the view at different times.
  template <class T>
  result<std::vector<view_entry<T>>> list(key_range<typename T::key_type>& where,
                                          std::size_t limit = 1'024) const {
    auto rows = projection_handle::list(P::views::template place<T>, where, {.events = limit});
    if (!rows)
      return rows.error();
    std::vector<view_entry<T>> entries(rows->size());
    for (std::size_t i = 0; i != entries.size(); ++i)
      if (!internal::parse_entry<T>((*rows)[i], entries[i]))
        return damaged(P::views::template place<T>, (*rows)[i].key);
    return entries;
  }
};

/// Opens or makes the view of a projection in `options.folder`, and applies the events of `options.sources`, which outlive
/// it, until the last handle is gone or one of them stops it. A view that is damaged, or of another form than the projection,
/// is rebuilt. Errors: `invalid_sources`; `cannot_open`, `locked`, `wrong_format`, `disk_full` of the folder.
result<projection_handle> open_projection(const projection_type& type, projection_options options);

template <class P>
result<projection_host<P>> open_projection(projection_options options) {
  auto opened = open_projection(projection_type_of<P>(), std::move(options));
  if (!opened)
    return opened.error();
  return projection_host<P>{*std::move(opened)};
}

} // namespace eventcore
