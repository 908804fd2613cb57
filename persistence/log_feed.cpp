#include <eventcore/persistence/log_feed.hpp>

#include <eventcore/persistence/internal/log_filter.hpp>

#include <algorithm>
#include <atomic>

namespace eventcore {

void log_chunk::clear() noexcept {
  events_.clear();
  shared_.reset();
  own_.clear();
  bytes_ = 0;
}

/// What the writer thread tells the feed.
struct log_feed::signal {
  std::atomic<log_position> head{0};
  std::atomic<bool> waiting{false};
  std::function<void()> on_more;

  void raise(log_position to) {
    auto known = head.load();
    while (known < to && !head.compare_exchange_weak(known, to))
      ;
  }
};

log_feed::log_feed(journal& from, log_position next, log_filter filter, std::function<void()> on_more)
    : journal_{from}
    , next_{std::max<log_position>(next, 1)}
    , filter_{std::move(filter)}
    , signal_{std::make_shared<signal>()} {
  signal_->on_more = std::move(on_more);
  kept_ = journal_.keep_tail();
  following_ = journal_.follow_tail([s = signal_](log_position head) {
    s->raise(head);
    if (s->waiting.exchange(false) && s->on_more)
      s->on_more();
  });
}

log_feed::~log_feed() = default;

log_position log_feed::head() const noexcept {
  return signal_->head;
}

result<bool> log_feed::read(log_chunk& chunk, read_limits limits) {
  chunk.clear();
  chunk.first_ = next_;
  chunk.last_ = next_ - 1;
  signal_->waiting = false;
  if (!knows_head_) {
    // Nobody tells of commits from before this feed, and memory hands them out batch by batch.
    auto durable = journal_.head();
    if (!durable)
      return durable.error();
    signal_->raise(*durable);
    knows_head_ = true;
  }
  if (auto page = journal_.recent(next_)) {
    const bool all_admitted = internal::admits_all(filter_);
    const auto all = page->events();
    for (auto& event : all.subspan(static_cast<std::size_t>(next_ - all.front().position))) {
      if (all_admitted || internal::admits(filter_, event.stream, event.type)) {
        const auto bytes = chunk.bytes_ + internal::size_of(event);
        if (chunk.events_.size() >= limits.events || (!chunk.events_.empty() && bytes > limits.bytes))
          break;
        chunk.bytes_ = bytes;
        chunk.events_.push_back(&event);
      }
      ++next_;
    }
    chunk.shared_ = std::move(page);
    signal_->raise(next_ - 1);
  } else {
    if (next_ > head()) {
      // Commits whose outcome the writer did not know.
      auto durable = journal_.head();
      if (!durable)
        return durable.error();
      signal_->raise(*durable);
    }
    if (next_ <= head()) {
      if (auto done = journal_.read_log(next_, chunk.own_, filter_, limits); !done)
        return done.error();
      for (auto& event : chunk.own_) {
        chunk.bytes_ += internal::size_of(event);
        chunk.events_.push_back(&event);
      }
    }
  }
  chunk.last_ = next_ - 1;
  if (next_ <= head())
    return true;
  signal_->waiting = true;
  // What was told before that was told to nobody.
  return next_ <= head() && signal_->waiting.exchange(false);
}

} // namespace eventcore
