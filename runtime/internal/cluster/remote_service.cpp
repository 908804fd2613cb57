#include <eventcore/runtime/internal/cluster/remote_service.hpp>

#include <eventcore/runtime/cluster_options.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace eventcore::internal {

namespace {

using namespace std::chrono_literals;
using steady_clock = std::chrono::steady_clock;

breaker_options guard_of(const std::string& name, const cluster_options& options) {
  breaker_options guard;
  guard.name = "service " + name;
  guard.retry_after = 500ms;
  guard.max_retry_after = 3s;
  // Each call has an end of its own.
  guard.call_limit = 24h;
  guard.max_concurrent = 2 * options.max_in_flight + 1;
  guard.is_failure = [](const error& e) {
    return e.code() == entity_errc::unreachable || e.code() == entity_errc::outcome_unknown;
  };
  return guard;
}

template <class Content>
const google::protobuf::Message* message_of(const std::type_info* type, Content* command) {
  return type && prototype_of(*type) ? static_cast<const google::protobuf::Message*>(command) : nullptr;
}

void serialise(byte_buffer& to, const google::protobuf::Message& message, std::size_t size) {
  const auto begin = to.size();
  to.resize(begin + size);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(to.data() + begin));
}

} // namespace

remote_service::remote_service(std::string name, std::shared_ptr<const local_services> local,
                               const cluster_options& options)
    : name_{std::move(name)}
    , local_{std::move(local)}
    , max_message_{options.max_message}
    , max_waiting_{options.max_in_flight}
    , patience_{options.patience}
    , call_limit_{options.call_limit}
    , breaker_{guard_of(name_, options)}
    , lost_why_{"no node that runs it was found yet"} {}

// -- the beginning of a call

bool remote_service::is_local() const {
  const auto now = local_->generation() * 2;
  const auto known = local_answer_.load(std::memory_order_relaxed);
  if ((known & ~std::uint64_t{1}) == now)
    return (known & 1) != 0;
  const bool here = local_->offers(name_);
  local_answer_.store(now | (here ? 1 : 0), std::memory_order_relaxed);
  return here;
}

void remote_service::take(caf::mailbox_element& element, caf::execution_unit* context) {
  auto call = std::make_unique<outgoing_call>();
  const auto refuse = [&](const error& why) {
    if (!call->to.is_request())
      call->to = reply_address{element};
    if (call->to.is_request())
      call->to.deliver(nullptr, caf::make_message(to_caf_error(why)), context);
    else
      spdlog::warn("service {}: a command that nobody waits for is lost: {}", name_, why.message());
  };
  auto view = view_command(element.content());
  if (!view)
    view = view_multi_stream_command(element.content());
  const auto* command = view ? message_of(view->type, view->command) : nullptr;
  if (!command)
    return refuse(make_error(entity_errc::unknown_command,
                             "a service takes Protobuf messages, as (id, command) or (command), with a "
                             "command_context before the command or without one, not " +
                                 describe(element.content())));
  if (is_local()) {
    const auto target = local_->find(name_, command->GetTypeName(), view->id != nullptr);
    if (!target.to)
      return refuse(make_error(entity_errc::unknown_command,
                               "service " + name_ + ", which is this node, has nobody who takes " +
                                   command->GetTypeName() + (view->id ? " with an id" : " without an id")));
    calls_.fetch_add(1, std::memory_order_relaxed);
    auto content = element.move_content_to_message();
    target.to->enqueue(caf::make_mailbox_element(std::move(element.sender), element.mid,
                                                 std::move(element.stages), std::move(content)),
                       context);
    return;
  }
  static const command_context no_context;
  const auto& its_context = view->context ? *view->context : no_context;
  if (!its_context.cursors.empty())
    return refuse(make_error(entity_errc::invalid_command,
                             "a command that moves cursors of this node's journal cannot be carried out by " +
                                 name_ + ", which is another node"));
  if (!command->IsInitialized())
    return refuse(make_error(entity_errc::invalid_command,
                             "the command lacks required fields: " + command->InitializationErrorString()));
  const auto now = steady_clock::now();
  call->deadline = std::min(its_context.deadline, now + call_limit_);
  if (call->deadline <= now)
    return refuse(make_error(entity_errc::deadline_exceeded, "the command's deadline had passed"));
  const auto size = command->ByteSizeLong();
  if (size > max_message_)
    return refuse(make_error(entity_errc::invalid_command,
                             "a command " + command->GetTypeName() + " of " + std::to_string(size) +
                                 " bytes is larger than the " + std::to_string(max_message_) +
                                 " bytes that cluster_options::max_message allows; send less at a time"));
  call->body.reserve(size + 64);
  wire_writer body{call->body};
  write_command_body(body, view->id, its_context, {});
  serialise(call->body, *command, size);
  if (call->body.size() > max_message_ + frame_overhead / 2)
    return refuse(
        make_error(entity_errc::invalid_command,
                   "the metadata of a command " + command->GetTypeName() + " is larger than a frame may be"));
  call->type = command->GetDescriptor();
  call->hash = view->id ? std::hash<std::string>{}(*view->id) : 0;
  call->keyed = !its_context.idempotency_key.empty();
  auto permit = breaker_.admit();
  if (!permit)
    return refuse(permit.error());
  call->permit.emplace(*std::move(permit));
  call->service = shared_from_this();
  call->to = reply_address{element};
  calls_.fetch_add(1, std::memory_order_relaxed);
  submit(std::move(call), now);
}

/// The same node for the same id, as long as the same nodes are there.
std::shared_ptr<peer_link> remote_service::choose(const outgoing_call& call) const {
  if (call.sent_to.is_nil())
    return links_.empty() ? nullptr : links_[call.hash % links_.size()];
  // Only the journal that may have had it knows its key.
  const auto same = std::ranges::find(links_, call.sent_to, [](const auto& l) { return l->journal(); });
  return same == links_.end() ? nullptr : *same;
}

void remote_service::submit(call_ptr call, time_point now) {
  std::optional<error> why;
  std::shared_ptr<peer_link> link;
  {
    std::lock_guard lock{mutex_};
    if (!closed_)
      link = choose(*call);
    if (!link && keep(call, now, why))
      return;
  }
  if (!link)
    return fail(std::move(call), *why);
  switch (link->send(call, now)) {
  case peer_link::sent::yes:
    if (call) // nobody waits for its end
      (void)call->permit->finish(result<void>{});
    return;
  case peer_link::sent::full:
    return fail(std::move(call), overloaded());
  case peer_link::sent::too_large:
    return fail(std::move(call), too_large(*link));
  case peer_link::sent::closed: {
    std::unique_lock lock{mutex_};
    if (keep(call, now, why))
      return;
    lock.unlock();
    return fail(std::move(call), *why);
  }
  }
}

bool remote_service::keep(call_ptr& call, time_point now, std::optional<error>& why) {
  if (closed_)
    why = *closed_;
  else if (is_lost(now))
    why = nobody();
  else if (waiting_.size() >= max_waiting_ || waiting_bytes_ > max_waiting_ * 4096)
    why = overloaded();
  if (why)
    return false;
  waiting_bytes_ += call->body.size();
  waiting_.push_back(std::move(call));
  return true;
}

// -- for the broker

void remote_service::attach(std::shared_ptr<peer_link> link) {
  std::unique_lock lock{mutex_};
  if (std::ranges::find(links_, link) == links_.end()) {
    links_.push_back(std::move(link));
    std::ranges::sort(links_, {}, [](const auto& l) { return l->node(); });
  }
  auto ended = look_through(steady_clock::now());
  lock.unlock();
  fail(std::move(ended));
}

void remote_service::detach(const peer_link& link) {
  std::lock_guard lock{mutex_};
  if (std::erase_if(links_, [&](const auto& l) { return l.get() == &link; }) > 0 && links_.empty()) {
    lost_at_ = steady_clock::now();
    lost_why_ = "node " + link.node() + " was lost";
  }
}

void remote_service::give_back(std::vector<call_ptr> calls, const std::string& why) {
  for (auto& call : calls) {
    if (!call->keyed) {
      fail_in_doubt(std::move(call), why);
      continue;
    }
    hold(std::move(call));
  }
}

void remote_service::hold(call_ptr call) {
  std::optional<error> refusal;
  std::unique_lock lock{mutex_};
  if (keep(call, steady_clock::now(), refusal))
    return;
  lock.unlock();
  const bool sent = !call->sent_to.is_nil();
  fail(std::move(call), sent ? in_doubt(refusal->message()) : *refusal);
}

void remote_service::sweep(time_point now) {
  std::unique_lock lock{mutex_};
  auto ended = look_through(now);
  lock.unlock();
  fail(std::move(ended));
}

std::vector<std::pair<call_ptr, error>> remote_service::look_through(time_point now) {
  std::vector<std::pair<call_ptr, error>> ended;
  std::deque<call_ptr> still;
  for (auto& call : std::exchange(waiting_, {})) {
    const bool sent = !call->sent_to.is_nil();
    const auto size = call->body.size();
    const auto link = call->deadline > now ? choose(*call) : nullptr;
    const auto outcome = link ? link->send(call, now) : peer_link::sent::closed;
    if (outcome == peer_link::sent::yes) {
      repeated_.fetch_add(sent, std::memory_order_relaxed);
      if (call) // nobody waits for its end
        (void)call->permit->finish(result<void>{});
      waiting_bytes_ -= size;
    } else if (outcome == peer_link::sent::too_large) {
      auto why = too_large(*link);
      ended.emplace_back(std::move(call), std::move(why));
      waiting_bytes_ -= size;
    } else if (call->deadline <= now || (is_lost(now) && !sent)) {
      auto why = sent           ? in_doubt("it could not be reached again in time")
                 : is_lost(now) ? nobody()
                                : make_error(entity_errc::deadline_exceeded,
                                             "service " + name_ + " was not reached in time: " + lost_why_);
      ended.emplace_back(std::move(call), std::move(why));
      waiting_bytes_ -= size;
    } else {
      still.push_back(std::move(call));
    }
  }
  waiting_ = std::move(still);
  return ended;
}

void remote_service::fail(std::vector<std::pair<call_ptr, error>> ended) {
  for (auto& [call, why] : ended)
    fail(std::move(call), why);
}

bool remote_service::is_lost(time_point now) const {
  return links_.empty() && lost_at_ < now && now - lost_at_ >= patience_;
}

void remote_service::close(const error& why) {
  std::deque<call_ptr> rest;
  {
    std::lock_guard lock{mutex_};
    closed_ = why;
    links_.clear();
    rest.swap(waiting_);
    waiting_bytes_ = 0;
  }
  for (auto& call : rest)
    if (const bool sent = !call->sent_to.is_nil(); sent)
      fail(std::move(call), in_doubt(why.message()));
    else
      fail(std::move(call), why);
}

void remote_service::begin(time_point now) {
  std::lock_guard lock{mutex_};
  lost_at_ = std::min(lost_at_, now);
}

// -- the end of a call

void remote_service::succeed(call_ptr call, caf::message answer) {
  (void)call->permit->finish(result<void>{});
  call->to.deliver(nullptr, std::move(answer), nullptr);
}

void remote_service::fail(call_ptr call, const error& why) {
  // What the breaker would answer instead hides the code that callers go by.
  (void)call->permit->finish(result<void>{why});
  if (call->to.is_request())
    call->to.deliver(nullptr, caf::make_message(to_caf_error(why)), nullptr);
  else
    spdlog::warn("service {}: a command that nobody waits for is lost: {}", name_, why.message());
}

void remote_service::fail_in_doubt(call_ptr call, const std::string& why) {
  (void)call->permit->finish(result<void>{});
  if (call->to.is_request())
    call->to.deliver(nullptr, caf::make_message(to_caf_error(in_doubt(why))), nullptr);
}

error remote_service::overloaded() const {
  return make_error(entity_errc::overloaded,
                    "too many calls to service " + name_ + " are not answered yet; try again later");
}

error remote_service::too_large(const peer_link& link) const {
  return make_error(entity_errc::invalid_command,
                    "the command is larger than cluster_options::max_message of node " + link.node() +
                        " allows; nothing was sent");
}

error remote_service::nobody() const {
  return make_error(entity_errc::unreachable,
                    "service " + name_ + " is not reached: " + lost_why_ + "; nothing was sent");
}

error remote_service::in_doubt(const std::string& why) const {
  return make_error(entity_errc::outcome_unknown, "service " + name_ +
                                                      " had the command, and its answer is missing: " + why +
                                                      "; repeat it with the same idempotency key");
}

service_stats remote_service::stats() const {
  service_stats s;
  s.service = name_;
  s.local = local_->offers(name_);
  s.breaker = breaker_.stats();
  s.calls = calls_;
  s.repeated = repeated_;
  std::vector<std::shared_ptr<peer_link>> links;
  {
    std::lock_guard lock{mutex_};
    s.waiting = waiting_.size();
    links = links_;
  }
  for (const auto& link : links)
    s.nodes.push_back(link->node());
  s.in_flight = s.breaker.under_way - std::min(s.breaker.under_way, s.waiting);
  return s;
}

// -- service_proxy

void service_proxy::enqueue(caf::mailbox_element_ptr element, caf::execution_unit* context) {
  // Exit messages and answers are for actors that have a life of their own.
  if (!element->mid.is_response() && !element->content().match_elements<caf::exit_msg>() &&
      !element->content().match_elements<caf::down_msg>())
    service_->take(*element, context);
}

} // namespace eventcore::internal
