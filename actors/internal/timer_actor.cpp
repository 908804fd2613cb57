#include <eventcore/actors/internal/timer_actor.hpp>

#include <eventcore/actors/internal/timer_clock.hpp>

#include <spdlog/spdlog.h>

#include <atomic>

namespace eventcore::internal {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::microseconds longest_sleep = 1s;
constexpr std::chrono::milliseconds shortest_pause{5};
constexpr std::chrono::milliseconds longest_pause{160};

/// Before all timers that are due at `due`: their names are not empty.
durable_timer before(timestamp due) {
  return {due, {}};
}

/// Before `timer`, with hardly any other between.
durable_timer shortly_before(durable_timer timer) {
  timer.name.pop_back();
  return timer;
}

timestamp time_of_last_event(journal& journal) {
  event_page page;
  auto head = journal.head();
  if (!head || *head == 0)
    return {};
  auto next = *head;
  if (!journal.read_log(next, page, {}, {.events = 1}) || page.empty())
    return {};
  return page.begin()->occurred_at;
}

} // namespace

/// Remembers the earliest timer that was set. However many are set, one message tells the actor.
class timer_actor::alarm {
public:
  explicit alarm(caf::weak_actor_ptr owner)
      : owner_{std::move(owner)} {}

  void set(timestamp earliest) {
    auto known = earliest_.load();
    while (earliest < known && !earliest_.compare_exchange_weak(known, earliest))
      ;
    if (!told_.exchange(true))
      if (auto owner = caf::actor_cast<caf::actor>(owner_))
        caf::anon_send(owner, timers_set{});
  }

  timestamp take() {
    told_ = false;
    return earliest_.exchange(timestamp::max());
  }

private:
  std::atomic<timestamp> earliest_{timestamp::max()};
  std::atomic<bool> told_{false};
  caf::weak_actor_ptr owner_;
};

timer_actor::timer_actor(caf::actor_config& config, eventcore::journal& journal, const timer_options& options,
                         std::function<timestamp()> now)
    : caf::event_based_actor{config}
    , journal_{journal}
    , options_{options}
    , now_{std::move(now)} {}

timer_actor::~timer_actor() = default;

caf::behavior timer_actor::make_behavior() {
  alarm_ = std::make_shared<alarm>(caf::actor_cast<caf::weak_actor_ptr>(this));
  subscription_ = journal_.follow_timers([alarm = alarm_](timestamp earliest) { alarm->set(earliest); });
  work();
  return {
      [this](const fire_timers& wish) {
        on_fire(wish);
        work();
      },
      [this](timers_set) {
        const auto earliest = alarm_->take();
        next_due_ = std::min(next_due_, earliest);
        for (auto& [name, o] : owners_)
          o.reached = std::min(o.reached, before(earliest));
        work();
      },
      [this](timers_wake wake) {
        if (wake.number != wakes_)
          return;
        woken_at_ = steady::max();
        work();
      },
  };
}

void timer_actor::on_exit() {
  subscription_ = {};
  owners_.clear();
}

void timer_actor::on_fire(const fire_timers& wish) {
  auto& o = owners_[wish.owner];
  o = {};
  o.to = wish.to;
}

/// Looks which timers are gone, hands out a chunk, and sees to it that it is called again when there is more to do.
void timer_actor::work() {
  const auto at = clock().now();
  const auto now = now_();
  auto next = at + longest_sleep;
  std::optional<error> failure;
  for (auto& [name, o] : owners_)
    if (o.check_at <= at && !failure)
      if (auto checked = check(o, at); !checked)
        failure = checked.error();
  if (!failure) {
    if (auto more = hand_out_chunk(now, at); !more)
      failure = more.error();
    else if (*more)
      next = at;
  }
  if (failure && failure->message() != last_failure_)
    spdlog::error("durable timers cannot be read, and do not fire until they can: {}", failure->message());
  last_failure_ = failure ? failure->message() : std::string{};
  if (!failure) {
    for (auto& [name, o] : owners_)
      next = std::min(next, o.check_at);
    if (next_due_ > now && next_due_ - now < longest_sleep)
      next = std::min(next, at + (next_due_ - now));
  }
  wake_at(next, at);
}

/// Reads on for the owner that is farthest behind and has room, and hands out what is due. True: there may be more.
result<bool> timer_actor::hand_out_chunk(timestamp now, steady at) {
  const auto behind = [&]() -> const owner* {
    const owner* found = nullptr;
    for (auto& [name, o] : owners_)
      if (!full(o) && o.reached.due <= now && (!found || o.reached < found->reached))
        found = &o;
    return found;
  };
  const auto* first = behind();
  if (first == nullptr)
    return false;
  const auto until = now < timestamp::max() - longest_sleep ? now + longest_sleep : now;
  auto timers = journal_.read_timers(first->reached, until, options_.chunk);
  if (!timers)
    return timers.error();
  auto end = timers->size() < options_.chunk ? before(now + 1us) : timers->back();
  if (next_due_ <= now)
    next_due_ = timestamp::max();
  for (auto& timer : *timers) {
    if (timer.due > now) {
      next_due_ = std::min(next_due_, timer.due);
      end = before(now + 1us);
      break;
    }
    const auto found = owners_.find(timer_owner(timer.name));
    if (found == owners_.end())
      continue;
    auto& o = found->second;
    if (full(o) || timer <= o.reached)
      continue;
    o.reached = timer;
    if (!o.handed.contains(timer))
      hand(o, timer, at);
  }
  for (auto& [name, o] : owners_)
    if (!full(o))
      o.reached = std::max(o.reached, end);
  return behind() != nullptr;
}

void timer_actor::hand(owner& o, const durable_timer& timer, steady at) {
  send(o.to, timer_due{timer.name, timer.due});
  o.handed.insert_or_assign(timer, at);
  o.check_at =
      std::min(o.check_at, at + (full(o) ? std::min<std::chrono::nanoseconds>(o.pause, options_.refire)
                                         : options_.refire));
}

/// Forgets the timers that are gone, and hands those out again that were handed out too long ago.
result<void> timer_actor::check(owner& o, steady at) {
  const auto before_check = o.handed.size();
  const bool was_full = full(o);
  durable_timer read_to;
  for (auto next = o.handed.begin(); next != o.handed.end();) {
    // What others have between two of them is passed over where it is much.
    auto after = std::max(read_to, shortly_before(next->first));
    auto page = journal_.read_timers(after, std::prev(o.handed.end())->first.due, options_.chunk);
    if (!page)
      return page.error();
    if (!page->empty())
      read_to = page->back();
    auto found = page->begin();
    const bool last = page->size() < options_.chunk;
    while (next != o.handed.end() && (last || next->first <= read_to)) {
      while (found != page->end() && *found < next->first)
        ++found;
      if (found == page->end() || *found != next->first) {
        next = o.handed.erase(next);
        continue;
      }
      if (next->second + options_.refire <= at) {
        send(o.to, timer_due{next->first.name, next->first.due});
        next->second = at;
      }
      ++next;
    }
  }
  o.check_at = steady::max();
  for (auto& [timer, handed_at] : o.handed)
    o.check_at = std::min(o.check_at, handed_at + options_.refire);
  if (was_full) {
    const bool much = before_check - o.handed.size() >= options_.max_outstanding / 4;
    o.pause = std::clamp(much ? o.pause / 2 : o.pause * 2, shortest_pause, longest_pause);
  }
  if (full(o))
    o.check_at = std::min(o.check_at, at + o.pause);
  return {};
}

void timer_actor::wake_at(steady when, steady at) {
  if (woken_at_ <= when)
    return;
  woken_at_ = when;
  const timers_wake wake{++wakes_};
  if (when <= at)
    send(this, wake);
  else
    delayed_send(this, std::chrono::ceil<std::chrono::microseconds>(when - at), wake);
}

std::function<timestamp()> timer_time(journal& journal) {
  return [clock = std::make_shared<timer_clock>(time_of_last_event(journal))] { return clock->now(); };
}

caf::actor start_timers(caf::actor_system& system, journal& journal, std::function<timestamp()> now,
                        const timer_options& options) {
  if (!now)
    now = timer_time(journal);
  return system.spawn<timer_actor>(journal, options, std::move(now));
}

} // namespace eventcore::internal
