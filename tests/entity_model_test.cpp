#include "support/bank_model.hpp"
#include "support/entity_world.hpp"
#include "support/transfers.hpp"

#include <boost/test/unit_test.hpp>
#include <rapidcheck.h>

#include <array>
#include <set>
#include <tuple>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::literals;

namespace {

/// `account` with a state that can be saved.
struct saved_account : decider<saved_account> {
  static constexpr auto category = account::category;
  using commands = account::commands;
  using events = account::events;
  using state = account::state;

  template <class Event>
  static void evolve(state& s, const Event& e) {
    account::evolve(s, e);
  }
  static effect<bank::Balance> decide(const state&, const bank::Deposit& c) {
    return persist(make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); })).then_reply(seen);
  }
  static effect<bank::Balance> decide(const state& s, const bank::Withdraw& c) {
    if (s.cents < c.cents())
      return reject("insufficient funds");
    return persist(make<bank::Withdrawn>([&](auto& e) { e.set_cents(c.cents()); })).then_reply(seen);
  }
  static effect<bank::Balance> decide(const state& s, const bank::GetBalance&) { return seen(s); }
  static effect<no_reply> decide(const state&, const bank::Open&) { return nothing(); }
  static bank::Balance seen(const state& s) { return account::balance(s); }

  static bank::Balance to_snapshot(const state& s) { return seen(s); }
  static state from_snapshot(const bank::Balance& b) { return {false, b.cents()}; }
};

struct saved_transfers : multi_stream_decider<saved_transfers> {
  using commands = eventcore::commands<bank::Transfer>;
  using streams = folds<saved_account>;

  static void declare(stream_set& s, const bank::Transfer& c) {
    s.read<saved_account>(c.from());
    s.read<saved_account>(c.to());
  }
  static effect<bank::Balance> decide(const stream_states& s, const bank::Transfer& c) {
    auto cents = s.get<saved_account>(c.from()).cents;
    if (cents < c.cents())
      return reject("insufficient funds");
    return append<saved_account>(c.from(), make<bank::Withdrawn>([&](auto& e) { e.set_cents(c.cents()); }))
        .append<saved_account>(c.to(), make<bank::Deposited>([&](auto& e) { e.set_cents(c.cents()); }))
        .then_reply(make<bank::Balance>([&](auto& b) { b.set_cents(cents - c.cents()); }));
  }
};

constexpr std::array<std::string_view, 3> ids{"a", "b", "c"};
constexpr std::size_t max_unknown = 5;

std::string stream_of(std::string_view id) {
  return "account-" + std::string{id};
}

struct dice {
  std::vector<int> rolls;
  std::size_t at = 0;
  std::size_t operator()(std::size_t sides) {
    return static_cast<std::size_t>(rolls[at++ % rolls.size()]) % sides;
  }
};

/// What happened in all runs.
struct counts {
  std::size_t answered = 0, unknown = 0, nothing = 0, crashes = 0, restarts = 0, conflicts = 0, retries = 0,
              holds = 0, snapshots = 0, repeats = 0, passivations = 0;
};

/// One random run: clients, two nodes' worth of actors on one journal, a stranger, and all that can go wrong.
class random_run {
public:
  explicit random_run(std::vector<int> rolls)
      : roll_{std::move(rolls)} {
    world_.journal.fail_commit = [this](const commit&) { return fate(); };
    for (auto& n : nodes_)
      start(n);
  }

  void go(std::size_t steps) {
    for (std::size_t i = 0; i != steps; ++i) {
      step();
      look();
    }
    calm_ = true;
    finish();
  }

  void check() {
    std::vector<std::int64_t> balances;
    for (auto id : ids) {
      std::int64_t cents = 0;
      for (const auto& event : world_.events(stream_of(id))) {
        bank::Deposited content; // both events have the same form
        if (event.type == "bank.Deposited" || event.type == "bank.Withdrawn") {
          RC_ASSERT(content.ParseFromString(event.payload));
          cents += event.type == "bank.Deposited" ? content.cents() : -content.cents();
          // Amounts are unique but for repeats, so an amount names its command.
          RC_ASSERT(seen_.emplace(std::string{id}, event.type, content.cents()).second);
        }
        RC_ASSERT(cents >= 0);
      }
      balances.push_back(cents);
      auto now = ++clock_;
      history_.push_back({now, now, bank_model::get(std::string{id}), bank_model::balance(cents)});
    }
    auto wrong = find_violation<bank_model>(history_);
    if (wrong)
      RC_FAIL(*wrong);
    for (std::size_t i = 0; i != ids.size(); ++i)
      for (auto& n : nodes_) {
        std::string from{ids[i]};
        auto query = world_.ask(n.accounts, from, bank::GetBalance{});
        auto nothing = world_.ask(n.transfers, make<bank::Transfer>([&](auto& c) {
                                    c.set_from(from);
                                    c.set_to(std::string{ids[(i + 1) % ids.size()]});
                                  }));
        world_.settle();
        RC_ASSERT(query.cents() == balances[i]);
        RC_ASSERT(nothing.cents() == balances[i]);
      }
  }

  static inline counts total{};

private:
  struct node {
    host<saved_account> accounts;
    multi_stream_host<saved_transfers> transfers;
  };
  struct request {
    asked handle;
    bank_model::input input;
    std::uint64_t invoked;
    bool query() const { return input.what == bank_model::action::get; }
  };

  void start(node& n) {
    host_options options;
    options.idle_time = 20ms;
    options.max_resident = 2;
    options.recovery_chunk = 2;
    options.snapshots.every = 2;
    options.snapshots.on_passivation = 1;
    n.accounts = world_.start<saved_account>(options);
    multi_stream_options multi;
    multi.retries = 2;
    multi.lease = 15ms;
    multi.read_chunk = 2;
    multi.max_cached = 1;
    multi.snapshots.every = 2;
    n.transfers = world_.start_multi_stream<saved_transfers>(multi);
  }

  std::size_t unsure() const {
    std::size_t open = unknown_;
    for (auto& r : requests_)
      open += !r.query();
    return open;
  }

  std::optional<error> fate() {
    world_.journal.written_nevertheless = false;
    if (calm_)
      return std::nullopt;
    auto f = roll_(20);
    if (f == 0)
      return make_error(journal_errc::disk_full, "no space left");
    if (f == 1)
      return make_error(journal_errc::conflict, "lost by chance");
    if (f == 2 && unknown_ + doubts_ < max_unknown / 2) {
      ++doubts_;
      world_.journal.written_nevertheless = roll_(2) == 0;
      return make_error(journal_errc::outcome_unknown, "the disk went away");
    }
    return std::nullopt;
  }

  void step() {
    switch (roll_(32)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      if (requests_.size() < 8)
        send();
      break;
    case 5:
    case 6:
    case 7:
      world_.write();
      break;
    case 8:
      world_.scheduler().advance_time(std::chrono::milliseconds{1 + roll_(10)});
      break;
    case 9:
      if (roll_(2) == 0 && unsure() <= max_unknown)
        roll_(2) == 0 ? crash() : restart(nodes_[roll_(nodes_.size())]);
      break;
    case 10:
      if (roll_(3) == 0)
        stranger();
      break;
    default:
      world_.run_one(roll_(1'000));
    }
  }

  void send() {
    auto& n = nodes_[roll_(nodes_.size())];
    if (!keyed_.empty() && roll_(4) == 0) {
      ++total.repeats;
      return send(n, keyed_[roll_(keyed_.size())]);
    }
    auto from = roll_(ids.size());
    std::string id{ids[from]};
    auto key = roll_(2) == 0 ? std::optional<std::string>{"key" + std::to_string(next_cents_)} : std::nullopt;
    auto cents = next_cents_++;
    bank_model::input input;
    switch (roll_(6)) {
    case 0:
    case 1:
      input = bank_model::deposit(id, cents, key);
      break;
    case 2:
      input = bank_model::withdraw(id, cents, key);
      break;
    case 3:
      input = bank_model::get(id);
      break;
    default:
      input = bank_model::transfer(id, std::string{ids[(from + 1 + roll_(ids.size() - 1)) % ids.size()]},
                                   cents, key);
    }
    if (input.key)
      keyed_.push_back(input);
    send(n, input);
  }

  void send(node& n, const bank_model::input& input) {
    command_context context;
    context.idempotency_key = input.key.value_or("");
    auto ask = [&] {
      switch (input.what) {
      case bank_model::action::deposit:
        return world_.ask(n.accounts, input.account, context, deposit(input.cents));
      case bank_model::action::withdraw:
        return world_.ask(n.accounts, input.account, context, withdraw(input.cents));
      case bank_model::action::get:
        return world_.ask(n.accounts, input.account, context, bank::GetBalance{});
      case bank_model::action::transfer:
        break;
      }
      return world_.ask(n.transfers, make<bank::Transfer>([&](auto& c) {
                          c.set_from(input.account);
                          c.set_to(input.to);
                          c.set_cents(input.cents);
                        }),
                        context);
    };
    auto invoked = ++clock_;
    requests_.push_back({ask(), input, invoked});
  }

  /// The process ends: only some of what waits for the writer is written, and nobody hears of it.
  void crash() {
    ++total.crashes;
    for (auto& n : nodes_)
      end(n);
    world_.run();
    world_.journal.lose_all_but(roll_(3));
    for (auto& n : nodes_)
      start(n);
  }

  /// The actors of a node end in the midst of their work and are started again, while the writer goes on.
  void restart(node& n) {
    ++total.restarts;
    end(n);
    start(n);
  }

  void end(node& n) {
    caf::anon_send(actor_of(n.accounts), internal::stop_host{true});
    caf::anon_send(actor_of(n.transfers), internal::stop_host{true});
  }

  void stranger() {
    auto id = ids[roll_(ids.size())];
    auto cents = next_cents_++;
    auto invoked = ++clock_;
    world_.append(stream_of(id), expected_version::any(), {deposited(cents)});
    history_.push_back({invoked, ++clock_, bank_model::deposit(std::string{id}, cents), std::nullopt});
  }

  void look() {
    std::erase_if(requests_, [&](request& r) {
      if (!r.handle.answered())
        return false;
      settle_account(r);
      return true;
    });
  }

  void settle_account(request& r) {
    auto now = ++clock_;
    if (r.handle.answer().match_elements<bank::Balance>()) {
      ++total.answered;
      history_.push_back({r.invoked, now, r.input, bank_model::balance(r.handle.cents())});
      return;
    }
    auto code = r.handle.failure().code();
    if (code == entity_errc::rejected) {
      ++total.answered;
      history_.push_back({r.invoked, now, r.input, bank_model::rejected()});
    } else if (code == entity_errc::outcome_unknown) {
      if (!r.query()) {
        ++total.unknown;
        ++unknown_;
        history_.push_back({r.invoked, std::nullopt, r.input, std::nullopt});
      }
    } else {
      ++total.nothing;
      RC_ASSERT((code == entity_errc::conflict || code == entity_errc::not_persisted ||
                 code == entity_errc::stopped));
    }
  }

  void finish() {
    // Long enough for all pauses, and for the leases of holders that are no more.
    for (auto i = 0; i != 20; ++i) {
      world_.settle();
      world_.advance(15ms);
      look();
    }
    world_.settle();
    look();
    RC_ASSERT(requests_.empty());
    for (auto& n : nodes_) {
      auto s = world_.stats(n.transfers);
      total.conflicts += s.conflicts;
      total.retries += s.retries;
      total.holds += s.holds;
      total.snapshots += s.snapshots_saved;
      RC_ASSERT(s.under_way == 0u);
      auto h = world_.stats(n.accounts);
      total.snapshots += h.snapshots_saved;
      total.passivations += h.passivations;
    }
  }

  dice roll_;
  bool calm_ = false;
  entity_world world_;
  std::array<node, 2> nodes_;
  std::vector<request> requests_;
  std::vector<bank_model::input> keyed_;
  std::vector<operation<bank_model>> history_;
  std::set<std::tuple<std::string, std::string, std::int64_t>> seen_;
  std::uint64_t clock_ = 0;
  std::int64_t next_cents_ = 1;
  std::size_t unknown_ = 0; ///< answers
  std::size_t doubts_ = 0;  ///< commits
};

} // namespace

// The answers of entities and of commands over several streams, together, are those of one bank; and what is in the journal
// is what the entities show. Random: the order in which actors run, when the writer writes, what of it fails, crashes,
// passivations, other writers.
BOOST_AUTO_TEST_CASE(random_histories_are_linearizable) {
  BOOST_TEST(rc::check([] {
    // Not shrunk: that takes hours, and the seed repeats the case.
    auto rolls = rc::gen::container<std::vector<int>>(2'000, rc::gen::inRange(0, 1 << 20));
    random_run run{*rc::gen::noShrink(rc::gen::resize(rc::kNominalSize, rolls))};
    run.go(500);
    run.check();
  }));
  // All of it must have happened, or the test has no teeth.
  auto& t = random_run::total;
  BOOST_TEST_MESSAGE("answered " << t.answered << ", unknown " << t.unknown << ", nothing happened "
                                 << t.nothing << ", repeats " << t.repeats << ", crashes " << t.crashes
                                 << ", restarts " << t.restarts << ", conflicts " << t.conflicts
                                 << ", retries " << t.retries << ", holds " << t.holds << ", snapshots "
                                 << t.snapshots << ", passivations " << t.passivations);
  for (auto count : {t.answered, t.unknown, t.nothing, t.repeats, t.crashes, t.restarts, t.conflicts,
                     t.retries, t.holds, t.snapshots, t.passivations})
    BOOST_TEST(count > 0);
}
