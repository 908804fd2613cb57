#include <eventcore/runtime/internal/observability/otlp_exporter.hpp>

#include <eventcore/persistence/errc.hpp>
#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/runtime/internal/http/http_connection.hpp>
#include <eventcore/runtime/internal/observability/otlp.pb.h>

#include <spdlog/spdlog.h>

#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace eventcore::internal {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr std::size_t max_text = 2'048;
constexpr int tries = 4;
constexpr std::chrono::milliseconds first_pause{500};
constexpr std::chrono::milliseconds last_calls{1'000};

std::string bytes_of(std::uint64_t n) {
  std::string bytes(8, '\0');
  for (int i = 7; i >= 0; --i, n >>= 8)
    bytes[static_cast<std::size_t>(i)] = static_cast<char>(n & 0xff);
  return bytes;
}

std::string text_of(const std::string& text) {
  return is_utf8(text) && text.size() <= max_text ? text : quoted(text, max_text);
}

std::uint64_t nanoseconds(std::chrono::system_clock::time_point t) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count());
}

void put(otlp::KeyValue& to, const std::string& key, const std::string& value) {
  to.set_key(key);
  to.mutable_value()->set_string_value(text_of(value));
}
void put(otlp::KeyValue& to, const std::string& key, std::int64_t value) {
  to.set_key(key);
  to.mutable_value()->set_int_value(value);
}
void put(otlp::KeyValue& to, const std::string& key, bool value) {
  to.set_key(key);
  to.mutable_value()->set_bool_value(value);
}

/// Whether the collector may take the same later.
bool is_worth_repeating(const error& why) {
  return why.code() != http_errc::invalid_request &&
         (why.code() != http_errc::request_failed || why.reason() == "429" || why.reason() == "502" ||
          why.reason() == "503" || why.reason() == "504");
}

} // namespace

std::string encode_spans(const std::vector<span>& spans, const std::string& service) {
  otlp::ExportTraceServiceRequest request;
  auto& of_resource = *request.add_resource_spans();
  put(*of_resource.mutable_resource()->add_attributes(), "service.name", service);
  put(*of_resource.mutable_resource()->add_attributes(), "telemetry.sdk.name", std::string{"eventcore"});
  auto& of_scope = *of_resource.add_scope_spans();
  of_scope.mutable_scope()->set_name("eventcore");
  for (auto& s : spans) {
    auto& to = *of_scope.add_spans();
    to.set_trace_id(bytes_of(s.context.trace_high) + bytes_of(s.context.trace_low));
    to.set_span_id(bytes_of(s.context.span));
    if (s.parent != 0)
      to.set_parent_span_id(bytes_of(s.parent));
    to.set_name(text_of(s.name));
    to.set_kind(static_cast<int>(s.kind));
    to.set_start_time_unix_nano(nanoseconds(s.begin));
    to.set_end_time_unix_nano(nanoseconds(std::max(s.begin, s.end)));
    for (auto& [key, value] : s.attributes)
      std::visit([&, &name = key](auto& v) { put(*to.add_attributes(), name, v); }, value);
    if (s.failed) {
      to.mutable_status()->set_code(2);
      to.mutable_status()->set_message(text_of(s.failure));
    }
    to.set_flags(1);
  }
  return request.SerializeAsString();
}

struct otlp_exporter::impl {
  impl(const trace_options& how, std::string from, std::shared_ptr<const http_target> to)
      : options{how}
      , service{std::move(from)}
      , target{std::move(to)} {}

  void run();
  void send(const std::vector<span>& batch);
  std::optional<error> post(const std::string& body, clock::time_point deadline);

  trace_options options;
  std::string service;
  std::shared_ptr<const http_target> target;
  http_connection connection{target};

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<span> waiting;
  std::optional<clock::time_point> stop_by{}; ///< there is one: it is stopping
  bool ended = false;
  std::atomic<std::uint64_t> exported{0};
  std::atomic<std::uint64_t> dropped{0};
  bool failing = false; ///< and said so
  std::thread thread;
};

otlp_exporter::otlp_exporter(std::unique_ptr<impl> content)
    : impl_{std::move(content)} {
  impl_->thread = std::thread{[this] { impl_->run(); }};
}

result<std::shared_ptr<otlp_exporter>> otlp_exporter::start(const trace_options& options,
                                                            std::string service) {
  http_target_options to;
  to.name = "the trace collector";
  to.url = options.endpoint;
  to.call_limit = std::max(options.call_limit, 1ms);
  to.connect_limit = std::min(to.connect_limit, to.call_limit);
  auto target = http_target::of(std::move(to));
  if (!target)
    return make_error(journal_errc::invalid_argument, "trace.endpoint: " + target.error().message());
  auto checked = options;
  checked.max_waiting = std::max<std::size_t>(options.max_waiting, 1);
  checked.batch = std::clamp<std::size_t>(options.batch, 1, checked.max_waiting);
  auto made = std::make_unique<impl>(checked, std::move(service),
                                     std::make_shared<const http_target>(*std::move(target)));
  return std::shared_ptr<otlp_exporter>{new otlp_exporter{std::move(made)}};
}

otlp_exporter::~otlp_exporter() {
  {
    std::unique_lock lock{impl_->mutex};
    impl_->stop_by = clock::now() + last_calls;
    impl_->changed.notify_all();
    impl_->changed.wait_until(lock, *impl_->stop_by, [this] { return impl_->ended; });
  }
  impl_->connection.break_off();
  impl_->thread.join();
}

void otlp_exporter::record(span s) noexcept {
  bool full = false;
  try {
    std::lock_guard guard{impl_->mutex};
    if (impl_->waiting.size() >= impl_->options.max_waiting) {
      ++impl_->dropped;
      return;
    }
    impl_->waiting.push_back(std::move(s));
    full = impl_->waiting.size() % impl_->options.batch == 0;
  } catch (...) {
    ++impl_->dropped;
  }
  if (full)
    impl_->changed.notify_one();
}

std::uint64_t otlp_exporter::exported() const noexcept {
  return impl_->exported;
}

std::uint64_t otlp_exporter::dropped() const noexcept {
  return impl_->dropped;
}

void otlp_exporter::impl::run() {
  // Signals are for the program's own threads; SIGPIPE would end the process when the collector closes early.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::vector<span> batch;
  std::unique_lock lock{mutex};
  for (;;) {
    changed.wait_for(lock, options.interval, [this] { return waiting.size() >= options.batch || stop_by; });
    while (!waiting.empty()) {
      const auto count = static_cast<std::ptrdiff_t>(std::min(waiting.size(), options.batch));
      batch.assign(std::make_move_iterator(waiting.begin()),
                   std::make_move_iterator(waiting.begin() + count));
      waiting.erase(waiting.begin(), waiting.begin() + count);
      lock.unlock();
      send(batch);
      batch.clear();
      lock.lock();
      if (waiting.size() < options.batch && !stop_by)
        break;
    }
    if (stop_by)
      break;
  }
  ended = true;
  changed.notify_all();
}

void otlp_exporter::impl::send(const std::vector<span>& batch) {
  const auto body = encode_spans(batch, service);
  auto pause = first_pause;
  for (int tried = 1;; ++tried, pause *= 2) {
    bool is_last = false;
    auto deadline = clock::now() + options.call_limit;
    {
      // Under the lock, so that what the end breaks off is this call or a later one, which is the last.
      std::lock_guard guard{mutex};
      connection.begin();
      is_last = stop_by.has_value();
      if (is_last)
        deadline = std::min(deadline, *stop_by);
    }
    const auto why = post(body, deadline);
    if (!why) {
      exported += batch.size();
      if (std::exchange(failing, false))
        spdlog::info("spans are sent again");
      return;
    }
    if (!std::exchange(failing, true))
      spdlog::warn("spans cannot be sent, and are dropped if that lasts: {}", why->message());
    std::unique_lock lock{mutex};
    if (tried == tries || is_last || !is_worth_repeating(*why) ||
        changed.wait_for(lock, pause, [this] { return stop_by.has_value(); })) {
      dropped += batch.size();
      if (!stop_by)
        return;
      dropped += waiting.size(); // the collector is not there: nobody waits for it
      waiting.clear();
      return;
    }
  }
}

std::optional<error> otlp_exporter::impl::post(const std::string& body, clock::time_point deadline) {
  http_job job;
  job.method = "POST";
  job.what = "POST /v1/traces to the trace collector";
  job.path = target->prefix + "/v1/traces";
  job.body = body;
  job.headers = {{"content-type", "application/x-protobuf"}};
  job.deadline = deadline;
  auto answer = connection.call(job);
  return answer ? std::nullopt : std::optional{answer.error()};
}

} // namespace eventcore::internal
