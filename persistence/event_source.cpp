#include <eventcore/persistence/event_source.hpp>

#include <vector>

namespace eventcore {

namespace {

class journal_feed final : public event_feed {
public:
  journal_feed(journal& from, log_position next, log_filter filter, std::function<void()> on_more)
      : journal_{from}
      , next_{next}
      , filter_{std::move(filter)}
      , following_{from.follow_tail([call = std::move(on_more)](log_position) { call(); })} {}

  result<delivered_events> read(read_limits limits) override {
    auto next = next_;
    if (auto read = journal_.read_log(next, page_, filter_, limits); !read)
      return read.error();
    events_.clear();
    for (auto& event : page_)
      events_.push_back(&event);
    const bool moved = next > next_;
    next_ = next;
    return delivered_events{events_, next_ - 1, moved};
  }

private:
  journal& journal_;
  log_position next_;
  log_filter filter_;
  event_page page_;
  std::vector<const recorded_event*> events_;
  tail_subscription following_;
};

class journal_source final : public event_source {
public:
  journal_source(journal& from, std::string name)
      : journal_{from}
      , name_{std::move(name)} {}

  const std::string& name() const noexcept override { return name_; }
  result<history> current_history() override {
    return history{journal_.info().id, journal_.info().incarnation};
  }
  result<log_position> head() override { return journal_.head(); }
  std::unique_ptr<event_feed> open(log_position from, log_filter filter,
                                   std::function<void()> on_more) override {
    return std::make_unique<journal_feed>(journal_, from, std::move(filter), std::move(on_more));
  }

private:
  journal& journal_;
  std::string name_;
};

} // namespace

std::shared_ptr<event_source> make_journal_source(journal& from, std::string name) {
  if (name.empty())
    name = from.info().service.empty() ? "journal" : from.info().service;
  return std::make_shared<journal_source>(from, std::move(name));
}

} // namespace eventcore
