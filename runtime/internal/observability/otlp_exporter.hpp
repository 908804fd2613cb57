#pragma once

#include <eventcore/actors/span.hpp>
#include <eventcore/persistence/error.hpp>
#include <eventcore/runtime/admin_options.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace eventcore::internal {

/// Sends spans to a collector by OTLP over HTTP, in batches, on a thread of its own. `record` never waits for it: what does not
/// fit into the queue is dropped, and counted, and so is a batch that the collector refuses, or does not take after some tries.
class otlp_exporter final : public span_sink {
public:
  /// Error: `invalid_argument` if the endpoint is no URL.
  static result<std::shared_ptr<otlp_exporter>> start(const trace_options& options, std::string service);

  /// Tries to send what waits, for a second at most.
  ~otlp_exporter() override;

  void record(span s) noexcept override;

  std::uint64_t exported() const noexcept;
  std::uint64_t dropped() const noexcept;

private:
  struct impl;
  explicit otlp_exporter(std::unique_ptr<impl> content);
  std::unique_ptr<impl> impl_;
};

/// An `ExportTraceServiceRequest` in Protobuf's binary form. Text that is no UTF-8 is escaped, and long text is cut.
std::string encode_spans(const std::vector<span>& spans, const std::string& service);

} // namespace eventcore::internal
