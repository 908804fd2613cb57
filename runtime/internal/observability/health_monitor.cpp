#include <eventcore/runtime/internal/observability/health_monitor.hpp>

#include <algorithm>

namespace eventcore::internal {

namespace {

constexpr std::chrono::milliseconds fresh{500};
constexpr std::chrono::milliseconds longest_wait{1'000};

std::optional<std::string> run_guarded(const health_check& check) {
  try {
    return check();
  } catch (const std::exception& e) {
    return std::string{"the check failed: "} + e.what();
  } catch (...) {
    return "the check failed: something that is no std::exception was thrown";
  }
}

} // namespace

health_monitor::health_monitor()
    : thread_{[this] { run(); }} {}

health_monitor::~health_monitor() {
  stop();
}

void health_monitor::stop() {
  {
    std::lock_guard guard{mutex_};
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable())
    thread_.join();
  std::lock_guard guard{mutex_};
  checks_.clear();
}

void health_monitor::add(std::string name, health_check check) {
  std::lock_guard guard{mutex_};
  std::erase_if(checks_, [&](auto& known) { return known.name == name; });
  checks_.push_back({std::move(name), std::move(check)});
  looked_at_ = {};
}

health_report health_monitor::report() {
  std::unique_lock lock{mutex_};
  const auto asked = clock::now();
  if (asked - looked_at_ < fresh || stopping_)
    return last_;
  wanted_ = true;
  changed_.notify_all();
  if (changed_.wait_for(lock, longest_wait, [&] { return asked - looked_at_ < fresh || stopping_; }))
    return last_;
  auto known = last_;
  const auto late = std::chrono::floor<std::chrono::milliseconds>(clock::now() - began_);
  auto name = running_.empty() ? std::string{"health"} : running_;
  std::erase_if(known.checks, [&](auto& c) { return c.name == name; });
  known.checks.push_back(
      {std::move(name), "it has not been found out after " + std::to_string(late.count()) + " ms"});
  return known;
}

void health_monitor::run() {
  std::unique_lock lock{mutex_};
  for (;;) {
    changed_.wait(lock, [this] { return wanted_ || stopping_; });
    if (stopping_)
      return;
    wanted_ = false;
    const auto began = began_ = clock::now();
    const auto checks = checks_;
    health_report found;
    for (auto& entry : checks) {
      running_ = entry.name;
      lock.unlock();
      auto problem = run_guarded(entry.check);
      lock.lock();
      found.checks.push_back({entry.name, std::move(problem)});
    }
    running_.clear();
    last_ = std::move(found);
    looked_at_ = began;
    changed_.notify_all();
  }
}

} // namespace eventcore::internal
