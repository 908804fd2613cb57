#include <eventcore/runtime/journal_target.hpp>

#include <eventcore/actors/publish_errc.hpp>
#include <eventcore/runtime/internal/federation/event_forms.hpp>

#include <algorithm>
#include <cstring>
#include <mutex>

namespace eventcore {

namespace {

/// What an event's metadata and names may add to its payload, about; more is charged when it is submitted.
constexpr std::size_t usual_extra = 512;

std::string cursor_name(const std::string& service) {
  return "federation/" + service;
}

/// A second cursor, whose position is no position: it tells to which history of the source the first one belongs.
std::string history_name(const std::string& service) {
  return "federation-history/" + service;
}

/// One for each event that came late, so that it comes once.
std::string late_name(const federation_source& source, log_position position) {
  return "federation-late/" + source.service + "/" + std::to_string(position);
}

/// Not 0.
log_position history_of(const federation_source& source) noexcept {
  log_position number = 0;
  std::memcpy(&number, source.incarnation.bytes.data(), sizeof number);
  return number | 1;
}

bool is_the_events_fault(const error& why) {
  return why.code() == journal_errc::too_large || why.code() == journal_errc::invalid_argument ||
         why.code() == publish_errc::malformed_envelope || why.code() == federation_errc::refused;
}

error refusal(const error& why) {
  return {is_the_events_fault(why) ? federation_errc::refused : federation_errc::unavailable,
          "the target's journal says: " + why.message()};
}

/// The event as the target's journal is to have it.
result<commit> to_commit(const federated_event& from) {
  auto e = from_distributed(from.event);
  if (!e)
    return e.error();
  auto type = internal::type_of_form(*from.form);
  if (!type)
    return type.error();
  commit c;
  c.appends.push_back({*stream_id::parse(e->stream),
                       expected_version::any(),
                       {{*type, std::move(e->payload), e->schema_version}}});
  c.metadata = std::move(e->metadata);
  c.metadata.headers["federation.source"] = from.event.service_id();
  c.metadata.headers["federation.event-id"] = to_string(e->id);
  c.metadata.headers["federation.version"] = std::to_string(e->version);
  c.metadata.headers["federation.position"] = std::to_string(e->position);
  c.occurred_at = e->occurred_at;
  return c;
}

/// A batch on its way: collects the answers to its commits, and answers when all are there. Each commit expects the cursor
/// where the one before leaves it, so those that succeed are the first ones.
class delivery final : public commit_listener, public std::enable_shared_from_this<delivery> {
public:
  using callback = std::function<void(federation_answer)>;

  delivery(const federation_batch& batch, callback done)
      : late_{batch.late}
      , reached_{batch.after}
      , done_{std::move(done)} {}

  /// Tickets are positions: where the target stands after the commit.
  void submit(journal& to, commit c, log_position position) {
    auto credit = to.reserve(usual_extra + (c.appends.empty() ? 0 : c.appends[0].events[0].payload.size()));
    if (!credit)
      return fail(position, credit.error());
    {
      std::lock_guard lock{mutex_};
      ++pending_;
    }
    to.submit(std::move(c), *std::move(credit), shared_from_this(), position);
  }

  void on_commit(std::uint64_t ticket, const result<committed>& outcome) noexcept override {
    // A repeat of what came late is there; nothing else in its commit can be otherwise than expected.
    const bool there = late_ && !outcome && outcome.error().code() == journal_errc::conflict;
    if (outcome || there) {
      std::lock_guard lock{mutex_};
      reached_ = std::max(reached_, ticket);
    } else {
      fail(ticket, outcome.error());
    }
    answered();
  }

  void fail(log_position position, const error& why) {
    std::lock_guard lock{mutex_};
    if (!failed_ || position < failed_at_) {
      failed_ = why;
      failed_at_ = position;
    }
  }

  bool failed() const {
    std::lock_guard lock{mutex_};
    return failed_.has_value();
  }

  /// One of those that are waited for is there: each commit, and the end of submitting.
  void answered() {
    {
      std::lock_guard lock{mutex_};
      if (--pending_ > 0)
        return;
    }
    federation_answer answer{reached_, std::nullopt};
    if (failed_) {
      // After a conflict, or without an outcome, it is not known here where the target stands.
      if (!is_the_events_fault(*failed_))
        answer.reached = 0;
      answer.why = refusal(*failed_);
    }
    done_(std::move(answer));
  }

private:
  const bool late_;
  mutable std::mutex mutex_;
  std::size_t pending_ = 1;
  log_position reached_;
  std::optional<error> failed_; // the first event that failed
  log_position failed_at_ = 0;
  callback done_;
};

class journal_target final : public federation_target {
public:
  explicit journal_target(journal& to)
      : journal_{to} {}

  void ask_position(const federation_source& source,
                    std::function<void(result<log_position>)> done) override {
    auto stands = journal_.load_cursor(cursor_name(source.service));
    if (auto known = check_history(source); !known)
      return done(known.error());
    else if (!stands)
      return done(refusal(stands.error()));
    done(*stands);
  }

  void deliver(federation_batch batch, std::function<void(federation_answer)> done) override {
    std::optional<cursor_move> first_time;
    if (batch.after == 0 && !batch.late) {
      auto known = check_history(batch.source);
      if (!known)
        return done({0, known.error()});
      if (!*known)
        first_time = {history_name(batch.source.service), 0, history_of(batch.source)};
    }
    const auto on_way = std::make_shared<delivery>(batch, std::move(done));
    auto at = batch.after;
    for (auto& event : batch.events) {
      const bool last = &event == &batch.events.back();
      const auto position = event.event.position();
      auto c = to_commit(event);
      if (!c) {
        on_way->fail(position, c.error());
        break;
      }
      if (batch.late)
        c->cursors.push_back({late_name(batch.source, position), 0, 1});
      else
        at = move(*c, batch, at, last ? batch.up_to : position, first_time);
      on_way->submit(journal_, *std::move(c), batch.late ? position : at);
      if (on_way->failed())
        break;
    }
    if (batch.events.empty() && batch.up_to > batch.after) {
      commit c;
      move(c, batch, at, batch.up_to, first_time);
      on_way->submit(journal_, std::move(c), batch.up_to);
    }
    on_way->answered();
  }

private:
  static log_position move(commit& c, const federation_batch& batch, log_position from, log_position to,
                           std::optional<cursor_move>& first_time) {
    c.cursors.push_back({cursor_name(batch.source.service), from, to});
    if (auto history = std::exchange(first_time, std::nullopt))
      c.cursors.push_back(*std::move(history));
    return to;
  }

  /// False: the target has nothing of this source yet.
  result<bool> check_history(const federation_source& source) {
    auto known = journal_.load_cursor(history_name(source.service));
    if (!known)
      return refusal(known.error());
    if (*known != 0 && *known != history_of(source))
      return make_error(
          federation_errc::other_history,
          "the journal of service " + source.service +
              " was restored from a backup, or is another one, since the target had events of it; say by "
              "accept_history from which position on it is to take them now");
    return *known != 0;
  }

  journal& journal_;
};

} // namespace

std::unique_ptr<federation_target> make_journal_target(journal& to) {
  return std::make_unique<journal_target>(to);
}

result<void> accept_history(journal& target, const federation_source& source, log_position position) {
  const auto stands = target.load_cursor(cursor_name(source.service));
  const auto history = target.load_cursor(history_name(source.service));
  if (!stands || !history)
    return (stands ? history : stands).error();
  commit c;
  c.cursors.push_back({cursor_name(source.service), *stands, position});
  c.cursors.push_back({history_name(source.service), *history, history_of(source)});
  if (auto done = target.commit_and_wait(std::move(c)); !done)
    return done.error();
  return {};
}

} // namespace eventcore
