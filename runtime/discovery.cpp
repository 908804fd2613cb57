#include <eventcore/runtime/discovery.hpp>

#include <eventcore/runtime/registry_errc.hpp>

#include <spdlog/spdlog.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

namespace eventcore {

namespace {

using steady_clock = std::chrono::steady_clock;

/// What is asked again and again, and how it went.
class errand {
public:
  errand(std::string what, std::chrono::milliseconds every, std::chrono::milliseconds retry)
      : what_{std::move(what)}
      , every_{every}
      , retry_{std::min(retry, every)}
      , pause_{retry_} {}

  steady_clock::time_point due() const noexcept { return due_; }
  const std::optional<error>& problem() const noexcept { return problem_; }

  void at_once() noexcept { due_ = steady_clock::time_point::min(); }

  void succeeded() {
    if (problem_)
      spdlog::info("discovery: {} succeeds again", what_);
    problem_.reset();
    pause_ = retry_;
    due_ = steady_clock::now() + every_;
  }

  void failed(const error& why) {
    if (!problem_ || problem_->code() != why.code())
      spdlog::warn("discovery: {} fails, and is tried again: {}", what_, why.message());
    problem_ = why;
    due_ = steady_clock::now() + pause_;
    pause_ = std::min(pause_ * 2, every_);
  }

private:
  std::string what_;
  std::chrono::milliseconds every_;
  std::chrono::milliseconds retry_;
  std::chrono::milliseconds pause_;
  steady_clock::time_point due_ = steady_clock::time_point::min();
  std::optional<error> problem_{};
};

struct watched {
  errand question;
  std::optional<std::vector<service_info>> known{}; ///< nothing: there was no answer yet
};

} // namespace

struct discovery::state {
  state(std::shared_ptr<service_registry> where, discovery_options how, listener whom)
      : registry{std::move(where)}
      , options{how}
      , on_change{std::move(whom)}
      , thread{[this] { run(); }} {}

  void run() {
    std::unique_lock lock{mutex};
    while (!stopping) {
      const auto now = steady_clock::now();
      auto next = steady_clock::time_point::max();
      if (leaving)
        leave(lock);
      else if (self && renewal.due() <= now)
        renew(lock);
      else if (auto* asked = most_urgent(); asked && asked->second.question.due() <= now)
        ask(*asked, lock);
      else {
        if (self)
          next = renewal.due();
        if (asked)
          next = std::min(next, asked->second.question.due());
        if (next == steady_clock::time_point::max())
          changed.wait(lock);
        else
          changed.wait_until(lock, next);
      }
    }
  }

  using services = std::map<std::string, watched>;

  services::value_type* most_urgent() {
    services::value_type* first = nullptr;
    for (auto& service : watching)
      if (!first || service.second.question.due() < first->second.question.due())
        first = &service;
    return first;
  }

  void renew(std::unique_lock<std::mutex>& lock) {
    const auto instance = *self;
    const auto announced = announcements;
    lock.unlock();
    const auto entered = registry->enter(instance);
    lock.lock();
    if (entered)
      renewal.succeeded();
    else
      renewal.failed(entered.error());
    if (entered)
      registered = instance.id;
    else if (entered.error().code() == registry_errc::id_taken)
      registered.clear(); // the other one's is not to be withdrawn
    if (announced != announcements)
      renewal.at_once();
  }

  void leave(std::unique_lock<std::mutex>& lock) {
    self.reset();
    if (auto id = std::exchange(registered, {}); !id.empty()) {
      lock.unlock();
      const auto withdrawn = registry->withdraw(id);
      lock.lock();
      if (!withdrawn)
        spdlog::warn("discovery: {}; the registration will expire", withdrawn.error().message());
    }
    if (!self) // else it was announced again meanwhile
      renewal.succeeded();
    leaving = false;
    changed.notify_all();
  }

  /// Services are never taken from the map, so `service` stays where it is.
  void ask(services::value_type& service, std::unique_lock<std::mutex>& lock) {
    auto& [type, about] = service;
    lock.unlock();
    auto found = registry->discover(type);
    lock.lock();
    if (!found) {
      about.question.failed(found.error());
      return;
    }
    about.question.succeeded();
    if (about.known == *found)
      return;
    about.known = *found;
    if (on_change) {
      lock.unlock();
      on_change(type, *found);
      lock.lock();
    }
  }

  const std::shared_ptr<service_registry> registry;
  const discovery_options options;
  const listener on_change;
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<service_info> self{};
  std::uint64_t announcements = 0;
  std::string registered{}; ///< id; empty: nothing is to be withdrawn
  errand renewal{"the registration", options.renew, options.retry};
  services watching{};
  bool leaving = false;
  bool stopping = false;
  std::thread thread; // uses all of it
};

discovery::discovery(std::shared_ptr<service_registry> registry, discovery_options options,
                     listener on_change)
    : state_{std::make_unique<state>(std::move(registry), options, std::move(on_change))} {}

discovery::~discovery() {
  withdraw();
  {
    std::lock_guard lock{state_->mutex};
    state_->stopping = true;
  }
  state_->changed.notify_all();
  state_->thread.join();
}

void discovery::announce(service_info self) {
  if (self.registered_at == timestamp{})
    self.registered_at = std::chrono::floor<timestamp::duration>(std::chrono::system_clock::now());
  {
    std::lock_guard lock{state_->mutex};
    state_->self = std::move(self);
    ++state_->announcements;
    state_->renewal.at_once();
  }
  state_->changed.notify_all();
}

void discovery::withdraw() {
  std::unique_lock lock{state_->mutex};
  if (!state_->self && state_->registered.empty())
    return;
  state_->leaving = true;
  state_->changed.notify_all();
  state_->changed.wait(lock, [this] { return !state_->leaving; });
}

void discovery::watch(const std::string& type) {
  {
    std::lock_guard lock{state_->mutex};
    const auto& options = state_->options;
    state_->watching.try_emplace(type,
                                 watched{errand{"looking for " + type, options.refresh, options.retry}});
  }
  state_->changed.notify_all();
}

std::vector<service_info> discovery::known(const std::string& type) const {
  std::lock_guard lock{state_->mutex};
  auto found = state_->watching.find(type);
  return found == state_->watching.end() || !found->second.known ? std::vector<service_info>{}
                                                                 : *found->second.known;
}

result<void> discovery::health() const {
  std::lock_guard lock{state_->mutex};
  if (state_->self && state_->renewal.problem())
    return *state_->renewal.problem();
  for (const auto& [type, about] : state_->watching)
    if (about.question.problem())
      return *about.question.problem();
  return {};
}

} // namespace eventcore
