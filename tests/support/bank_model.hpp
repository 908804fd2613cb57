#pragma once

#include <support/history_checker.hpp>

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace eventcore::test {

/// Accounts that start empty and never fall below zero, for find_violation. All amounts are in cents and positive.
struct bank_model {
  enum class action { deposit, withdraw, get, transfer };

  struct input {
    action what = action::get;
    std::string account; ///< of a transfer: the one that pays
    std::int64_t cents = 0;
    std::string to; ///< of a transfer only
    /// A repeat of a key in the whole history, whatever its input, has no effect and gets the first one's answer,
    /// be that a balance or a rejection.
    std::optional<std::string> key;
  };

  /// The new balance of `account`. None: rejected, "insufficient funds".
  struct output {
    std::optional<std::int64_t> balance;
    auto operator<=>(const output&) const = default;
  };

  struct state {
    std::map<std::string, std::int64_t> balances; ///< without those that are zero
    std::map<std::string, output> answers;        ///< by idempotency key
    auto operator<=>(const state&) const = default;
  };

  using text = std::string;
  using optional_key = std::optional<std::string>;

  static input deposit(text account, std::int64_t cents, optional_key key = {}) {
    return {action::deposit, std::move(account), cents, {}, std::move(key)};
  }
  static input withdraw(text account, std::int64_t cents, optional_key key = {}) {
    return {action::withdraw, std::move(account), cents, {}, std::move(key)};
  }
  static input get(text account) { return {action::get, std::move(account), 0, {}, {}}; }
  static input transfer(text from, text to, std::int64_t cents, optional_key key = {}) {
    return {action::transfer, std::move(from), cents, std::move(to), std::move(key)};
  }

  static output balance(std::int64_t cents) { return {cents}; }
  static output rejected() { return {}; }

  /// The one right answer in state `s`, which becomes the state after it.
  static output apply(state& s, const input& in) {
    if (!in.key)
      return execute(s, in);
    if (auto known = s.answers.find(*in.key); known != s.answers.end())
      return known->second;
    return s.answers[*in.key] = execute(s, in);
  }

  static bool step(state& s, const input& in, const output* out) {
    auto right = apply(s, in);
    return out == nullptr || *out == right;
  }

  static bool inert(const input& in, const output* out) {
    return !in.key && (in.what == action::get || (out != nullptr && !out->balance));
  }

  static std::string describe(const input& in, const output* out) {
    std::string line;
    switch (in.what) {
    case action::deposit:
      line = "deposit(" + in.account + ", " + std::to_string(in.cents);
      break;
    case action::withdraw:
      line = "withdraw(" + in.account + ", " + std::to_string(in.cents);
      break;
    case action::get:
      line = "get(" + in.account;
      break;
    case action::transfer:
      line = "transfer(" + in.account + ", " + in.to + ", " + std::to_string(in.cents);
      break;
    }
    line += in.key ? ", key " + *in.key + ") -> " : ") -> ";
    return line + (out == nullptr ? "?" : out->balance ? std::to_string(*out->balance) : "rejected");
  }

  static std::string describe(const state& s) {
    std::string line;
    for (const auto& [account, cents] : s.balances)
      line += (line.empty() ? "" : ", ") + account + " = " + std::to_string(cents);
    return line.empty() ? "all accounts empty" : line;
  }

private:
  static std::int64_t balance_of(const state& s, const std::string& account) {
    auto found = s.balances.find(account);
    return found == s.balances.end() ? 0 : found->second;
  }

  static void add(state& s, const std::string& account, std::int64_t cents) {
    auto& balance = s.balances[account];
    balance += cents;
    if (balance == 0)
      s.balances.erase(account);
  }

  static output execute(state& s, const input& in) {
    const bool pays = in.what == action::withdraw || in.what == action::transfer;
    if (pays && balance_of(s, in.account) < in.cents)
      return rejected();
    if (pays)
      add(s, in.account, -in.cents);
    if (in.what == action::deposit)
      add(s, in.account, in.cents);
    if (in.what == action::transfer)
      add(s, in.to, in.cents);
    return balance(balance_of(s, in.account));
  }
};

} // namespace eventcore::test
