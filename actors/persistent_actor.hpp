#pragma once

#include <eventcore/actors/caf.hpp>
#include <eventcore/persistence/journal.hpp>
#include <eventcore/persistence/schema.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace eventcore {

/// A CAF actor with a persistent state, written by hand: for behaviour that a decider cannot express because
/// it talks to others, reads clocks, or keeps what is no Protobuf message.
///
///     class counter : public eventcore::persistent_actor {
///     public:
///       counter(caf::actor_config& config, eventcore::journal& journal, eventcore::stream_id stream)
///           : persistent_actor{config, journal, std::move(stream)} {}
///
///     protected:
///       caf::behavior start() override {
///         on_event<demo::Counted>([this](const demo::Counted& e) { sum_ += e.amount(); });
///         return {
///             [this](const demo::Count& c) {
///               auto promise = make_response_promise();
///               persist(counted(c), [this, promise](const eventcore::result<void>& outcome) mutable {
///                 if (outcome)
///                   promise.deliver(sum_);
///                 else
///                   promise.deliver(eventcore::to_caf_error(outcome.error()));
///               });
///               return promise;
///             },
///         };
///       }
///
///     private:
///       int sum_ = 0;
///     };
///
/// Such a behaviour is impure and cannot be decided again. So it is stop-and-wait: while a commit is under
/// way every other message waits, which bounds one actor to one commit per sync of the disk (many actors
/// share a sync), and a conflict with another writer of the stream reaches the handler as an error. Where
/// that is too little, write a decider.
///
/// Messages that arrive before the state is rebuilt wait, too. If it cannot be rebuilt, the actor quits with
/// `entity_errc::recovery_failed` (which waiting requests are answered with): whoever monitors it decides on
/// another try.
class persistent_actor : public caf::event_based_actor {
public:
  /// `journal` must outlive the actor.
  persistent_actor(caf::actor_config& config, eventcore::journal& journal, stream_id stream);
  ~persistent_actor() override;

  const char* name() const override { return "eventcore.persistent_actor"; }
  const stream_id& stream() const noexcept { return cursor_.stream; }
  /// Of the stream, as far as the state has taken it in.
  stream_version version() const noexcept { return cursor_.next - 1; }

protected:
  /// Hears how `persist` ended, in the actor, exactly once, with the state up to date: the events have been
  /// taken in after success; after a failure, whatever other writers appended. Errors are the journal's;
  /// `outcome_unknown`, too, when the actor is killed meanwhile.
  using outcome_handler = std::function<void(const result<void>&)>;

  /// Declares the events by `on_event`, once each, and returns the behaviour for messages. Called before the
  /// state is rebuilt.
  virtual caf::behavior start() = 0;

  /// `apply(const Event&)` takes an event into the state: when it is rebuilt, and after `persist`. It must do
  /// nothing else.
  template <class Event, class F>
  void on_event(F apply) {
    auto& handler = handlers_[Event::descriptor()->full_name()];
    handler.schema_version = schema_version_of(*Event::descriptor());
    handler.apply = [apply = std::move(apply)](std::string_view payload) mutable {
      Event event;
      if (!event.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
        return false;
      apply(std::as_const(event));
      return true;
    };
  }

  /// Appends one event. At most one `persist` per message, and none in an outcome handler's failure case
  /// without bound.
  template <class Event>
  void persist(const Event& event, outcome_handler done) {
    std::vector<new_event> events;
    events.push_back(
        {Event::descriptor(), event.SerializeAsString(), schema_version_of(*Event::descriptor())});
    persist_all(std::move(events), std::move(done));
  }

  /// Appends several events, all or none. `done` is called before this returns when nothing was submitted:
  /// `overloaded`, `invalid_argument` (no handler for an event's type, or a commit under way already),
  /// `closed`.
  void persist_all(std::vector<new_event> events, outcome_handler done, event_metadata metadata = {});

  // -- for the runtime

  caf::behavior make_behavior() final;
  /// Call it when you override it.
  void on_exit() override;
  caf::invoke_message_result consume(caf::mailbox_element& element) final;

private:
  class commit_slot;

  void catch_up();
  /// Takes in the next events. True: there are no more.
  result<bool> read_on();
  void finish(const result<void>& outcome);

  eventcore::journal& journal_;
  stream_cursor cursor_;
  struct event_handler {
    std::uint32_t schema_version = 1;
    std::function<bool(std::string_view)> apply;
  };

  std::map<std::string, event_handler, std::less<>> handlers_;
  bool busy_ = true; ///< rebuilding or persisting: messages wait
  std::shared_ptr<commit_slot> commit_;
  outcome_handler done_;
  result<void> outcome_;
  std::unique_ptr<error> failure_; ///< the state cannot be rebuilt; it quits
};

} // namespace eventcore
