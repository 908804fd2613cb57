#include <eventcore/actors/internal/projection_build.hpp>

#include <eventcore/actors/internal/stored_event.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace eventcore::internal {

namespace {

/// The most that is applied of a source before another one has its turn.
constexpr read_limits largest_page{.events = 4'096, .bytes = 1u << 20};
/// Positions that a restart looks at again, at most, because none of their events is of the projection's types.
constexpr log_position max_unsaved = 65'536;

log_filter filter_of(const projection_type& type) {
  log_filter filter;
  for (auto& [name, place] : type.events.names)
    filter.types.push_back(name);
  return filter;
}

std::string describe(const event_source::history& h) {
  return "journal " + to_string(h.journal) + ", incarnation " + to_string(h.incarnation);
}

} // namespace

void retry_state::note(const error& why, steady now, const projection_options& options,
                       const std::string& what) {
  if (!failure || failure->message() != why.message())
    spdlog::error("{}: {}", what, why.message());
  failure = why;
  at = now + std::min<std::chrono::milliseconds>(options.backoff * (1u << std::min(attempts, 16u)),
                                                 options.max_backoff);
  ++attempts;
}

projection_build::projection_build(const projection_type& type, std::shared_ptr<view_store> view,
                                   const projection_options& options, std::function<void()> on_more)
    : type_{type}
    , view_{std::move(view)}
    , options_{options}
    , on_more_{std::move(on_more)}
    , applies_{view_->form() == type.form} {
  for (auto& source : options.sources)
    sources_.emplace_back().source = source;
  (void)load(); // tried again, and noted, by the next step
}

bool projection_build::serves() const noexcept {
  return view_->form().tables == type_.form.tables;
}

std::optional<std::string> projection_build::lost_source() {
  auto cursors = view_->cursors();
  if (cursors)
    for (auto& cursor : *cursors)
      if (std::ranges::none_of(sources_, [&](auto& s) { return s.source->name() == cursor.source; }))
        return cursor.source;
  return std::nullopt;
}

/// Takes the positions from the view, which alone knows how far it is.
result<void> projection_build::load() {
  auto cursors = view_->cursors();
  if (!cursors)
    return cursors.error();
  for (auto& s : sources_) {
    s.feed.reset();
    s.history = {};
    s.read = s.applied = s.stored = 0;
    for (auto& cursor : *cursors)
      if (cursor.source == s.source->name()) {
        s.history = {cursor.journal, cursor.incarnation};
        s.read = s.applied = s.stored = cursor.position;
        s.occurred_at = s.occurred_read = cursor.occurred_at;
      }
  }
  loaded_ = true;
  return {};
}

result<void> projection_build::open_feed(source_state& s) {
  auto history = s.source->current_history();
  if (!history)
    return history.error();
  auto head = s.source->head();
  if (!head)
    return head.error();
  const bool known = s.history != event_source::history{};
  if (known && *history != s.history)
    return make_error(projection_errc::source_changed,
                      "the view holds events up to position " + std::to_string(s.applied) + " of " +
                          describe(s.history) + ", but the source is now " + describe(*history) +
                          "; was it restored from a backup? Rebuild the projection");
  if (*head < s.applied)
    return make_error(projection_errc::source_changed,
                      "the view holds events up to position " + std::to_string(s.applied) +
                          ", but the source ends at position " + std::to_string(*head) +
                          "; was it restored from a backup? Rebuild the projection");
  s.history = *history;
  s.feed = s.source->open(s.applied + 1, filter_of(type_), on_more_);
  return {};
}

bool projection_build::step(steady now, std::chrono::nanoseconds longest) {
  if (!applies_ || again_.waits(now))
    return false;
  if (!loaded_)
    if (auto loaded = load(); !loaded) {
      note(again_, loaded.error(), now, "the view");
      return false;
    }
  return run(now, longest);
}

/// Reads the sources in turns until all are at their ends or the transaction is full, and commits.
bool projection_build::run(steady now, std::chrono::nanoseconds longest) {
  const auto start = std::chrono::steady_clock::now();
  const auto full = [&] {
    return batch_events_ >= options_.max_batch_events || batch_bytes_ >= options_.max_batch_bytes ||
           (open_ && open_->memory() >= options_.max_batch_memory) ||
           std::chrono::steady_clock::now() - start >= longest;
  };
  for (auto& s : sources_) {
    s.found_end = false;
    if (s.feed || s.again.waits(now))
      continue;
    auto opened = open_feed(s);
    s.looked_at = true;
    if (!opened)
      give_up(s, opened.error(), now);
  }
  std::optional<error> failure;
  for (bool more = true; more && !failure;) {
    more = false;
    for (auto& s : sources_) {
      auto outcome = read_page(s, now);
      if (!outcome) {
        failure = outcome.error();
        break;
      }
      if (*outcome == page::redo)
        return true;
      more = more || *outcome == page::more;
    }
    more = more && !full();
  }
  const auto moved = std::ranges::any_of(sources_, [](auto& s) { return s.read != s.applied; });
  const auto unsaved = std::ranges::any_of(sources_, [](auto& s) { return s.read - s.stored > max_unsaved; });
  if (open_ || unsaved)
    if (auto committed = commit(); !committed)
      failure = committed.error();
  if (loaded_)
    for (auto& s : sources_) {
      s.applied = s.read;
      s.occurred_at = s.occurred_read;
    }
  if (!failure) {
    again_ = {};
    return moved;
  }
  note(again_, *failure, now, "it stands");
  return false;
}

/// Nothing more is taken from a source until its back-off is over.
void projection_build::give_up(source_state& s, const error& why, steady now) {
  s.feed.reset();
  note(s.again, why, now, "nothing comes from source " + s.source->name());
}

/// Applies the next page of a source. Error: no more can be applied; what is before it is still to be committed.
result<projection_build::page> projection_build::read_page(source_state& s, steady now) {
  if (!s.feed)
    return page::end;
  auto delivered = s.feed->read({.events = std::min(largest_page.events, options_.max_batch_events),
                                 .bytes = std::min(largest_page.bytes, options_.max_batch_bytes)});
  if (!delivered) {
    give_up(s, delivered.error(), now);
    return page::end;
  }
  s.again = {};
  for (auto* event : delivered->events) {
    if (event->position <= s.read) {
      ++repeated_;
      continue;
    }
    if (blocked_ && blocked_->source == &s && blocked_->position == event->position) {
      s.feed.reset(); // the event will be read again
      return std::exchange(blocked_, std::nullopt)->why;
    }
    if (!open_)
      if (auto begun = begin(); !begun) {
        rewind();
        return begun.error();
      }
    if (auto why = apply(s, *event)) {
      // What the function did before it failed cannot be told from what is before the event: all is undone, and applied
      // again up to here.
      const bool redo = batch_events_ > 0 && !blocked_;
      blocked_.reset();
      if (redo)
        blocked_ = {&s, event->position, *why};
      rewind();
      if (redo)
        return page::redo;
      return *why;
    }
    s.read = event->position;
    s.occurred_read = event->occurred_at;
    ++batch_events_;
    batch_bytes_ += event->payload.size();
  }
  s.read = std::max(s.read, delivered->last);
  s.found_end = !delivered->more;
  return delivered->more ? page::more : page::end;
}

std::optional<error> projection_build::apply(const source_state& s, const recorded_event& event) {
  const event_context context{s.source->name(), event.stream,      event.version, event.position,
                              event.id,         event.occurred_at, event.metadata};
  projected_event target{*changes_, context};
  auto why = apply_event(type_.events, &target, last_type_, event.type, event.schema_version, event.payload,
                         "apply()");
  const auto& refused = changes_->failure();
  if (!why && !refused)
    return std::nullopt;
  const auto place = "projection " + name() + ": event " + event.type + " at position " +
                     std::to_string(event.position) + " of source " + s.source->name() + " (stream " +
                     event.stream + ", version " + std::to_string(event.version) + ") ";
  if (refused)
    return error{refused->code(), place + "makes a change that is refused: " + refused->message()};
  return make_error(projection_errc::event_failed, place + *why);
}

result<void> projection_build::begin() {
  auto begun = view_->begin();
  if (!begun)
    return begun.error();
  open_.emplace(*std::move(begun));
  changes_.emplace(*open_);
  return {};
}

result<void> projection_build::commit() {
  if (!open_)
    if (auto begun = begin(); !begun) {
      rewind();
      return begun;
    }
  const auto counted = batch_events_;
  for (auto& s : sources_)
    if (s.read != s.stored)
      if (auto put = open_->put_cursor(
              {s.source->name(), s.history.journal, s.history.incarnation, s.read, s.occurred_read});
          !put) {
        rewind();
        return put;
      }
  auto committed = open_->commit();
  if (!committed) {
    rewind();
    loaded_ = false;
    return committed;
  }
  changes_.reset();
  open_.reset();
  batch_events_ = batch_bytes_ = 0;
  events_ += counted;
  ++batches_;
  for (auto& s : sources_)
    s.stored = s.read;
  return {};
}

/// Undoes what is not committed.
void projection_build::rewind() {
  changes_.reset();
  open_.reset();
  batch_events_ = batch_bytes_ = 0;
  for (auto& s : sources_) {
    s.read = s.applied;
    s.occurred_read = s.occurred_at;
    s.feed.reset();
  }
}

void projection_build::save_cursors() {
  if (loaded_ && applies_ && std::ranges::any_of(sources_, [](auto& s) { return s.read != s.stored; }))
    (void)commit(); // without it these positions are looked at again
}

void projection_build::note(retry_state& r, const error& why, steady now, const std::string& what) {
  r.note(why, now, options_, "projection " + name() + ": " + what);
}

void projection_build::fail(const error& why, steady now) {
  note(again_, why, now, "it stands");
}

projection_build::steady projection_build::retry_at() const noexcept {
  if (!applies_)
    return steady::max();
  if (again_.failure)
    return again_.at;
  auto next = steady::max();
  for (auto& s : sources_)
    if (s.again.failure)
      next = std::min(next, s.again.at);
  return next;
}

bool projection_build::caught_up_with(const projection_build& live) const {
  if (again_.failure || blocked_ || !loaded_)
    return false;
  for (std::size_t i = 0; i != sources_.size(); ++i) {
    auto& mine = sources_[i];
    auto& its = live.sources_[i];
    const bool unknown_to_it = its.history == event_source::history{};
    const bool comparable = live.loaded_ && (unknown_to_it || its.history == mine.history);
    const bool at_end = mine.found_end && !mine.again.failure;
    if (comparable ? mine.applied < its.applied || (!at_end && !mine.again.failure) : !at_end)
      return false;
  }
  return true;
}

bool projection_build::position_counts(std::size_t source) const {
  const auto& s = sources_[source];
  const auto& failure = s.again.failure;
  return !applies_ || (s.looked_at && !(failure && failure->code() == projection_errc::source_changed));
}

projection_stats::build projection_build::stats() const {
  projection_stats::build b;
  b.version = view_->form().version;
  for (auto& s : sources_)
    b.sources.push_back({s.source->name(), s.applied, 0, s.occurred_at, s.again.failure});
  b.failure = again_.failure;
  b.events = events_;
  b.batches = batches_;
  b.repeated = repeated_;
  return b;
}

const std::string& projection_build::name() const noexcept {
  return type_.form.projection;
}

} // namespace eventcore::internal
