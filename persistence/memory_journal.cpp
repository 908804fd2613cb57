#include <eventcore/persistence/memory_journal.hpp>

#include <eventcore/persistence/internal/commit_writer.hpp>
#include <eventcore/persistence/internal/log_filter.hpp>
#include <eventcore/persistence/internal/record_codec.hpp>
#include <eventcore/persistence/internal/snapshot_bounds.hpp>

#include <map>
#include <set>
#include <shared_mutex>

namespace eventcore {

namespace {

/// The writer stages a transaction and shows it to the readers as a whole.
class memory_store final : public internal::store {
public:
  result<void> begin() override { return {}; }

  log_position head() const noexcept override { return log_.size() + staged_.size(); }

  result<stream_version> version_of(const stream_id& stream) override {
    auto i = streams_.find(stream.str());
    return i == streams_.end() ? stream_version{0} : stream_version{i->second.size()};
  }

  result<log_position> cursor(const std::string& name) override {
    if (auto i = staged_cursors_.find(name); i != staged_cursors_.end())
      return i->second;
    auto i = cursors_.find(name);
    return i == cursors_.end() ? log_position{0} : i->second;
  }

  result<void> append(const stream_id&, stream_version version, std::string_view body) override {
    auto position = head() + 1;
    scratch_.resize(internal::record_size(body.size(), version));
    internal::finish_record(scratch_, body, version, position);
    return internal::decode_record(scratch_, position, staged_.emplace_back());
  }

  result<void> put_cursor(const std::string& name, log_position position) override {
    staged_cursors_[name] = position;
    return {};
  }

  result<void> change_timer(const timer_change& change) override {
    staged_timers_.push_back(change);
    return {};
  }

  result<void> put_event_type(const event_type_info& type) override {
    std::unique_lock lock{mutex_};
    for (auto& known : types_)
      if (known.name == type.name && known.descriptors == type.descriptors)
        return {};
    types_.push_back(type);
    std::ranges::stable_sort(types_, {}, &event_type_info::name);
    return {};
  }

  result<void> commit() override {
    std::unique_lock lock{mutex_};
    for (auto& event : staged_) {
      streams_[event.stream].push_back(event.position);
      log_.push_back(std::move(event));
    }
    staged_.clear();
    for (auto& [name, position] : staged_cursors_)
      cursors_[name] = position;
    staged_cursors_.clear();
    for (auto& change : staged_timers_) {
      timers_.erase({change.from, change.name});
      if (change.to != timestamp{})
        timers_.insert({change.to, std::move(change.name)});
    }
    staged_timers_.clear();
    return {};
  }

  void abort() noexcept override {
    staged_.clear();
    staged_cursors_.clear();
    staged_timers_.clear();
  }

  // -- what readers see; they hold `mutex_` shared --

  mutable std::shared_mutex mutex_;
  std::vector<recorded_event> log_;
  std::map<std::string, std::vector<log_position>> streams_;
  std::map<std::string, log_position> cursors_;
  std::set<durable_timer> timers_;
  std::vector<event_type_info> types_;

private:
  std::vector<recorded_event> staged_;
  std::map<std::string, log_position> staged_cursors_;
  std::vector<timer_change> staged_timers_;
  std::string scratch_;
};

class memory_journal final : public journal {
public:
  explicit memory_journal(const journal_options& options)
      : writer_{store_, options, {}} {
    info_.format_version = 1;
    info_.id = options.expected_id.is_nil() ? uuid::random() : options.expected_id;
    info_.incarnation = uuid::random();
    info_.service = options.service;
    info_.created_at = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
  }

  ~memory_journal() override { close(); }

  const journal_info& info() const noexcept override { return info_; }

  result<log_position> head() override {
    std::shared_lock lock{store_.mutex_};
    if (closed_)
      return closed();
    return log_position{store_.log_.size()};
  }

  result<stream_head> head_of(const stream_id& stream) override {
    writer_.settle(stream.str());
    std::shared_lock lock{store_.mutex_};
    if (closed_)
      return closed();
    auto i = store_.streams_.find(stream.str());
    if (i == store_.streams_.end())
      return stream_head{stream.str(), 0, 0};
    return head_of(*i);
  }

  result<void> read_stream(stream_cursor& where, event_page& page, read_limits limits) override {
    page.clear();
    writer_.settle(where.stream.str());
    where.next = std::max<stream_version>(where.next, 1);
    std::shared_lock lock{store_.mutex_};
    if (closed_)
      return closed();
    auto i = store_.streams_.find(where.stream.str());
    if (i == store_.streams_.end())
      return {};
    std::size_t bytes = 0;
    for (; where.next <= i->second.size() && page.size() < limits.events; ++where.next) {
      auto& event = store_.log_[i->second[where.next - 1] - 1];
      bytes += internal::size_of(event);
      if (!page.empty() && bytes > limits.bytes)
        break;
      page.emplace_back() = event;
      where.after = event.position;
    }
    return {};
  }

  result<void> read_log(log_position& next, event_page& page, const log_filter& filter,
                        read_limits limits) override {
    page.clear();
    next = std::max<log_position>(next, 1);
    std::shared_lock lock{store_.mutex_};
    if (closed_)
      return closed();
    std::size_t bytes = 0;
    for (auto looks = limits.events * internal::looks_per_event; looks > 0 && page.size() < limits.events;
         --looks) {
      if (next > store_.log_.size())
        break;
      auto& event = store_.log_[next - 1];
      if (internal::admits(filter, event.stream, event.type)) {
        bytes += internal::size_of(event);
        if (!page.empty() && bytes > limits.bytes)
          break;
        page.emplace_back() = event;
      }
      ++next;
    }
    return {};
  }

  result<std::vector<stream_head>> list_streams(std::string& token, std::size_t limit) override {
    writer_.settle();
    std::vector<stream_head> found;
    std::shared_lock lock{store_.mutex_};
    if (closed_)
      return closed();
    for (auto i = store_.streams_.upper_bound(token); i != store_.streams_.end() && found.size() < limit; ++i)
      found.push_back(head_of(*i));
    if (!found.empty())
      token = found.back().stream;
    return found;
  }

  result<std::vector<event_type_info>> event_types() override {
    std::shared_lock lock{store_.mutex_};
    if (closed_)
      return closed();
    return store_.types_;
  }

  result<std::optional<snapshot>> load_snapshot(const stream_id& stream, const std::string& type,
                                                stream_version up_to) override {
    std::shared_lock lock{store_.mutex_};
    if (closed_)
      return closed();
    auto i = snapshots_.find({stream.str(), type});
    if (i == snapshots_.end())
      return std::optional<snapshot>{};
    auto after = i->second.upper_bound(up_to);
    if (after == i->second.begin())
      return std::optional<snapshot>{};
    return std::optional{std::prev(after)->second};
  }

  result<log_position> load_cursor(const std::string& name) override {
    writer_.settle();
    std::shared_lock lock{store_.mutex_};
    if (closed_)
      return closed();
    auto i = store_.cursors_.find(name);
    return i == store_.cursors_.end() ? log_position{0} : i->second;
  }

  result<std::vector<durable_timer>> read_timers(const durable_timer& after, timestamp until,
                                                 std::size_t limit) override {
    std::shared_lock lock{store_.mutex_};
    if (closed_)
      return closed();
    std::vector<durable_timer> found;
    for (auto i = store_.timers_.upper_bound(after);
         i != store_.timers_.end() && i->due <= until && found.size() < limit; ++i)
      found.push_back(*i);
    return found;
  }

  result<writer_credit> reserve(std::size_t bytes) override { return writer_.reserve(bytes); }

  void submit(commit c, writer_credit credit, std::shared_ptr<commit_listener> listener,
              std::uint64_t ticket) override {
    writer_.submit(std::move(c), std::move(credit), std::move(listener), ticket);
  }

  void save_snapshot(const stream_id& stream, snapshot s, std::size_t keep) override {
    std::unique_lock lock{store_.mutex_};
    if (closed_ || !internal::keeps_bounds(s)) {
      ++snapshots_dropped_;
      return;
    }
    auto& kept = snapshots_[{stream.str(), s.type}];
    auto version = s.version;
    kept.insert_or_assign(version, std::move(s));
    while (kept.size() > std::max<std::size_t>(keep, 1))
      kept.erase(kept.begin());
    ++snapshots_written_;
  }

  void flush_snapshots() override {}

  tail_subscription follow_tail(std::function<void(log_position)> on_durable) override {
    return writer_.follow_tail(std::move(on_durable));
  }
  tail_subscription keep_tail() override { return writer_.tail().keep(); }
  std::shared_ptr<const event_page> recent(log_position position) override {
    return writer_.tail().find(position);
  }
  tail_subscription follow_timers(std::function<void(timestamp)> on_set) override {
    return writer_.follow_timers(std::move(on_set));
  }

  journal_stats stats() const override {
    auto stats = writer_.stats();
    std::shared_lock lock{store_.mutex_};
    stats.snapshots_written = snapshots_written_;
    stats.snapshots_dropped = snapshots_dropped_;
    return stats;
  }
  std::size_t step() override { return writer_.step(); }

  void close() override {
    writer_.close();
    std::unique_lock lock{store_.mutex_};
    closed_ = true;
  }

private:
  static error closed() { return make_error(journal_errc::closed, "the journal is closed"); }

  static stream_head head_of(const std::pair<const std::string, std::vector<log_position>>& stream) {
    return {stream.first, stream.second.size(), stream.second.back()};
  }

  journal_info info_;
  memory_store store_;
  // Guarded by the store's mutex.
  bool closed_ = false;
  std::map<std::pair<std::string, std::string>, std::map<stream_version, snapshot>>
      snapshots_; // stream, type
  std::uint64_t snapshots_written_ = 0;
  std::uint64_t snapshots_dropped_ = 0;
  internal::commit_writer writer_;
};

} // namespace

std::unique_ptr<journal> open_memory_journal(journal_options options) {
  return std::make_unique<memory_journal>(options);
}

} // namespace eventcore
