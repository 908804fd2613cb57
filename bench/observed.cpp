#include "alternation.hpp"
#include "counter.hpp"
#include "entities.hpp"

#include <eventcore/actors/caf.hpp>

#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace bench {

namespace {

using namespace std::chrono_literals;

/// Takes spans and throws them away.
class collector {
public:
  collector() {
    server_.Post("/v1/traces", [this](const httplib::Request&, httplib::Response&) { ++requests; });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread{[this] { server_.listen_after_bind(); }};
  }
  ~collector() {
    server_.stop();
    thread_.join();
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

  std::atomic<std::size_t> requests{0};

private:
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

/// Reads a page once a second, as Prometheus would do every fifteen.
class scraper {
public:
  explicit scraper(const std::string& address)
      : thread_{[this, address] {
        httplib::Client client{"http://" + address};
        std::unique_lock lock{mutex_};
        do {
          lock.unlock();
          if (auto page = client.Get("/metrics"); page && page->status == 200)
            ++pages;
          lock.lock();
        } while (!ended_.wait_for(lock, std::chrono::seconds{1}, [this] { return end_; }));
      }} {}
  ~scraper() {
    {
      std::lock_guard guard{mutex_};
      end_ = true;
    }
    ended_.notify_all();
    thread_.join();
  }

  std::atomic<std::size_t> pages{0};

private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  std::thread thread_;
};

} // namespace

figure durable_command_observed(run_context& context) {
  collector spans;
  std::size_t pages = 0;
  std::size_t round = 0;
  auto run = [&](bool observed) {
    eventcore::node_options options;
    options.name = "bench";
    options.journal_dir = context.dir / std::to_string(round++);
    options.metrics = observed;
    if (observed) {
      options.admin.listen = "0";
      options.trace.endpoint = spans.url();
      options.trace.sample = 0.01;
    }
    figure f;
    {
      auto opened = eventcore::node::open(options);
      if (!opened)
        throw std::runtime_error(opened.error().message());
      auto node = *std::move(opened);
      auto host = eventcore::actor_of(node.host<counter>());
      std::unique_ptr<scraper> reader;
      if (observed)
        reader = std::make_unique<scraper>(node.admin_address());
      f = drive_adds(node.system(), {.warm_up = 0.1s, .length = context.round_length()}, host, 10'000);
      if (reader)
        pages += reader->pages;
    }
    std::filesystem::remove_all(options.journal_dir);
    return f;
  };
  auto f = alternate(
      context.rounds(), [&] { return run(true); }, [&] { return run(false); });
  if (pages == 0 || spans.requests == 0)
    throw std::runtime_error("durable_command_observed: nobody observed it");
  f.note += std::to_string(pages) + " pages were scraped, " + std::to_string(spans.requests) +
            " batches of spans taken by a collector in the same process";
  return f;
}

} // namespace bench
