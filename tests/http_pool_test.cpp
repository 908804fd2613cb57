// The threads behind the HTTP client, without the actor in front of them.

#include "support/journal_helpers.hpp"
#include "support/raw_server.hpp"

#include <eventcore/runtime/internal/http/http_pool.hpp>

#include <atomic>
#include <future>
#include <thread>

using namespace eventcore;
using namespace eventcore::internal;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

void answer_all(raw_server::peer& peer) {
  while (peer.read_head() && peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) {
  }
}

void never_answer(raw_server::peer& peer) {
  peer.wait_until_gone();
}

http_job_ptr job_of(std::uint64_t id) {
  return std::make_shared<http_job>(http_job{.method = "GET",
                                             .what = "GET /",
                                             .path = "/",
                                             .body = {},
                                             .headers = {},
                                             .deadline = std::chrono::steady_clock::now() + patience,
                                             .id = id});
}

/// A pool of three connections, and what it has finished.
struct pooled {
  explicit pooled(void (*script)(raw_server::peer&))
      : server{script}
      , pool{target(), [this](const http_job_ptr& job) { take(job); }} {}

  std::shared_ptr<const http_target> target() const {
    http_target_options options;
    options.url = server.url();
    options.connections = 3;
    return std::make_shared<const http_target>(must(http_target::of(std::move(options))));
  }

  void take(const http_job_ptr& job) {
    std::lock_guard guard{mutex};
    finished.push_back(job);
    changed.notify_all();
  }

  void wait_for(std::size_t count) {
    std::unique_lock lock{mutex};
    BOOST_REQUIRE(changed.wait_for(lock, patience, [&] { return finished.size() >= count; }));
  }

  void wait_for_connections(std::size_t count) const {
    while (server.accepted() < count)
      std::this_thread::yield();
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<http_job_ptr> finished;
  raw_server server;
  http_pool pool;
};

} // namespace

BOOST_AUTO_TEST_CASE(jobs_of_many_threads_are_each_finished_once) {
  constexpr std::uint64_t each = 50;
  pooled p{answer_all};
  p.pool.submit(job_of(4 * each)); // alone: ThreadSanitizer does not see what guards the library's statics
  p.wait_for(1);
  p.finished.clear();
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t != 4; ++t)
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i != each; ++i)
        p.pool.submit(job_of(t * each + i));
    });
  for (auto& thread : threads)
    thread.join();
  p.wait_for(4 * each);
  p.pool.stop();
  std::vector<bool> seen(4 * each);
  for (auto& job : p.finished) {
    BOOST_TEST(!seen[job->id]);
    seen[job->id] = true;
    BOOST_TEST((*job->outcome)->status() == 200);
  }
  BOOST_TEST(p.finished.size() == 4 * each);
  BOOST_TEST(p.server.accepted() <= 3u);
}

BOOST_AUTO_TEST_CASE(a_job_is_taken_back_before_it_begins_and_broken_off_after) {
  pooled p{never_answer};
  std::vector<http_job_ptr> jobs;
  for (std::uint64_t i = 0; i != 4; ++i)
    p.pool.submit(jobs.emplace_back(job_of(i)));
  p.wait_for_connections(3);
  BOOST_TEST(p.pool.cancel(jobs[3]));
  BOOST_TEST(!p.pool.cancel(jobs[1]));
  p.wait_for(1);
  std::lock_guard guard{p.mutex};
  BOOST_TEST(p.finished.front()->id == 1u);
  BOOST_TEST(!p.finished.front()->outcome->has_value());
}

BOOST_AUTO_TEST_CASE(the_end_returns_what_has_not_begun) {
  pooled p{never_answer};
  for (std::uint64_t i = 0; i != 5; ++i)
    p.pool.submit(job_of(i));
  p.wait_for_connections(3);
  BOOST_TEST(p.pool.stop().size() == 2u);
  BOOST_TEST(p.pool.stop().empty());
  p.pool.submit(job_of(5));
  BOOST_TEST(p.finished.empty());
}

BOOST_AUTO_TEST_CASE(a_pool_ends_from_a_thread_of_its_own) {
  raw_server server{answer_all};
  http_target_options options;
  options.url = server.url();
  const auto target = std::make_shared<const http_target>(must(http_target::of(std::move(options))));
  const auto ended = std::make_shared<std::promise<void>>();
  std::unique_ptr<http_pool> pool;
  pool = std::make_unique<http_pool>(target, [&pool, ended](const http_job_ptr&) {
    pool->stop();
    ended->set_value();
  });
  pool->submit(job_of(0));
  BOOST_REQUIRE((ended->get_future().wait_for(patience) == std::future_status::ready));
}

BOOST_AUTO_TEST_CASE(the_end_comes_at_any_moment) {
  for (int round = 0; round != 50; ++round) {
    pooled p{answer_all};
    std::atomic<std::uint64_t> submitted = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t != 2; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i != 20; ++i)
          p.pool.submit(job_of(submitted++));
      });
    while (submitted < static_cast<std::uint64_t>(round % 40))
      std::this_thread::yield();
    const auto returned = p.pool.stop();
    for (auto& thread : threads)
      thread.join();
    std::lock_guard guard{p.mutex};
    BOOST_TEST(returned.size() + p.finished.size() <= submitted);
  }
}
