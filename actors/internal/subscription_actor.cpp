#include <eventcore/actors/internal/subscription_actor.hpp>

#include <eventcore/actors/internal/stored_event.hpp>
#include <eventcore/actors/internal/subscription_cursor.hpp>
#include <eventcore/actors/subscription_errc.hpp>
#include <eventcore/persistence/internal/stream_index.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace eventcore::internal {

namespace {

/// Chunks without admitted events are passed over this many at a time, then others have their turn.
constexpr int reads_in_a_row = 16;
/// While many write, the cursor has to look for its chance.
constexpr std::chrono::milliseconds overload_pause{10};
/// However small they are: where commits are small and far between, a chunk holds few events.
constexpr std::size_t max_chunks_in_hand = 64;
constexpr std::size_t max_spare_chunks = 4;
const std::string letter_prefix = std::string{dead_letter_category} + '-';

} // namespace

std::chrono::milliseconds doubled(std::chrono::milliseconds first, std::size_t times,
                                  std::chrono::milliseconds longest) {
  auto pause = first;
  for (; times > 0 && pause < longest; --times)
    pause *= 2;
  return std::min(pause, longest);
}

subscription_actor::subscription_actor(caf::actor_config& config, eventcore::journal& journal, start how)
    : caf::event_based_actor{config}
    , journal_{journal}
    , type_{std::move(how.type)}
    , options_{std::move(how.options)}
    , hosts_{std::move(how.hosts)}
    , name_{std::move(how.name)}
    , cursor_name_{subscription_cursor_name(options_.name)}
    , letter_stream_{*find_dead_letter_stream(options_.name)}
    , admits_letters_{std::ranges::find(options_.filter.categories, dead_letter_category) !=
                      options_.filter.categories.end()}
    , stored_history_{how.history}
    , lanes_(options_.workers)
    , completed_{how.first - 1}
    , cursor_{how.cursor}
    , create_{how.create} {
  for (auto& l : lanes_)
    l.index = static_cast<std::size_t>(&l - lanes_.data());
  stats_.name = options_.name;
  // Here, not when it runs first: the node may end before that.
  name_.set_actor(caf::actor_cast<caf::actor>(ctrl()));
  if (const auto seen_by = telemetry_of(home_system()); seen_by && seen_by->counts()) {
    metrics_ = std::make_shared<subscription_metrics>();
    metrics_->name = options_.name;
    if (options_.source)
      metrics_->source = options_.source->name();
    metrics_->position.set(completed_);
    seen_by->subscriptions.add(metrics_);
  }
}

subscription_actor::~subscription_actor() = default;

caf::behavior subscription_actor::make_behavior() {
  set_default_handler(caf::drop);
  set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  set_down_handler([](caf::scheduled_actor*, caf::down_msg&) {});
  set_exit_handler([](caf::scheduled_actor* self, caf::exit_msg&) {
    static_cast<subscription_actor*>(self)->begin_stop(false);
  });
  set_exception_handler([](caf::scheduled_actor* self, std::exception_ptr& thrown) -> caf::error {
    const auto& name = static_cast<subscription_actor*>(self)->options_.name;
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      spdlog::critical("subscription {} ends after an unexpected exception: {}", name, e.what());
    } catch (...) {
      spdlog::critical("subscription {} ends after an unexpected exception", name);
    }
    return caf::make_error(caf::exit_reason::unhandled_exception);
  });
  outcomes_ = std::make_shared<outcome_list>(caf::weak_actor_ptr{ctrl()});
  if (!options_.source) {
    history_ = {journal_.info().id, journal_.info().incarnation};
    open_feed(completed_ + 1);
  }
  letters_read_.emplace(stream_cursor{letter_stream_});
  send(this, look_at_letters{});
  settle();
  pump();
  return {
      [this](feed_more) {
        at_end_ = false;
        if (options_.source && reading_.waits)
          return retry_reading();
        pump();
        publish();
      },
      [this](worker_report& report) { on_report(report); },
      [this](const worker_gone& gone) { on_gone(gone); },
      [this](const retry_lane& retry) {
        auto& l = lanes_.at(retry.lane);
        if (l.at != lane::phase::pausing || l.number != retry.number)
          return;
        l.at = lane::phase::idle;
        work(l);
      },
      [this](retry_journal retry) {
        auto& trouble = retry.writing ? writing_ : reading_;
        if (!trouble.waits || trouble.number != retry.number)
          return;
        if (!retry.writing)
          return retry_reading();
        trouble.waits = false;
        went_on();
      },
      [this](outcomes_wait) { on_outcomes(); },
      [this](subscription_tick) { tick(); },
      [this](get_stats) { return stats(); },
      [this](const await_position& wish) -> caf::result<void> {
        waiting_.emplace(wish.position, reply_address{*current_mailbox_element()});
        answer_waiting();
        return caf::delegated<void>{};
      },
      [this](resume_subscription) {
        stood_still_.reset();
        reading_ = {};
        writing_ = {};
        at_end_ = false;
        for (auto& l : lanes_)
          if (l.at == lane::phase::stopped || l.at == lane::phase::pausing) {
            l.at = lane::phase::idle;
            l.shares.front().attempt = 1;
          }
        went_on();
      },
      [this](look_at_letters) { read_letters(); },
      [this](stop_host how) -> caf::result<void> {
        stop_requests_.emplace_back(*current_mailbox_element());
        begin_stop(how.at_once);
        return caf::delegated<void>{};
      },
  };
}

caf::invoke_message_result subscription_actor::consume(caf::mailbox_element& element) {
  // As numbers: CAF compares message ids by a difference that overflows.
  if (committing_ && committing_->reaction &&
      element.mid.integer_value() == committing_->reaction->integer_value()) {
    current_mailbox_element(&element);
    on_answer(element.move_content_to_message());
    return caf::invoke_message_result::consumed;
  }
  return caf::event_based_actor::consume(element);
}

// -- feeding

bool subscription_actor::has_room() const {
  return chunks_.size() < 2 ||
         (chunks_.size() < max_chunks_in_hand && events_in_hand_ < options_.chunk.events &&
          bytes_in_hand_ < options_.chunk.bytes);
}

void subscription_actor::open_feed(log_position next) {
  auto on_more = [self = caf::weak_actor_ptr{ctrl()}] {
    if (auto alive = caf::actor_cast<caf::actor>(self))
      caf::anon_send(alive, feed_more{});
  };
  feed_ = options_.source ? open_source_log(options_.source, next, options_.filter, std::move(on_more))
                          : open_own_log(journal_, next, options_.filter, std::move(on_more));
}

void subscription_actor::pump() {
  for (int reads = 0; !at_end_; ++reads) {
    if (stopping_ || stood_still_ || reading_.waits || (!feed_ && !bind()) || create_ || !has_room())
      return;
    if (reads == reads_in_a_row)
      return send(this, feed_more{});
    chunk_ptr chunk;
    if (spare_.empty()) {
      chunk = std::make_shared<chunk_in_hand>();
      chunk->source = options_.source;
    } else {
      chunk = std::move(spare_.back());
      spare_.pop_back();
    }
    auto more = feed_->read(chunk->content, options_.chunk);
    if (!more)
      return reading_failed(more.error());
    reading_ = {};
    at_end_ = !*more;
    deal(std::move(chunk));
  }
}

/// Dead letters are for those who ask for them, and a subscription's own ones never for itself: it would park them again. Those in
/// the log of a source are never its own.
bool subscription_actor::wants(const recorded_event& event) const {
  return !event.stream.starts_with(letter_prefix) ||
         (admits_letters_ && (options_.source || event.stream != letter_stream_.str()));
}

void subscription_actor::deal(chunk_ptr chunk) {
  const auto events = chunk->content.events();
  chunk->open = 0;
  const auto give = [&](lane& l, std::span<const recorded_event* const> share) {
    if (share.empty())
      return;
    l.shares.push_back({chunk, share});
    ++chunk->open;
  };
  if (lanes_.size() == 1 && std::ranges::all_of(events, [this](auto* event) { return wants(*event); })) {
    give(lanes_[0], events);
  } else {
    chunk->shares.resize(lanes_.size());
    for (auto& share : chunk->shares)
      share.clear();
    for (auto* event : events)
      if (wants(*event))
        chunk->shares[hash_of(event->stream) % lanes_.size()].push_back(event);
    for (auto& l : lanes_)
      give(l, chunk->shares[l.index]);
  }
  events_in_hand_ += events.size();
  bytes_in_hand_ += chunk->content.bytes();
  chunks_.push_back(std::move(chunk));
  retire_chunks();
  for (auto& l : lanes_)
    work(l);
}

void subscription_actor::retire_chunks() {
  while (!chunks_.empty() && chunks_.front()->open == 0) {
    auto& content = chunks_.front()->content;
    completed_ = content.last();
    events_in_hand_ -= content.events().size();
    bytes_in_hand_ -= content.bytes();
    // A worker gives its own reference up before it reports.
    if (chunks_.front().use_count() == 1 && spare_.size() < max_spare_chunks) {
      content.clear();
      spare_.push_back(std::move(chunks_.front()));
    }
    chunks_.pop_front();
  }
  if (completed_ > cursor_)
    arm_tick();
}

void subscription_actor::work(lane& l) {
  if (l.at != lane::phase::idle || l.shares.empty() || stood_still_ || stopping_)
    return;
  if (!l.worker) {
    l.worker_number = ++numbers_;
    try {
      l.worker = start_worker({home_system(), caf::actor_cast<caf::actor>(ctrl()), l.index, l.worker_number,
                               type_.make, options_.name},
                              options_.place);
    } catch (const std::exception& e) {
      return on_breakdown(l, std::string{"a worker could not be started: "} + e.what());
    }
  }
  auto& s = l.shares.front();
  l.run = std::make_shared<handler_run>();
  l.run->source = !s.letter                        ? source_name()
                  : s.chunk->letter_source.empty() ? std::string_view{journal_.info().service}
                                                   : s.chunk->letter_source;
  l.run->attempt = s.attempt;
  l.run->from_dead_letters = s.letter.has_value();
  l.number = ++numbers_;
  l.at = lane::phase::running;
  l.seen_done = 0;
  l.seen_at = clock().now();
  l.reported = false;
  l.worker->give({l.index, l.number, s.events.subspan(s.done), s.chunk, l.run});
  arm_tick();
}

void subscription_actor::on_report(worker_report& report) {
  auto& l = lanes_.at(report.lane);
  if (l.at != lane::phase::running || l.number != report.number)
    return;
  auto& outcome = report.outcome;
  l.at = lane::phase::idle;
  l.breakdowns = 0;
  stats_.passed_over += outcome.passed_over;
  stats_.handled += outcome.done - outcome.passed_over;
  if (l.shares.front().letter) {
    l.failure = std::move(outcome.failure);
    l.answer = std::move(outcome.answer);
    if (outcome.done > 0 || l.failure || l.answer)
      l.at = lane::phase::settling;
    return went_on();
  }
  advance(l, outcome.done);
  if (outcome.failure) {
    on_failure(l, *std::move(outcome.failure), outcome.hopeless);
  } else if (outcome.answer) {
    l.answer = std::move(outcome.answer);
    l.at = lane::phase::settling;
  }
  went_on();
}

void subscription_actor::on_gone(const worker_gone& gone) {
  auto& l = lanes_.at(gone.lane);
  if (l.worker_number != gone.worker || !l.worker)
    return;
  l.worker.reset();
  if (stopping_) {
    if (l.at == lane::phase::running)
      l.at = lane::phase::idle;
    return leave_if_done();
  }
  ++stats_.restarts;
  if (l.at == lane::phase::running) {
    auto& s = l.shares.front();
    const auto broken = describe(next_event(l)) + " broke its handler: " + gone.why;
    if (!s.letter) {
      const auto done = l.run->done();
      stats_.handled += done;
      advance(l, std::min(done, s.events.size() - s.done - 1));
    }
    if (gone.by_event)
      on_failure(l, make_error(subscription_errc::handler_failed, broken), false);
    else
      on_breakdown(l, gone.why);
  }
  went_on();
}

/// `events` of the lane's front share are finished.
void subscription_actor::advance(lane& l, std::size_t events) {
  if (events == 0)
    return;
  l.failure.reset();
  auto& s = l.shares.front();
  s.attempt = 1;
  if (metrics_)
    metrics_->count(s.events.subspan(s.done, events));
  s.done += events;
  if (s.done < s.events.size())
    return;
  --s.chunk->open;
  l.shares.pop_front();
  retire_chunks();
}

const recorded_event& subscription_actor::next_event(const lane& l) const {
  auto& s = l.shares.front();
  const auto at = s.done + (l.at == lane::phase::running ? l.run->done() : 0);
  return *s.events[std::min(at, s.events.size() - 1)];
}

/// Something was finished or failed: what waited for it can go on.
void subscription_actor::went_on() {
  answer_waiting();
  settle();
  start_letter();
  for (auto& l : lanes_)
    work(l);
  pump();
  publish();
  leave_if_done();
}

void subscription_actor::publish() const {
  if (!metrics_)
    return;
  const auto now = stats();
  metrics_->state.store(now.state, std::memory_order_relaxed);
  metrics_->stalled.store(now.stalled, std::memory_order_relaxed);
  metrics_->position.set(now.position);
  if (options_.source) {
    metrics_->head.set(now.head);
    metrics_->cut_off.store(reading_.why.has_value(), std::memory_order_relaxed);
    const auto* next = lowest_unfinished();
    auto since = next != nullptr ? next->occurred_at : timestamp{};
    if (reading_.why && (next == nullptr || reading_.since < since))
      since = reading_.since;
    metrics_->behind_since.set(static_cast<std::uint64_t>(since.time_since_epoch().count()));
  }
  metrics_->passed_over.set(now.passed_over);
  metrics_->retries.set(now.retries);
  metrics_->skipped.set(now.skipped);
  metrics_->parked.set(now.parked);
  metrics_->restarts.set(now.restarts);
}

// -- failures

void subscription_actor::on_failure(lane& l, error why, bool hopeless) {
  l.failure = std::move(why);
  auto& s = l.shares.front();
  if (s.letter) {
    l.at = lane::phase::settling;
    return;
  }
  if (!hopeless && s.attempt <= options_.retries) {
    ++stats_.retries;
    pause(l, doubled(options_.backoff, s.attempt++ - 1, options_.max_backoff));
    if (warnings_.admit())
      spdlog::warn("subscription {}: {}; tried again", options_.name, l.failure->message());
    return;
  }
  switch (options_.on_failure) {
  case on_failure::stop:
    l.at = lane::phase::stopped;
    stand_still(*l.failure);
    break;
  case on_failure::skip:
    if (warnings_.admit())
      spdlog::warn("subscription {}: {}; skipped after {} tries", options_.name, l.failure->message(),
                   s.attempt);
    ++stats_.skipped;
    l.at = lane::phase::idle;
    advance(l, 1);
    break;
  case on_failure::park:
    l.at = lane::phase::settling;
    break;
  }
}

/// The worker is gone, which is not the next event's fault.
void subscription_actor::on_breakdown(lane& l, const std::string& why) {
  l.failure = make_error(subscription_errc::handler_failed, "its worker ended: " + why);
  if (warnings_.admit())
    spdlog::error("subscription {}: {}; another one is started", options_.name, l.failure->message());
  pause(l, doubled(options_.backoff, l.breakdowns++, options_.max_backoff));
}

void subscription_actor::pause(lane& l, std::chrono::milliseconds time) {
  l.at = lane::phase::pausing;
  l.number = ++numbers_;
  delayed_send(this, std::chrono::microseconds{time}, retry_lane{l.index, l.number});
}

void subscription_actor::stand_still(error why) {
  spdlog::error("subscription {} stops: {}", options_.name, why.message());
  stood_still_ = std::move(why);
  publish();
}

void subscription_actor::failed(trouble& with, const error& why, std::chrono::milliseconds longest) {
  with.waits = true;
  with.number = ++numbers_;
  const retry_journal retry{&with == &writing_, with.number};
  if (why.code() == journal_errc::overloaded) {
    delayed_send(this, std::chrono::microseconds{overload_pause}, retry);
    return;
  }
  with.backoff = std::clamp(with.backoff * 2, std::min(options_.backoff, longest), longest);
  if (!with.why)
    with.since = std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
  if (!with.why || with.why->message() != why.message())
    spdlog::log(why.code() == entity_errc::unreachable ? spdlog::level::warn : spdlog::level::err,
                "subscription {}: {}; tried again in {} ms", options_.name, why.message(),
                with.backoff.count());
  with.why = why;
  delayed_send(this, std::chrono::microseconds{with.backoff}, retry);
}

// -- time and end

void subscription_actor::tick() {
  ticking_ = false;
  const auto now = clock().now();
  for (auto& l : lanes_)
    look_out(l, now);
  answer_waiting();
  publish();
  if (may_commit())
    move_cursor();
  const bool behind = options_.keep_cursor && handled_through() > cursor_;
  if ((behind && !stood_still_) ||
      std::ranges::any_of(lanes_, [](auto& l) { return l.at == lane::phase::running; }))
    arm_tick();
}

void subscription_actor::arm_tick() {
  if (std::exchange(ticking_, true))
    return;
  delayed_send(this,
               std::chrono::microseconds{std::max(std::min(options_.cursor_within, options_.handler_limit),
                                                  std::chrono::milliseconds{1})},
               subscription_tick{});
}

void subscription_actor::look_out(lane& l, steady now) {
  if (l.at != lane::phase::running)
    return;
  if (const auto done = l.run->done(); done != l.seen_done) {
    l.seen_done = done;
    l.seen_at = now;
    l.reported = false;
  } else if (now - l.seen_at >= options_.handler_limit && !std::exchange(l.reported, true)) {
    spdlog::error("subscription {}: the handler of {} has not returned for {} ms", options_.name,
                  describe(next_event(l)), options_.handler_limit.count());
  }
}

void subscription_actor::answer_waiting() {
  if (waiting_.empty())
    return;
  const auto through = handled_through();
  while (!waiting_.empty() && waiting_.begin()->first <= through) {
    waiting_.begin()->second.deliver(ctrl(), caf::message{}, context());
    waiting_.erase(waiting_.begin());
  }
}

subscription_stats subscription_actor::stats() const {
  auto s = stats_;
  s.position = handled_through();
  s.cursor = cursor_;
  s.head = std::max(feed_ ? feed_->head() : log_position{0}, s.position);
  const bool pausing = std::ranges::any_of(lanes_, [](auto& l) { return l.at == lane::phase::pausing; });
  s.state = stood_still_                                                 ? subscription_state::stopped
            : reading_.why || writing_.why || pausing                    ? subscription_state::retrying
            : at_end_ || s.lag() <= std::uint64_t{options_.chunk.events} ? subscription_state::live
                                                                         : subscription_state::catching_up;
  for (auto& l : lanes_) {
    s.stalled = s.stalled || (l.at == lane::phase::running && l.reported);
    if (l.at == lane::phase::running)
      s.handled += l.run->done();
    if (l.failure)
      s.last_error = l.failure->message();
  }
  for (auto* t : {&writing_, &reading_})
    if (t->why)
      s.last_error = t->why->message();
  if (stood_still_)
    s.last_error = stood_still_->message();
  return s;
}

void subscription_actor::begin_stop(bool at_once) {
  stopping_ = true;
  for (auto& l : lanes_)
    if (l.at == lane::phase::running)
      l.run->stop();
  if (at_once) {
    for (auto& l : lanes_)
      if (l.at == lane::phase::running)
        spdlog::error("subscription {} ends without the handler of {}, which has not returned", options_.name,
                      describe(next_event(l)));
    quit();
  } else {
    leave_if_done();
  }
}

void subscription_actor::leave_if_done() {
  if (!stopping_ || committing_ ||
      std::ranges::any_of(lanes_, [](auto& l) { return l.at == lane::phase::running; }))
    return;
  // Where the journal cannot be written, these events come once more.
  if (may_commit()) {
    move_cursor();
    if (committing_)
      return;
  }
  bool all_gone = true;
  for (auto& l : lanes_)
    if (l.worker) {
      all_gone = false;
      if (!std::exchange(l.ending, true))
        l.worker->end();
    }
  if (all_gone)
    quit();
}

void subscription_actor::on_exit() {
  feed_.reset();
  lanes_.clear();
  chunks_.clear();
  hosts_.reset();
  name_.release();
  for (auto& [position, to] : waiting_)
    to.deliver(ctrl(),
               caf::make_message(to_caf_error(make_error(
                   entity_errc::stopped,
                   "subscription " + options_.name + " ended before position " + std::to_string(position)))),
               context());
  waiting_.clear();
  for (auto& request : stop_requests_)
    request.deliver(ctrl(), caf::message{}, context());
  stop_requests_.clear();
}

} // namespace eventcore::internal
