#include <eventcore/persistence/event_source.hpp>

#include <eventcore/persistence/log_feed.hpp>

namespace eventcore {

namespace {

class journal_feed final : public event_feed {
public:
  journal_feed(journal& from, log_position next, log_filter filter, std::function<void()> on_more)
      : feed_{from, next, std::move(filter), std::move(on_more)} {}

  result<delivered_events> read(read_limits limits) override {
    auto more = feed_.read(chunk_, limits);
    if (!more)
      return more.error();
    return delivered_events{chunk_.events(), chunk_.last(), *more};
  }

private:
  log_feed feed_;
  log_chunk chunk_;
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
