// What runs the actors of a node: nothing is lost, nothing waits for a worker that is busy, and nobody is kept waiting for ever.

#include <eventcore/runtime/internal/job_pool.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <future>
#include <thread>

using namespace eventcore::internal;
using namespace std::chrono_literals;

namespace {

/// The pool never looks into a job.
job_pool::job* job(std::uintptr_t number) {
  return reinterpret_cast<job_pool::job*>(number);
}
std::uintptr_t number_of(const job_pool::job* j) {
  return reinterpret_cast<std::uintptr_t>(j);
}

constexpr std::uintptr_t end_of_work = 1;

/// Workers that do `work(worker, number)` with each job, until they take `end_of_work`.
template <class Work>
std::vector<std::jthread> start(job_pool& pool, std::size_t workers, Work work) {
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i != workers; ++i)
    threads.emplace_back([&pool, i, work] {
      for (auto n = number_of(pool.take(i)); n != end_of_work; n = number_of(pool.take(i)))
        work(i, n);
    });
  return threads;
}

void end(job_pool& pool, std::vector<std::jthread>& threads) {
  for (std::size_t i = 0; i != threads.size(); ++i)
    pool.put(job(end_of_work));
  threads.clear();
}

} // namespace

BOOST_AUTO_TEST_SUITE(job_pool_test)

/// Jobs beget jobs, from outside come more, in bursts and one at a time, so that workers are busy, look around, fall asleep and are
/// called at all moments.
BOOST_AUTO_TEST_CASE(each_job_is_taken_once) {
  constexpr std::size_t sources = 2, rounds = 4'000, offspring = 3;
  for (const std::size_t workers : {1, 2, 5})
    for (const auto look_time : {0us, 20us, 5'000us}) {
      job_pool pool{workers, look_time};
      std::vector<std::atomic<int>> taken(2 + sources * rounds * (1 + offspring));
      std::atomic<std::size_t> done = 0;
      // Its first job puts the others of its family.
      auto threads = start(pool, workers, [&](std::size_t worker, std::uintptr_t n) {
        ++taken[n];
        ++done;
        if ((n - 2) % (1 + offspring) == 0) {
          pool.put_next(worker, job(n + 1));
          pool.put_next(worker, job(n + 2));
          pool.put_last(worker, job(n + 3));
        }
      });
      std::vector<std::jthread> putting;
      for (std::size_t source = 0; source != sources; ++source)
        putting.emplace_back([&, source] {
          for (std::size_t i = 0; i != rounds; ++i) {
            const auto first = 2 + (source * rounds + i) * (1 + offspring);
            const auto before = done.load();
            pool.put(job(first));
            if (i % 3 == source) // until something was done, it waits: all may be asleep then
              while (done == before)
                std::this_thread::yield();
          }
        });
      putting.clear();
      while (done != taken.size() - 2)
        std::this_thread::yield();
      end(pool, threads);
      for (std::size_t n = 2; n != taken.size(); ++n)
        if (taken[n] != 1)
          BOOST_ERROR("job " << n << " was taken " << taken[n] << " times");
      BOOST_TEST(!pool.take_rest());
    }
}

BOOST_AUTO_TEST_CASE(what_a_busy_worker_leaves_wakes_one_that_sleeps) {
  job_pool pool{2, 0us};
  for (int i = 0; i != 1'000; ++i) {
    std::promise<void> ran;
    auto other_ran = ran.get_future().share();
    auto threads = start(pool, 2, [&](std::size_t worker, std::uintptr_t n) {
      if (n == 2) {
        pool.put_next(worker, job(3));
        other_ran.wait(); // it does not return to its queue before
      } else {
        ran.set_value();
      }
    });
    pool.put(job(2));
    other_ran.wait();
    end(pool, threads);
  }
}

BOOST_AUTO_TEST_CASE(jobs_from_outside_go_to_workers_without_work) {
  constexpr std::size_t workers = 4;
  for (const auto look_time : {0us, 5'000us}) {
    job_pool pool{workers, look_time};
    std::atomic<std::size_t> at_work = 0;
    // None of them ends before all have begun.
    auto threads = start(pool, workers, [&](std::size_t, std::uintptr_t) {
      for (++at_work; at_work < workers;)
        std::this_thread::yield();
    });
    for (std::size_t i = 0; i != workers; ++i)
      pool.put(job(2 + i));
    while (at_work < workers)
      std::this_thread::yield();
    end(pool, threads);
    BOOST_TEST(at_work == workers);
  }
}

BOOST_AUTO_TEST_CASE(what_was_put_next_comes_next_and_the_rest_in_order) {
  job_pool pool{1};
  for (std::uintptr_t n = 2; n != 5; ++n)
    pool.put(job(n));
  pool.put_next(0, job(10));
  pool.put_last(0, job(5));
  pool.put_next(0, job(11));
  for (const std::uintptr_t expected : {11, 2, 3, 4, 5, 10})
    BOOST_TEST(number_of(pool.take(0)) == expected);
  BOOST_TEST(!pool.take_rest());
}

BOOST_AUTO_TEST_CASE(two_that_talk_with_each_other_keep_nobody_waiting) {
  job_pool pool{1};
  pool.put(job(2));
  std::size_t taken = 0;
  do {
    pool.put_next(0, job(3 + taken % 2));
    ++taken;
  } while (number_of(pool.take(0)) != 2 && taken < 1'000);
  BOOST_TEST(taken == 8u);
}

BOOST_AUTO_TEST_CASE(the_rest_can_be_taken_when_the_workers_have_ended) {
  job_pool pool{3};
  for (std::uintptr_t n = 2; n != 9; ++n)
    pool.put(job(n));
  pool.put_next(1, job(9));
  std::array<int, 10> taken{};
  while (auto* j = pool.take_rest())
    ++taken[number_of(j)];
  for (std::size_t n = 2; n != taken.size(); ++n)
    BOOST_TEST(taken[n] == 1);
}

BOOST_AUTO_TEST_SUITE_END()
