#include <eventcore/actors/internal/subscription_feed.hpp>

#include <eventcore/persistence/internal/log_filter.hpp>

#include <algorithm>

namespace eventcore::internal {

void event_chunk::clear() noexcept {
  events_ = {};
  bytes_ = 0;
  log_.clear();
}

class own_log final : public subscription_feed {
public:
  own_log(journal& from, log_position next, log_filter filter, std::function<void()> on_more)
      : feed_{from, next, std::move(filter), std::move(on_more)} {}

  result<bool> read(event_chunk& to, read_limits limits) override {
    auto more = feed_.read(to.log_, limits);
    to.events_ = to.log_.events();
    to.last_ = to.log_.last();
    to.bytes_ = to.log_.bytes();
    return more;
  }
  log_position head() override { return feed_.head(); }

private:
  log_feed feed_;
};

class source_log final : public subscription_feed {
public:
  source_log(std::shared_ptr<event_source> from, log_position next, log_filter filter,
             std::function<void()> on_more)
      : source_{std::move(from)}
      , read_{next - 1}
      , feed_{source_->open(next, std::move(filter), std::move(on_more))} {}

  result<bool> read(event_chunk& to, read_limits limits) override {
    to.clear();
    auto delivered = feed_->read(limits);
    if (!delivered)
      return delivered.error();
    const auto count = delivered->events.size();
    if (to.copies_.size() < count)
      to.copies_.resize(count);
    to.pointers_.clear();
    for (const auto* event : delivered->events) {
      if (event->position <= read_)
        continue; // it was delivered before
      read_ = event->position;
      auto& copy = to.copies_[to.pointers_.size()];
      copy = *event;
      to.bytes_ += size_of(copy);
      to.pointers_.push_back(&copy);
    }
    read_ = std::max(read_, delivered->last);
    to.events_ = to.pointers_;
    to.last_ = read_;
    return delivered->more;
  }

  log_position head() override {
    if (auto known = source_->head())
      head_ = *known;
    return std::max(head_, read_);
  }

private:
  std::shared_ptr<event_source> source_;
  log_position read_; ///< all up to here
  log_position head_ = 0;
  std::unique_ptr<event_feed> feed_;
};

std::unique_ptr<subscription_feed> open_own_log(journal& from, log_position next, log_filter filter,
                                                std::function<void()> on_more) {
  return std::make_unique<own_log>(from, next, std::move(filter), std::move(on_more));
}

std::unique_ptr<subscription_feed> open_source_log(std::shared_ptr<event_source> from, log_position next,
                                                   log_filter filter, std::function<void()> on_more) {
  return std::make_unique<source_log>(std::move(from), next, std::move(filter), std::move(on_more));
}

} // namespace eventcore::internal
