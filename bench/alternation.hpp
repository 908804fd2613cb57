#pragma once

#include "scenario.hpp"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <vector>

namespace bench {

/// The middle one of `values`.
inline double median(std::vector<double> values) {
  auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

/// Runs `measured` and `baseline` in alternation, each before the other in turn: a disk's pace, and what else the machine does,
/// change from second to second. Both return a figure per second. The result is the round of `measured` whose rate is the
/// median, with the median of the rounds' ratios; the note says how far these differ, what the processors took, and how the
/// latencies compare.
template <class Measured, class Baseline>
figure alternate(std::size_t rounds, Measured measured, Baseline baseline) {
  struct round {
    figure load;
    double processor_time; // of all threads, for each thing done
  };
  auto timed = [](auto& load) {
    auto begin = std::clock();
    auto f = load();
    return round{f, static_cast<double>(std::clock() - begin) / std::max(f.value, 1.0)};
  };
  std::vector<figure> all;
  std::vector<double> rates, ratios, costs, latencies;
  std::string failures;
  for (std::size_t i = 0; i != rounds; ++i) {
    auto first = i % 2 == 0 ? timed(measured) : timed(baseline);
    auto second = i % 2 == 0 ? timed(baseline) : timed(measured);
    auto& with = i % 2 == 0 ? first : second;
    auto& without = i % 2 == 0 ? second : first;
    all.push_back(with.load);
    rates.push_back(with.load.value);
    ratios.push_back(with.load.value / without.load.value);
    costs.push_back(with.processor_time / without.processor_time);
    if (with.load.p50_us > 0 && without.load.p50_us > 0)
      latencies.push_back(with.load.p50_us / without.load.p50_us);
    failures += with.load.note + without.load.note;
  }
  auto f = *std::ranges::find(all, median(rates), &figure::value);
  f.ratio = median(ratios);
  char text[160];
  std::snprintf(text, sizeof(text),
                "%zu rounds in alternation, ratios %.2f to %.2f, %.2f times the processor time; ", rounds,
                std::ranges::min(ratios), std::ranges::max(ratios), median(costs));
  f.note = failures + text;
  if (latencies.size() == rounds) {
    std::snprintf(text, sizeof(text), "%.2f times the latency (p50; %.2f to %.2f); ", median(latencies),
                  std::ranges::min(latencies), std::ranges::max(latencies));
    f.note += text;
  }
  return f;
}

} // namespace bench
