#include <support/bank_model.hpp>
#include <support/history_checker.hpp>

#include <boost/test/unit_test.hpp>
#include <rapidcheck.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace eventcore::test;
using bank = bank_model;
using request = operation<bank>;
using history = std::vector<request>;

namespace {

constexpr auto rejected = std::optional<std::int64_t>{};

request answered(std::uint64_t invoked, std::uint64_t completed, bank::input in,
                 std::optional<std::int64_t> balance) {
  return {invoked, completed, std::move(in), bank::output{balance}};
}

request unknown(std::uint64_t invoked, bank::input in) {
  return {invoked, std::nullopt, std::move(in), std::nullopt};
}

void accept(history h) {
  auto violation = find_violation(std::move(h));
  BOOST_TEST(!violation.has_value(), violation.value_or(""));
}

/// Expects that the history is broken, and that the text has `culprit` for the operation without a place.
void refuse(history h, std::string_view culprit) {
  auto violation = find_violation(std::move(h));
  BOOST_TEST_REQUIRE(violation.has_value(), "accepted, though there is no place for " << culprit);
  auto stated = violation->substr(violation->find('\n') + 1);
  stated = stated.substr(0, stated.find('\n'));
  BOOST_TEST((stated.find(culprit) != std::string::npos), *violation);
}

} // namespace

// -- right histories ----------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_empty_history_is_right) {
  accept({});
}

BOOST_AUTO_TEST_CASE(a_right_sequential_history_is_accepted) {
  accept({answered(1, 2, bank::get("a"), 0), answered(3, 4, bank::deposit("a", 50), 50),
          answered(5, 6, bank::withdraw("a", 80), rejected), answered(7, 8, bank::withdraw("a", 20), 30),
          answered(9, 10, bank::transfer("a", "b", 30), 0), answered(11, 12, bank::get("b"), 30),
          answered(13, 14, bank::transfer("a", "b", 1), rejected), answered(15, 16, bank::get("a"), 0)});
}

BOOST_AUTO_TEST_CASE(the_order_of_the_list_does_not_matter) {
  accept({answered(5, 6, bank::get("a"), 30), answered(3, 4, bank::withdraw("a", 20), 30),
          answered(1, 2, bank::deposit("a", 50), 50)});
}

BOOST_AUTO_TEST_CASE(overlapping_operations_may_take_effect_in_any_order) {
  accept({answered(1, 10, bank::deposit("a", 50), 80), answered(2, 9, bank::deposit("a", 30), 30),
          answered(3, 8, bank::get("a"), 0), answered(4, 7, bank::get("a"), 80),
          answered(5, 6, bank::get("a"), 80)});
}

BOOST_AUTO_TEST_CASE(equal_times_order_nothing) {
  accept({answered(1, 2, bank::deposit("a", 50), 50), answered(2, 3, bank::get("a"), 0)});
  accept({answered(1, 1, bank::deposit("a", 50), 50), answered(1, 1, bank::get("a"), 0)});
}

BOOST_AUTO_TEST_CASE(a_completed_operation_whose_answer_is_unknown_took_effect_by_then) {
  const request quiet{1, 2, bank::deposit("a", 50), std::nullopt};
  accept({quiet, answered(3, 4, bank::get("a"), 50)});
  refuse({quiet, answered(3, 4, bank::get("a"), 0)}, "get(a) -> 0");
}

BOOST_AUTO_TEST_CASE(a_transfer_to_the_same_account_changes_nothing) {
  accept({answered(1, 2, bank::deposit("a", 50), 50), answered(3, 4, bank::transfer("a", "a", 20), 50),
          answered(5, 6, bank::transfer("a", "a", 60), rejected), answered(7, 8, bank::get("a"), 50)});
}

// -- broken histories ---------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_operation_that_completes_before_its_invocation_is_named) {
  auto violation = find_violation<bank>({answered(2, 1, bank::get("a"), 0)});
  BOOST_TEST_REQUIRE(violation.has_value());
  BOOST_TEST(*violation == "get(a) -> 0 [2, 1] completes before it is invoked");
}

BOOST_AUTO_TEST_CASE(the_text_tells_state_order_and_culprit) {
  auto violation = find_violation<bank>({answered(1, 2, bank::deposit("a", 50), 50),
                                         answered(3, 4, bank::transfer("a", "b", 20, "k"), 30),
                                         answered(5, 6, bank::get("b"), 0)});
  BOOST_TEST_REQUIRE(violation.has_value());
  BOOST_TEST(*violation ==
             "no order of the operations is right; after 2 of 3 completed ones there is no place for\n"
             "  get(b) -> 0 [5, 6]\n"
             "in state\n"
             "  a = 30, b = 20\n"
             "after\n"
             "  deposit(a, 50) -> 50 [1, 2]\n"
             "  transfer(a, b, 20, key k) -> 30 [3, 4]");
}

BOOST_AUTO_TEST_CASE(a_lost_update_is_found) {
  const history both{answered(1, 5, bank::deposit("a", 50), 50), answered(2, 6, bank::deposit("a", 30), 30)};
  refuse(both, "deposit(a");
  // Also if each answer was right in itself, and only the sum is not.
  refuse({answered(1, 5, bank::deposit("a", 50), 50), answered(2, 6, bank::deposit("a", 30), 80),
          answered(7, 8, bank::get("a"), 30)},
         "get(a) -> 30");
}

BOOST_AUTO_TEST_CASE(a_stale_read_after_a_completed_write_is_found) {
  refuse({answered(1, 2, bank::deposit("a", 50), 50), answered(3, 4, bank::get("a"), 0)}, "get(a) -> 0");
  accept({answered(1, 3, bank::deposit("a", 50), 50), answered(2, 4, bank::get("a"), 0)});
}

BOOST_AUTO_TEST_CASE(a_read_of_what_is_not_yet_written_is_found) {
  refuse({answered(1, 2, bank::get("a"), 50), answered(3, 4, bank::deposit("a", 50), 50)}, "get(a) -> 50");
}

BOOST_AUTO_TEST_CASE(reads_that_go_back_in_time_are_found) {
  const auto write = answered(1, 10, bank::deposit("a", 50), 50);
  refuse({write, answered(2, 3, bank::get("a"), 50), answered(4, 5, bank::get("a"), 0)}, "get(a) -> 0");
  accept({write, answered(2, 3, bank::get("a"), 0), answered(4, 5, bank::get("a"), 50)});
}

BOOST_AUTO_TEST_CASE(a_phantom_effect_of_a_rejected_operation_is_found) {
  refuse({answered(1, 2, bank::deposit("a", 50), 50), answered(3, 4, bank::withdraw("a", 80), rejected),
          answered(5, 6, bank::get("a"), -30)},
         "get(a) -> -30");
  refuse({answered(1, 2, bank::transfer("a", "b", 20), rejected), answered(3, 4, bank::get("b"), 20)},
         "get(b) -> 20");
}

BOOST_AUTO_TEST_CASE(a_rejection_without_reason_is_found) {
  refuse({answered(1, 2, bank::deposit("a", 50), 50), answered(3, 4, bank::withdraw("a", 50), rejected)},
         "withdraw(a, 50) -> rejected");
}

BOOST_AUTO_TEST_CASE(a_transfer_seen_half_is_found) {
  const auto start = answered(1, 2, bank::deposit("a", 100), 100);
  const auto move = answered(3, 20, bank::transfer("a", "b", 40), 60);
  refuse({start, move, answered(4, 5, bank::get("a"), 60), answered(6, 7, bank::get("b"), 0)}, "get(b) -> 0");
  refuse({start, move, answered(4, 5, bank::get("b"), 40), answered(6, 7, bank::get("a"), 100)},
         "get(a) -> 100");
  accept({start, move, answered(4, 5, bank::get("b"), 0), answered(6, 7, bank::get("a"), 60)});
  accept({start, move, answered(4, 6, bank::get("a"), 60), answered(5, 7, bank::get("b"), 0)});
}

// -- unknown outcomes ---------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(an_unknown_outcome_may_take_effect_late_or_never) {
  const auto lost = unknown(1, bank::deposit("a", 50));
  accept({lost});
  accept({lost, answered(2, 3, bank::get("a"), 0), answered(4, 5, bank::get("a"), 0)});
  accept({lost, answered(2, 3, bank::get("a"), 50)});
  accept({lost, answered(2, 3, bank::get("a"), 0), answered(4, 5, bank::get("a"), 50)});
  accept({lost, answered(2, 3, bank::get("a"), 0), answered(4, 5, bank::deposit("a", 30), 30),
          answered(6, 7, bank::withdraw("a", 60), 20)});
}

BOOST_AUTO_TEST_CASE(an_unknown_outcome_may_wait_until_it_can_take_effect) {
  // Rejected at first, had it been executed at once.
  accept({unknown(1, bank::transfer("a", "b", 20)), answered(2, 3, bank::get("b"), 0),
          answered(4, 5, bank::deposit("a", 50), 50), answered(6, 7, bank::get("b"), 20),
          answered(8, 9, bank::get("a"), 30)});
}

BOOST_AUTO_TEST_CASE(an_unknown_outcome_takes_no_effect_before_its_invocation) {
  refuse({answered(1, 2, bank::get("a"), 50), unknown(3, bank::deposit("a", 50))}, "get(a) -> 50");
}

BOOST_AUTO_TEST_CASE(a_double_effect_of_an_unknown_outcome_is_found) {
  const auto lost = unknown(1, bank::deposit("a", 50));
  refuse({lost, answered(2, 3, bank::get("a"), 100)}, "get(a) -> 100");
  refuse({lost, answered(2, 3, bank::get("a"), 50), answered(4, 5, bank::get("a"), 100)}, "get(a) -> 100");
  accept({lost, lost, answered(2, 3, bank::get("a"), 50), answered(4, 5, bank::get("a"), 100)});
}

BOOST_AUTO_TEST_CASE(an_effect_of_an_unknown_outcome_that_vanishes_is_found) {
  refuse({unknown(1, bank::deposit("a", 50)), answered(2, 3, bank::get("a"), 50),
          answered(4, 5, bank::get("a"), 0)},
         "get(a) -> 0");
}

BOOST_AUTO_TEST_CASE(a_transfer_of_unknown_outcome_is_whole) {
  refuse({answered(1, 2, bank::deposit("a", 100), 100), unknown(3, bank::transfer("a", "b", 40)),
          answered(4, 5, bank::get("a"), 60), answered(6, 7, bank::get("b"), 0)},
         "get(b) -> 0");
}

// -- idempotency keys ---------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_repeat_with_the_same_key_gets_the_first_answer_and_has_no_effect) {
  accept({answered(1, 2, bank::deposit("a", 50, "k"), 50), answered(3, 4, bank::deposit("a", 30), 80),
          answered(5, 6, bank::deposit("a", 50, "k"), 50), answered(7, 8, bank::get("a"), 80)});
  accept({answered(1, 2, bank::withdraw("a", 50, "k"), rejected), answered(3, 4, bank::deposit("a", 60), 60),
          answered(5, 6, bank::withdraw("a", 50, "k"), rejected), answered(7, 8, bank::get("a"), 60)});
}

BOOST_AUTO_TEST_CASE(a_repeat_that_took_effect_twice_is_found) {
  const auto first = answered(1, 2, bank::deposit("a", 50, "k"), 50);
  refuse({first, answered(3, 4, bank::deposit("a", 50, "k"), 50), answered(5, 6, bank::get("a"), 100)},
         "get(a) -> 100");
  refuse({first, answered(3, 4, bank::deposit("a", 50, "k"), 100)}, "deposit(a, 50, key k) -> 100");
  accept({first, answered(3, 4, bank::deposit("a", 50, "l"), 100)});
}

BOOST_AUTO_TEST_CASE(a_repeat_that_got_another_answer_is_found) {
  refuse({answered(1, 2, bank::deposit("a", 50, "k"), 50), answered(3, 4, bank::deposit("a", 30), 80),
          answered(5, 6, bank::deposit("a", 50, "k"), 80)},
         "deposit(a, 50, key k) -> 80");
  refuse({answered(1, 2, bank::withdraw("a", 50, "k"), rejected), answered(3, 4, bank::deposit("a", 60), 60),
          answered(5, 6, bank::withdraw("a", 50, "k"), 10)},
         "withdraw(a, 50, key k) -> 10");
}

BOOST_AUTO_TEST_CASE(a_repeat_after_an_unknown_outcome_has_one_effect_in_all) {
  const auto lost = unknown(1, bank::deposit("a", 50, "k"));
  const auto other = answered(2, 3, bank::deposit("a", 30), 30);
  // The repeat took effect, or the lost one did before it, even before the other.
  accept({lost, other, answered(4, 5, bank::deposit("a", 50, "k"), 80), answered(6, 7, bank::get("a"), 80)});
  accept({lost, answered(2, 3, bank::deposit("a", 30), 80), answered(4, 5, bank::deposit("a", 50, "k"), 50),
          answered(6, 7, bank::get("a"), 80)});
  refuse({lost, other, answered(4, 5, bank::deposit("a", 50, "k"), 80), answered(6, 7, bank::get("a"), 130)},
         "get(a) -> 130");
  refuse({lost, other, answered(4, 5, bank::deposit("a", 50, "k"), 130)}, "deposit(a, 50, key k) -> 130");
}

// -- another model ------------------------------------------------------------------------------------------------

namespace {

/// One number, zero at the start. A write is answered with the number written.
struct cell {
  using state = int;
  using input = std::optional<int>; ///< none: read
  using output = int;
  static bool step(state& s, const input& in, const output* out) {
    s = in.value_or(s);
    return out == nullptr || *out == s;
  }
  static bool inert(const input& in, const output*) { return !in; }
  static std::string describe(const input& in, const output* out) {
    return (in ? "write " : "read ") + (out ? std::to_string(*out) : "?");
  }
  static std::string describe(const state& s) { return std::to_string(s); }
};

operation<cell> write(std::uint64_t from, std::uint64_t to, int value) {
  return {from, to, value, value};
}
operation<cell> read(std::uint64_t from, std::uint64_t to, int value) {
  return {from, to, std::nullopt, value};
}

} // namespace

BOOST_AUTO_TEST_CASE(a_write_that_changes_nothing_at_once_may_come_later) {
  // Write 1 fits at the start, where it changes nothing; but it has to come after write 2.
  BOOST_TEST(!find_violation<cell>({write(1, 2, 1), write(3, 6, 1), write(4, 7, 2), read(8, 9, 1)}));
  BOOST_TEST(!find_violation<cell>(
      {write(1, 2, 1), {3, std::nullopt, 1, std::nullopt}, write(4, 7, 2), read(8, 9, 2), read(10, 11, 1)}));
  BOOST_TEST(
      find_violation<cell>({write(1, 2, 1), write(3, 6, 1), write(7, 8, 2), read(9, 10, 1)}).has_value());
}

// -- generated histories ------------------------------------------------------------------------------------------

namespace {

using random_numbers = std::vector<std::uint32_t>;

/// A source of choices that repeats them from its start at its end.
class dice {
public:
  explicit dice(random_numbers numbers)
      : numbers_{std::move(numbers)} {}
  std::uint64_t below(std::uint64_t bound) {
    return numbers_.empty() ? 0 : numbers_[next_++ % numbers_.size()] % bound;
  }

private:
  random_numbers numbers_;
  std::size_t next_ = 0;
};

struct shape {
  std::size_t length;
  std::uint64_t spread; // how far an interval reaches to each side of its effect; effects lie 10 apart
  std::uint64_t unknown_one_in; // 0: none
};

/// Right by construction: operation i takes effect at time 1000 + 10 * i, if at all.
history right_history(dice& random, shape s) {
  bank::state now;
  history all;
  const std::vector<std::string> accounts{"a", "b", "c"};
  for (std::size_t i = 0; i != s.length; ++i) {
    auto account = accounts[random.below(3)];
    auto cents = static_cast<std::int64_t>(10 * (1 + random.below(9)));
    bank::input in;
    switch (random.below(6)) {
    case 0:
      in = bank::deposit(account, cents);
      break;
    case 1:
      in = bank::withdraw(account, cents);
      break;
    case 2:
      in = bank::transfer(account, accounts[random.below(3)], cents);
      break;
    case 3:
      in = bank::deposit(account, cents, "key " + std::to_string(i));
      break;
    case 4:
      if (auto repeated = random.below(i + 1); repeated != i) {
        in = all[repeated].input;
        break;
      }
      [[fallthrough]];
    default:
      in = bank::get(account);
    }
    const auto effect = 1'000 + 10 * i;
    const auto invoked = effect - random.below(s.spread + 1);
    if (s.unknown_one_in != 0 && random.below(s.unknown_one_in) == 0) {
      if (random.below(2) == 0)
        bank::apply(now, in);
      all.push_back(unknown(invoked - random.below(500), in));
    } else {
      auto out = bank::apply(now, in);
      all.push_back({invoked, effect + random.below(s.spread + 1), in, out});
    }
  }
  return all;
}

/// The position of a completed read, chosen at random; none if there is none.
std::optional<std::size_t> some_read(dice& random, const history& h) {
  std::vector<std::size_t> reads;
  for (std::size_t i = 0; i != h.size(); ++i)
    if (h[i].completed && h[i].input.what == bank::action::get)
      reads.push_back(i);
  if (reads.empty())
    return std::nullopt;
  return reads[random.below(reads.size())];
}

/// Whether one of all the orders of all the choices of operations that hold the completed ones is right.
bool right_by_enumeration(const history& h) {
  for (std::uint32_t chosen = 0; chosen != std::uint32_t{1} << h.size(); ++chosen) {
    std::vector<std::size_t> order;
    bool all_completed = true;
    for (std::size_t i = 0; i != h.size(); ++i)
      if (chosen >> i & 1)
        order.push_back(i);
      else if (h[i].completed)
        all_completed = false;
    if (!all_completed)
      continue;
    do {
      bool right = true;
      bank::state now;
      for (std::size_t later = 0; right && later != order.size(); ++later) {
        const auto& op = h[order[later]];
        for (std::size_t earlier = 0; earlier != later; ++earlier)
          right = right && !(op.completed && *op.completed < h[order[earlier]].invoked);
        auto out = bank::apply(now, op.input);
        right = right && (!op.output || *op.output == out);
      }
      if (right)
        return true;
    } while (std::next_permutation(order.begin(), order.end()));
  }
  return false;
}

random_numbers many_numbers() {
  return *rc::gen::noShrink(rc::gen::container<random_numbers>(1'000, rc::gen::arbitrary<std::uint32_t>()));
}

} // namespace

BOOST_AUTO_TEST_CASE(every_history_made_from_an_order_is_accepted) {
  BOOST_TEST(rc::check("every history made from an order is accepted", [] {
    dice random{many_numbers()};
    for (auto s : {shape{100, 50, 0}, shape{30, 30, 10}}) {
      auto violation = find_violation(right_history(random, s));
      if (violation)
        RC_FAIL(*violation);
    }
  }));
}

BOOST_AUTO_TEST_CASE(a_read_that_no_order_explains_is_found_among_many) {
  BOOST_TEST(rc::check("a read that no order explains is found among many", [] {
    dice random{many_numbers()};
    auto h = right_history(random, {100, 30, 50});
    auto read = some_read(random, h);
    RC_PRE(read.has_value());
    // All amounts are multiples of ten.
    *h[*read].output->balance += 1 + static_cast<std::int64_t>(random.below(9));
    RC_ASSERT(find_violation(std::move(h)).has_value());
  }));
}

BOOST_AUTO_TEST_CASE(every_false_read_among_sequential_operations_is_found) {
  BOOST_TEST(rc::check("every false read among sequential operations is found", [] {
    dice random{many_numbers()};
    auto h = right_history(random, {100, 4, 0});
    auto read = some_read(random, h);
    RC_PRE(read.has_value());
    *h[*read].output->balance += 10;
    auto culprit = "\n  " + detail::to_text(h[*read]) + "\n";
    auto violation = find_violation(std::move(h));
    RC_ASSERT(violation.has_value());
    RC_ASSERT(violation->find(culprit) != std::string::npos);
  }));
}

BOOST_AUTO_TEST_CASE(the_verdict_is_that_of_trying_all_orders) {
  std::size_t right = 0;
  std::size_t broken = 0;
  BOOST_TEST(rc::check("the verdict is that of trying all orders", [&] {
    dice random{many_numbers()};
    for (int round = 0; round != 10; ++round) {
      auto h = right_history(random, {6, 30, 4});
      // Two intervals exchanged, a balance changed, or the answer of another operation.
      auto& victim = h[random.below(h.size())];
      auto& other = h[random.below(h.size())];
      if (random.below(2) == 0) {
        std::swap(victim.invoked, other.invoked);
        std::swap(victim.completed, other.completed);
      } else if (victim.output && victim.output->balance) {
        *victim.output->balance += 10 * (static_cast<std::int64_t>(random.below(5)) - 2);
      } else if (victim.output && other.output) {
        victim.output = other.output;
      }
      const bool expected = right_by_enumeration(h);
      ++(expected ? right : broken);
      auto violation = find_violation(std::move(h));
      if (expected && violation)
        RC_FAIL(*violation);
      RC_ASSERT(expected || violation.has_value());
    }
  }));
  BOOST_TEST_MESSAGE(right << " right, " << broken << " broken");
  BOOST_TEST(right > 100u);
  BOOST_TEST(broken > 100u);
}
