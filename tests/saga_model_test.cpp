#include "support/entity_world.hpp"
#include "support/saga_rules.hpp"
#include "support/saga_services.hpp"

#include <eventcore/actors/internal/saga_actor.hpp>
#include <eventcore/actors/internal/saga_engine.hpp>
#include <eventcore/actors/saga.hpp>
#include <eventcore/persistence/event_decoder.hpp>

#include <boost/test/unit_test.hpp>
#include <rapidcheck.h>
#include <spdlog/spdlog.h>

#include <array>
#include <list>
#include <random>
#include <sstream>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::literals;

namespace {

constexpr std::string_view category = "tour";
constexpr std::array<const char*, 4> ids{"a", "b", "c", "d"};
constexpr std::array<const char*, 2> services{"airline", "hotel"};

struct dice {
  std::mt19937 generator;
  std::size_t operator()(std::size_t sides) { return generator() % sides; }
};

/// What happened in all runs.
struct counts {
  std::size_t completed = 0, compensated = 0, stuck = 0, crashes = 0, restarts = 0, offline = 0, operated = 0,
              confirmed = 0, failed = 0, not_open = 0, started_again = 0, doubts = 0, jumps = 0;
  saga_services::counts services{};
};

/// A definition: the rules for it, and how the engine gets it.
struct random_definition {
  struct step : step_rules {
    bool replies = false;
    bool confirmed_later = false;
  };
  std::vector<step_rules> rules;
  std::vector<step> steps;
  saga_type type;
  std::array<entity_type::command, internal::saga_commands> rows{};

  explicit random_definition(dice& roll) {
    auto count = 1 + roll(6);
    for (std::size_t i = 0; i != count; ++i) {
      step s;
      s.name = "s" + std::to_string(i);
      s.can_undo = roll(5) != 0;
      s.throws = roll(40) == 0;
      s.retries = static_cast<std::uint32_t>(roll(3));
      s.undo_retries = static_cast<std::uint32_t>(roll(3));
      s.limit = std::chrono::milliseconds{20 + 10 * roll(4)};
      s.backoff = std::chrono::milliseconds{4 + 4 * roll(5)};
      s.replies = roll(3) == 0;
      s.confirmed_later = roll(5) == 0;
      steps.push_back(s);
      rules.push_back(s);
    }
    type.category = category;
    type.input = &bank::Deposit::default_instance();
    saga_definition<bank::Deposit> definition{type.steps};
    for (std::size_t i = 0; i != count; ++i)
      define(definition.step(steps[i].name), i);
    present = &type;
    internal::complete_saga(
        type, rows,
        [](void* state, const google::protobuf::Message& command, const command_context& context,
           bool& evolving) { return internal::decide_saga(*present, state, command, context, evolving); });
  }

  static std::int64_t cents_of(const bank::Deposit& input, std::size_t step) {
    return input.cents() + static_cast<std::int64_t>(step) + 1;
  }

private:
  void define(step_definition<bank::Deposit> made, std::size_t i) const {
    auto& s = steps[i];
    auto service = services[i % services.size()];
    // Of a step before it whose reply is kept.
    auto before = i > 0 && steps[i - 1].replies && !steps[i - 1].confirmed_later ? steps[i - 1].name : "";
    made.request_at(service, [i, before, throws = s.throws](const bank::Deposit& input,
                                                            const saga_replies& replies) {
      if (throws ||
          (!before.empty() && replies.get<bank::Balance>(before).cents() != static_cast<std::int64_t>(i) - 1))
        throw std::runtime_error{"there is no such request"};
      return to("x", deposit(cents_of(input, i)));
    });
    if (s.can_undo)
      made.compensate_at(service,
                         [i](const bank::Deposit& input) { return to("x", deposit(-cents_of(input, i))); });
    if (s.replies)
      made.replies<bank::Balance>();
    if (s.confirmed_later)
      made.confirmed_later();
    made.within(s.limit)
        .retry({s.retries, s.backoff, s.backoff})
        .retry_compensation({s.undo_retries, s.backoff, s.backoff});
  }

  static inline const saga_type* present = nullptr;
};

/// One random run: sagas of one definition, services, an operator, and all that can go wrong.
class random_run {
public:
  explicit random_run(std::uint32_t seed)
      : roll_{std::mt19937{seed}} {
    world_.journal.fail_commit = [this](const commit&) { return fate(); };
    world_.journal.fail_reserve = [this] { return now_and_then(journal_errc::overloaded); };
    world_.journal.fail_read = [this](const stream_cursor&) { return now_and_then(journal_errc::io_error); };
    world_.journal.fail_read_timers = [this] { return now_and_then(journal_errc::io_error); };
    for (auto* name : services)
      world_.add_participant(name, world_.spawn([this](caf::event_based_actor* self) {
        return caf::behavior{[this, self](const std::string&, const command_context& context,
                                          const bank::Deposit& c) -> caf::result<caf::message> {
          on_request(*self->current_mailbox_element(), context.idempotency_key, c.cents());
          return caf::delegated<caf::message>{};
        }};
      }));
    for (std::size_t i = 0; i != ids.size(); ++i)
      sagas_.emplace(ids[i], saga_rules{definition_.rules, [this, id = ids[i]](std::size_t step, bool undo) {
                                          return services_.refused(id, step, undo);
                                        }});
    start();
  }

  void go(std::size_t steps) {
    for (std::size_t i = 0; i != steps; ++i) {
      step();
      look();
    }
    services_.calm = true;
    world_.journal.stalled = false;
    finish();
    check();
  }

  static inline counts total{};

private:
  enum class wish { none, start, finished, operate, confirm, fail };
  struct request {
    asked handle;
    wish what;
    std::string id;
    std::int64_t input = 0;
  };

  // -- what happens

  void step() {
    switch (roll_(40)) {
    case 0:
    case 1:
      return start_saga();
    case 2:
      return ask(wish::finished, any_id(), [](auto& id) { return caf::make_message(await_saga{id}); });
    case 3:
      if (roll_(3) == 0)
        operate(any_id(), any_action());
      return;
    case 4:
    case 5:
      return confirm_one();
    case 6:
    case 7:
      return services_.do_one_late();
    case 8:
      if (roll_(4) == 0)
        roll_(3) == 0 ? restart() : crash();
      return;
    case 9:
      if (roll_(3) == 0) {
        ++total.jumps;
        world_.jump(std::chrono::milliseconds{1 + roll_(200)});
      }
      return;
    case 10:
      world_.journal.stalled = roll_(4) == 0;
      return;
    case 11:
    case 12:
    case 13:
    case 14:
      if (world_.scheduler().jobs.empty() || roll_(3) == 0)
        pass(std::chrono::milliseconds{1 + roll_(10)});
      return;
    case 15:
    case 16:
    case 17:
    case 18:
    case 19:
      world_.write();
      return;
    default:
      world_.run_one(roll_(1'000));
    }
  }

  void pass(std::chrono::milliseconds time) {
    world_.jump(time);
    world_.scheduler().advance_time(time);
  }

  std::string any_id() { return ids[roll_(ids.size())]; }
  SagaOperated::Action any_action() { return static_cast<SagaOperated::Action>(1 + roll_(3)); }

  std::optional<error> now_and_then(journal_errc what) {
    if (!sound_journal_ && !services_.calm && roll_(40) == 0)
      return make_error(what, "by chance");
    return std::nullopt;
  }

  std::optional<error> fate() {
    world_.journal.written_nevertheless = false;
    if (sound_journal_ || services_.calm)
      return std::nullopt;
    switch (roll_(40)) {
    case 0:
      return make_error(journal_errc::disk_full, "no space left");
    case 1:
      return make_error(journal_errc::conflict, "lost by chance");
    case 2:
      ++total.doubts;
      world_.journal.written_nevertheless = roll_(2) == 0;
      return make_error(journal_errc::outcome_unknown, "the disk went away");
    default:
      return std::nullopt;
    }
  }

  template <class Make>
  void ask(wish what, const std::string& id, Make make, std::int64_t input = 0) {
    requests_.push_back({world_.send(actor_of(running_), make(id)), what, id, input});
  }

  void start_saga() {
    auto n = roll_(ids.size());
    // Now and then one that was started before with something else.
    auto input = static_cast<std::int64_t>(1'000 * (n + 1) + (roll_(8) == 0 ? 100 : 0));
    command_context context;
    if (roll_(2) == 0)
      context.idempotency_key = "start";
    if (roll_(4) == 0)
      context.now = world_.now() - 1h;
    ask(
        wish::start, ids[n], [&](auto& id) { return caf::make_message(id, context, deposit(input)); }, input);
  }

  void operate(const std::string& id, SagaOperated::Action action) {
    ++total.operated;
    auto command = std::make_shared<OperateSaga>();
    command->set_action(action);
    ask(wish::operate, id, [&](auto& to) { return caf::make_message(internal::saga_order{to, command}); });
  }

  void confirm_one() {
    auto& waiting = services_.to_confirm;
    if (waiting.empty())
      return;
    auto [id, step] = waiting.front();
    waiting.pop_front();
    if (roll_(8) == 0 && !services_.calm)
      waiting.emplace_back(id, step); // it will be said twice
    auto& effect = services_.effect_of(id, step);
    auto& told = told_[{id, step}];
    if (told == wish::none && effect.done && roll_(4) == 0 && !services_.calm) {
      services_.take_back(id, step);
      told = wish::fail;
    } else if (told == wish::none) {
      told = wish::confirm;
    }
    auto command = std::make_shared<SagaAnswered>();
    command->set_step(definition_.steps[step].name);
    command->set_must_be_open(true);
    if (told == wish::fail)
      command->set_outcome(SagaAnswered::REFUSED);
    ask(told, id, [&](auto& to) { return caf::make_message(internal::saga_order{to, command}); });
  }

  // -- the life of the node

  void start() {
    saga_options options;
    options.max_waking = 1 + roll_(3);
    options.host.idle_time = 20ms;
    options.host.max_resident = 2;
    options.host.recovery_chunk = 2;
    options.host.backoff = 5ms;
    options.host.max_backoff = 20ms;
    if (roll_(2) == 0)
      options.host.snapshots = {.every = 1 + roll_(3), .on_passivation = 1};
    ++life_;
    sent_.clear();
    running_ = world_.start_sagas(definition_.type, options);
  }

  /// The process ends: only some of what waits for the writer is written, and nobody hears of it.
  void crash() {
    ++total.crashes;
    world_.kill(running_);
    world_.journal.lose_all_but(roll_(3));
    world_.write();
    operate_offline();
    start();
  }

  /// The node ends in order: all that waits for the writer is written. (A writer that goes on while the sagas start again is
  /// no case: it ends with the process.)
  void restart() {
    ++total.restarts;
    world_.kill(running_);
    world_.journal.stalled = false;
    while (world_.write() > 0)
      world_.run();
    start();
  }

  void operate_offline() {
    auto id = any_id();
    follow(id);
    auto now = sagas_.at(id).now;
    if (roll_(2) == 0 || (now != saga_rules::phase::running && now != saga_rules::phase::stuck))
      return;
    ++total.offline;
    world_.append(stream_of(id), expected_version::any(), {event_of_message(make<SagaOperated>([&](auto& e) {
                    e.set_action(now == saga_rules::phase::running ? SagaOperated::ABORT
                                 : roll_(2) == 0                   ? SagaOperated::RETRY
                                                                   : SagaOperated::SKIP);
                  }))});
  }

  // -- services

  void on_request(caf::mailbox_element& element, const std::string& key, std::int64_t cents) {
    service_request r{{}, 0, cents < 0, key, [who = element.sender, mid = element.mid](caf::message answer) {
                        who->enqueue(nullptr, mid.response_id(), std::move(answer), nullptr);
                      }};
    element.mid.mark_as_answered();
    auto amount = cents < 0 ? -cents : cents;
    r.saga = ids[static_cast<std::size_t>(amount / 1'000 - 1)];
    r.step = static_cast<std::size_t>(amount % 100 - 1);
    auto& name = definition_.steps[r.step].name;
    auto stem = stream_of(r.saga) + "/" + name + (r.undo ? "/undo" : "");
    if (r.undo ? !key.starts_with(stem) : key != stem)
      wrong("the key of a request is " + key + ", not " + stem, r.saga);
    if (contents_.emplace(key, cents).first->second != cents)
      wrong("a request is repeated with another content: " + key, r.saga);
    // It is on disk, and where nothing else went wrong, it is not sent more often than it is recorded, and once more after a
    // start of the node.
    follow(r.saga);
    auto& step = sagas_.at(r.saga).steps[r.step];
    auto recorded = r.undo ? step.undo_requests : step.requests;
    auto sent = ++sent_[{r.saga, r.step, r.undo}];
    if (recorded == 0 || (sound_journal_ && sent > recorded + (life_ > 1 ? 1 : 0)))
      wrong("step " + name + " is requested before that is recorded: " + std::to_string(sent) +
                " requests in life " + std::to_string(life_) + " of the node, " + std::to_string(recorded) +
                " recorded",
            r.saga);
    services_.take(std::move(r), definition_.steps[r.step].confirmed_later);
  }

  // -- what must be

  static std::string stream_of(const std::string& id) { return std::string{category} + '-' + id; }

  /// Takes in what is on disk.
  void follow(const std::string& id) {
    auto all = world_.events(stream_of(id));
    for (auto& taken = taken_[id]; taken != all.size(); ++taken)
      if (auto fault = sagas_.at(id).take(all[taken]); !fault.empty())
        wrong(fault, id);
  }

  /// Fails the run at the next look: an exception here might end in an actor.
  void wrong(const std::string& what, const std::string& id) {
    if (wrong_.empty())
      wrong_ = "saga " + id + ": " + what + '\n' + story(id);
  }

  std::string story(const std::string& id) {
    std::ostringstream out;
    for (auto& s : definition_.steps)
      out << s.name << (s.can_undo ? "" : " no undo") << (s.throws ? " throws" : "")
          << (s.confirmed_later ? " confirmed later" : "") << " retries " << s.retries << "/"
          << s.undo_retries << '\n';
    event_decoder decoder{world_.journal};
    for (auto& e : world_.events(stream_of(id))) {
      auto decoded = decoder.decode(e);
      out << e.version << ' ' << e.type << ": " << (decoded ? (*decoded)->ShortDebugString() : "?") << '\n';
    }
    return out.str();
  }

  void look() {
    std::map<std::string, std::vector<std::int64_t>> timers;
    auto listed = world_.journal.inner().read_timers({}, timestamp::max(), 1'000);
    RC_ASSERT(bool{listed});
    for (auto& t : *listed)
      timers[t.name].push_back(t.due.time_since_epoch().count());
    for (auto* id : ids) {
      follow(id);
      auto& saga = sagas_.at(id);
      auto& found = timers["saga." + std::string{category} + '/' + id];
      if (saga.now == saga_rules::phase::none || saga.is_final()) {
        if (!found.empty())
          wrong("it is not under way and has a timer", id);
      } else if (found.size() != 1) {
        wrong("it has " + std::to_string(found.size()) + " timers", id);
      } else if (!saga.operated_last &&
                 (saga.now == saga_rules::phase::stuck ? found[0] != internal::never_us
                                                       : !saga.open() || found[0] > saga.open()->due)) {
        wrong("it is not woken in time", id);
      }
    }
    std::erase_if(requests_, [&](request& r) {
      if (!r.handle.answered())
        return false;
      on_answer(r);
      return true;
    });
    if (!wrong_.empty())
      RC_FAIL(wrong_);
  }

  void on_answer(request& r) {
    auto& saga = sagas_.at(r.id);
    auto& answer = r.handle.answer();
    if (!answer.match_elements<saga_phase>()) {
      auto reason = r.handle.failure().reason();
      total.not_open += reason == "step_not_open";
      total.started_again += reason == "already_started";
      if (reason == "already_started" ? saga.now == saga_rules::phase::none
                                      : reason == "no_such_saga" && r.what == wish::start)
        wrong("it is answered " + reason, r.id);
      return;
    }
    // What is answered is on disk.
    auto said = answer.get_as<saga_phase>(0);
    auto final = said == saga_phase::completed || said == saga_phase::compensated;
    if (saga.now == saga_rules::phase::none ||
        (final && saga.now != (said == saga_phase::completed ? saga_rules::phase::completed
                                                             : saga_rules::phase::compensated)))
      wrong("its phase is answered as " + std::string{to_string(said)}, r.id);
    if (r.what == wish::finished && !final && said != saga_phase::stuck)
      wrong("it is said to be finished", r.id);
    total.confirmed += r.what == wish::confirm;
    total.failed += r.what == wish::fail;
  }

  void finish() {
    for (auto* id : ids)
      if (sagas_.at(id).now != saga_rules::phase::none)
        ask(wish::finished, id, [](auto& to) { return caf::make_message(await_saga{to}); });
    for (auto i = 0; i != 60; ++i) {
      world_.settle();
      while (services_.has_late())
        services_.do_one_late();
      while (!services_.to_confirm.empty())
        confirm_one();
      world_.settle();
      look();
      if (i % 10 == 9)
        for (auto* id : ids)
          if (sagas_.at(id).now == saga_rules::phase::stuck) {
            ++total.stuck;
            operate(id, SagaOperated::RETRY);
          }
      world_.advance(500ms);
    }
    world_.settle();
    look();
  }

  void check() {
    for (auto& r : requests_)
      wrong("request " + std::to_string(static_cast<int>(r.what)) + " is not answered", r.id);
    for (auto* id : ids) {
      auto& saga = sagas_.at(id);
      if (saga.now == saga_rules::phase::none)
        continue;
      if (!saga.is_final())
        wrong("it does not end", id);
      auto completed = saga.now == saga_rules::phase::completed;
      ++(completed ? total.completed : total.compensated);
      for (std::size_t i = 0; i != saga.steps.size(); ++i) {
        auto& effect = services_.effect_of(id, i);
        auto must = completed || !definition_.steps[i].can_undo || saga.steps[i].skipped;
        if (effect.times > 1 || (completed && !effect.done) || (!must && effect.done) ||
            (completed && effect.undone))
          wrong("step " + std::to_string(i) + " was done " + std::to_string(effect.times) + " times and is " +
                    (effect.done ? "done" : "not done"),
                id);
      }
    }
    if (!wrong_.empty())
      RC_FAIL(wrong_);
    auto& s = services_.seen;
    total.services.refused += s.refused;
    total.services.nothing += s.nothing;
    total.services.lies += s.lies;
    total.services.silence += s.silence;
    total.services.late += s.late;
    total.services.twice += s.twice;
    total.services.repeats += s.repeats;
    total.services.undone_unseen += s.undone_unseen;
  }

  dice roll_;
  random_definition definition_{roll_};
  saga_services services_{[this](std::size_t sides) { return roll_(sides); }};
  std::map<std::string, saga_rules> sagas_;
  std::map<std::string, std::size_t> taken_;                            ///< events that the rules have seen
  std::map<std::string, std::int64_t> contents_;                        ///< by key
  std::map<std::tuple<std::string, std::size_t, bool>, unsigned> sent_; ///< in this life of the node
  std::map<std::pair<std::string, std::size_t>, wish> told_; ///< confirm or fail, of what is confirmed later
  std::string wrong_;
  unsigned life_ = 0; ///< of the node, counted from 1
  bool sound_journal_ = roll_(3) == 0;
  entity_world world_;
  // These end before the world does.
  saga_handle running_;
  std::list<request> requests_;
};

} // namespace

// Random: the definition, the order in which actors run, when the writer writes and what of it fails, what services do and say,
// crashes and restarts, the clock, operators. Always: what the specification says of the events; a timer for each saga that is
// under way; requests that are on disk before they leave; services whose effects are those of completed sagas alone, each
// once; and at last an end of each saga and an answer to each question.
BOOST_AUTO_TEST_CASE(random_sagas_end_as_they_must) {
  spdlog::set_level(spdlog::level::off);
  BOOST_TEST(rc::check([] {
    for (auto i = 0; i != 4; ++i) {
      // Not shrunk: another seed is another history.
      random_run run{*rc::gen::noShrink(rc::gen::arbitrary<std::uint32_t>())};
      run.go(1'000);
    }
  }));
  // All of it must have happened, or the test has no teeth.
  auto& t = random_run::total;
  auto& s = t.services;
  BOOST_TEST_MESSAGE("completed " << t.completed << ", compensated " << t.compensated << ", stuck " << t.stuck
                                  << ", crashes " << t.crashes << ", restarts " << t.restarts << ", offline "
                                  << t.offline << ", operated " << t.operated << ", confirmed " << t.confirmed
                                  << ", failed " << t.failed << ", not open " << t.not_open
                                  << ", started again " << t.started_again << ", doubts " << t.doubts
                                  << ", jumps " << t.jumps << "; services: refused " << s.refused
                                  << ", nothing " << s.nothing << ", lies " << s.lies << ", silence "
                                  << s.silence << ", late " << s.late << ", twice " << s.twice << ", repeats "
                                  << s.repeats << ", undone unseen " << s.undone_unseen);
  for (auto count :
       {t.completed, t.compensated, t.stuck,    t.crashes,       t.restarts, t.offline, t.operated,
        t.confirmed, t.failed,      t.not_open, t.started_again, t.doubts,   t.jumps,   s.refused,
        s.nothing,   s.lies,        s.silence,  s.late,          s.twice,    s.repeats, s.undone_unseen})
    BOOST_TEST(count > 0u);
}
