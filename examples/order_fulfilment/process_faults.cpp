#include "process_faults.hpp"

#include "roles.hpp"

#include <csignal>
#include <iostream>
#include <random>

namespace shop {

using namespace std::literals;

process_faults::process_faults(supervisor& processes, const process_faults_options& options,
                               std::function<bool(const std::string&)> is_back)
    : processes_{processes}
    , options_{options}
    , is_back_{std::move(is_back)}
    , thread_{[this](std::stop_token end) { run(end); }} {}

process_faults::~process_faults() = default;

void process_faults::progress(std::size_t ended, std::size_t all) {
  {
    std::lock_guard guard{mutex_};
    share_ = static_cast<double>(ended) / static_cast<double>(all);
  }
  changed_.notify_all();
}

void process_faults::wait_for_turn(std::size_t number, std::size_t all) {
  const auto steps = options_.chaos + options_.rolling;
  const auto share = static_cast<double>(number) / static_cast<double>(all);
  std::unique_lock lock{mutex_};
  changed_.wait_for(lock, 1min,
                    [&] { return done_ == steps || share <= static_cast<double>(done_ + 2) / (steps + 1); });
}

process_faults::counts process_faults::finish() {
  thread_.request_stop();
  thread_.join();
  return counts_;
}

void process_faults::run(std::stop_token end) {
  const auto all = options_.chaos + options_.rolling;
  for (std::uint32_t i = 0; i < all;) {
    std::unique_lock lock{mutex_};
    const auto is_due = [&] { return share_ >= static_cast<double>(i + 1) / (all + 1); };
    if (stopped_.empty())
      changed_.wait(lock, end, is_due);
    else
      changed_.wait_until(lock, end, stopped_.begin()->first, is_due);
    const bool now = is_due();
    lock.unlock();
    if (!now && end.stop_requested())
      break;
    let_go_on(false);
    if (!now)
      continue;
    do_one(i++);
    lock.lock();
    done_ = i;
    lock.unlock();
    changed_.notify_all();
  }
  while (!stopped_.empty()) {
    std::unique_lock lock{mutex_};
    changed_.wait_until(lock, end, stopped_.begin()->first, [] { return false; });
    lock.unlock();
    let_go_on(end.stop_requested());
  }
}

void process_faults::let_go_on(bool all) {
  const auto now = std::chrono::steady_clock::now();
  while (!stopped_.empty() && (all || stopped_.begin()->first <= now)) {
    processes_.signal(stopped_.begin()->second, SIGCONT);
    stopped_.erase(stopped_.begin());
  }
}

void process_faults::do_one(std::uint32_t number) {
  // The restarts stand between the faults.
  const auto all = static_cast<std::uint64_t>(options_.chaos) + options_.rolling;
  if ((number + 1) * options_.rolling / all > number * options_.rolling / all) {
    let_go_on(true);
    for (auto service : services::all) {
      std::cerr << "  -- " << service << " is restarted" << std::endl;
      const bool in_time = processes_.restart(service, 30s) && is_back_(std::string{service});
      ++counts_.restarts;
      counts_.late_restarts += !in_time;
    }
    return;
  }
  std::mt19937_64 random{options_.seed * 1'000'000 + number};
  const auto service = services::all[random() % services::all.size()];
  if (random() % 2 == 0) {
    std::cerr << "  -- " << service << " is killed" << std::endl;
    processes_.signal(service, SIGKILL);
    ++counts_.kills;
    return;
  }
  // Mostly short, sometimes as long as may be.
  const auto longest = options_.longest_stop * 1'000ull;
  const std::chrono::milliseconds time{random() % 4 == 0 ? longest : 100 + random() % (longest / 4 + 1)};
  std::cerr << "  -- " << service << " is stopped for " << time.count() << " ms" << std::endl;
  processes_.signal(service, SIGSTOP);
  stopped_.emplace(std::chrono::steady_clock::now() + time, service);
  ++counts_.stops;
}

} // namespace shop
