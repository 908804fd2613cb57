#include <eventcore/actors/testing.hpp>

#include <eventcore/actors/internal/multi_stream_actor.hpp>
#include <eventcore/actors/internal/saga_actor.hpp>
#include <eventcore/actors/internal/subscription_actor.hpp>

#include <caf/scheduler/test_coordinator.hpp>

#include <algorithm>
#include <map>
#include <stdexcept>

namespace eventcore::testing {

namespace {

stream_id checked(std::string_view stream) {
  auto id = stream_id::parse(stream);
  if (!id)
    throw std::logic_error{id.error().message()};
  return *std::move(id);
}

} // namespace

// -- pending_answer

struct pending_answer::content {
  internal::request_slot slot;
  std::optional<caf::message> answer;
};

pending_answer::pending_answer(caf::actor_system& system, const caf::actor& to, caf::message request)
    : content_{std::make_shared<content>(content{{system, to, std::move(request)}, std::nullopt})} {}

bool pending_answer::arrived() {
  if (!content_->answer)
    content_->answer = content_->slot.wait_until({});
  return content_->answer.has_value();
}

caf::message& pending_answer::message() {
  if (!arrived())
    throw std::logic_error{"no answer has come; let the world settle first"};
  return *content_->answer;
}

// -- world

struct world::hosts {
  std::vector<caf::actor> all;
  std::shared_ptr<internal::host_directory> directory = std::make_shared<internal::host_directory>();
  caf::actor timers;
  std::map<caf::actor, caf::actor> persistent_parts; ///< of sagas
  std::shared_ptr<internal::subscription_directory> subscriptions =
      std::make_shared<internal::subscription_directory>();
};

world::config::config() {
  set("scheduler.policy", caf::atom("testing"));
}

world::world(journal_options options)
    : journal{std::move(options)}
    , now_{std::make_shared<timestamp>(std::chrono::sys_days{std::chrono::year{2020} / 1 / 1})}
    , hosts_{std::make_unique<hosts>()} {}

world::~world() {
  for (auto& [name, actor] : hosts_->subscriptions->all())
    caf::anon_send(actor, internal::stop_host{true});
  for (auto& host : hosts_->all)
    caf::anon_send(host, internal::stop_host{true});
  for (auto& [sagas, part] : hosts_->persistent_parts) {
    caf::anon_send(sagas, internal::stop_host{true});
    caf::anon_send(part, internal::stop_host{true});
  }
  if (hosts_->timers)
    caf::anon_send_exit(hosts_->timers, caf::exit_reason::user_shutdown);
  run();
}

host_handle world::start_host(const entity_type& type, const host_options& options) {
  auto handle = internal::start_host(system_, journal, type, options, [now = now_] { return *now; });
  hosts_->all.push_back(actor_of(handle));
  hosts_->directory->add(type.category, actor_of(handle));
  run();
  return handle;
}

multi_stream_handle world::start_commands(const multi_stream_type& type,
                                          const multi_stream_options& options) {
  auto handle = internal::start_multi_stream(system_, journal, type, hosts_->directory, options,
                                             [now = now_] { return *now; });
  hosts_->all.push_back(actor_of(handle));
  hosts_->directory->add(type, actor_of(handle));
  run();
  return handle;
}

result<subscription> world::subscribe(subscriber_type type, subscription_options options) {
  options.place = handler_place::scheduler;
  auto handle = internal::start_subscription(system_, journal, std::move(type), options, hosts_->directory,
                                             hosts_->subscriptions);
  run();
  return handle;
}

void world::kill(const subscription& s) {
  caf::anon_send(actor_of(s), internal::stop_host{true});
  run();
}

saga_handle world::start_sagas(const saga_type& type, const saga_options& options) {
  auto now = [now = now_] { return *now; };
  if (!hosts_->timers)
    hosts_->timers = internal::start_timers(system_, journal, now);
  host_handle persistent_part;
  auto handle = internal::start_sagas(system_, journal, type, hosts_->directory, hosts_->timers, options,
                                      persistent_part, now);
  hosts_->persistent_parts[actor_of(handle)] = actor_of(persistent_part);
  run();
  return handle;
}

void world::kill(const saga_handle& sagas) {
  auto part = hosts_->persistent_parts.extract(actor_of(sagas));
  for (auto& actor : {part.key(), part.mapped()})
    caf::anon_send(actor, internal::stop_host{true});
  run();
}

void world::add_participant(std::string name, caf::actor to) {
  hosts_->directory->add_participant(name, std::move(to));
}

pending_answer world::send(const caf::actor& to, caf::message request) {
  return {system_, to, std::move(request)};
}

caf::scheduler::test_coordinator& world::scheduler() {
  return dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
}

void world::run() {
  scheduler().run();
}

void world::run_one(std::size_t pick) {
  auto& jobs = scheduler().jobs;
  if (jobs.empty())
    return;
  std::rotate(jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(pick % jobs.size()), jobs.end());
  scheduler().run_once();
}

void world::run_in_turns() {
  while (scheduler().has_job())
    run_one(1);
}

void world::settle() {
  do
    run();
  while (write() > 0 || scheduler().has_job());
}

void world::advance(caf::timespan time) {
  *now_ += std::chrono::floor<std::chrono::microseconds>(time);
  scheduler().advance_time(time);
  run();
}

void world::append(std::string_view stream, expected_version expected, std::vector<new_event> events) {
  commit c;
  c.appends.push_back({checked(stream), expected, std::move(events)});
  journal.inner().submit(std::move(c), *journal.inner().reserve(), nullptr, 0);
  journal.inner().step();
}

std::vector<recorded_event> world::events(std::string_view stream) {
  stream_cursor cursor{checked(stream)};
  event_page page;
  std::vector<recorded_event> all;
  do {
    if (auto read = journal.inner().read_stream(cursor, page); !read)
      throw std::logic_error{read.error().message()};
    all.insert(all.end(), page.begin(), page.end());
  } while (!page.empty());
  return all;
}

saga_status world::status(const saga_handle& sagas, std::string id) {
  auto answer = send(actor_of(sagas), caf::make_message(internal::get_saga{std::move(id)}));
  settle();
  return internal::status_in(answer.message());
}

host_stats world::stats(const host_handle& host) {
  auto answer = send(actor_of(host), caf::make_message(internal::get_stats{}));
  run();
  return answer.message().get_as<host_stats>(0);
}

subscription_stats world::stats(const subscription& s) {
  auto answer = send(actor_of(s), caf::make_message(internal::get_stats{}));
  run();
  return answer.message().get_as<subscription_stats>(0);
}

multi_stream_stats world::stats(const multi_stream_handle& commands) {
  auto answer = send(actor_of(commands), caf::make_message(internal::get_stats{}));
  run();
  return answer.message().get_as<multi_stream_stats>(0);
}

} // namespace eventcore::testing
