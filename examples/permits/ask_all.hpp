#pragma once

#include <eventcore/actors/caf.hpp>
#include <eventcore/runtime/node.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>

namespace permits {

/// A command for one entity, and who hears the answer.
template <class Decider, class Command>
struct question {
  std::string id;
  Command command;
  std::function<void(const eventcore::result<eventcore::reply_of<Decider, Command>>&)> on_answer;
};

/// The next question, or nothing when there are no more.
template <class Decider, class Command>
using question_source = std::function<std::optional<question<Decider, Command>>()>;

/// The actor behind `ask_all`. It has no behaviour, so it ends with its last answer.
template <class Decider, class Command>
class asker : public caf::event_based_actor {
public:
  asker(caf::actor_config& config, eventcore::host<Decider> host, question_source<Decider, Command> next,
        std::size_t in_flight, std::shared_ptr<std::promise<void>> over)
      : caf::event_based_actor{config}
      , host_{std::move(host)}
      , next_{std::move(next)}
      , in_flight_{in_flight}
      , over_{std::move(over)} {}

  caf::behavior make_behavior() override {
    unless_failed([this] { ask(); });
    return {};
  }

private:
  using reply = eventcore::reply_of<Decider, Command>;
  using listener = decltype(question<Decider, Command>::on_answer);

  void ask() {
    while (unanswered_ < in_flight_) {
      auto q = next_();
      if (!q)
        break;
      ++unanswered_;
      const auto on_answer = std::make_shared<listener>(std::move(q->on_answer));
      eventcore::request(this, host_, std::move(q->id), std::move(q->command), caf::infinite)
          .then([this, on_answer](const reply& r) { answered(*on_answer, r); },
                [this, on_answer](const eventcore::error& e) { answered(*on_answer, e); });
    }
    if (unanswered_ == 0)
      over_->set_value();
  }

  void answered(const listener& on_answer, const eventcore::result<reply>& answer) {
    --unanswered_;
    unless_failed([&] {
      on_answer(answer);
      ask();
    });
  }

  template <class F>
  void unless_failed(F f) {
    if (failed_)
      return;
    try {
      f();
    } catch (...) {
      failed_ = true;
      over_->set_exception(std::current_exception());
    }
  }

  eventcore::host<Decider> host_;
  question_source<Decider, Command> next_;
  std::size_t in_flight_;
  std::size_t unanswered_ = 0;
  bool failed_ = false;
  std::shared_ptr<std::promise<void>> over_;
};

/// Asks one question after the other, as `next` gives them, with at most `in_flight` unanswered. Each entity
/// gets its commands in the order of `next`. The future is ready when all are answered.
///
/// `next` and `on_answer` run in one actor with a thread of its own, so they may read files and share data
/// with each other. An exception of theirs ends the asking and comes out of the future.
template <class Decider, class Command>
std::future<void> ask_all(eventcore::node& node, question_source<Decider, Command> next,
                          std::size_t in_flight) {
  auto over = std::make_shared<std::promise<void>>();
  auto future = over->get_future();
  node.system().template spawn<asker<Decider, Command>, caf::detached>(node.host<Decider>(), std::move(next),
                                                                       in_flight, std::move(over));
  return future;
}

} // namespace permits
