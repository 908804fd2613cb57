#include <eventcore/persistence/internal/log_tail.hpp>

#include <eventcore/persistence/internal/record_codec.hpp>

#include <algorithm>

namespace eventcore::internal {

namespace {

/// A batch is what readers share and decode at once; transactions are cut to these.
constexpr std::size_t batch_events = 1'024;
constexpr std::size_t batch_bytes = 1u << 20;

constexpr std::size_t max_spare_pages = 8;
/// A page that held larger events is not used again: its slots keep their memory.
constexpr std::size_t max_spare_event_bytes = 4'096;

} // namespace

/// Pages that are used again, so that decoding needs no memory and the writer frees none.
class log_tail::page_pool {
public:
  event_page take() {
    std::lock_guard lock{mutex_};
    if (pages_.empty())
      return {};
    auto page = std::move(pages_.back());
    pages_.pop_back();
    return page;
  }

  void give_back(event_page page) {
    std::lock_guard lock{mutex_};
    if (pages_.size() < max_spare_pages)
      pages_.push_back(std::move(page));
  }

private:
  std::mutex mutex_;
  std::vector<event_page> pages_;
};

class log_tail::batch {
public:
  batch(std::shared_ptr<page_pool> pool, log_position first)
      : pool_{std::move(pool)}
      , first_{first} {}

  ~batch() {
    if (decoded_ && largest_ <= max_spare_event_bytes)
      pool_->give_back(std::move(page_));
  }

  void add(std::string_view body, stream_version version) {
    bodies_ += body;
    records_.push_back({version, body.size()});
    largest_ = std::max(largest_, body.size());
    bytes_ += body.size() + sizeof(recorded_event);
  }

  bool full() const noexcept { return records_.size() >= batch_events || bodies_.size() >= batch_bytes; }
  /// What it takes once it is decoded, about.
  std::size_t bytes() const noexcept { return bytes_; }
  log_position first() const noexcept { return first_; }
  log_position last() const noexcept { return first_ + count_ - 1; }
  /// Where the next record must stand.
  log_position next() const noexcept { return first_ + records_.size(); }
  void seal() noexcept { count_ = records_.size(); }

  /// Null: it cannot be decoded.
  const event_page* page() {
    std::call_once(once_, [this] { decode(); });
    return decoded_ ? &page_ : nullptr;
  }

private:
  struct record {
    stream_version version;
    std::size_t size;
  };

  void decode() {
    page_ = pool_->take();
    page_.clear();
    std::string_view rest{bodies_};
    auto position = first_;
    for (auto& r : records_) {
      if (!decode_body(rest.substr(0, r.size), r.version, position++, page_.emplace_back()))
        return;
      rest.remove_prefix(r.size);
    }
    bodies_ = {};
    records_ = {};
    decoded_ = true;
  }

  std::shared_ptr<page_pool> pool_;
  log_position first_;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
  std::size_t largest_ = 0;
  std::string bodies_;
  std::vector<record> records_;
  std::once_flag once_;
  bool decoded_ = false;
  event_page page_;
};

log_tail::log_tail(std::size_t max_bytes)
    : max_bytes_{max_bytes}
    , kept_{std::make_shared<content>()}
    , pool_{std::make_shared<page_pool>()} {}

log_tail::~log_tail() = default;

tail_subscription log_tail::keep() {
  ++kept_->keepers;
  return tail_subscription{std::shared_ptr<void>{kept_.get(), [kept = kept_](void*) {
                                                   std::deque<std::shared_ptr<batch>> gone;
                                                   std::lock_guard lock{kept->mutex};
                                                   if (--kept->keepers > 0)
                                                     return;
                                                   gone.swap(kept->batches);
                                                   kept->bytes = 0;
                                                 }}};
}

std::shared_ptr<const event_page> log_tail::find(log_position position) const {
  std::shared_ptr<batch> found;
  {
    std::lock_guard lock{kept_->mutex};
    auto behind = std::ranges::upper_bound(kept_->batches, position, {}, [](auto& b) { return b->first(); });
    if (behind == kept_->batches.begin() || (*std::prev(behind))->last() < position)
      return nullptr;
    found = *std::prev(behind);
  }
  const auto* page = found->page();
  return page ? std::shared_ptr<const event_page>{std::move(found), page} : nullptr;
}

void log_tail::stage(std::string_view body, stream_version version, log_position position) {
  // Records are missing if nobody kept the tail for a moment.
  if (staged_.empty() || staged_.back()->full() || staged_.back()->next() != position)
    staged_.push_back(std::make_shared<batch>(pool_, position));
  staged_.back()->add(body, version);
}

void log_tail::publish() {
  if (staged_.empty())
    return;
  std::vector<std::shared_ptr<batch>> gone;
  auto& [keepers, mutex, batches, bytes] = *kept_;
  {
    std::lock_guard lock{mutex};
    if (keepers > 0)
      for (auto& b : staged_) {
        b->seal();
        bytes += b->bytes();
        batches.push_back(std::move(b));
      }
    while (bytes > max_bytes_) {
      bytes -= batches.front()->bytes();
      gone.push_back(std::move(batches.front()));
      batches.pop_front();
    }
  }
  staged_.clear();
}

} // namespace eventcore::internal
