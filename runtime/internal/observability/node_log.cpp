#include <eventcore/runtime/internal/observability/node_log.hpp>

#include <eventcore/actors/log_scope.hpp>
#include <eventcore/actors/trace_context.hpp>

#include <fmt/chrono.h>
#include <nlohmann/json.hpp>
#include <spdlog/async.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <mutex>
#include <vector>

namespace eventcore::internal {

namespace {

std::string time_of(spdlog::log_clock::time_point t) {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(t.time_since_epoch()).count();
  return fmt::format("{:%FT%T}.{:06}Z", fmt::gmtime(static_cast<std::time_t>(since / 1'000'000)),
                     since % 1'000'000);
}

std::string_view view(spdlog::string_view_t text) {
  return {text.data(), text.size()};
}

std::string json_line(const spdlog::details::log_msg& m, const std::string& service) {
  nlohmann::ordered_json line{{"time", time_of(m.time)},
                              {"level", view(spdlog::level::to_string_view(m.level))},
                              {"message", view(m.payload)},
                              {"service", service}};
  if (const auto* scope = log_scope::current()) {
    if (!scope->stream.empty())
      line["stream"] = scope->stream;
    if (scope->position > 0)
      line["position"] = scope->position;
    if (const auto trace = trace_context::parse(scope->traceparent)) {
      line["trace_id"] = trace->trace_id();
      line["span_id"] = trace->span_id();
    }
  }
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// A line stays one, whatever is in the message.
void append_escaped(std::string& to, std::string_view text) {
  for (char c : text) {
    if (static_cast<unsigned char>(c) >= 0x20 || c == '\t')
      to += c;
    else
      to += c == '\n' ? std::string{"\\n"} : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
}

std::string text_line(const spdlog::details::log_msg& m) {
  auto line = fmt::format("{} {:<8} ", time_of(m.time), view(spdlog::level::to_string_view(m.level)));
  append_escaped(line, view(m.payload));
  std::string about;
  if (const auto* scope = log_scope::current()) {
    if (!scope->stream.empty())
      about += fmt::format(" stream={}", scope->stream);
    if (scope->position > 0)
      about += fmt::format(" position={}", scope->position);
    if (const auto trace = trace_context::parse(scope->traceparent))
      about += fmt::format(" trace_id={}", trace->trace_id());
  }
  if (!about.empty())
    line += " [" + about.substr(1) + ']';
  return line;
}

/// Makes the line on the thread that writes it, where the scope is known.
class line_sink final : public spdlog::sinks::sink {
public:
  line_sink(log_form form, std::string service, std::shared_ptr<spdlog::logger> behind)
      : form_{form}
      , service_{std::move(service)}
      , behind_{std::move(behind)} {}

  void log(const spdlog::details::log_msg& m) override {
    behind_->log(m.level, form_ == log_form::json ? json_line(m, service_) : text_line(m));
  }
  void flush() override { behind_->flush(); }
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

private:
  const log_form form_;
  const std::string service_;
  const std::shared_ptr<spdlog::logger> behind_;
};

/// Of the process's default logger from the first `node_log` on. spdlog lends that logger to whoever writes a line and does not count
/// for how long, so it may not be replaced while threads write: instead, this passes lines on to the place that has the log.
class process_sink final : public spdlog::sinks::sink {
public:
  static process_sink& instance() {
    static auto* const one =
        new auto{std::make_shared<process_sink>()}; // for lines up to the end of the process
    return **one;
  }

  void log(const spdlog::details::log_msg& m) override {
    for (auto& place : places())
      if (place->should_log(m.level))
        place->log(m);
  }
  void flush() override {
    for (auto& place : places())
      place->flush();
  }
  void set_pattern(const std::string& pattern) override {
    set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern));
  }
  void set_formatter(std::unique_ptr<spdlog::formatter> form) override {
    std::lock_guard guard{mutex_};
    for (auto& place : before_)
      place->set_formatter(form->clone());
  }

  void begin(const spdlog::sink_ptr& place) {
    std::lock_guard guard{mutex_};
    if (auto known = spdlog::default_logger(); known != logger_) {
      before_ = known->sinks();
      auto self = spdlog::sink_ptr{this, [](auto*) {}};
      replaced_.push_back(
          std::exchange(logger_, std::make_shared<spdlog::logger>("eventcore", std::move(self))));
      logger_->set_level(known->level());
      replaced_.push_back(std::move(known));
      spdlog::set_default_logger(logger_);
    }
    begun_.push_back(place);
  }

  void end(const spdlog::sink_ptr& place) {
    std::lock_guard guard{mutex_};
    std::erase(begun_, place);
  }

private:
  std::vector<spdlog::sink_ptr> places() {
    std::lock_guard guard{mutex_};
    return begun_.empty() ? before_ : std::vector{begun_.back()};
  }

  std::mutex mutex_;
  std::vector<spdlog::sink_ptr> begun_; ///< the last one has the log
  std::vector<spdlog::sink_ptr>
      before_; ///< of the default logger before the first one, or of what the program set since
  std::shared_ptr<spdlog::logger> logger_;
  std::vector<std::shared_ptr<spdlog::logger>> replaced_; ///< which somebody may still write to
};

} // namespace

struct node_log::impl {
  std::shared_ptr<std::atomic<std::uint64_t>> failed = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::shared_ptr<spdlog::details::thread_pool> pool{};
  spdlog::sink_ptr front{};
};

node_log::node_log(const log_options& options, std::string service)
    : impl_{std::make_unique<impl>()} {
  std::string problem;
  spdlog::sink_ptr place;
  if (!options.file.empty())
    try {
      place = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file.string());
    } catch (const spdlog::spdlog_ex& e) {
      problem = e.what();
    }
  if (!place)
    place = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  impl_->pool =
      std::make_shared<spdlog::details::thread_pool>(std::max<std::size_t>(options.max_waiting, 1), 1);
  auto behind = std::make_shared<spdlog::async_logger>("eventcore", std::move(place), impl_->pool,
                                                       spdlog::async_overflow_policy::overrun_oldest);
  behind->set_pattern("%v");
  behind->set_level(spdlog::level::trace);
  behind->flush_on(spdlog::level::trace);
  behind->set_error_handler([failed = impl_->failed](const std::string&) { ++*failed; });
  impl_->front = std::make_shared<line_sink>(options.form, std::move(service), std::move(behind));
  process_sink::instance().begin(impl_->front);
  if (!problem.empty())
    spdlog::error("the log goes to standard error, because its file cannot be opened: {}", problem);
}

node_log::~node_log() {
  process_sink::instance().end(impl_->front);
  // The pool's end writes what waits.
}

std::uint64_t node_log::lost() const noexcept {
  return *impl_->failed + impl_->pool->overrun_counter();
}

} // namespace eventcore::internal
