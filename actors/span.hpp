#pragma once

#include <eventcore/actors/trace_context.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace eventcore {

/// A piece of work that was recorded for a trace, and has ended.
struct span {
  enum class kind : std::uint8_t {
    internal = 1,
    server,
    client,
    producer,
    consumer
  }; // as OpenTelemetry numbers them

  std::string name;
  span::kind kind = kind::internal;
  trace_context context;    ///< its own
  std::uint64_t parent = 0; ///< 0: it begins the trace
  std::chrono::system_clock::time_point begin;
  std::chrono::system_clock::time_point end;
  std::vector<std::pair<std::string, std::variant<std::string, std::int64_t, bool>>> attributes{};
  bool failed = false;
  std::string failure{}; ///< why, for people
};

/// Takes spans that have ended, to send them somewhere, say. Called from any thread; must not block or throw.
class span_sink {
public:
  virtual ~span_sink() = default;
  virtual void record(span s) noexcept = 0;
};

} // namespace eventcore
