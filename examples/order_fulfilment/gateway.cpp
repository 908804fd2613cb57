#include "gateway.hpp"

#include "payment.hpp"

#include <eventcore/runtime/node.hpp>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

namespace shop {

using namespace std::literals;
using nlohmann::json;

struct gateway::impl {
  impl(eventcore::node&& opened, const faults& which, std::chrono::milliseconds answers_late_by)
      : node{std::move(opened)}
      , injected{which}
      , late{answers_late_by} {
    server.set_tcp_nodelay(true); // head and body are written one after the other
    server.new_task_queue = [] { return new httplib::ThreadPool(32); };
    server.Post("/payments", [this](auto& request, auto& response) { take(request, response); });
    server.Delete(R"(/payments/([A-Za-z0-9_.-]+))", [this](auto& request, auto& response) {
      const auto order = request.matches[1].str();
      if (injected.sticks("payment", order))
        return say(response, 409, {{"error", "the payment cannot be cancelled"}});
      answer(response, payments.ask(order, CancelPayment{}, patience,
                                    keyed(request.get_header_value("Idempotency-Key"))));
    });
  }

  ~impl() {
    {
      std::lock_guard guard{mutex};
      stopping = true;
    }
    stop.notify_all();
    server.stop();
  }

  static eventcore::command_context keyed(std::string key) {
    eventcore::command_context context;
    context.idempotency_key = std::move(key);
    return context;
  }

  static void say(httplib::Response& response, int status, const json& body) {
    response.status = status;
    response.set_content(body.dump(), "application/json");
  }

  static void answer(httplib::Response& response, const eventcore::result<Payment>& found) {
    if (!found)
      return say(response, found.error().code() == eventcore::entity_errc::rejected ? 409 : 503,
                 {{"error", found.error().message()}});
    if (found->status() == Payment::CANCELLED && found->cents() == 0)
      return say(response, 404, {{"error", "nothing was taken for this order"}});
    say(response, 200,
        {{"status", found->status() == Payment::TAKEN ? "taken" : "cancelled"}, {"cents", found->cents()}});
  }

  void take(const httplib::Request& request, httplib::Response& response) {
    const auto body = json::parse(request.body, nullptr, false);
    if (!body.is_object() || !body.contains("order_id") || !body["order_id"].is_string() ||
        !body.contains("customer_id") || !body["customer_id"].is_string() || !body.contains("cents") ||
        !body["cents"].is_number_integer())
      return say(response, 400, {{"error", "wanted: order_id, customer_id and cents"}});
    const auto order = body["order_id"].get<std::string>();
    const auto met = fault_of(order);
    if (met == fault::fail)
      return say(response, 402, {{"error", "the payment is declined"}});
    auto command = eventcore::make<TakePayment>([&](auto& c) {
      c.set_customer_id(body["customer_id"].get<std::string>());
      c.set_cents(body["cents"].get<std::int64_t>());
    });
    answer(response, payments.ask(order, std::move(command), patience,
                                  keyed(request.get_header_value("Idempotency-Key"))));
    if (met == fault::lie)
      say(response, 500, {{"error", "something went wrong"}});
    if (met == fault::slow) {
      std::unique_lock guard{mutex};
      stop.wait_for(guard, late, [&] { return stopping; });
    }
  }

  fault fault_of(const std::string& order) {
    const auto met = injected.of("payment", order);
    if (met != fault::slow && met != fault::lie)
      return met;
    if (injected.every_time("payment", order))
      return met;
    std::lock_guard guard{mutex};
    return met_before.insert(order).second ? met : fault::none;
  }

  static constexpr auto patience = 5s;

  eventcore::node node;
  eventcore::host<payment> payments = node.host<payment>();
  const faults injected;
  const std::chrono::milliseconds late;
  std::mutex mutex;
  std::condition_variable stop;
  bool stopping = false;
  std::set<std::string> met_before;
  httplib::Server server;
  int port = 0;
  std::jthread thread; // ends before all else
};

eventcore::result<std::unique_ptr<gateway>>
gateway::open(const std::filesystem::path& dir, const faults& which, std::chrono::milliseconds late) {
  eventcore::node_options options;
  options.journal_dir = dir;
  options.journal.service = "payment_gateway";
  options.journal.categories = {std::string{payment::category}};
  options.threads = 1;
  auto node = eventcore::node::open(options);
  if (!node)
    return node.error();
  auto content = std::make_unique<impl>(*std::move(node), which, late);
  content->port = content->server.bind_to_any_port("127.0.0.1");
  if (content->port <= 0)
    return eventcore::make_error(eventcore::journal_errc::io_error,
                                 "the payment gateway finds no free port on 127.0.0.1");
  content->thread = std::jthread{[server = &content->server] { server->listen_after_bind(); }};
  while (!content->server.is_running()) // it must run before it can be stopped
    std::this_thread::yield();
  return std::unique_ptr<gateway>{new gateway{std::move(content)}};
}

gateway::gateway(std::unique_ptr<impl> content)
    : impl_{std::move(content)} {}
gateway::~gateway() = default;

std::string gateway::url() const {
  return "http://127.0.0.1:" + std::to_string(impl_->port);
}

eventcore::journal& gateway::journal() noexcept {
  return impl_->node.journal();
}

} // namespace shop
