#include <eventcore/actors/projection_host.hpp>

#include <eventcore/actors/internal/projection_build.hpp>
#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/persistence/internal/view_folder.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

namespace eventcore {

using internal::projection_build;
using internal::view_folder;
using namespace std::chrono_literals;

namespace {

class category final : public std::error_category {
public:
  const char* name() const noexcept override { return "eventcore.projection"; }

  std::string message(int value) const override {
    switch (static_cast<projection_errc>(value)) {
    case projection_errc::not_reached:
      return "the view did not get there in time";
    case projection_errc::not_ready:
      return "the view is being built";
    case projection_errc::unknown_source:
      return "the projection has no such source";
    case projection_errc::stopped:
      return "the projection was stopped";
    case projection_errc::event_failed:
      return "an event cannot be applied";
    case projection_errc::source_changed:
      return "the source has another history than the view";
    case projection_errc::invalid_sources:
      return "the projection's sources are not as they must be";
    }
    return "unknown projection error " + std::to_string(value);
  }
};

/// While two views go on, each has its turn after about this time.
constexpr auto longest_turn = 50ms;
constexpr auto no_limit = std::chrono::nanoseconds::max();
constexpr auto longest_wait = std::chrono::hours{24 * 365};

auto deadline_after(std::chrono::nanoseconds within) {
  return std::chrono::steady_clock::now() + std::min<std::chrono::nanoseconds>(within, longest_wait);
}

} // namespace

const std::error_category& projection_category() noexcept {
  static const category instance;
  return instance;
}

/// The views of a projection and what drives them. What is `published` is for all threads and guarded by `mutex`; the rest
/// belongs to the one that steps.
struct projection_handle::impl {
  using clock = std::chrono::steady_clock;

  impl(const projection_type& type, projection_options with, std::unique_ptr<view_folder> folder);
  ~impl() { stop(); }

  void run(const std::stop_token& end);
  bool step();
  void stop();
  void publish();

  result<std::shared_ptr<view_store>> view();
  error stopped_error() const;
  clock::time_point now() const { return options.clock ? options.clock() : clock::now(); }

  const projection_type& type;
  const projection_options options;

  std::mutex mutex;
  std::condition_variable changed; // what is published
  struct {
    projection_stats stats;
    std::vector<bool> positions_count; // by source, of the live view
    std::shared_ptr<view_store> view;
    bool serves = false;
    bool rebuild_wanted = false;
    bool stopped = false;
  } published;

private:
  std::unique_ptr<projection_build> start(std::shared_ptr<view_store> view);
  void begin_rebuild(clock::time_point at);
  void swap(clock::time_point at);
  clock::time_point retry_at() const;
  void wake();

  std::unique_ptr<view_folder> folder_;
  std::unique_ptr<projection_build> live_;
  std::unique_ptr<projection_build> building_;
  internal::retry_state rebuild_again_;
  std::uint64_t rebuilt_ = 0;

  std::atomic<bool> woken_{false};
  std::mutex sleep_mutex_;
  std::condition_variable_any sleeping_;
  std::mutex stop_mutex_;
  std::jthread thread_;

  friend class projection_handle;
};

projection_handle::impl::impl(const projection_type& t, projection_options with,
                              std::unique_ptr<view_folder> folder)
    : type{t}
    , options{std::move(with)}
    , folder_{std::move(folder)} {
  if (folder_->damage())
    spdlog::error("projection {}: its view could not be used and is built anew: {}", type.form.projection,
                  folder_->damage()->message());
  published.stats.damage = folder_->damage();
  live_ = start(folder_->live());
  if (folder_->building())
    building_ = start(folder_->building());
  std::string why;
  if (!live_->applies())
    why = "its view is of version " + std::to_string(folder_->live()->form().version) +
          ", or has other tables or events";
  else if (auto lost = live_->lost_source())
    why = "its source " + *lost + " was taken away";
  if (building_ && building_->lost_source())
    building_.reset();
  if (!why.empty() && !building_) {
    spdlog::info("projection {}: it is rebuilt, because {}", type.form.projection, why);
    published.rebuild_wanted = true;
  }
  publish();
  if (options.mode == writer_mode::thread)
    thread_ = std::jthread{[this](std::stop_token end) { run(end); }};
}

std::unique_ptr<projection_build> projection_handle::impl::start(std::shared_ptr<view_store> view) {
  return std::make_unique<projection_build>(type, std::move(view), options, [this] { wake(); });
}

void projection_handle::impl::run(const std::stop_token& end) {
  while (!end.stop_requested()) {
    woken_ = false;
    if (step())
      continue;
    const auto until = std::min(retry_at(), clock::now() + longest_wait);
    std::unique_lock lock{sleep_mutex_};
    sleeping_.wait_until(lock, end, until, [&] { return woken_.load(); });
  }
}

void projection_handle::impl::wake() {
  if (woken_.exchange(true))
    return;
  std::lock_guard lock{sleep_mutex_};
  sleeping_.notify_one();
}

bool projection_handle::impl::step() {
  if (!folder_)
    return false;
  const auto at = now();
  bool wanted = false;
  {
    std::lock_guard lock{mutex};
    wanted = published.rebuild_wanted;
  }
  if (wanted && !building_ && !rebuild_again_.waits(at))
    begin_rebuild(at);
  const bool both = building_ && live_->applies();
  bool worked = live_->step(at, both ? longest_turn : no_limit);
  if (building_) {
    worked = building_->step(at, both ? longest_turn : no_limit) || worked;
    if (building_->caught_up_with(*live_)) {
      swap(at);
      worked = true;
    }
  }
  publish();
  return worked;
}

void projection_handle::impl::begin_rebuild(clock::time_point at) {
  if (auto started = folder_->start_building(); !started)
    return rebuild_again_.note(started.error(), at, options,
                               "projection " + type.form.projection + ": its view cannot be rebuilt");
  rebuild_again_ = {};
  building_ = start(folder_->building());
}

void projection_handle::impl::swap(clock::time_point at) {
  if (auto swapped = folder_->swap(); !swapped)
    return building_->fail(swapped.error(), at);
  building_->save_cursors();
  live_ = std::move(building_);
  ++rebuilt_;
  spdlog::info("projection {}: its rebuilt view serves now", type.form.projection);
  std::lock_guard lock{mutex};
  published.rebuild_wanted = false;
}

void projection_handle::impl::publish() {
  auto live = live_->stats();
  auto building = building_ ? std::optional{building_->stats()} : std::nullopt;
  std::vector<bool> positions_count;
  for (std::size_t i = 0; i != options.sources.size(); ++i)
    positions_count.push_back(live_->position_counts(i));
  {
    std::lock_guard lock{mutex};
    published.stats.live = std::move(live);
    published.positions_count = std::move(positions_count);
    published.stats.rebuilding = std::move(building);
    published.stats.rebuilt = rebuilt_;
    published.stats.rebuild_failure = rebuild_again_.failure;
    published.view = live_->view();
    published.serves = live_->serves();
  }
  changed.notify_all();
}

projection_handle::impl::clock::time_point projection_handle::impl::retry_at() const {
  auto next = live_->retry_at();
  if (building_)
    next = std::min(next, building_->retry_at());
  else if (rebuild_again_.failure)
    next = std::min(next, rebuild_again_.at);
  return next;
}

void projection_handle::impl::stop() {
  std::lock_guard once{stop_mutex_};
  if (!folder_)
    return;
  thread_ = {};
  for (auto* build : {&building_, &live_})
    if (*build) {
      (*build)->save_cursors();
      build->reset();
    }
  {
    std::lock_guard lock{mutex};
    published.view.reset();
    published.stopped = true;
  }
  changed.notify_all();
  folder_.reset();
}

result<std::shared_ptr<view_store>> projection_handle::impl::view() {
  std::lock_guard lock{mutex};
  if (published.stopped)
    return stopped_error();
  if (!published.serves)
    return make_error(projection_errc::not_ready,
                      "projection " + type.form.projection +
                          ": the view that serves has other tables; the one with these is being built");
  return published.view;
}

error projection_handle::impl::stopped_error() const {
  return make_error(projection_errc::stopped, "projection " + type.form.projection + " was stopped");
}

// -- the handle --------------------------------------------------------------------------------------------------

result<std::optional<std::string>> projection_handle::get(std::size_t table, std::string_view key) const {
  auto view = impl_->view();
  if (!view)
    return view.error();
  return (*view)->get(table, key);
}

result<std::vector<view_row>> projection_handle::list(std::size_t table, view_bounds& where,
                                                      read_limits limits) const {
  auto view = impl_->view();
  if (!view)
    return view.error();
  return (*view)->list(table, where, limits);
}

error projection_handle::damaged(std::size_t table, std::string_view key) const {
  auto& t = impl_->type.form.tables[table];
  return make_error(journal_errc::corrupt, "projection " + impl_->type.form.projection + ": table " + t.name +
                                               ", key " + internal::quoted(key) + " does not parse as " +
                                               t.value + " under a " + t.key + "; rebuild the projection");
}

result<void> projection_handle::wait_until(std::string_view source, log_position position,
                                           std::chrono::nanoseconds within) const {
  auto& sources = impl_->options.sources;
  const auto found =
      std::ranges::find(sources, source, [](auto& s) -> std::string_view { return s->name(); });
  if (found == sources.end())
    return make_error(projection_errc::unknown_source, "projection " + impl_->type.form.projection +
                                                           " has no source " + internal::quoted(source));
  const auto place = static_cast<std::size_t>(found - sources.begin());
  const auto deadline = deadline_after(within);
  std::unique_lock lock{impl_->mutex};
  auto& now = impl_->published;
  const auto reached = [&] {
    return now.positions_count[place] && now.stats.live.sources[place].position >= position;
  };
  impl_->changed.wait_until(lock, deadline, [&] { return now.stopped || reached(); });
  auto& live = now.stats.live;
  if (reached() && !now.stopped)
    return {};
  if (now.stopped)
    return impl_->stopped_error();
  auto text = "projection " + impl_->type.form.projection + ": the view has the events of " +
              std::string{source} + " up to position " + std::to_string(live.sources[place].position) +
              ", and not yet up to " + std::to_string(position);
  for (auto* why : {&live.failure, &live.sources[place].failure})
    if (*why)
      text += "; it stands: " + (*why)->message();
  return make_error(projection_errc::not_reached, text);
}

result<void> projection_handle::wait_until(log_position position, std::chrono::nanoseconds within) const {
  return wait_until(impl_->options.sources.front()->name(), position, within);
}

result<void> projection_handle::catch_up(std::chrono::nanoseconds within) const {
  const auto deadline = deadline_after(within);
  if (auto view = impl_->view(); !view && view.error().code() == projection_errc::stopped)
    return view.error();
  std::vector<log_position> heads;
  for (auto& source : impl_->options.sources) {
    auto head = source->head();
    if (!head)
      return head.error();
    heads.push_back(*head);
  }
  for (std::size_t i = 0; i != heads.size(); ++i)
    if (auto reached = wait_until(impl_->options.sources[i]->name(), heads[i], deadline - impl::clock::now());
        !reached)
      return reached;
  return {};
}

void projection_handle::rebuild() const {
  {
    std::lock_guard lock{impl_->mutex};
    if (impl_->published.stats.rebuilding)
      return;
    impl_->published.rebuild_wanted = true;
  }
  impl_->wake();
}

result<void> projection_handle::wait_rebuilt(std::chrono::nanoseconds within) const {
  const auto deadline = deadline_after(within);
  std::unique_lock lock{impl_->mutex};
  auto& now = impl_->published;
  const auto done = [&] { return !now.rebuild_wanted && !now.stats.rebuilding; };
  impl_->changed.wait_until(lock, deadline, [&] { return now.stopped || done(); });
  if (now.stopped)
    return impl_->stopped_error();
  if (done())
    return {};
  auto text = "projection " + impl_->type.form.projection + ": the view is still being rebuilt";
  if (now.stats.rebuild_failure)
    text += "; it cannot be begun: " + now.stats.rebuild_failure->message();
  if (now.stats.rebuilding && now.stats.rebuilding->failure)
    text += "; it stands: " + now.stats.rebuilding->failure->message();
  return make_error(projection_errc::not_reached, text);
}

projection_stats projection_handle::stats() const {
  projection_stats stats;
  {
    std::lock_guard lock{impl_->mutex};
    stats = impl_->published.stats;
    if (impl_->published.stopped)
      return stats;
  }
  auto& sources = impl_->options.sources;
  for (std::size_t i = 0; i != sources.size(); ++i) {
    const auto head = sources[i]->head();
    stats.live.sources[i].head = head ? *head : 0;
    if (stats.rebuilding)
      stats.rebuilding->sources[i].head = stats.live.sources[i].head;
  }
  return stats;
}

bool projection_handle::step() const {
  return impl_->step();
}

void projection_handle::stop() const {
  impl_->stop();
}

result<projection_handle> open_projection(const projection_type& type, projection_options options) {
  const auto refuse = [&](const std::string& why) {
    return make_error(projection_errc::invalid_sources, "projection " + type.form.projection + ": " + why);
  };
  if (options.sources.empty())
    return refuse("it has no source");
  std::set<std::string> names;
  for (auto& source : options.sources) {
    if (!source || source->name().empty() || source->name().size() > 255)
      return refuse("each source has a name, of at most 255 bytes");
    if (!names.insert(source->name()).second)
      return refuse("two sources are named " + source->name() + "; name one of them otherwise");
  }
  auto folder = view_folder::open(options.folder, type.form, options.view);
  if (!folder)
    return folder.error();
  return projection_handle{
      std::make_shared<projection_handle::impl>(type, std::move(options), *std::move(folder))};
}

} // namespace eventcore
