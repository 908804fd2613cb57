#pragma once

#include <eventcore/actors/projection_host.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace eventcore::internal {

/// What failed, and when it is to be tried again.
struct retry_state {
  using steady = std::chrono::steady_clock::time_point;

  std::optional<error> failure;
  unsigned attempts = 0;
  steady at = steady::min();

  bool waits(steady now) const noexcept { return failure && now < at; }
  /// Logs what failed, unless it is the same again; `what` says what that means for whom.
  void note(const error& why, steady now, const projection_options& options, const std::string& what);
};

/// One view of a projection and how far it is: reads the sources and applies their events, a transaction at a time. Used by one
/// thread at a time.
class projection_build {
public:
  using steady = std::chrono::steady_clock::time_point;

  /// `on_more` is called on any thread when a source has new events.
  projection_build(const projection_type& type, std::shared_ptr<view_store> view,
                   const projection_options& options, std::function<void()> on_more);

  /// Whether the view has the form of the projection: events are applied only then.
  bool applies() const noexcept { return applies_; }
  /// Whether it has the projection's tables, so that it can be queried.
  bool serves() const noexcept;
  const std::shared_ptr<view_store>& view() const noexcept { return view_; }

  /// A source of the view that the projection has no more.
  std::optional<std::string> lost_source();

  /// Applies what is there, one transaction at most, which ends after about `longest`. False: there was nothing to do.
  bool step(steady now, std::chrono::nanoseconds longest);

  /// When something that failed is to be tried again; `steady::max()`: nothing is.
  steady retry_at() const noexcept;

  /// Whether the last step found the end of everything, and no source of `live` is farther there. For a build that applies.
  bool caught_up_with(const projection_build& live) const;

  /// Whether the position of a source tells how much of it is in the view: not before it was looked at, nor if it has another
  /// history than the view.
  bool position_counts(std::size_t source) const;

  /// Stores cursors that moved without an event.
  void save_cursors();

  /// All but the sources' heads.
  projection_stats::build stats() const;

  /// Notes what failed outside: the build stands until the back-off is over.
  void fail(const error& why, steady now);

private:
  struct source_state {
    std::shared_ptr<event_source> source;
    event_source::history history; ///< nil: not known yet
    std::unique_ptr<event_feed> feed;
    log_position read = 0;    ///< everything up to here is in the open transaction or before it
    log_position applied = 0; ///< is in the view or passed over
    log_position stored = 0;  ///< the cursor in the view
    timestamp occurred_read{};
    timestamp occurred_at{};
    bool found_end = false;
    bool looked_at = false; ///< since the view was opened
    retry_state again;
  };
  /// An event that cannot be applied, while what is before it is applied again.
  struct blocking_event {
    const source_state* source;
    log_position position;
    error why;
  };
  enum class page : std::uint8_t { end, more, redo };

  result<void> load();
  result<void> open_feed(source_state& s);
  void give_up(source_state& s, const error& why, steady now);
  bool run(steady now, std::chrono::nanoseconds longest);
  result<page> read_page(source_state& s, steady now);
  std::optional<error> apply(const source_state& s, const recorded_event& event);
  result<void> begin();
  result<void> commit();
  void rewind();
  void note(retry_state& r, const error& why, steady now, const std::string& what);
  const std::string& name() const noexcept;

  const projection_type& type_;
  std::shared_ptr<view_store> view_;
  const projection_options& options_;
  std::function<void()> on_more_;
  bool applies_;
  std::vector<source_state> sources_;
  bool loaded_ = false; ///< the positions are those of the view
  std::optional<view_store::transaction> open_;
  std::optional<view_changes> changes_;
  std::size_t batch_events_ = 0;
  std::size_t batch_bytes_ = 0;
  std::optional<blocking_event> blocked_;
  retry_state again_;
  std::uint16_t last_type_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t batches_ = 0;
  std::uint64_t repeated_ = 0;
};

} // namespace eventcore::internal
