#include <eventcore/runtime/internal/observability/node_checks.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

namespace eventcore::internal {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

/// A cursor that is moved by one to see whether the journal can be written.
constexpr auto probe_name = "eventcore/health";
constexpr auto probe_limit = 800ms;
constexpr auto recent = 2s;

/// Whether the journal can be written: it was a moment ago, or a commit without events succeeds.
class journal_check {
public:
  explicit journal_check(eventcore::journal& journal)
      : journal_{journal} {}

  std::optional<std::string> operator()() {
    if (!probe_) {
      const auto stats = journal_.stats();
      const bool is_quiet = std::exchange(failures_, stats.failures) == stats.failures;
      if (is_quiet && !failed_ && clock::now() - stats.last_success < recent / 2)
        return std::nullopt;
      auto from = journal_.load_cursor(probe_name);
      if (!from)
        return from.error().message();
      auto credit = journal_.reserve();
      if (!credit && credit.error().code() == journal_errc::overloaded)
        return clock::now() - stats.last_success < 5s
                   ? std::nullopt
                   : std::optional{"nothing was written for 5 s: " + credit.error().message()};
      if (!credit)
        return credit.error().message();
      commit c;
      c.cursors.push_back({probe_name, *from, *from + 1});
      probe_ = std::make_shared<probe>();
      journal_.submit(std::move(c), *std::move(credit), probe_, 0);
    }
    auto outcome = probe_->wait();
    if (!outcome)
      return fmt::format("a commit was not answered within {} ms",
                         std::chrono::floor<std::chrono::milliseconds>(clock::now() - probe_->begin).count());
    probe_.reset();
    failed_ = !*outcome && outcome->error().code() != journal_errc::conflict;
    return failed_ ? std::optional{outcome->error().message()} : std::nullopt;
  }

private:
  struct probe final : commit_listener {
    void on_commit(std::uint64_t, const result<committed>& how) noexcept override {
      std::lock_guard guard{mutex};
      if (how)
        outcome.emplace();
      else
        outcome.emplace(how.error());
      answered.notify_all();
    }
    std::optional<result<void>> wait() {
      std::unique_lock lock{mutex};
      answered.wait_for(lock, probe_limit, [this] { return outcome.has_value(); });
      return std::exchange(outcome, std::nullopt);
    }

    const clock::time_point begin = clock::now();
    std::mutex mutex;
    std::condition_variable answered;
    std::optional<result<void>> outcome;
  };

  eventcore::journal& journal_;
  std::shared_ptr<probe> probe_{};
  std::uint64_t failures_ = 0;
  bool failed_ = false; ///< the last one
};

std::optional<std::string> check_disk(const std::filesystem::path& folder, std::uintmax_t least) {
  std::error_code problem;
  const auto space = std::filesystem::space(folder, problem);
  if (problem)
    return "the disk of " + folder.string() + " cannot be looked at: " + problem.message();
  if (space.available < least)
    return fmt::format("{} MiB are free for {}, and {} MiB should be; free some space", space.available >> 20,
                       folder.string(), least >> 20);
  return std::nullopt;
}

/// Whether commands are refused because too much waits.
class overload_check {
public:
  overload_check(eventcore::journal& journal, const telemetry& parts)
      : journal_{journal}
      , parts_{parts} {}

  std::optional<std::string> operator()() {
    const auto now = clock::now();
    std::uint64_t refused = 0;
    const auto add = [&](const command_table& commands) {
      for (auto& row : commands.rows())
        refused += row->read().errors[static_cast<std::size_t>(entity_errc::overloaded)];
    };
    for (auto& host : parts_.hosts.all())
      add(host->commands);
    for (auto& commands : parts_.multi_stream.all())
      add(commands->commands);
    const auto before = std::exchange(refused_, refused);
    const auto looked = std::exchange(looked_, now);
    const auto stats = journal_.stats();
    if (now - stats.last_overload < recent || stats.pending_commits * 10 > stats.max_pending_commits * 9 ||
        stats.pending_bytes / 9 > stats.max_pending_bytes / 10)
      return fmt::format("the journal's writer has {} commits and {} bytes waiting, of {} and {}",
                         stats.pending_commits, stats.pending_bytes, stats.max_pending_commits,
                         stats.max_pending_bytes);
    if (refused > before && now - looked < 10s)
      return fmt::format("{} commands were refused as overloaded in the last {} ms", refused - before,
                         std::chrono::floor<std::chrono::milliseconds>(now - looked).count());
    return std::nullopt;
  }

private:
  eventcore::journal& journal_;
  const telemetry& parts_;
  std::uint64_t refused_ = 0;
  clock::time_point looked_{};
};

void append(std::string& to, const std::string& text) {
  to += (to.empty() ? "" : "; ") + text;
}

std::optional<std::string> if_any(std::string problems) {
  return problems.empty() ? std::nullopt : std::optional{std::move(problems)};
}

std::optional<std::string> check_subscriptions(journal_reader& journal, const telemetry& parts,
                                               std::chrono::duration<double> max_lag) {
  std::string problems;
  for (auto& s : parts.subscriptions.all()) {
    if (s->state.load() == subscription_state::stopped)
      append(problems, s->name + " has stopped");
    else if (s->stalled.load())
      append(problems, s->name + " waits for a handler that does not return");
    else if (const auto lag = lag_seconds(journal, *s); lag > max_lag.count())
      append(problems, s->cut_off.load() ? fmt::format("{} has not reached service {} and is {:.0f} s behind",
                                                       s->name, s->source, lag)
                                         : fmt::format("{} is {:.0f} s behind", s->name, lag));
  }
  return if_any(std::move(problems));
}

std::optional<std::string> check_breakers(const telemetry& parts) {
  std::string problems;
  const auto look = [&](const metrics_list<breaker_metrics>& breakers) {
    for (auto& breaker : breakers.all())
      if (const auto state = breaker->state.load();
          state == breaker_state::open || state == breaker_state::gave_up)
        append(problems, breaker->name + (state == breaker_state::open ? " is open" : " gave up"));
  };
  look(parts.breakers);
  look(breakers_without_node());
  return if_any(std::move(problems));
}

} // namespace

double lag_seconds(journal_reader& journal, const subscription_metrics& of) {
  timestamp since{std::chrono::microseconds{of.behind_since.get()}};
  if (of.source.empty()) {
    event_page page;
    auto next = of.position.get() + 1;
    if (!journal.read_log(next, page, {}, {.events = 1, .bytes = 1}) || page.empty())
      return 0;
    since = page.begin()->occurred_at;
  } else if (since == timestamp{}) {
    return 0;
  }
  // An event may say any time, and a difference of whole numbers overflows.
  using seconds = std::chrono::duration<double>;
  const seconds now = std::chrono::system_clock::now().time_since_epoch();
  return std::max(0.0, (now - seconds{since.time_since_epoch()}).count());
}

void add_node_checks(health_monitor& to, eventcore::journal& journal, const telemetry& parts,
                     const admin_options& options) {
  to.add("journal", [check = std::make_shared<journal_check>(journal)] { return (*check)(); });
  if (const auto& folder = journal.info().folder; !folder.empty())
    to.add("disk_space", [folder, least = options.min_free_disk] { return check_disk(folder, least); });
  to.add("overload", [check = std::make_shared<overload_check>(journal, parts)] { return (*check)(); });
  to.add("subscriptions",
         [&journal, &parts, most = options.max_lag] { return check_subscriptions(journal, parts, most); });
  to.add("breakers", [&parts] { return check_breakers(parts); });
}

} // namespace eventcore::internal
