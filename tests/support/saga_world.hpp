#pragma once

#include "entity_world.hpp"

#include <eventcore/actors/internal/saga_engine.hpp>
#include <eventcore/actors/saga_host.hpp>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace eventcore::test {

using namespace std::literals;

/// What a participant was asked.
struct seen_request {
  std::string participant;
  std::string id;
  std::string key;
  std::int64_t cents;
  caf::response_promise to;
  caf::actor by;
};

/// Participants that note what they are asked, and answer as the test says.
struct saga_world : entity_world {
  using answer_function = std::function<caf::message(const seen_request&)>;

  std::vector<seen_request> seen;
  /// By participant: its answers; an empty message: none yet. Without a function it replies with a balance of its cents.
  std::map<std::string, answer_function> script;

  explicit saga_world(std::initializer_list<const char*> participants) {
    for (auto* name : participants)
      add_participant(
          name, spawn([this, name = std::string{name}](caf::event_based_actor* self) {
            auto take = [this, name, self](const std::string& id, const command_context& context,
                                           const bank::Deposit& c) {
              auto promise = self->make_response_promise();
              seen.push_back({name, id, context.idempotency_key, c.cents(), promise, self});
              auto& answers = script[name];
              auto answer = answers ? answers(seen.back()) : reply(c.cents());
              if (!answer.empty())
                promise.deliver(std::move(answer));
              return promise;
            };
            return caf::behavior{
                [this](std::uint64_t index) { seen[index].to.deliver(late_answer_); },
                [take](const std::string& id, const command_context& x, const bank::Deposit& c) {
                  return take(id, x, c);
                },
                [take](const command_context& x, const bank::Deposit& c) { return take({}, x, c); }};
          }));
  }

  static caf::message reply(std::int64_t cents) {
    return caf::make_message(make<bank::Balance>([&](auto& b) { b.set_cents(cents); }));
  }
  static caf::message refusal(const std::string& why = "no") {
    return caf::make_message(to_caf_error(make_error(entity_errc::rejected, why)));
  }
  static caf::message trouble(entity_errc code = entity_errc::overloaded) {
    return caf::make_message(to_caf_error(make_error(code, "trouble")));
  }
  static answer_function always(caf::message answer) {
    return [answer](const seen_request&) { return answer; };
  }
  static answer_function never() { return always({}); }

  /// `participant:cents` of all requests so far; compensations have negative cents.
  std::vector<std::string> asked_for() const {
    std::vector<std::string> all;
    for (auto& s : seen)
      all.push_back(s.participant + ':' + std::to_string(s.cents));
    return all;
  }

  /// Answers the request that was seen as number `index`.
  void answer_late(std::uint64_t index, caf::message answer) {
    late_answer_ = std::move(answer);
    caf::anon_send(seen[index].by, index);
    settle();
  }

  asked start(const saga_handle& sagas, const std::string& id, std::int64_t cents = 5) {
    return send(actor_of(sagas),
                caf::make_message(id, make<bank::Deposit>([&](auto& c) { c.set_cents(cents); })));
  }
  /// Lets time pass, a bit at a time.
  void pass(std::chrono::milliseconds time) {
    for (auto step = 50ms; time > 0ms; time -= step) {
      advance(step);
      settle();
    }
  }
  std::vector<std::string> types(const std::string& stream) {
    std::vector<std::string> all;
    for (auto& e : events(stream))
      all.push_back(e.type.substr(e.type.find('.') + 1));
    return all;
  }
  std::size_t timers() {
    return must(static_cast<journal_reader&>(journal).read_timers({}, timestamp::max())).size();
  }

  template <class T>
  static T must(result<T> r) {
    if (!r)
      throw std::runtime_error{r.error().message()};
    return *std::move(r);
  }

private:
  caf::message late_answer_;
};

inline bank::Deposit cents(std::int64_t amount) {
  return make<bank::Deposit>([&](auto& c) { c.set_cents(amount); });
}

} // namespace eventcore::test
