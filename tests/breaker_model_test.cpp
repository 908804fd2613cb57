#include "support/breaker_world.hpp"

#include <eventcore/actors/internal/circuit.hpp>

#include <boost/test/unit_test.hpp>
#include <rapidcheck.h>

#include <map>
#include <set>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::literals;

namespace {

using enum breaker_state;
using std::chrono::milliseconds;

/// Time in steps that divide all times of the options.
constexpr auto tick = 10ms;

/// What the specification says, without any of the circuit's shortcuts: it keeps what happened and looks through it.
class circuit_model {
public:
  explicit circuit_model(breaker_options options)
      : options_{std::move(options)} {}

  breaker_state state() const { return state_; }
  milliseconds retry_after() const {
    if (state_ == open)
      return retry_at_ - now_;
    return state_ == half_open && trials_.size() == options_.trials ? oldest_trial() - now_ : 0ms;
  }

  /// Moves on by whole ticks.
  void move_to(milliseconds now) {
    while (now_ < now) {
      now_ += tick;
      if (state_ == half_open && !trials_.empty() && oldest_trial() == now_)
        failure();
      if (state_ == open && retry_at_ == now_)
        enter(half_open);
    }
  }
  bool admit(int permit) {
    if (state_ == open || (state_ == half_open && trials_.size() == options_.trials))
      return false;
    if (state_ == half_open)
      trials_[permit] = now_ + options_.call_limit;
    valid_.insert(permit);
    return true;
  }
  void success(int permit) {
    if (valid_.erase(permit) == 0)
      return;
    if (state_ == half_open) {
      pause_ = 0ms;
      return enter(closed);
    }
    outcomes_.emplace_back(now_, true);
  }
  void failure(int permit) {
    if (valid_.erase(permit) > 0)
      failure();
  }
  void failure_outside() {
    if (state_ != open)
      failure();
  }

private:
  milliseconds oldest_trial() const {
    auto oldest = milliseconds::max();
    for (auto& [permit, limit] : trials_)
      oldest = std::min(oldest, limit);
    return oldest;
  }
  void failure() {
    outcomes_.emplace_back(now_, false);
    if (state_ == half_open || in_a_row() || share())
      enter(open);
  }
  bool in_a_row() const {
    auto successful = [](auto& outcome) { return outcome.second; };
    auto last = std::find_if(outcomes_.rbegin(), outcomes_.rend(), successful);
    return options_.failures > 0 &&
           static_cast<std::size_t>(std::distance(outcomes_.rbegin(), last)) >= options_.failures;
  }
  bool share() const {
    auto tenth = options_.window / 10;
    std::size_t all = 0;
    std::size_t failed = 0;
    for (auto& [at, success] : outcomes_)
      if (now_ / tenth - at / tenth < 10) {
        ++all;
        failed += !success;
      }
    return options_.failure_rate > 0 && all >= options_.min_calls &&
           static_cast<double>(failed) / static_cast<double>(all) >= options_.failure_rate;
  }
  void enter(breaker_state next) {
    if (next == open) {
      pause_ = pause_ == 0ms ? options_.retry_after : std::min(2 * pause_, options_.max_retry_after);
      retry_at_ = now_ + pause_;
    }
    state_ = next;
    valid_.clear();
    trials_.clear();
    outcomes_.clear();
  }

  breaker_options options_;
  breaker_state state_ = closed;
  milliseconds now_{0};
  milliseconds pause_{0}; ///< the latest one since it was closed
  milliseconds retry_at_{0};
  std::set<int> valid_;
  std::map<int, milliseconds> trials_;
  std::vector<std::pair<milliseconds, bool>> outcomes_; ///< since the change of state; true: success
};

breaker_options random_options() {
  auto times = [](int from, int to) { return *rc::gen::inRange(from, to) * tick; };
  breaker_options o = breaker_world::named();
  auto by_share = *rc::gen::arbitrary<bool>();
  o.failures = *rc::gen::inRange<std::size_t>(by_share ? 0 : 1, 4);
  o.failure_rate = by_share ? *rc::gen::element(0.25, 0.5, 1.0) : 0;
  o.window = 10 * times(1, 4);
  o.min_calls = *rc::gen::inRange<std::size_t>(1, 5);
  o.retry_after = times(1, 6);
  o.max_retry_after = o.retry_after * *rc::gen::inRange(1, 5);
  o.trials = *rc::gen::inRange<std::size_t>(1, 4);
  o.call_limit = times(1, 6);
  o.max_concurrent = *rc::gen::inRange<std::size_t>(1, 6);
  o.max_restarts = *rc::gen::inRange<std::size_t>(0, 4);
  o.stable_after = times(1, 20);
  o.restart_after = times(1, 4);
  o.max_restart_after = o.restart_after * *rc::gen::inRange(1, 5);
  return o;
}

/// What happened in all runs.
struct counts {
  std::size_t opened = 0, closed_again = 0, failed_trials = 0, void_outcomes = 0, lost = 0, timeouts = 0,
              late = 0, refused = 0, too_many = 0, gave_up = 0, restarts = 0;
} total;

/// The supervisor's part of the specification, around `circuit_model`.
class breaker_model {
public:
  explicit breaker_model(const breaker_options& options)
      : circuit{options}
      , options_{options} {}

  circuit_model circuit;
  std::map<int, milliseconds> under_way;  ///< time limits
  std::map<int, std::error_code> answers; ///< no code: an answer of the worker
  std::map<int, milliseconds> waits;      ///< of refused calls, the time to wait

  breaker_state state() const { return gave_up_ ? gave_up : circuit.state(); }

  void move_on() {
    now_ += tick;
    for (auto i = under_way.begin(); i != under_way.end();)
      if (i->second == now_) {
        answers[i->first] = breaker_errc::timeout;
        ++total.timeouts;
        // A trial's own time limit is the circuit's affair.
        circuit.move_to(now_);
        circuit.failure(i->first);
        i = under_way.erase(i);
      } else {
        ++i;
      }
    circuit.move_to(now_);
    if (restart_at_ == now_) {
      restart_at_ = 0ms;
      started_at_ = now_;
      ++total.restarts;
    }
  }
  void call(int id) {
    if (gave_up_)
      answers[id] = breaker_errc::gave_up;
    else if (restart_at_ != 0ms)
      answers[id] = breaker_errc::worker_lost, waits[id] = restart_at_ - now_;
    else if (under_way.size() == options_.max_concurrent && circuit.state() != open)
      answers[id] = breaker_errc::too_many_calls, ++total.too_many;
    else if (!circuit.admit(id))
      answers[id] = breaker_errc::circuit_open, waits[id] = circuit.retry_after(), ++total.refused;
    else
      under_way[id] = now_ + options_.call_limit;
  }
  void answer(int id, bool failure, std::error_code code) {
    if (under_way.erase(id) == 0) {
      ++total.late;
      return;
    }
    if (failure)
      circuit.failure(id);
    else
      circuit.success(id);
    answers[id] = code;
  }
  bool worker_lives() const { return !gave_up_ && restart_at_ == 0ms; }
  void worker_ends() {
    for (auto& [id, limit] : under_way)
      answers[id] = breaker_errc::worker_lost, ++total.lost;
    under_way.clear();
    circuit.failure_outside();
    if (now_ - started_at_ >= options_.stable_after)
      ends_in_a_row_ = 0;
    if (++ends_in_a_row_ > options_.max_restarts) {
      gave_up_ = true;
      ++total.gave_up;
      return;
    }
    auto pause = options_.restart_after * (1 << (ends_in_a_row_ - 1));
    restart_at_ = now_ + std::min<milliseconds>(pause, options_.max_restart_after);
  }

private:
  breaker_options options_;
  milliseconds now_{0};
  milliseconds started_at_{0};
  milliseconds restart_at_{0}; ///< 0: the worker lives
  std::size_t ends_in_a_row_ = 0;
  bool gave_up_ = false;
};

/// A breaker and its model, side by side.
class random_calls : public breaker_world {
public:
  explicit random_calls(const breaker_options& options)
      : model_{options} {
    supervise(options);
  }

  void step() {
    switch (*rc::gen::inRange(0, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      call();
      break;
    case 5:
    case 6:
      answer_one(std::int64_t{1}, false, {});
      break;
    case 7:
      answer_one(to_caf_error(make_error(entity_errc::rejected, "no")), false, entity_errc::rejected);
      break;
    case 8:
    case 9:
    case 10:
      answer_one(to_caf_error(make_error(journal_errc::io_error, "broken")), true,
                 breaker_errc::operation_failed);
      break;
    case 11:
      if (*rc::gen::inRange(0, 3) == 0 && model_.worker_lives())
        end_worker();
      break;
    default:
      for (auto ticks = *rc::gen::inRange(1, 6); ticks > 0; --ticks) {
        advance(tick);
        model_.move_on();
        compare();
      }
    }
    compare();
  }

private:
  void call() {
    ++next_;
    calls_.emplace(next_, ask(next_));
    model_.call(next_);
  }
  template <class T>
  void answer_one(const T& content, bool failure, std::error_code code) {
    if (worker.taken.empty())
      return;
    auto id = answer(content, *rc::gen::inRange<std::size_t>(0, worker.taken.size()));
    model_.answer(static_cast<int>(id), failure, code);
  }
  void end_worker() {
    if (*rc::gen::arbitrary<bool>()) { // one call is in the worker's mailbox when it ends
      ++next_;
      calls_.emplace(next_, send(actor_of(breaker), caf::make_message(std::int64_t{next_})));
      model_.call(next_);
    }
    stop_worker(caf::exit_reason::kill);
    model_.worker_ends();
  }

  void compare() {
    for (auto i = calls_.begin(); i != calls_.end();) {
      auto& [id, call] = *i;
      auto expected = model_.answers.find(id);
      RC_ASSERT(call.answered() == (expected != model_.answers.end()));
      if (!call.answered()) {
        ++i;
        continue;
      }
      auto got = call.answer().match_elements<caf::error>() ? call.code() : std::error_code{};
      RC_ASSERT(got == expected->second);
      if (got == breaker_errc::circuit_open ||
          (got == breaker_errc::worker_lost && model_.waits.contains(id)))
        RC_ASSERT(retry_after(call.failure()) == model_.waits.at(id));
      model_.answers.erase(expected);
      i = calls_.erase(i);
    }
    auto s = stats();
    RC_ASSERT(s.state == model_.state());
    RC_ASSERT(s.under_way == model_.under_way.size());
    RC_ASSERT(s.successes + s.failures + s.under_way == s.calls);
  }

  breaker_model model_;
  std::map<int, asked> calls_; ///< not answered so far
  int next_ = 0;
};

} // namespace

BOOST_AUTO_TEST_CASE(the_circuit_does_what_its_model_does) {
  BOOST_TEST(rc::check("circuit", [] {
    auto options = random_options();
    internal::circuit circuit{options, 1};
    circuit_model model{options};
    milliseconds now{0};
    auto time = [&] {
      // A clock that steps back is taken for one that stands still.
      auto back = *rc::gen::inRange(0, 8) == 0 ? *rc::gen::inRange(0, 20) * tick : 0ms;
      return internal::circuit::time_point{std::max(now - back, 0ms)};
    };
    std::map<int, internal::circuit::permit> permits;
    int next = 0;
    auto steps = *rc::gen::inRange(0, 200);
    for (int i = 0; i != steps; ++i) {
      auto before = model.state();
      switch (*rc::gen::inRange(0, 8)) {
      case 0:
      case 1:
      case 2: {
        auto permit = circuit.admit(time());
        RC_ASSERT(permit.has_value() == model.admit(++next));
        if (permit)
          permits.emplace(next, *permit);
        break;
      }
      case 3:
      case 4:
      case 5:
        if (!permits.empty()) {
          auto p = std::next(permits.begin(), *rc::gen::inRange<std::ptrdiff_t>(0, std::ssize(permits)));
          if (*rc::gen::inRange(0, 3) == 0) {
            circuit.succeeded(p->second, time());
            model.success(p->first);
          } else {
            circuit.failed(p->second, time());
            model.failure(p->first);
          }
          permits.erase(p);
        }
        break;
      case 6:
        if (*rc::gen::inRange(0, 4) == 0) {
          circuit.failed(time());
          model.failure_outside();
        }
        break;
      default:
        now += *rc::gen::inRange(0, 12) * tick;
        model.move_to(now);
        RC_ASSERT(circuit.state(internal::circuit::time_point{now}) == model.state());
      }
      RC_ASSERT(circuit.state(time()) == model.state());
      RC_ASSERT(circuit.retry_after(time()) == model.retry_after());
      total.opened += before == closed && model.state() == open;
      total.closed_again += before == half_open && model.state() == closed;
      total.failed_trials += before == half_open && model.state() == open;
    }
  }));
  BOOST_TEST(total.opened > 0u);
  BOOST_TEST(total.closed_again > 0u);
  BOOST_TEST(total.failed_trials > 0u);
}

BOOST_AUTO_TEST_CASE(the_actor_does_what_its_model_does) {
  BOOST_TEST(rc::check("actor", [] {
    random_calls calls{random_options()};
    auto steps = *rc::gen::inRange(0, 120);
    for (int i = 0; i != steps; ++i)
      calls.step();
  }));
  BOOST_TEST(total.lost > 0u);
  BOOST_TEST(total.timeouts > 0u);
  BOOST_TEST(total.late > 0u);
  BOOST_TEST(total.refused > 0u);
  BOOST_TEST(total.too_many > 0u);
  BOOST_TEST(total.gave_up > 0u);
  BOOST_TEST(total.restarts > 0u);
}
