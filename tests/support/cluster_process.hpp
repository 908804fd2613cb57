#pragma once

#include "support/account.hpp"
#include "support/child_process.hpp"
#include "support/temp_dir.hpp"
#include "support/transfers.hpp"

#include <eventcore/actors/caf.hpp>
#include <eventcore/runtime/node.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <functional>
#include <memory>
#include <optional>

namespace eventcore::test {

using namespace std::literals;

/// A port of loopback that was free a moment ago.
inline std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd, any, size) != 0 || ::getsockname(fd, any, &size) != 0)
    throw std::runtime_error{"no free port"};
  ::close(fd);
  return ntohs(address.sin_port);
}

inline std::string loopback(std::uint16_t port) {
  return "127.0.0.1:" + std::to_string(port);
}

/// Options of a node that tests run: all is faster than by default.
inline node_options member_options(const std::filesystem::path& dir, const std::string& service,
                                   std::uint16_t port, std::vector<std::string> peers = {}) {
  node_options options;
  options.name = service + "-node";
  options.journal_dir = dir / service;
  options.journal.service = service;
  options.threads = 2;
  options.cluster.emplace();
  options.cluster->listen = loopback(port);
  options.cluster->peers = std::move(peers);
  options.cluster->heartbeat = 100ms;
  options.cluster->silence = 1'000ms;
  options.cluster->patience = 2'000ms;
  options.cluster->max_reconnect = 200ms;
  return options;
}

/// What runs on the service's side of the tests: answers a deposit with itself, never answers a GetBalance, and throws at a
/// Withdraw.
inline caf::behavior echo(caf::event_based_actor* self) {
  self->set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  auto forgotten = std::make_shared<std::vector<caf::response_promise>>();
  return {
      [](const command_context&, const bank::Deposit& c) {
        return eventcore::make<bank::Balance>([&](auto& b) { b.set_cents(c.cents()); });
      },
      [](const std::string&, const command_context&, const bank::Deposit& c) {
        return eventcore::make<bank::Balance>([&](auto& b) { b.set_cents(c.cents()); });
      },
      [=](const command_context&, const bank::GetBalance&) {
        forgotten->push_back(self->make_response_promise());
        return forgotten->back();
      },
      [](const command_context&, const bank::Open& c) { return c; },
      [](const command_context&, const bank::Withdraw&) -> caf::result<bank::Balance> {
        return to_caf_error(
            make_error(entity_errc::rejected, "no money").with_reason("poor", "for a reason"));
      },
  };
}

/// A process that runs a node: accounts, transfers between them, and the actor `echo`. Started before the test has threads; it
/// can be killed, stopped and started again at any time.
class service_process {
public:
  using adapt = std::function<void(node_options&)>;
  using prepare = std::function<void(node&)>;

  explicit service_process(node_options options, prepare what = {})
      : options_{std::move(options)}
      , what_{std::move(what)}
      , nursery_{std::make_unique<child_process>([this](channel& parent) { return watch_over(parent); })} {}

  void start() {
    nursery_->say('s');
    if (nursery_->hear() != 'r')
      throw std::runtime_error{"the service did not start"};
  }
  void kill() { order('k'); }
  /// By SIGSTOP.
  void halt() { order('h'); }
  void go_on() { order('c'); }
  /// In order.
  void end() { order('e'); }

private:
  void order(char what) {
    nursery_->say(what);
    if (nursery_->hear() != what)
      throw std::runtime_error{"the service's nursery does not answer"};
  }

  /// A process without threads, which can fork whenever it is told to.
  int watch_over(channel& parent) {
    std::unique_ptr<child_process> child;
    for (;;) {
      const auto order = parent.hear();
      switch (order) {
      case 's':
        child = std::make_unique<child_process>([this](channel& nursery) { return serve(nursery); });
        parent.say(child->hear());
        continue;
      case 'k':
        child->kill();
        break;
      case 'h':
        ::kill(child->pid(), SIGSTOP);
        break;
      case 'c':
        ::kill(child->pid(), SIGCONT);
        break;
      case 'e':
        child->say('e');
        child->wait();
        break;
      default:
        return 0; // which kills the child
      }
      parent.say(order);
    }
  }

  int serve(channel& nursery) {
    auto opened = node::open(options_);
    if (!opened) {
      std::cerr << opened.error().message() << '\n';
      return 1;
    }
    auto& n = *opened;
    n.host<account>();
    n.multi_stream<transfers>();
    n.export_actor("echo", n.system().spawn(echo));
    if (what_)
      what_(n);
    if (auto joined = n.join(); !joined) {
      std::cerr << joined.error().message() << '\n';
      return 1;
    }
    nursery.say('r');
    while (nursery.hear() != 'e' && ::getppid() != 1) {
    }
    return 0;
  }

  node_options options_;
  prepare what_;
  std::unique_ptr<child_process> nursery_;
};

/// Asks again and again until `ready()`, for as long as tests are patient.
template <class F>
bool eventually(F ready) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!ready()) {
    if (std::chrono::steady_clock::now() > until)
      return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

} // namespace eventcore::test
