#include "remote_front.hpp"

#include "checkout.hpp"

#include <nlohmann/json.hpp>

#include <stdexcept>
#include <thread>

namespace shop {

using namespace std::literals;
using clock = std::chrono::steady_clock;

namespace {

/// What a call has for an answer, and what an order may take, with services killed and stopped all the time.
constexpr auto call_limit = 15s;
constexpr auto longest_order = 10min;
constexpr auto pause = 100ms;

} // namespace

remote_front::remote_front(eventcore::service_handle checkout, const std::filesystem::path& history)
    : checkout_{std::move(checkout)} {
  if (history.empty())
    return;
  history_.open(history);
  if (!history_)
    throw std::runtime_error{history.string() + ": cannot be written"};
}

eventcore::result<eventcore::saga_phase> remote_front::place(const PlaceOrder& order) {
  return ask(order.order_id(), "place", order, call_limit, false);
}

eventcore::result<eventcore::saga_phase> remote_front::await(const std::string& order) {
  return ask(order, "await", AwaitOrder{}, call_limit, true);
}

eventcore::result<ShopStatus> remote_front::status() const {
  return checkout_.ask<ShopStatus>("", GetShopStatus{}, 300ms);
}

std::map<std::string, std::size_t> remote_front::repeated() const {
  std::lock_guard guard{mutex_};
  return repeated_;
}

template <class Command>
eventcore::result<eventcore::saga_phase>
remote_front::ask(const std::string& order, const char* what, const Command& command,
                  std::chrono::milliseconds within, bool until_ended) {
  using eventcore::saga_phase;
  const auto end = clock::now() + longest_order;
  for (;;) {
    eventcore::command_context context;
    context.idempotency_key = std::string{what} + '/' + order;
    const auto invoked = clock::now();
    const auto answer = checkout_.ask<OrderProgress>(order, command, within, std::move(context));
    note(order, what, invoked, answer);
    if (answer) {
      const auto phase = to_phase(answer->phase());
      if (!until_ended || (phase != saga_phase::running && phase != saga_phase::compensating))
        return phase;
      continue;
    }
    const auto& why = answer.error();
    if (why.code() == eventcore::entity_errc::rejected || clock::now() > end)
      return why;
    {
      std::lock_guard guard{mutex_};
      ++repeated_[why.code().message()];
    }
    std::this_thread::sleep_for(pause);
  }
}

void remote_front::note(const std::string& order, const char* what, clock::time_point invoked,
                        const eventcore::result<OrderProgress>& answer) {
  const auto completed = clock::now();
  std::lock_guard guard{mutex_};
  if (!history_.is_open())
    return;
  nlohmann::json line{{"order", order}, {"call", what}, {"invoked", invoked.time_since_epoch().count()}};
  if (answer) {
    line["completed"] = completed.time_since_epoch().count();
    line["answer"] = OrderProgress::Phase_Name(answer->phase());
  } else {
    line["error"] = answer.error().code().message();
  }
  history_ << line.dump() << '\n' << std::flush;
}

} // namespace shop
