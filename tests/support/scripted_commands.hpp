#pragma once

#include "entity_world.hpp"
#include "transfers.hpp"

#include <functional>
#include <initializer_list>
#include <memory>
#include <stdexcept>

namespace eventcore::test {

using namespace std::literals;

inline bank::Transfer transfer(const std::string& from, const std::string& to, std::int64_t cents) {
  return make<bank::Transfer>([&](auto& c) {
    c.set_from(from);
    c.set_to(to);
    c.set_cents(cents);
  });
}

/// A fold whose state cannot be copied, and that takes no 13.
struct notes : fold<notes> {
  static constexpr std::string_view category = "note";
  using events = eventcore::events<bank::Deposited>;
  struct state {
    std::unique_ptr<std::int64_t> sum = std::make_unique<std::int64_t>(0);
  };
  static void evolve(state& s, const bank::Deposited& e) {
    if (e.cents() == 13)
      throw std::runtime_error{"evolve cannot take 13"};
    *s.sum += e.cents();
  }
};

/// Another view of `account`'s streams.
struct deposits_made : fold<deposits_made> {
  static constexpr auto category = account::category;
  using events = account::events;
  struct state {
    std::int64_t number = 0;
  };
  static void evolve(state& s, const bank::Deposited&) { ++s.number; }
  static void evolve(state&, const bank::Opened&) {}
  static void evolve(state&, const bank::Withdrawn&) {}
  static bank::Deposited to_snapshot(const state& s) {
    return make<bank::Deposited>([&](auto& m) { m.set_cents(s.number); });
  }
  static state from_snapshot(const bank::Deposited& m) { return {m.cents()}; }
};

/// Does what each test says.
struct scripted : multi_stream_decider<scripted> {
  using commands = eventcore::commands<bank::GetBalance, bank::Deposit>;
  using streams = folds<account, notes, deposits_made>;

  static inline std::function<void(stream_set&)> on_declare;
  static inline std::function<effect<bank::Balance>(const stream_states&)> on_decide;

  static void declare(stream_set& s, const bank::GetBalance&) { on_declare(s); }
  static void declare(stream_set& s, const bank::Deposit&) { on_declare(s); }
  static effect<bank::Balance> decide(const stream_states& s, const bank::GetBalance&) {
    return on_decide(s);
  }
  static effect<bank::Balance> decide(const stream_states& s, const bank::Deposit&) { return on_decide(s); }
};

using declared = scripted::stream_set;
using states = scripted::stream_states;
using scripted_effect = scripted::effect<bank::Balance>;

inline bank::Balance balance(std::int64_t cents) {
  return make<bank::Balance>([&](auto& b) { b.set_cents(cents); });
}
inline bank::Deposited some(std::int64_t cents) {
  return make<bank::Deposited>([&](auto& e) { e.set_cents(cents); });
}
/// Reads alice and bob; replies with their sum.
inline void read_both(declared& s) {
  s.read<account>("alice");
  s.read<account>("bob");
}
inline std::int64_t sum_of_both(const states& s) {
  return s.get<account>("alice").cents + s.get<account>("bob").cents;
}

inline command_context with_key(std::string key) {
  command_context context;
  context.idempotency_key = std::move(key);
  return context;
}

inline void check_names(const error& why, std::initializer_list<const char*> words) {
  for (auto* word : words)
    BOOST_TEST(why.message().find(word) != std::string::npos, word << " in: " << why.message());
}

struct bank_world : entity_world {
  explicit bank_world(const journal_options& options = {})
      : entity_world{options} {
    scripted::on_declare = read_both;
    scripted::on_decide = [](const states& s) { return balance(sum_of_both(s)); };
    append("account-alice", expected_version::none(), {opened(), deposited(700)});
    append("account-bob", expected_version::none(), {opened()});
  }

  /// The next commit finds that a stranger was faster.
  void lose_next(std::string stream, std::size_t times = 1) {
    journal.fail_commit = [this, stream, times](const commit&) mutable -> std::optional<error> {
      if (times == 0)
        return std::nullopt;
      --times;
      append(stream, expected_version::any(), {deposited(1)});
      return std::nullopt;
    };
  }
  void stop(const multi_stream_handle& commands, bool at_once) {
    caf::anon_send(actor_of(commands), internal::stop_host{at_once});
    run();
  }
};

} // namespace eventcore::test
