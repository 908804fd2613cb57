#pragma once

#include <eventcore/actors/internal/multi_stream_actor.hpp>
#include <eventcore/actors/internal/start_sagas.hpp>
#include <eventcore/actors/internal/timer_actor.hpp>
#include <eventcore/actors/saga_host.hpp>

#include <eventcore/actors/internal/saga.pb.h>

#include <deque>
#include <unordered_map>
#include <unordered_set>

namespace eventcore::internal {

/// Confirms or fails a step, or operates: passed on to the saga. Answered with `saga_phase`.
struct saga_order {
  std::string id;
  std::shared_ptr<google::protobuf::Message> command;
};

/// Answered with `SagaProgress`.
struct get_saga {
  std::string id;
};

/// Saga actor to itself: sagas whose end is waited for may have ended by another writer's events, of which nobody tells.
struct look_at_waiting {};

/// Saga actor to itself: read more of the unfinished sagas.
struct wake_more {};

/// Saga actor to itself: ask the sagas whose answers were lost.
struct resume_lost {};

/// Saga actor to itself: forget the requests that are not answered, and who does not wait any more.
struct forget_late {};

} // namespace eventcore::internal

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::saga_stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::saga_order)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::get_saga)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::look_at_waiting)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::wake_more)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::resume_lost)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(eventcore::internal::forget_late)

namespace eventcore::internal {

/// The part of the sagas of a definition that does things: sends what the persistent part has recorded, and tells it what
/// came back. It keeps nothing that is not in the journal: when it starts, it asks each unfinished saga what is to be sent
/// (again). So it does when an answer is lost because the saga could not take it, or may have.
class saga_actor final : public caf::event_based_actor {
public:
  /// `sagas` is the host of the persistent parts; `hosts` knows all targets of the definition's requests.
  saga_actor(caf::actor_config& config, const saga_type& type, eventcore::journal& journal, caf::actor sagas,
             std::shared_ptr<const host_directory> hosts, caf::actor timers, const saga_options& options);

  const char* name() const override { return "eventcore.sagas"; }

  caf::invoke_message_result consume(caf::mailbox_element& element) override;

protected:
  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  using steady = caf::actor_clock::time_point;
  enum class purpose : std::uint8_t {
    start,
    wake,
    resume,
    order,
    inspect,
    answered,
    await,
    look,
    participant
  };

  struct pending {
    purpose what;
    std::string id;
    std::string step; ///< of a participant's request
    bool undo = false;
    std::uint32_t attempt = 0;
    reply_address to{};
    /// Of a participant's request: when its answer is no longer waited for. Of `await`: when nobody waits any more.
    steady until = steady::max();
    std::string traceparent{}; ///< of a participant's request
  };
  struct waiting {
    reply_address to;
    steady until;
  };

  void on_start(caf::mailbox_element& element);
  void ask(const caf::actor& whom, caf::message request, pending p);
  void ask_saga(pending p, std::unique_ptr<google::protobuf::Message> command, command_context context = {});
  void on_response(pending p, caf::message content);
  void on_saga_failed(pending& p, caf::message content);
  /// To all that wait for the end of a saga.
  void tell_waiting(const std::string& id, saga_phase phase);
  void look_later();
  void on_phase(pending& p, SagaProgress::Phase phase);
  void on_orders(pending& p, SagaOrders& orders);
  void send_request(const std::string& id, SagaOrders::Order& order, const std::string& traceparent);
  void on_participant(pending& p, caf::message content);
  void answered(pending& p, SagaAnswered::Outcome outcome, const std::string& why);
  void tell_answer(pending& p, std::unique_ptr<SagaAnswered> command);
  void count(const std::string& id, const SagaOrders& orders);
  void wake_unfinished();
  void resume_later(std::string id);
  void forget_at(steady until);
  void on_forget_late();
  /// Nothing is sent and nobody is heard from now on, but what the sagas were told is waited for.
  void begin_stop(bool at_once);
  void quit_if_stopped();
  void refuse(reply_address to, const error& why);
  const saga_step* step_of(const std::string& name) const;

  const saga_type& type_;
  eventcore::journal& journal_;
  caf::actor sagas_;
  std::shared_ptr<const host_directory> hosts_;
  caf::actor timers_;
  saga_options options_;
  std::unordered_map<caf::message_id, pending> pending_;
  std::unordered_multimap<std::string, waiting> waiting_; ///< for the end of a saga
  bool forgetting_ = false;
  durable_timer woken_through_{};
  bool all_found_ = false;
  std::unordered_set<std::string>
      known_; ///< until all are found: those that were found, and those that went on by themselves
  std::deque<std::string> to_wake_;
  std::size_t waking_ = 0;
  std::unordered_set<std::string> lost_; ///< to be resumed when the pause is over
  std::chrono::seconds pause_{1};
  std::size_t starting_ = 0;
  saga_stats stats_;
  std::shared_ptr<saga_metrics> metrics_;       ///< null: nothing is counted
  std::unordered_set<std::string> not_counted_; ///< found, and their phase is not known yet
  log_limiter warnings_;
  bool looking_ = false; ///< `look_at_waiting` is on its way
  bool stopping_ = false;
  std::vector<reply_address> stop_requests_;
};

saga_phase to_phase(SagaProgress::Phase phase) noexcept;

/// The status in the answer to `get_saga`. Throws `std::logic_error` if it is none.
saga_status status_in(caf::message& answer);

} // namespace eventcore::internal
