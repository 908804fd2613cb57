#include <eventcore/actors/persistent_actor.hpp>

#include <eventcore/actors/internal/caf_compat.hpp>
#include <eventcore/actors/internal/saved_answers.hpp>

#include <spdlog/spdlog.h>

#include <mutex>
#include <optional>

namespace eventcore {

namespace {

/// To itself and from the journal's writer: go on.
struct proceed {};

constexpr read_limits chunk{512, 1u << 20};

} // namespace

} // namespace eventcore

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::proceed)

namespace eventcore {

/// Carries one outcome from the writer thread to the actor.
class persistent_actor::commit_slot final : public commit_listener {
public:
  explicit commit_slot(caf::weak_actor_ptr owner)
      : owner_{std::move(owner)} {}

  void on_commit(std::uint64_t, const result<committed>& outcome) noexcept override {
    std::lock_guard guard{mutex_};
    outcome_.emplace(outcome ? result<void>{} : result<void>{outcome.error()});
    if (auto owner = caf::actor_cast<caf::actor>(owner_))
      caf::anon_send(owner, proceed{});
  }

  std::optional<result<void>> take() {
    std::lock_guard guard{mutex_};
    return std::exchange(outcome_, std::nullopt);
  }

  void detach() {
    std::lock_guard guard{mutex_};
    owner_ = nullptr;
  }

private:
  std::mutex mutex_;
  caf::weak_actor_ptr owner_;
  std::optional<result<void>> outcome_;
};

persistent_actor::persistent_actor(caf::actor_config& config, eventcore::journal& journal, stream_id stream)
    : caf::event_based_actor{config}
    , journal_{journal}
    , cursor_{std::move(stream)} {}

persistent_actor::~persistent_actor() = default;

caf::behavior persistent_actor::make_behavior() {
  auto behavior = start();
  send(this, proceed{});
  return behavior;
}

void persistent_actor::on_exit() {
  if (commit_)
    commit_->detach();
  if (done_)
    finish(make_error(journal_errc::outcome_unknown,
                      "the actor of stream " + stream().str() + " ended while its commit was under way"));
}

caf::invoke_message_result persistent_actor::consume(caf::mailbox_element& element) {
  if (failure_) {
    if (element.content().match_elements<proceed>())
      quit(to_caf_error(*failure_));
    else if (internal::reply_address to{element}; to.is_request())
      to.deliver(ctrl(), caf::make_message(to_caf_error(*failure_)), context());
    return caf::invoke_message_result::consumed;
  }
  if (element.content().match_elements<proceed>()) {
    current_mailbox_element(&element);
    catch_up();
    return caf::invoke_message_result::consumed;
  }
  if (busy_ && element.content().type_token() != caf::make_type_token<caf::exit_msg>())
    return caf::invoke_message_result::skipped;
  return caf::event_based_actor::consume(element);
}

void persistent_actor::persist_all(std::vector<new_event> events, outcome_handler done,
                                   event_metadata metadata) {
  auto invalid = [](std::string why) { return make_error(journal_errc::invalid_argument, std::move(why)); };
  if (busy_)
    return done(invalid("stream " + stream().str() +
                        ": a commit is under way; persist all events of a message at once"));
  for (const auto& event : events)
    if (!event.type || !handlers_.contains(event.type->full_name()))
      return done(invalid("stream " + stream().str() + ": no on_event() for " +
                          (event.type ? event.type->full_name() : "an event without a type")));
  auto credit = journal_.reserve();
  if (!credit)
    return done(credit.error());
  busy_ = true;
  done_ = std::move(done);
  if (!commit_)
    commit_ = std::make_shared<commit_slot>(caf::weak_actor_ptr{ctrl()});
  commit c;
  c.appends.push_back({stream(), expected_version::exact(version()), std::move(events)});
  c.metadata = std::move(metadata);
  journal_.submit(std::move(c), *std::move(credit), commit_, 0);
}

void persistent_actor::catch_up() {
  if (auto outcome = commit_ ? commit_->take() : std::nullopt)
    outcome_ = *std::move(outcome);
  auto at_end = read_on();
  if (at_end && !*at_end)
    return send(this, proceed{});
  if (at_end) {
    busy_ = false;
    if (done_)
      finish(std::exchange(outcome_, {}));
    return;
  }
  spdlog::error("{}", at_end.error().message());
  if (done_)
    finish(outcome_ ? make_error(journal_errc::outcome_unknown, at_end.error().message()) : outcome_.error());
  // What waits comes before this message to itself, and is answered in `consume`.
  failure_ = std::make_unique<error>(at_end.error());
  send(this, proceed{});
}

result<bool> persistent_actor::read_on() {
  static thread_local event_page page;
  auto failed = [this](std::string why) {
    return make_error(entity_errc::recovery_failed,
                      "stream " + stream().str() + " cannot be rebuilt: " + why);
  };
  auto first = cursor_;
  if (auto read = journal_.read_stream(cursor_, page, chunk); !read) {
    cursor_ = first;
    return failed(read.error().message());
  }
  for (const auto& event : page) {
    auto name = "event " + std::to_string(event.version) + " at position " + std::to_string(event.position) +
                " of type " + event.type;
    if (internal::is_answer_carrier(event))
      continue;
    auto handler = handlers_.find(event.type);
    if (handler == handlers_.end())
      return failed(name + " has no on_event()");
    if (event.schema_version != handler->second.schema_version)
      return failed(name + " has schema version " + std::to_string(event.schema_version) +
                    ", and its handler takes " + std::to_string(handler->second.schema_version) +
                    "; only deciders have upcasters for stored events of other versions");
    try {
      if (!handler->second.apply(event.payload))
        return failed(name + " has a payload that does not parse");
    } catch (const std::exception& e) {
      return failed(name + " made its handler throw: " + e.what());
    }
  }
  return page.empty();
}

void persistent_actor::finish(const result<void>& outcome) {
  // The handler may persist again.
  auto done = std::exchange(done_, nullptr);
  done(outcome);
}

} // namespace eventcore
