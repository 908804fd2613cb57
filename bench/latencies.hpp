#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace bench {

using steady = std::chrono::steady_clock;

inline double seconds_since(steady::time_point start) {
  return std::chrono::duration<double>(steady::now() - start).count();
}

/// The durations of single requests. Sorts them when asked.
class latencies {
public:
  void add(steady::duration d) { micros_.push_back(std::chrono::duration<float, std::micro>(d).count()); }
  void add(const latencies& other) {
    micros_.insert(micros_.end(), other.micros_.begin(), other.micros_.end());
  }

  /// `share` of the requests took at most so many microseconds.
  double percentile(double share) {
    if (micros_.empty())
      return 0;
    auto at = micros_.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(micros_.size() - 1));
    std::nth_element(micros_.begin(), at, micros_.end());
    return *at;
  }

private:
  std::vector<float> micros_;
};

} // namespace bench
