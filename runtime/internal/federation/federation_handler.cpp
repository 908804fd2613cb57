#include <eventcore/runtime/internal/federation/federation_handler.hpp>

#include <eventcore/actors/internal/dead_letter.pb.h>
#include <eventcore/actors/internal/subscription_cursor.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <set>
#include <thread>
#include <vector>

namespace eventcore::internal {

namespace {

using namespace std::chrono_literals;

/// What is sent in one batch, and how many batches may be on their way.
constexpr std::size_t max_batch_events = 256;
constexpr std::size_t max_batch_bytes = 256u << 10;
constexpr std::size_t max_on_way = 4;
/// Where the target stands is moved over this many positions that are not for it, so that they are not read again.
constexpr log_position longest_pass = 4'096;
/// A target that has not answered by then is asked anew.
constexpr auto answer_limit = 60s;
/// How long it takes at most until a run that is to stop does.
constexpr auto look_around = 20ms;

/// What went wrong is nothing that the event is to blame for.
bool is_of_journal(const error& why) {
  return why.code() == journal_errc::io_error || why.code() == journal_errc::closed;
}

/// An answer that comes on another thread.
template <class T>
class awaited {
public:
  std::function<void(T)> receiver() const {
    return [slot = slot_](T answer) {
      {
        std::lock_guard lock{slot->mutex};
        slot->answer.emplace(std::move(answer));
      }
      slot->arrived.notify_all();
    };
  }

  /// Nothing: the run is to stop, or no answer came in time.
  std::optional<T> wait(handler_run& run, std::size_t done) const {
    const auto limit = std::chrono::steady_clock::now() + answer_limit;
    std::unique_lock lock{slot_->mutex};
    while (!slot_->arrived.wait_for(lock, look_around, [this] { return slot_->answer.has_value(); }))
      if (!run.go_on(done) || std::chrono::steady_clock::now() > limit)
        return std::nullopt;
    return std::move(slot_->answer);
  }

private:
  struct slot {
    std::mutex mutex;
    std::condition_variable arrived;
    std::optional<T> answer;
  };
  std::shared_ptr<slot> slot_ = std::make_shared<slot>();
};

error no_answer() {
  return make_error(federation_errc::unavailable, "it did not answer");
}

std::size_t size_of(const federated_event& e) {
  return e.event.payload().size() + e.event.stream_id().size() + 256;
}

/// The events that a subscription parked, and that were not handled since; those that were dropped are among them.
result<std::set<log_position>> read_parked(journal_reader& journal, const std::string& subscription) {
  std::set<log_position> parked;
  const auto stream = find_dead_letter_stream(subscription);
  if (!stream)
    return stream.error();
  event_page page;
  for (stream_cursor where{*stream};;) {
    if (auto read = journal.read_stream(where, page); !read)
      return read.error();
    if (page.empty())
      return parked;
    DeadLetter letter;
    DeadLetterReplayed replayed;
    for (const auto& e : page)
      if (e.type == letter.GetTypeName() && letter.ParseFromString(e.payload))
        parked.insert(letter.position());
      else if (e.type == replayed.GetTypeName() && replayed.ParseFromString(e.payload) &&
               replayed.failure().empty())
        parked.erase(replayed.position());
  }
}

/// Batches on their way to a target, in order, and how far it came.
class deliveries {
public:
  /// `done_at` says how many events of the run are finished when the target has all up to a position.
  deliveries(federation_target& to, handler_run& run, log_position after,
             std::function<std::size_t(log_position)> done_at)
      : reached{after}
      , to_{to}
      , run_{run}
      , done_at_{std::move(done_at)} {}

  /// Waits if too many are on their way.
  void send(federation_batch batch) {
    if (on_way_.size() == max_on_way)
      await_first();
    if (stopped || why)
      return;
    to_.deliver(std::move(batch), on_way_.emplace_back().receiver());
  }

  /// Waits for all.
  void finish() {
    while (!on_way_.empty())
      await_first();
  }

  bool go_on() {
    stopped = stopped || !run_.go_on(done_at_(reached));
    return !stopped && !why;
  }

  log_position reached;     ///< the target has all up to here
  std::optional<error> why; ///< it did not take more
  bool stopped = false;     ///< by the run

private:
  void await_first() {
    const auto first = std::move(on_way_.front());
    on_way_.pop_front();
    if (stopped || why) // those behind a failure expect a position that the target is not at
      return;
    if (auto answer = first.wait(run_, done_at_(reached))) {
      reached = std::max(reached, answer->reached);
      why = std::move(answer->why);
    } else if (go_on()) {
      why = no_answer();
    }
  }

  federation_target& to_;
  handler_run& run_;
  std::function<std::size_t(log_position)> done_at_;
  std::deque<awaited<federation_answer>> on_way_;
};

} // namespace

federation_handler::federation_handler(std::shared_ptr<const federation_plan> plan, journal& from,
                                       log_filter filter, std::string target,
                                       std::shared_ptr<federation_target> to,
                                       std::shared_ptr<federation_progress> progress,
                                       const federation_pauses& pauses)
    : plan_{std::move(plan)}
    , journal_{from}
    , filter_{std::move(filter)}
    , target_{std::move(target)}
    , source_{plan_->publisher.service_id(), from.info().incarnation}
    , to_{std::move(to)}
    , progress_{std::move(progress)}
    , pauses_{pauses}
    , router_{plan_, from, target_}
    , pause_{pauses.first} {}

handled federation_handler::handle(std::span<const recorded_event* const> events, handler_run& run) {
  if (run.from_dead_letters)
    return deliver_late(events, run);
  if (!parked_ && !find_parked(run))
    return {};
  if (!stands_ && !find_position(run))
    return {};
  const auto first = events.front()->position;
  if (!caught_up_ && *stands_ + 1 < first && !catch_up(first - 1, run))
    return {};
  caught_up_ = true;
  return deliver(events, run, true);
}

/// False: it cannot be read now; a pause was made.
bool federation_handler::find_parked(handler_run& run) {
  auto parked = read_parked(journal_, federation_subscription(target_));
  if (!parked) {
    target_failed(parked.error(), run, 0);
    return false;
  }
  parked_ = *std::move(parked);
  return true;
}

/// Asks the target where it stands. False: it is not known; if it failed, a pause was made.
bool federation_handler::find_position(handler_run& run) {
  const awaited<result<log_position>> answer;
  to_->ask_position(source_, answer.receiver());
  auto position = answer.wait(run, 0);
  if (!position && !run.go_on(0))
    return false;
  if (!position)
    position.emplace(no_answer());
  const auto head = journal_.head();
  if (*position && head && **position > *head)
    position.emplace(make_error(
        federation_errc::other_history,
        "it has had events of service " + source_.service + " up to position " + std::to_string(**position) +
            ", but the journal here ends at " + std::to_string(*head) +
            ": this one was restored from a backup; say to the target by accept_history from "
            "which position on it is to take events"));
  if (!*position) {
    target_failed(position->error(), run, 0);
    return false;
  }
  stands_ = **position;
  caught_up_ = false;
  return true;
}

/// Sends what the subscription has handled before and the target does not have, but for what was parked. False: it could not be
/// sent now.
bool federation_handler::catch_up(log_position to, handler_run& run) {
  const auto parked = read_parked(journal_, federation_subscription(target_));
  if (!parked) {
    target_failed(parked.error(), run, 0);
    return false;
  }
  event_page page;
  std::vector<const recorded_event*> events;
  for (auto next = *stands_ + 1; next <= to;) {
    if (auto read = journal_.read_log(next, page, filter_); !read) {
      target_failed(read.error(), run, 0);
      return false;
    }
    events.clear();
    for (const auto& e : page)
      if (e.position <= to && !parked->contains(e.position))
        events.push_back(&e);
    for (std::span<const recorded_event* const> rest = events; !rest.empty();) {
      const auto outcome = deliver(rest, run, false);
      rest = rest.subspan(outcome.done);
      if (outcome.failure) {
        spdlog::error("federation to {}: an event that it lost cannot be sent again: {}", target_,
                      outcome.failure->message());
        progress_->change([](auto& s) { ++s.missed; });
        rest = rest.subspan(1);
      } else if (!rest.empty()) {
        return false;
      }
    }
    if (!run.go_on(0))
      return false;
  }
  return true;
}

/// `reports`: the events are those of the run; otherwise it hears that none of them is done.
handled federation_handler::deliver(std::span<const recorded_event* const> events, handler_run& run,
                                    bool reports) {
  const auto position_of = [](const recorded_event* e) { return e->position; };
  const auto behind = [&](log_position p) {
    return static_cast<std::size_t>(std::ranges::upper_bound(events, p, {}, position_of) - events.begin());
  };
  deliveries sent{*to_, run, *stands_, [&](log_position p) { return reports ? behind(p) : 0; }};
  std::vector<std::size_t> routed; // places of the events that go there
  federation_batch batch{source_, *stands_, 0, {}};
  std::size_t bytes = 0;
  const auto send_up_to = [&](log_position position) {
    batch.up_to = position;
    sent.send(std::exchange(batch, {source_, position, 0, {}}));
    bytes = 0;
  };

  handled outcome;
  auto place = behind(*stands_);
  for (; place < events.size() && sent.go_on(); ++place) {
    const auto& e = *events[place];
    if (parked_->contains(e.position))
      continue;
    auto to_send = router_.route(e);
    if (!to_send) {
      outcome.failure = to_send.error();
      break;
    }
    if (!*to_send)
      continue;
    routed.push_back(place);
    bytes += size_of(**to_send);
    batch.events.push_back(std::move(**to_send));
    if (batch.events.size() == max_batch_events || bytes >= max_batch_bytes)
      send_up_to(e.position);
  }
  const auto looked_at = place > 0 ? std::max(events[place - 1]->position, batch.after) : batch.after;
  if (!batch.events.empty() || looked_at >= batch.after + longest_pass)
    send_up_to(looked_at);
  sent.finish();

  const auto is_there = [&](std::size_t routed_place) {
    return events[routed_place]->position <= sent.reached;
  };
  const auto taken = std::ranges::partition_point(routed, is_there);
  progress_->change([&](auto& s) {
    s.delivered += static_cast<std::uint64_t>(taken - routed.begin());
    s.position = std::max(*stands_, sent.reached);
  });
  outcome.done = place;
  if (!sent.why && !sent.stopped && (!outcome.failure || !is_of_journal(*outcome.failure))) {
    stands_ = std::max(*stands_, sent.reached);
    target_works();
    outcome.hopeless = outcome.failure && outcome.failure->code() == journal_errc::corrupt;
    return outcome;
  }
  if (taken != routed.end())
    outcome.done = *taken;
  if (sent.why && sent.why->code() == federation_errc::refused && taken != routed.end()) {
    stands_ = sent.reached;
    outcome.failure = at_event(*events[*taken], *sent.why);
    return outcome;
  }
  stands_.reset();
  const auto why = sent.why ? std::move(sent.why) : std::exchange(outcome.failure, std::nullopt);
  outcome.failure.reset();
  if (why && !sent.stopped)
    target_failed(*why, run, reports ? outcome.done : 0);
  return outcome;
}

handled federation_handler::deliver_late(std::span<const recorded_event* const> events, handler_run& run) {
  handled outcome;
  for (; outcome.done < events.size() && run.go_on(outcome.done); ++outcome.done) {
    const auto& e = *events[outcome.done];
    auto to_send = router_.route(e);
    if (!to_send) {
      outcome.failure = to_send.error();
      break;
    }
    if (!*to_send)
      continue;
    const awaited<federation_answer> answer;
    federation_batch batch{source_, 0, 0, {}, true};
    batch.events.push_back(std::move(**to_send));
    to_->deliver(std::move(batch), answer.receiver());
    auto got = answer.wait(run, outcome.done);
    if (!got && !run.go_on(outcome.done))
      break;
    const auto why = got ? std::move(got->why) : no_answer();
    if (why && why->code() == federation_errc::refused) {
      outcome.failure = at_event(e, *why);
      break;
    }
    if (why) {
      target_failed(*why, run, outcome.done);
      break;
    }
    progress_->change([](auto& s) { ++s.delivered; });
  }
  return outcome;
}

/// Says so, and makes a pause.
void federation_handler::target_failed(const error& why, handler_run& run, std::size_t done) {
  if (const auto now = std::chrono::steady_clock::now();
      last_failure_ != why.message() && now >= quiet_until_) {
    spdlog::warn("federation to {}: {}; asked again until it takes events", target_, why.message());
    quiet_until_ = now + 1s;
    failure_logged_ = true;
  }
  last_failure_ = why.message();
  progress_->change([&](auto& s) {
    s.available = false;
    s.last_error = why.message();
  });
  const auto until = std::chrono::steady_clock::now() + pause_;
  while (run.go_on(done) && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::min<std::chrono::milliseconds>(look_around, pause_));
  pause_ = std::min(pause_ * 2, pauses_.longest);
}

void federation_handler::target_works() {
  pause_ = pauses_.first;
  if (last_failure_.empty())
    return;
  last_failure_.clear();
  if (std::exchange(failure_logged_, false))
    spdlog::info("federation to {}: it takes events again", target_);
  progress_->change([](auto& s) {
    s.available = true;
    s.last_error.clear();
  });
}

} // namespace eventcore::internal
