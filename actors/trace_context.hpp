#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace eventcore {

/// Where in a trace something happens, as W3C Trace Context (level 1) has it: the trace, the span that caused it, and whether
/// the trace is recorded. It travels as text, in `event_metadata::traceparent` and in the header `traceparent`.
struct trace_context {
  std::uint64_t trace_high = 0; ///< the trace's id in two halves; not both are 0
  std::uint64_t trace_low = 0;
  std::uint64_t span = 0; ///< not 0
  bool sampled = false;   ///< the trace is recorded, and so are its later spans

  /// Reads `version-trace-span-flags`. Of a version after 00 it reads what it knows. Nothing: the text is no trace context, and
  /// a new trace begins.
  static std::optional<trace_context> parse(std::string_view traceparent) noexcept;

  /// The first span of a new trace, with ids at random.
  static trace_context begin(bool sampled);

  /// A new span of the same trace.
  trace_context child() const;

  /// In version 00.
  std::string str() const;
  /// 32 hexadecimal digits.
  std::string trace_id() const;
  /// 16 hexadecimal digits.
  std::string span_id() const;

  friend bool operator==(const trace_context&, const trace_context&) = default;
};

} // namespace eventcore
