#include <eventcore/actors/internal/telemetry.hpp>

#include <eventcore/actors/internal/random_bits.hpp>

#include <caf/all.hpp>

#include <algorithm>
#include <cmath>

namespace eventcore::internal {

// -- command_metrics

void command_metrics::count(std::chrono::nanoseconds took, const error* failure) noexcept {
  static std::atomic<std::size_t> threads{0};
  thread_local const auto mine = threads.fetch_add(1, std::memory_order_relaxed) % stripes;
  auto& s = stripes_[mine];
  const auto seconds = std::chrono::duration<double>{took}.count();
  std::size_t bucket = 0;
  while (bucket != bounds.size() && seconds > bounds[bucket])
    ++bucket;
  s.by_duration[bucket].fetch_add(1, std::memory_order_relaxed);
  s.nanoseconds.fetch_add(static_cast<std::uint64_t>(took.count()), std::memory_order_relaxed);
  if (failure) {
    const auto value = static_cast<std::size_t>(failure->code().value());
    const auto known = failure->code().category() == entity_category() && value < error_kinds;
    s.errors[known ? value : 0].fetch_add(1, std::memory_order_relaxed);
  }
}

command_metrics::totals command_metrics::read() const noexcept {
  totals sum;
  for (auto& s : stripes_) {
    for (std::size_t i = 0; i != s.by_duration.size(); ++i)
      sum.by_duration[i] += s.by_duration[i].load(std::memory_order_relaxed);
    sum.seconds += static_cast<double>(s.nanoseconds.load(std::memory_order_relaxed)) / 1e9;
    for (std::size_t i = 0; i != s.errors.size(); ++i)
      sum.errors[i] += s.errors[i].load(std::memory_order_relaxed);
  }
  return sum;
}

// -- subscription_metrics

void subscription_metrics::count(std::span<const recorded_event* const> events) {
  std::lock_guard guard{mutex_};
  const std::string* last = nullptr;
  std::uint64_t* counter = nullptr;
  for (auto* event : events) {
    if (!last || *last != event->type) {
      last = &event->type;
      counter = &by_type_[event->type];
    }
    ++*counter;
  }
}

std::map<std::string, std::uint64_t> subscription_metrics::events_by_type() const {
  std::lock_guard guard{mutex_};
  return by_type_;
}

metrics_list<breaker_metrics>& breakers_without_node() {
  static metrics_list<breaker_metrics> list;
  return list;
}

// -- telemetry

telemetry::telemetry(options o)
    : service_{std::move(o.service)}
    , metrics_{o.metrics}
    , spans_{std::move(o.spans)} // 2 to the power of 64 does not fit.
    , sample_below_{o.sample >= 1 ? ~std::uint64_t{0}
                                  : static_cast<std::uint64_t>(std::ldexp(std::max(o.sample, 0.0), 64))} {}

std::unique_ptr<open_span> telemetry::begin(const event_metadata& metadata, bool may_begin_trace) const {
  if (!spans_)
    return nullptr;
  std::optional<trace_context> parent;
  if (!metadata.traceparent.empty() && (parent = trace_context::parse(metadata.traceparent))) {
    if (!parent->sampled)
      return nullptr;
  } else if (!may_begin_trace || !metadata.causation_id.empty() || sample_below_ == 0 ||
             random_bits() > sample_below_) {
    return nullptr;
  }
  auto s = std::make_unique<open_span>();
  s->context = parent ? parent->child() : trace_context::begin(true);
  s->parent = parent ? parent->span : 0;
  s->begin = std::chrono::system_clock::now();
  return s;
}

namespace {

span ended(const open_span& open, std::string name, enum span::kind kind, const error* failure) {
  span s;
  s.name = std::move(name);
  s.kind = kind;
  s.context = open.context;
  s.parent = open.parent;
  s.begin = open.begin;
  s.end = std::chrono::system_clock::now();
  if (failure) {
    s.attributes.emplace_back("error.message", failure->message());
    s.failed = true;
    s.failure = failure->message();
  }
  return s;
}

} // namespace

void telemetry::end(const open_span& open, const std::string& command_type, std::string_view stream,
                    const error* failure) const {
  auto s = ended(open, "execute_command_" + command_type, span::kind::internal, failure);
  s.attributes.emplace_back("command.type", command_type);
  s.attributes.emplace_back("service.name", service_);
  s.attributes.emplace_back("command.success", failure == nullptr);
  s.attributes.emplace_back("events.written", static_cast<std::int64_t>(failure ? 0 : open.events));
  if (!stream.empty())
    s.attributes.emplace_back("eventcore.stream", std::string{stream});
  spans_->record(std::move(s));
}

void telemetry::end(const open_span& open, const recorded_event& event, const handler_run& run,
                    std::uint32_t attempt, const error* failure) const {
  auto s = ended(open, "handle_event_" + event.type, span::kind::consumer, failure);
  s.attributes.emplace_back("event.type", event.type);
  s.attributes.emplace_back("service.name", service_);
  s.attributes.emplace_back("event.success", failure == nullptr);
  s.attributes.emplace_back("eventcore.subscription", std::string{run.subscription});
  if (!run.source.empty())
    s.attributes.emplace_back("eventcore.source", std::string{run.source});
  s.attributes.emplace_back("eventcore.stream", event.stream);
  s.attributes.emplace_back("eventcore.position", static_cast<std::int64_t>(event.position));
  s.attributes.emplace_back("eventcore.attempt", static_cast<std::int64_t>(attempt));
  spans_->record(std::move(s));
}

std::shared_ptr<telemetry> telemetry_of(caf::actor_system& system) {
  auto* holder = dynamic_cast<const telemetry_holder*>(&system.config());
  return holder ? holder->content : nullptr;
}

} // namespace eventcore::internal
