#include "customers.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <thread>

namespace shop {

using namespace std::literals;

namespace {

/// Counts, and says how far a run is, twice a second and at its end.
class progress {
public:
  progress(std::size_t all, std::function<void(const run_counts&)> tell, std::function<void()> more_to_say)
      : tell_{std::move(tell)}
      , more_to_say_{std::move(more_to_say)}
      , counts_{all}
      , thread_{[this](std::stop_token end) { show(end); }} {}

  void started() {
    change([](run_counts& c) { ++c.started; });
  }
  void ended(eventcore::saga_phase phase) {
    change([phase](run_counts& c) {
      ++(phase == eventcore::saga_phase::completed     ? c.completed
         : phase == eventcore::saga_phase::compensated ? c.compensated
                                                       : c.stuck);
    });
  }

private:
  void change(auto what) {
    std::lock_guard guard{mutex_};
    what(counts_);
    if (tell_)
      tell_(counts_);
  }

  void show(std::stop_token end) {
    std::condition_variable_any wake;
    std::unique_lock guard{mutex_};
    do {
      wake.wait_for(guard, end, 500ms, [] { return false; });
      const auto now = counts_;
      guard.unlock();
      std::cerr << "  " << now.ended() << " of " << now.all << " orders have ended: " << now.completed
                << " completed, " << now.compensated << " compensated, " << now.stuck << " stuck; "
                << now.started - now.ended() << " under way" << std::endl;
      if (more_to_say_)
        more_to_say_();
      guard.lock();
    } while (!end.stop_requested());
  }

  std::function<void(const run_counts&)> tell_;
  std::function<void()> more_to_say_;
  std::mutex mutex_;
  run_counts counts_;
  std::jthread thread_;
};

} // namespace

std::string fulfil(const shop_front& shop, const std::vector<PlaceOrder>& orders, std::size_t at_once,
                   std::function<void(const run_counts&)> tell, std::function<void()> more_to_say) {
  progress shown{orders.size(), std::move(tell), std::move(more_to_say)};
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::string failure;
  const auto fail = [&](const PlaceOrder& order, const eventcore::error& why) {
    std::lock_guard guard{mutex};
    if (failure.empty())
      failure = "order " + order.order_id() + ": " + why.message();
    next = orders.size();
  };
  std::vector<std::jthread> customers;
  for (std::size_t i = 0; i < std::min(at_once, orders.size()); ++i)
    customers.emplace_back([&] {
      for (std::size_t n; (n = next++) < orders.size();) {
        auto& order = orders[n];
        if (auto started = shop.place(order); !started)
          return fail(order, started.error());
        shown.started();
        auto ended = shop.await(order.order_id());
        if (!ended)
          return fail(order, ended.error());
        shown.ended(*ended);
      }
    });
  customers.clear();
  return failure;
}

} // namespace shop
