#include "audit.hpp"
#include "deciders.hpp"

#include <eventcore/runtime/node.hpp>

#include <CLI/CLI.hpp>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <thread>
#include <vector>

#include <unistd.h>

namespace {

void complain(const std::string& what) {
  std::cerr << "bank: " + what + '\n'; // by several threads
}

using namespace bank;
using namespace std::literals;
using steady = std::chrono::steady_clock;

/// Lanes do a run's transfers side by side. Their number is part of the run: it must not depend on the workers.
constexpr std::uint32_t lanes = 64;
constexpr std::int64_t opening_cents = 20'000;
/// A lane reports after this many transfers; after a crash as many are asked for again, with their keys.
constexpr std::uint64_t report_every = 50;
constexpr auto patience = 60s;

struct options {
  std::filesystem::path journal = BANK_BUILD_DIR "/bank-journal";
  std::uint32_t accounts = 1'000;
  std::uint32_t hot = 10;
  std::uint64_t transfers = 20'000;
  std::uint32_t workers = 16;
  std::uint64_t kill_after = 0;
};

std::string account_id(std::uint64_t number) {
  auto digits = std::to_string(number);
  return std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
}

/// What a transfer's number stands for. The same number is always the same transfer, in every run.
class plan {
public:
  plan(const options& opts, std::uint64_t number)
      : accounts_{opts.accounts}
      , hot_{std::min(opts.hot, opts.accounts)}
      , random_{number * 0x9E3779B97F4A7C15u + 1} {
    auto from = pick();
    auto to = pick();
    if (to == from)
      to = (to + 1) % accounts_;
    transfer.set_number(number);
    transfer.set_from(account_id(from));
    transfer.set_to(account_id(to));
    transfer.set_cents(static_cast<std::int64_t>(1 + next() % 5'000));
    if (number % 2 == 0) { // somebody pays money in meanwhile, mostly into the same accounts
      deposit_to = account_id(pick());
      deposit.set_cents(static_cast<std::int64_t>(1 + next() % 1'000));
    }
  }

  Transfer transfer;
  std::string deposit_to; ///< empty: no deposit goes with this transfer
  Deposit deposit;

private:
  std::uint64_t next() { // splitmix64
    auto z = (random_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  /// Every fifth account is a hot one.
  std::uint64_t pick() { return hot_ > 0 && next() % 5 == 0 ? next() % hot_ : next() % accounts_; }

  std::uint64_t accounts_;
  std::uint64_t hot_;
  std::uint64_t random_;
};

struct tally {
  std::atomic<std::uint64_t> done{0};
  std::atomic<std::uint64_t> rejected{0};
  std::atomic<std::uint64_t> deposits{0};
  std::atomic<std::uint64_t> repeated{0}; ///< commands asked again, after a conflict or an unknown outcome
  std::atomic<std::int64_t> longest_us{0};
  std::atomic<bool> failed{false};
};

/// Asks until there is an answer for good. The key makes that safe. Nothing: the failure is no answer of the business.
template <class Ask>
std::optional<bool> ask_until_answered(Ask ask, tally& t, const std::string& what) {
  auto start = steady::now();
  for (;; ++t.repeated) {
    auto answer = ask();
    auto waited = std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - start).count();
    if (answer || answer.error().code() == eventcore::entity_errc::rejected) {
      for (auto longest = t.longest_us.load();
           waited > longest && !t.longest_us.compare_exchange_weak(longest, waited);) {
      }
      return static_cast<bool>(answer);
    }
    auto code = answer.error().code();
    if (code != eventcore::entity_errc::conflict && code != eventcore::entity_errc::outcome_unknown &&
        code != eventcore::entity_errc::overloaded && code != eventcore::entity_errc::deadline_exceeded) {
      complain(what + ": " + answer.error().message());
      t.failed = true;
      return std::nullopt;
    }
  }
}

struct bank_node {
  eventcore::node& node;
  eventcore::host<account> accounts = node.host<account>();
  eventcore::host<run> runs = node.host<run>();
  eventcore::multi_stream_host<transfers> commands = node.multi_stream<transfers>();
};

eventcore::command_context keyed(const char* what, std::uint64_t number) {
  eventcore::command_context context;
  context.idempotency_key = what + std::to_string(number);
  return context;
}

void work(const bank_node& bank, const options& opts, const Run& progress, std::uint32_t worker, tally& t) {
  for (auto lane = worker; lane < lanes; lane += opts.workers) {
    auto before = progress.done().find(lane);
    auto done = before == progress.done().end() ? 0 : before->second;
    for (auto number = lane + done * lanes; number < opts.transfers; number += lanes, ++done) {
      const plan p{opts, number};
      if (!p.deposit_to.empty()) {
        if (!ask_until_answered(
                [&] {
                  return bank.accounts.ask(p.deposit_to, p.deposit, patience, keyed("deposit-", number));
                },
                t, "deposit " + std::to_string(number)))
          return;
        ++t.deposits;
      }
      auto moved = ask_until_answered(
          [&] { return bank.commands.ask(p.transfer, patience, keyed("transfer-", number)); }, t,
          "transfer " + std::to_string(number));
      if (!moved || t.failed)
        return;
      t.rejected += *moved ? 0 : 1;
      if (++t.done == opts.kill_after)
        ::kill(::getpid(), SIGKILL);
      if ((done + 1) % report_every == 0 || number + lanes >= opts.transfers)
        bank.runs.tell("transfers", make<ReportLane>([&](auto& c) {
                         c.set_lane(lane);
                         c.set_done(done + 1);
                       }));
    }
  }
}

bool open_accounts(const bank_node& bank, const options& opts) {
  for (std::uint32_t i = 0; i < opts.accounts; ++i) {
    auto open = make<Open>([](auto& c) { c.set_cents(opening_cents); });
    if (i + 1 < opts.accounts)
      bank.accounts.tell(account_id(i), open);
    else if (auto last = bank.accounts.ask(account_id(i), open, patience); !last) {
      complain(last.error().message());
      return false;
    }
  }
  return true;
}

void show_progress(const tally& t, std::uint64_t before, std::uint64_t all,
                   const std::atomic<bool>& finished) {
  auto next = steady::now() + 2s;
  while (!finished) {
    std::this_thread::sleep_for(50ms);
    if (steady::now() < next)
      continue;
    next += 2s;
    std::cout << "  " << before + t.done << " of " << all << " transfers" << std::endl;
  }
}

bool check(const char* what, std::int64_t found, std::int64_t expected) {
  std::cout << "  " << std::left << std::setw(44) << what << std::right << std::setw(16) << found;
  if (found != expected)
    std::cout << "   WRONG: expected " << expected;
  std::cout << '\n';
  return found == expected;
}

/// Whether the money is all there, by the entities and by the journal alone.
bool audit_bank(const bank_node& bank, const options& opts, std::uint64_t rejected, bool all_from_start) {
  auto found = audit_journal(bank.node.journal());
  auto progress = bank.runs.ask("transfers", GetRun{}, patience);
  if (!found || !progress) {
    complain((found ? progress.error() : found.error()).message());
    return false;
  }
  std::int64_t paid_in = std::int64_t{opts.accounts} * opening_cents;
  std::int64_t deposits = 0;
  std::int64_t transfers = 0;
  for (auto& [lane, done] : progress->done())
    for (std::uint64_t i = 0; i < done; ++i) {
      const plan p{opts, lane + i * lanes};
      ++transfers;
      deposits += p.deposit_to.empty() ? 0 : 1;
      paid_in += p.deposit.cents();
    }
  std::int64_t by_entities = 0;
  std::int64_t differing = 0;
  for (std::uint32_t i = 0; i < opts.accounts; ++i) {
    auto balance = bank.accounts.ask(account_id(i), GetBalance{}, patience);
    if (!balance) {
      complain(balance.error().message());
      return false;
    }
    by_entities += balance->cents();
    differing += balance->cents() == found->balances["account-" + account_id(i)] ? 0 : 1;
  }
  std::cout << "audit\n";
  bool good = check("cents paid in, by the journal", found->paid_in, paid_in);
  good = check("cents in all accounts, by the journal", found->total, paid_in) && good;
  good = check("cents in all accounts, by the entities", by_entities, paid_in) && good;
  good = check("accounts that differ between the two", differing, 0) && good;
  good = check("deposits", static_cast<std::int64_t>(found->deposits), deposits) && good;
  good = check("transfers that do not arrive as they left",
               static_cast<std::int64_t>(found->broken_transfers), 0) &&
         good;
  if (all_from_start) // of an earlier run it is not known how many were rejected
    good = check("transfers made", static_cast<std::int64_t>(found->transfers),
                 transfers - static_cast<std::int64_t>(rejected)) &&
           good;
  return good;
}

int run_bank(const options& opts) {
  eventcore::node_options node_options;
  node_options.journal_dir = opts.journal;
  node_options.journal.service = "bank";
  node_options.journal.categories = {"account", "run"};
  auto node = eventcore::node::open(node_options);
  if (!node) {
    complain(node.error().message());
    return 1;
  }
  const bank_node bank{*node};
  auto progress =
      bank.runs.ask("transfers", make<BeginRun>([&](auto& c) { c.set_accounts(opts.accounts); }), patience);
  if (!progress) {
    complain(opts.journal.string() + ": " + progress.error().message() + "; name another --journal");
    return 1;
  }
  std::uint64_t before = 0;
  for (auto& [lane, done] : progress->done())
    before += done;
  if (!open_accounts(bank, opts))
    return 1;
  std::cout << (before > 0 ? "going on with " : "beginning ") << opts.transfers << " transfers between "
            << opts.accounts << " accounts, " << opts.workers << " workers, journal " << opts.journal.string()
            << std::endl;

  tally t;
  std::atomic<bool> finished{false};
  auto start = steady::now();
  {
    std::jthread reporter{[&] { show_progress(t, before, opts.transfers, finished); }};
    std::vector<std::jthread> workers;
    for (std::uint32_t w = 0; w < opts.workers; ++w)
      workers.emplace_back([&, w] { work(bank, opts, *progress, w, t); });
    workers.clear();
    finished = true;
  }
  auto seconds = std::chrono::duration<double>(steady::now() - start).count();
  auto stats = bank.commands.stats(patience);
  if (t.failed || !stats)
    return 1;
  std::cout << std::fixed << std::setprecision(1) << "transfers\n"
            << "  done in this run                            " << std::setw(16) << t.done << "   "
            << std::setprecision(0) << static_cast<double>(t.done) / std::max(seconds, 1e-9) << " a second\n"
            << "  of these rejected for insufficient funds    " << std::setw(16) << t.rejected << '\n'
            << "  deposits into the same accounts             " << std::setw(16) << t.deposits << '\n'
            << "  conflicts with entities                     " << std::setw(16) << stats->conflicts << '\n'
            << "  retries, of these with the entities held    " << std::setw(16) << stats->retries << "   "
            << stats->holds << '\n'
            << "  commands asked again by the workers         " << std::setw(16) << t.repeated << '\n'
            << "  longest wait for an answer                  " << std::setw(16) << std::setprecision(1)
            << static_cast<double>(t.longest_us) / 1'000 << " ms\n";
  if (!audit_bank(bank, opts, t.rejected, before == 0)) {
    std::cout << "FAILED: the books do not balance\n";
    return 1;
  }
  std::cout << "ok: " << before + t.done << " transfers, and not a cent is lost\n";
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  options opts;
  CLI::App app{"A bank: transfers as commands on two streams, in competition with deposits to the same "
               "accounts, and an audit.\n"
               "A run that was interrupted goes on where it was when it is started again."};
  app.add_option("--journal", opts.journal, "Folder of the journal")->capture_default_str();
  app.add_option("--accounts", opts.accounts, "Accounts")
      ->check(CLI::Range(2u, 999'999u))
      ->capture_default_str();
  app.add_option("--hot", opts.hot, "Accounts that a fifth of all money comes from and goes to")
      ->check(CLI::Range(0u, 999'999u))
      ->capture_default_str();
  app.add_option("--transfers", opts.transfers, "Transfers, with half as many deposits")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}))
      ->capture_default_str();
  app.add_option("--workers", opts.workers, "Threads that ask, one command at a time each")
      ->check(CLI::Range(1u, lanes))
      ->capture_default_str();
  app.add_option("--kill-after", opts.kill_after,
                 "Kill this process (SIGKILL) after so many transfers; 0: do not")
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0)
      return app.exit(e);
    complain(std::string{e.what()} + "; --help tells more");
    return 2;
  }
  return run_bank(opts);
}
