#include <eventcore/persistence/internal/snapshot_store.hpp>

#include <eventcore/persistence/internal/snapshot_bounds.hpp>

#include <algorithm>
#include <chrono>

namespace eventcore::internal {

namespace {

constexpr std::size_t max_waiting = 65'536;
constexpr std::size_t max_waiting_bytes = 64u << 20;
/// When a batch is written before its time.
constexpr std::size_t many = 1'024;
constexpr std::size_t many_bytes = 8u << 20;
constexpr std::chrono::milliseconds batch_interval{50};
/// About what a queued snapshot takes besides its texts.
constexpr std::size_t entry_bytes = 256;

std::size_t size_of(const std::string& stream, const snapshot& s) {
  return stream.size() + s.type.size() + s.state.size() + entry_bytes;
}

/// The newest in `batch` that is not behind `at`.
const snapshot* find(const snapshot_batch& batch, const snapshot_key& at, const stream_id& stream,
                     const std::string& type) {
  auto i = batch.upper_bound(at);
  while (i != batch.begin()) {
    auto& [key, entry] = *--i;
    if (key.hash_high != at.hash_high || key.hash_low != at.hash_low)
      return nullptr;
    if (entry.stream == stream.str() && entry.content.type == type)
      return &entry.content;
  }
  return nullptr;
}

} // namespace

snapshot_store::snapshot_store(const journal_info& owner, const snapshot_env::config& how, writer_mode writer,
                               std::function<void()> settle)
    : env_{owner, how}
    , mode_{writer}
    , settle_{std::move(settle)} {
  if (mode_ == writer_mode::thread)
    thread_ = std::thread{[this] { run(); }};
}

snapshot_store::~snapshot_store() {
  close();
}

result<std::optional<snapshot>> snapshot_store::load(const stream_id& stream, const std::string& type,
                                                     stream_version up_to) {
  const auto at = snapshot_key::of(stream, type, up_to);
  std::optional<snapshot> newest;
  // First what waits: it may be in the files by the time they are looked at, but not the other way round.
  {
    std::lock_guard lock{mutex_};
    if (closing_)
      return make_error(journal_errc::closed, "the journal is closed");
    for (auto* batch : {&queued_, &writing_})
      if (auto* found = find(*batch, at, stream, type);
          found && (!newest || found->version > newest->version))
        newest = *found;
  }
  if (newest && newest->version == up_to)
    return newest;
  auto stored = env_.find(stream, type, up_to);
  if (stored && (!newest || stored->version > newest->version))
    return stored;
  return newest;
}

void snapshot_store::save(const stream_id& stream, snapshot s, std::size_t keep) {
  const auto bytes = size_of(stream.str(), s);
  const auto key = snapshot_key::of(stream, s.type, s.version);
  bool wake = false;
  {
    std::lock_guard lock{mutex_};
    if (closing_ || !keeps_bounds(s) || queued_.size() + writing_.size() >= max_waiting ||
        queued_bytes_ + writing_bytes_ + bytes > max_waiting_bytes) {
      ++dropped_;
      return;
    }
    const bool waited = much_waits();
    if (auto i = queued_.find(key); i != queued_.end())
      queued_bytes_ -= size_of(i->second.stream, i->second.content);
    queued_.insert_or_assign(key,
                             waiting_snapshot{stream.str(), std::move(s), std::max<std::size_t>(keep, 1)});
    queued_bytes_ += bytes;
    wake = queued_.size() == 1 || (!waited && much_waits());
  }
  if (wake)
    work_.notify_one();
}

bool snapshot_store::much_waits() const {
  return queued_.size() >= many || queued_bytes_ >= many_bytes;
}

void snapshot_store::run() {
  for (;;) {
    {
      std::unique_lock lock{mutex_};
      work_.wait(lock, [this] { return closing_ || !queued_.empty(); });
      if (queued_.empty())
        return;
      work_.wait_for(lock, batch_interval, [this] { return closing_ || hurry_ || much_waits(); });
    }
    step();
  }
}

void snapshot_store::step() {
  std::lock_guard stepping{stepping_};
  {
    std::lock_guard lock{mutex_};
    if (queued_.empty())
      return;
    std::swap(writing_, queued_);
    writing_bytes_ = std::exchange(queued_bytes_, 0);
    hurry_ = false;
    ++batches_taken_;
  }
  settle_();
  const bool written = env_.write(writing_);
  snapshot_batch done;
  {
    std::lock_guard lock{mutex_};
    std::swap(done, writing_);
    writing_bytes_ = 0;
    (written ? written_ : dropped_) += done.size();
    batches_done_ = batches_taken_;
  }
  batch_done_.notify_all();
}

void snapshot_store::flush() {
  if (mode_ == writer_mode::stepped) {
    step();
    return;
  }
  std::unique_lock lock{mutex_};
  const auto wanted = batches_taken_ + (queued_.empty() ? 0 : 1);
  if (batches_done_ >= wanted)
    return;
  hurry_ = !queued_.empty();
  work_.notify_one();
  batch_done_.wait(lock, [&] { return batches_done_ >= wanted; });
}

void snapshot_store::close() {
  {
    std::lock_guard lock{mutex_};
    closing_ = true;
  }
  work_.notify_all();
  if (thread_.joinable())
    thread_.join();
  else
    step();
  env_.close();
}

void snapshot_store::add_to(journal_stats& stats) const {
  std::lock_guard lock{mutex_};
  stats.snapshots_written += written_;
  stats.snapshots_dropped += dropped_;
  stats.snapshots_damaged += env_.damaged();
}

} // namespace eventcore::internal
