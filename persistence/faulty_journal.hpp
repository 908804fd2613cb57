#pragma once

#include <eventcore/persistence/memory_journal.hpp>

#include <deque>
#include <functional>

namespace eventcore {

/// For tests: a journal in memory whose commits fail, stall or conflict at will, and which writes only when it is told to
/// (`step`). Not thread-safe: everything happens on the test's thread.
class faulty_journal final : public journal {
public:
  /// Asked for each commit, in order of submission, when its turn comes. An error is its answer, and nothing is written,
  /// unless the commit was to be `written_nevertheless` (for `outcome_unknown`).
  std::function<std::optional<error>(const commit&)> fail_commit;
  bool written_nevertheless = false;
  /// While true, `step` leaves what waits where it is.
  bool stalled = false;
  /// Asked before each reservation.
  std::function<std::optional<error>()> fail_reserve;
  /// Asked before each read of a stream.
  std::function<std::optional<error>(const stream_cursor&)> fail_read;
  /// Asked before each read of the log from disk, and of what is in memory of it: with a function here, nothing is.
  std::function<std::optional<error>()> fail_read_log;
  /// Asked before each read of timers.
  std::function<std::optional<error>()> fail_read_timers;

  explicit faulty_journal(journal_options options = {}) {
    options.writer = writer_mode::stepped;
    inner_ = open_memory_journal(options);
  }

  /// The journal without faults. What is submitted to it is written before what waits here, so that commits that wait here
  /// conflict with it.
  journal& inner() noexcept { return *inner_; }

  /// Of all commits that arrived, also those that failed later.
  std::size_t submitted = 0;

  const journal_info& info() const noexcept override { return inner_->info(); }
  result<log_position> head() override { return inner_->head(); }
  result<stream_head> head_of(const stream_id& stream) override { return inner_->head_of(stream); }
  result<void> read_stream(stream_cursor& where, event_page& page, read_limits limits) override {
    if (fail_read)
      if (auto why = fail_read(where))
        return *why;
    return inner_->read_stream(where, page, limits);
  }
  result<void> read_log(log_position& next, event_page& page, const log_filter& filter,
                        read_limits limits) override {
    if (fail_read_log)
      if (auto why = fail_read_log())
        return *why;
    return inner_->read_log(next, page, filter, limits);
  }
  result<std::vector<stream_head>> list_streams(std::string& token, std::size_t limit) override {
    return inner_->list_streams(token, limit);
  }
  result<std::vector<event_type_info>> event_types() override { return inner_->event_types(); }
  result<std::optional<snapshot>> load_snapshot(const stream_id& stream, const std::string& type,
                                                stream_version up_to) override {
    return inner_->load_snapshot(stream, type, up_to);
  }
  result<log_position> load_cursor(const std::string& name) override { return inner_->load_cursor(name); }
  result<std::vector<durable_timer>> read_timers(const durable_timer& after, timestamp until,
                                                 std::size_t limit) override {
    if (fail_read_timers)
      if (auto why = fail_read_timers())
        return *why;
    return inner_->read_timers(after, until, limit);
  }

  result<writer_credit> reserve(std::size_t bytes) override {
    if (fail_reserve)
      if (auto why = fail_reserve())
        return *why;
    return inner_->reserve(bytes);
  }
  void submit(commit c, writer_credit credit, std::shared_ptr<commit_listener> listener,
              std::uint64_t ticket) override {
    ++submitted;
    queue_.push_back({std::move(c), std::move(credit), std::move(listener), ticket});
  }
  void save_snapshot(const stream_id& stream, snapshot s, std::size_t keep) override {
    inner_->save_snapshot(stream, std::move(s), keep);
  }
  void flush_snapshots() override { inner_->flush_snapshots(); }
  tail_subscription follow_tail(std::function<void(log_position)> on_durable) override {
    return inner_->follow_tail(std::move(on_durable));
  }
  tail_subscription keep_tail() override { return inner_->keep_tail(); }
  std::shared_ptr<const event_page> recent(log_position position) override {
    return fail_read_log ? nullptr : inner_->recent(position);
  }
  tail_subscription follow_timers(std::function<void(timestamp)> on_set) override {
    return inner_->follow_timers(std::move(on_set));
  }
  journal_stats stats() const override { return inner_->stats(); }

  std::size_t step() override {
    if (stalled)
      return 0;
    std::size_t answered = 0;
    for (auto jobs = std::exchange(queue_, {}); auto& job : jobs) {
      auto why = fail_commit && !(job.content.epoch && job.content.epoch->closed()) ? fail_commit(job.content)
                                                                                    : std::nullopt;
      if (!why) {
        inner_->submit(std::move(job.content), std::move(job.credit), std::move(job.listener), job.ticket);
        continue;
      }
      answered += inner_->step();
      auto epoch = job.content.epoch;
      if (written_nevertheless) {
        inner_->submit(std::move(job.content), std::move(job.credit), nullptr, 0);
        inner_->step();
      }
      if (epoch)
        epoch->close();
      job.credit = {};
      if (job.listener)
        job.listener->on_commit(job.ticket, *why);
      ++answered;
    }
    return answered + inner_->step();
  }
  void close() override { inner_->close(); }

  /// Forgets the commits that wait, without an answer, as the end of the process does. The first `kept` of them stay.
  void lose_all_but(std::size_t kept) {
    while (queue_.size() > kept)
      queue_.pop_back();
  }

private:
  struct waiting_commit {
    commit content;
    writer_credit credit;
    std::shared_ptr<commit_listener> listener;
    std::uint64_t ticket;
  };

  std::unique_ptr<journal> inner_;
  std::deque<waiting_commit> queue_;
};

} // namespace eventcore
