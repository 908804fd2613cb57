#pragma once

#include <eventcore/actors/given.hpp>
#include <eventcore/actors/multi_stream.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace eventcore {

namespace internal {

/// Events of one stream in a test.
struct test_stream {
  stream_id stream;
  const fold_type* fold;
  std::vector<new_event> events;
};

/// What a multi-stream command does with streams of the given events, without runtime. Throws `expectation_failed` if the
/// command would be refused, is not pure, or persists what cannot be evolved.
multi_stream_decision run_command(const multi_stream_type::command& type,
                                  const google::protobuf::Message& command, const command_context& context,
                                  const std::vector<test_stream>& history);

// Throw `expectation_failed` unless the decision is as expected.
void expect_appends(const multi_stream_decision& actual, const std::vector<test_stream>& expected);
void expect_reply(const multi_stream_decision& actual, const google::protobuf::Message& expected);
void expect_rejected(const multi_stream_decision& actual);
void expect_rejected(const multi_stream_decision& actual, std::string_view message_or_code);
void expect_true(const multi_stream_decision& actual, bool met, std::string_view what);

} // namespace internal

/// Names a stream of a test, with events in it: what `given` takes and `then` expects.
template <class F, class... Events>
internal::test_stream on(std::string_view id, const Events&... list) {
  static_assert(((internal::occurrences<typename F::events, Events> == 1) && ...),
                "eventcore: on<F>() takes events of F's events<...>");
  internal::test_stream result{internal::stream_of(F::category, id), &fold_type_of<F>(), {}};
  (result.events.push_back(internal::serialise(list)), ...);
  return result;
}

/// What a multi-stream command came to in a test. Each function throws `expectation_failed` if it is not as said, and returns
/// the outcome for the next one.
template <class D, class Command>
class multi_stream_outcome {
public:
  using reply = multi_stream_reply<D, Command>;

  explicit multi_stream_outcome(multi_stream_decision decided)
      : decided_{std::move(decided)} {}

  /// Exactly these events in exactly these streams, in any order of the streams.
  template <std::same_as<internal::test_stream>... Streams>
  const multi_stream_outcome& then(const Streams&... expected) const {
    internal::expect_appends(decided_, {expected...});
    return *this;
  }

  const multi_stream_outcome& then_no_events() const { return then(); }

  /// A reply equal to `expected`, or one of which `expected(const Reply&)` is true.
  template <class Expected>
  const multi_stream_outcome& then_reply(const Expected& expected) const {
    static_assert(internal::message_type<reply>, "eventcore: this command's effect has no reply");
    if constexpr (std::predicate<const Expected&, const reply&>)
      internal::expect_true(decided_, decided_.reply && expected(static_cast<const reply&>(*decided_.reply)),
                            "the reply");
    else
      internal::expect_reply(decided_, expected);
    return *this;
  }

  const multi_stream_outcome& then_rejected() const {
    internal::expect_rejected(decided_);
    return *this;
  }

  /// A rejection whose message or whose code is `message_or_code`.
  const multi_stream_outcome& then_rejected(std::string_view message_or_code) const {
    internal::expect_rejected(decided_, message_or_code);
    return *this;
  }

private:
  multi_stream_decision decided_;
};

/// The streams of a test: what `given_streams` makes.
template <class D>
class [[nodiscard]] multi_stream_scenario {
public:
  explicit multi_stream_scenario(std::vector<internal::test_stream> history)
      : history_{std::move(history)} {}

  /// Runs `command`; streams that were not given have no events.
  template <class Command>
  multi_stream_outcome<D, Command> when(const Command& command, const command_context& context = {}) const {
    static_assert(internal::occurrences<typename D::commands, Command> == 1,
                  "eventcore: when() takes one of the decider's commands<...>");
    for (auto& row : multi_stream_type_of<D>().commands)
      if (row.prototype == &Command::default_instance())
        return multi_stream_outcome<D, Command>{internal::run_command(row, command, context, history_)};
    std::abort(); // the static_assert above has failed
  }

private:
  std::vector<internal::test_stream> history_;
};

/// Tests the multi-stream decider `D` without runtime or journal:
///
///     given_streams<transfers>(on<account>("alice", opened, deposited(700)), on<account>("bob", opened))
///         .when(transfer("alice", "bob", 500))
///         .then(on<account>("alice", withdrawn(500)), on<account>("bob", deposited(500)))
///         .then_reply(balance(200));
///
/// As strict as `given` is: events go through their serialised form, the command is decided twice and must come to the same,
/// and what it persists must evolve. Streams that `declare` discovers are read as the runtime would.
template <class D, std::same_as<internal::test_stream>... Streams>
multi_stream_scenario<D> given_streams(const Streams&... streams) {
  return multi_stream_scenario<D>{{streams...}};
}

} // namespace eventcore
