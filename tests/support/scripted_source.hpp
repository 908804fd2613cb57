#pragma once

#include "support/journal_helpers.hpp"

#include <eventcore/actors/errc.hpp>
#include <eventcore/persistence/event_source.hpp>
#include <eventcore/persistence/internal/log_filter.hpp>

#include <map>
#include <optional>
#include <set>

namespace eventcore::test {

/// The log of another service, which a test writes, loses, finds again and restores from a backup. Without threads. Behaves as the events
/// of a remote node do: a feed goes on after the connection was lost, and ends with its history or an error.
class scripted_source final : public event_source {
public:
  explicit scripted_source(std::string name = "orders")
      : name_{std::move(name)} {}

  std::vector<recorded_event> log;
  history now{uuid::random(), uuid::random()};
  bool reached = true;
  std::optional<error> fails;          ///< each read, and ends its feed
  std::size_t page_events = 1'000;     ///< of a page
  std::size_t reads = 0;               ///< that were tried
  std::size_t opened = 0;              ///< feeds
  std::function<void()> while_opening; ///< called when a feed is opened

  void happen(const std::string& stream, const std::vector<std::int64_t>& numbers) {
    for (auto n : numbers)
      write(stream, happened(n));
    wake();
  }
  void write(const std::string& stream, const new_event& content) {
    recorded_event e;
    e.position = log.size() + 1;
    e.stream = stream;
    e.version = ++versions_[stream];
    e.id = ids_.next();
    e.type = content.type->full_name();
    e.occurred_at = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
    e.payload = content.payload;
    log.push_back(std::move(e));
  }
  void lose() {
    reached = false;
    wake();
  }
  void reach() {
    reached = true;
    wake();
  }
  /// From a backup that holds so many events.
  void restore(std::size_t events) {
    log.resize(events);
    versions_.clear();
    for (auto& e : log)
      versions_[e.stream] = e.version;
    now.incarnation = uuid::random();
    wake();
  }

  const std::string& name() const noexcept override { return name_; }
  result<history> current_history() override {
    if (!reached)
      return away();
    return now;
  }
  result<log_position> head() override {
    if (!reached)
      return away();
    return log.size();
  }
  std::unique_ptr<event_feed> open(log_position from, log_filter filter,
                                   std::function<void()> on_more) override {
    ++opened;
    auto opened_one = std::make_unique<feed>(*this, from, std::move(filter), std::move(on_more));
    if (while_opening)
      while_opening();
    return opened_one;
  }

private:
  struct feed final : event_feed {
    feed(scripted_source& source, log_position from, log_filter f, std::function<void()> more)
        : owner{source}
        , next{from}
        , filter{std::move(f)}
        , on_more{std::move(more)}
        , bound{source.now} {
      owner.feeds_.insert(this);
    }
    ~feed() override { owner.feeds_.erase(this); }

    result<delivered_events> read(read_limits limits) override {
      ++owner.reads;
      // What was delivered before is gone, and who looks at it nevertheless finds nothing.
      for (auto& e : page)
        e = {};
      pointers.clear();
      if (!owner.reached)
        return owner.away();
      if (bound != owner.now)
        return make_error(journal_errc::wrong_journal, "restored");
      if (owner.fails)
        ended = owner.fails;
      if (ended)
        return *ended;
      const auto most = std::min(limits.events, owner.page_events);
      page.resize(most);
      for (std::size_t looked = 0; next <= owner.log.size() && looked < most; ++looked, ++next)
        if (const auto& e = owner.log[next - 1]; internal::admits(filter, e.stream, e.type)) {
          page[looked] = e;
          pointers.push_back(&page[looked]);
        }
      return delivered_events{pointers, next - 1, next <= owner.log.size()};
    }

    scripted_source& owner;
    log_position next;
    log_filter filter;
    std::function<void()> on_more;
    history bound;
    std::optional<error> ended;
    std::vector<recorded_event> page;
    std::vector<const recorded_event*> pointers;
  };

  error away() const {
    return make_error(entity_errc::unreachable, "service " + name_ + " is not reached: it is away");
  }
  void wake() {
    for (auto* f : feeds_)
      f->on_more();
  }

  std::string name_;
  event_id_generator ids_;
  std::map<std::string, stream_version> versions_;
  std::set<feed*> feeds_;
};

} // namespace eventcore::test
