#include <eventcore/runtime/internal/cluster/remote_source.hpp>

#include <eventcore/actors/errc.hpp>
#include <eventcore/persistence/errc.hpp>
#include <eventcore/runtime/cluster_errc.hpp>

#include <eventcore/runtime/internal/cluster/cluster.pb.h>

#include <cstring>

namespace eventcore::internal {

namespace {

/// Pages on their way, or waiting for the reader.
constexpr std::size_t window = 4;

std::string bytes_of(const uuid& id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
}

} // namespace

void write_feed_page(wire_writer& to, std::uint64_t feed, log_position last, log_position head,
                     std::span<const recorded_event* const> events) {
  to.number(feed);
  to.number(last);
  to.number(head);
  to.number(events.size());
  for (const auto* e : events) {
    to.number(e->position);
    to.text(e->stream);
    to.number(e->version);
    to.raw({reinterpret_cast<const char*>(e->id.bytes.data()), e->id.bytes.size()});
    to.text(e->type);
    to.number(e->schema_version);
    to.number(static_cast<std::uint64_t>(e->occurred_at.time_since_epoch().count()));
    to.text(e->payload);
    write_metadata(to, e->metadata);
  }
}

std::optional<feed_page> read_feed_page(wire_reader& from) {
  feed_page page;
  page.feed = from.number();
  page.last = from.number();
  page.head = from.number();
  for (auto count = from.number(); count > 0 && !from.broken(); --count) {
    auto& e = page.events.emplace_back();
    e.position = from.number();
    e.stream = from.text();
    e.version = from.number();
    const auto id = from.bytes(e.id.bytes.size());
    if (id.size() == e.id.bytes.size())
      std::memcpy(e.id.bytes.data(), id.data(), id.size());
    e.type = from.text();
    e.schema_version = static_cast<std::uint32_t>(from.number());
    e.occurred_at = timestamp{std::chrono::microseconds{static_cast<std::int64_t>(from.number())}};
    e.payload = from.text();
    e.metadata = read_metadata(from);
  }
  if (from.broken())
    return std::nullopt;
  return page;
}

/// A feed's half that the broker knows. The source's lock guards it, but for the last two.
struct remote_source::state {
  std::uint64_t number = 0;
  log_filter filter;
  log_position received = 0; ///< all up to here has come
  std::deque<feed_page> pages{};
  std::optional<history> bound{};
  std::optional<error> failure{};

  std::recursive_mutex telling{}; // the reader may end the feed when it is told
  std::function<void()> on_more{};

  /// To be called without the source's lock.
  void tell() {
    std::lock_guard lock{telling};
    if (on_more)
      on_more();
  }
};

class remote_source::feed final : public event_feed {
public:
  feed(std::shared_ptr<remote_source> from, std::shared_ptr<state> s)
      : source_{std::move(from)}
      , state_{std::move(s)}
      , looked_at_{state_->received} {}

  ~feed() override {
    {
      std::lock_guard lock{state_->telling};
      state_->on_more = nullptr;
    }
    std::lock_guard lock{source_->mutex_};
    source_->feeds_.erase(state_->number);
    if (source_->out_)
      source_->out_->write([&](byte_buffer& buffer) {
        frame_writer{buffer, frame_kind::feed_close}.number(state_->number);
      });
  }

  result<delivered_events> read(read_limits limits) override {
    bool more_pages = false;
    if (next_ == page_.events.size()) {
      std::lock_guard lock{source_->mutex_};
      auto& pages = state_->pages;
      if (pages.empty()) {
        if (state_->failure)
          return *state_->failure;
        if (!source_->out_)
          return source_->not_reached();
        return delivered_events{{}, looked_at_, false};
      }
      page_ = std::move(pages.front());
      pages.pop_front();
      next_ = 0;
      more_pages = !pages.empty();
      if (source_->out_)
        source_->out_->write([&](byte_buffer& buffer) {
          frame_writer{buffer, frame_kind::feed_credit}.number(state_->number);
        });
    } else {
      std::lock_guard lock{source_->mutex_};
      more_pages = !state_->pages.empty();
    }
    delivered_.clear();
    std::size_t bytes = 0;
    for (; next_ < page_.events.size() && delivered_.size() < limits.events; ++next_) {
      const auto& e = page_.events[next_];
      bytes += e.payload.size();
      if (!delivered_.empty() && bytes > limits.bytes)
        break;
      delivered_.push_back(&e);
    }
    const bool done = next_ == page_.events.size();
    looked_at_ = done ? page_.last : delivered_.back()->position;
    return delivered_events{delivered_, looked_at_, !done || more_pages};
  }

private:
  std::shared_ptr<remote_source> source_;
  std::shared_ptr<state> state_;
  feed_page page_;
  std::size_t next_ = 0; ///< of the page's events
  std::vector<const recorded_event*> delivered_;
  log_position looked_at_;
};

error remote_source::not_reached() const {
  return make_error(entity_errc::unreachable, "service " + name_ + " is not reached: " + why_);
}

result<event_source::history> remote_source::current_history() {
  std::lock_guard lock{mutex_};
  if (!history_)
    return not_reached();
  return *history_;
}

result<log_position> remote_source::head() {
  std::lock_guard lock{mutex_};
  if (!history_)
    return not_reached();
  return head_;
}

std::unique_ptr<event_feed> remote_source::open(log_position from, log_filter filter,
                                                std::function<void()> on_more) {
  auto s = std::make_shared<state>();
  s->filter = std::move(filter);
  s->on_more = std::move(on_more);
  s->received = std::max<log_position>(from, 1) - 1;
  std::lock_guard lock{mutex_};
  s->number = ++last_feed_;
  s->bound = history_;
  feeds_.emplace(s->number, s);
  if (out_)
    send_open(*s);
  return std::make_unique<feed>(shared_from_this(), std::move(s));
}

void remote_source::send_open(state& s) {
  s.failure.reset();
  if (!offers_) {
    s.failure =
        make_error(cluster_errc::not_offered,
                   "service " + name_ + " does not offer its events; its node must call offer_events()");
    return;
  }
  if (!s.bound)
    s.bound = history_;
  if (*s.bound != *history_) {
    s.failure = make_error(journal_errc::wrong_journal,
                           "the journal of service " + name_ +
                               " was restored from a backup, or is another one, since this feed was opened");
    return;
  }
  FeedOpen open;
  open.set_feed(s.number);
  open.set_from(s.received + 1);
  for (const auto& category : s.filter.categories)
    open.add_categories(category);
  for (const auto& type : s.filter.types)
    open.add_types(type);
  open.set_journal(bytes_of(history_->journal));
  open.set_incarnation(bytes_of(history_->incarnation));
  open.set_credit(static_cast<std::uint32_t>(window - std::min(window, s.pages.size())));
  out_->write([&](byte_buffer& buffer) {
    frame_writer{buffer, frame_kind::feed_open}.raw(open.SerializeAsString());
  });
}

void remote_source::connected(std::shared_ptr<outbox> to, const history& its, log_position head,
                              bool offers) {
  std::vector<std::shared_ptr<state>> all;
  {
    std::lock_guard lock{mutex_};
    if (out_ == to && offers_ == offers)
      return;
    out_ = std::move(to);
    if (history_ != its)
      head_ = 0;
    history_ = its;
    head_ = std::max(head_, head);
    offers_ = offers;
    for (const auto& [number, s] : feeds_) {
      send_open(*s);
      all.push_back(s);
    }
  }
  for (const auto& s : all)
    s->tell();
}

void remote_source::lost(const outbox& to, const std::string& why) {
  std::vector<std::shared_ptr<state>> all;
  {
    std::lock_guard lock{mutex_};
    if (out_.get() != &to)
      return;
    out_.reset();
    why_ = why;
    for (const auto& [number, s] : feeds_)
      all.push_back(s);
  }
  for (const auto& s : all)
    s->tell();
}

void remote_source::on_head(const outbox& from, log_position head) {
  std::lock_guard lock{mutex_};
  if (out_.get() == &from)
    head_ = std::max(head_, head);
}

bool remote_source::on_page(const outbox& from, feed_page page) {
  std::shared_ptr<state> s;
  {
    std::lock_guard lock{mutex_};
    if (out_.get() != &from)
      return true; // of a connection that was given up
    head_ = std::max(head_, page.head);
    const auto found = feeds_.find(page.feed);
    if (found == feeds_.end() || page.last <= found->second->received)
      return true; // it comes late
    s = found->second;
    if (s->pages.size() == window)
      return false;
    s->received = page.last;
    s->pages.push_back(std::move(page));
  }
  s->tell();
  return true;
}

void remote_source::on_end(const outbox& from, std::uint64_t feed, error why) {
  std::shared_ptr<state> s;
  {
    std::lock_guard lock{mutex_};
    const auto found = feeds_.find(feed);
    if (out_.get() != &from || found == feeds_.end())
      return;
    s = found->second;
    s->failure = std::move(why);
  }
  s->tell();
}

} // namespace eventcore::internal
