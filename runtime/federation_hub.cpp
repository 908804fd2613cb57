#include <eventcore/runtime/federation_hub.hpp>

#include <eventcore/actors/internal/subscription_cursor.hpp>
#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/runtime/internal/federation/federation_handler.hpp>
#include <eventcore/runtime/node.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <future>
#include <memory>
#include <set>

namespace eventcore {

namespace {

constexpr std::chrono::seconds stop_limit{10};
/// The start waits so long for a target; one that is away is asked later, when there is an event for it.
constexpr std::chrono::seconds answer_limit{1};

/// The targets that get events of `service`.
std::set<std::string> targets_of(const federation_rules& rules, const std::string& service) {
  std::set<std::string> names;
  for (const auto& rule : rules.all())
    if (rule.source == service)
      names.insert(rule.targets.begin(), rule.targets.end());
  return names;
}

/// Rules can be ahead of the service that they are for, so it is no error.
void warn_of_useless_rules(const internal::federation_plan& plan) {
  for (std::size_t place = 0; place < plan.rules.all().size(); ++place) {
    const auto& rule = plan.rules.all()[place];
    if (rule.source == plan.publisher.service_id() && rule.event.back() != '*' &&
        !plan.publisher.topics_of(rule.event))
      spdlog::warn("federation, {}: service {} publishes no event of type {}", plan.rules.describe(place),
                   rule.source, rule.event);
  }
}

/// Where the target stands. Nothing: it does not say so now.
std::optional<log_position> ask_position(federation_target& target, const federation_source& source) {
  const auto said = std::make_shared<std::promise<result<log_position>>>();
  auto answer = said->get_future();
  target.ask_position(source,
                      [said](result<log_position> position) { said->set_value(std::move(position)); });
  if (answer.wait_for(answer_limit) != std::future_status::ready)
    return std::nullopt;
  auto position = answer.get();
  return position ? std::optional{*position} : std::nullopt;
}

/// Where a target stands before its subscription, because it was restored from a backup, say: the events between are handled
/// again, also if none comes any more that would call the handler.
result<subscription> take_back(node& from, const subscriber_type& handler, const subscription_options& how,
                               subscription feed, log_position target) {
  const auto name = internal::subscription_cursor_name(how.name);
  auto cursor = from.journal().load_cursor(name);
  if (!cursor)
    return cursor.error();
  if (*cursor <= target)
    return feed;
  if (auto stopped = feed.stop(stop_limit); !stopped)
    return stopped.error();
  cursor = from.journal().load_cursor(name);
  if (!cursor)
    return cursor.error();
  commit back;
  back.cursors.push_back({name, *cursor, target});
  if (auto moved = from.journal().commit_and_wait(std::move(back)); !moved)
    return moved.error();
  return from.subscribe(handler, how);
}

} // namespace

struct federation_hub::impl {
  struct way {
    subscription feed;
    std::shared_ptr<internal::federation_progress> progress;
  };

  std::map<std::string, way, std::less<>> ways; ///< by target

  result<const way*> find(std::string_view target) const {
    if (const auto found = ways.find(target); found != ways.end())
      return &found->second;
    return make_error(federation_errc::unknown_target,
                      internal::quoted(target) + " gets no events of this service");
  }
};

result<federation_hub> federation_hub::start(node& source, publisher published, const federation_rules& rules,
                                             const targets& to, federation_options options) {
  const auto service = published.service_id();
  federation_names known;
  known.targets.emplace().insert(service);
  for (const auto& [name, target] : to)
    known.targets->insert(name);
  const auto names = options.transformations.names();
  known.transformations.emplace(names.begin(), names.end());
  auto checked = federation_rules::create(rules.all(), known);
  if (!checked)
    return checked.error();
  const auto wanted = targets_of(*checked, service);
  if (wanted.empty())
    return make_error(federation_errc::unknown_source, "no federation rule has service " + service +
                                                           " as its source; start no hub, or mend the rules");
  const auto categories = published.categories();
  if (categories.empty())
    return make_error(federation_errc::unknown_source,
                      "service " + service +
                          " publishes no category, so there is nothing to send to other services");
  const auto plan = std::make_shared<const internal::federation_plan>(internal::federation_plan{
      std::move(published), *std::move(checked), std::move(options.transformations)});
  warn_of_useless_rules(*plan);

  auto content = std::make_shared<impl>();
  for (const auto& target : wanted) {
    auto progress = std::make_shared<internal::federation_progress>();
    progress->change([&](auto& s) { s.target = target; });
    subscription_options how;
    how.name = internal::federation_subscription(target);
    how.filter.categories = categories;
    how.retries = options.retries;
    how.backoff = options.backoff;
    how.max_backoff = options.max_backoff;
    how.on_failure = on_failure::park;
    subscriber_type handler;
    handler.make = [=, &journal = source.journal(), filter = how.filter, channel = to.find(target)->second] {
      return std::make_unique<internal::federation_handler>(plan, journal, filter, target, channel, progress);
    };
    auto feed = source.subscribe(handler, how);
    if (feed)
      if (const auto stands =
              ask_position(*to.find(target)->second, {service, source.journal().info().incarnation}))
        feed = take_back(source, handler, how, *std::move(feed), *stands);
    if (!feed) {
      for (const auto& [name, way] : content->ways)
        (void)way.feed.stop(stop_limit);
      return feed.error();
    }
    content->ways.emplace(target, impl::way{*std::move(feed), std::move(progress)});
  }
  return federation_hub{std::move(content)};
}

std::vector<std::string> federation_hub::target_names() const {
  std::vector<std::string> names;
  for (const auto& [name, way] : impl_->ways)
    names.push_back(name);
  return names;
}

result<federation_stats> federation_hub::stats(std::string_view target,
                                               std::chrono::nanoseconds within) const {
  const auto way = impl_->find(target);
  if (!way)
    return way.error();
  auto feed = (*way)->feed.stats(within);
  if (!feed)
    return feed.error();
  auto stats = (*way)->progress->get();
  stats.subscription = *std::move(feed);
  return stats;
}

result<void> federation_hub::reached(std::string_view target, log_position position,
                                     std::chrono::nanoseconds within) const {
  const auto way = impl_->find(target);
  return way ? (*way)->feed.reached(position, within) : way.error();
}

result<std::size_t> federation_hub::replay_dead_letters(std::string_view target,
                                                        std::optional<log_position> position) const {
  const auto way = impl_->find(target);
  return way ? (*way)->feed.replay_dead_letters(position) : way.error();
}

result<void> federation_hub::stop(std::chrono::nanoseconds within) const {
  const auto end = std::chrono::steady_clock::now() + within;
  result<void> outcome;
  for (const auto& [name, way] : impl_->ways)
    if (auto stopped = way.feed.stop(std::max<std::chrono::nanoseconds>(
            end - std::chrono::steady_clock::now(), std::chrono::nanoseconds{0}));
        !stopped)
      outcome = std::move(stopped);
  return outcome;
}

} // namespace eventcore
