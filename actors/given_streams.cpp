#include <eventcore/actors/given_streams.hpp>

#include <eventcore/actors/internal/fold_state.hpp>

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

namespace eventcore::internal {

namespace {

constexpr std::size_t max_streams = 1'000;
constexpr std::size_t max_rounds = 16;

[[noreturn]] void fail(const std::string& why) {
  throw expectation_failed{why};
}

std::string text(const google::protobuf::Message& m) {
  auto fields = m.ShortDebugString();
  return m.GetTypeName() + (fields.empty() ? " {}" : " { " + fields + " }");
}

std::string text(const new_event& e) {
  std::unique_ptr<google::protobuf::Message> m{
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(e.type)->New()};
  m->ParsePartialFromString(e.payload);
  return text(*m);
}

/// One line for each event, by streams: equal texts are equal appends.
template <class Streams>
std::string lines(const Streams& streams) {
  std::map<std::string, std::string> by_stream;
  for (auto& s : streams)
    for (auto& e : s.events)
      by_stream[s.stream.str()] += "\n  " + s.stream.str() + ": " + text(e);
  std::string all;
  for (auto& [stream, events] : by_stream)
    all += events;
  return all;
}

std::string text(const multi_stream_decision& d) {
  std::string result;
  if (d.rejected)
    result += "\n  rejected: " + d.rejected->message + " (code " + d.rejected->code + ')';
  result += lines(d.appends);
  if (d.reply)
    result += "\n  reply " + text(*d.reply);
  return result.empty() ? "\n  neither events nor a reply" : result;
}

/// The streams that a command has read so far.
class test_streams final : public command_streams {
public:
  const item* find(const stream_id& stream) const override {
    auto i = read_.find(stream.str());
    return i == read_.end() ? nullptr : &i->second.shown;
  }

  void read(const declared_stream& wanted, const std::vector<test_stream>& history) {
    if (find(wanted.stream))
      return;
    fold_state state{*wanted.fold};
    for (auto& given : history)
      if (given.stream == wanted.stream)
        for (auto& event : given.events) {
          if (auto why = state.apply(event))
            fail("the event " + text(event) + " that was given in stream " + given.stream.str() + ' ' + *why);
          ++state.version;
        }
    auto& kept =
        read_.emplace(wanted.stream.str(), entry{std::move(state), {wanted.stream, wanted.fold, nullptr, 0}})
            .first->second;
    kept.shown.state = kept.state.get();
    kept.shown.version = kept.state.version;
  }

  /// Evolves what was persisted.
  void evolve(const multi_stream_decision& decided) {
    for (auto& append : decided.appends) {
      auto i = read_.find(append.stream.str());
      if (i == read_.end())
        fail("the command appends to stream " + append.stream.str() + ", which its declare() did not name");
      for (auto& event : append.events)
        if (auto why = i->second.state.apply(event))
          fail("the event " + text(event) + " for stream " + append.stream.str() + ' ' + *why);
    }
  }

private:
  struct entry {
    fold_state state;
    item shown;
  };
  std::map<std::string, entry> read_;
};

} // namespace

multi_stream_decision run_command(const multi_stream_type::command& type,
                                  const google::protobuf::Message& command, const command_context& context,
                                  const std::vector<test_stream>& history) {
  test_streams streams;
  for (std::size_t round = 0;; ++round) {
    auto declared = type.declare(command, streams);
    if (auto wrong = check_declared(declared, max_streams))
      fail(wrong->message());
    auto known = [&](auto& d) { return streams.find(d.stream) != nullptr; };
    if (std::ranges::all_of(declared, known))
      break;
    if (round > max_rounds)
      fail("the command discovers streams without end");
    for (auto& wanted : declared)
      streams.read(wanted, history);
  }
  auto once = type.decide(command, streams, context);
  auto again = type.decide(command, streams, context);
  if (text(once) != text(again))
    fail("decide is not pure: it came to two things, given the same states, command and context.\nonce:" +
         text(once) + "\nagain:" + text(again));
  streams.evolve(once);
  return once;
}

void expect_appends(const multi_stream_decision& actual, const std::vector<test_stream>& expected) {
  auto wanted = lines(expected);
  if (wanted != lines(actual.appends))
    fail("expected:" + (wanted.empty() ? "\n  no events" : wanted) + "\nactual:" + text(actual));
}

void expect_reply(const multi_stream_decision& actual, const google::protobuf::Message& expected) {
  if (!actual.reply || actual.reply->GetDescriptor() != expected.GetDescriptor() ||
      !google::protobuf::util::MessageDifferencer::Equals(*actual.reply, expected))
    fail("expected:\n  reply " + text(expected) + "\nactual:" + text(actual));
}

void expect_rejected(const multi_stream_decision& actual) {
  if (!actual.rejected)
    fail("expected:\n  rejected\nactual:" + text(actual));
}

void expect_rejected(const multi_stream_decision& actual, std::string_view message_or_code) {
  if (!actual.rejected ||
      (actual.rejected->message != message_or_code && actual.rejected->code != message_or_code))
    fail("expected:\n  rejected: " + std::string{message_or_code} + "\nactual:" + text(actual));
}

void expect_true(const multi_stream_decision& actual, bool met, std::string_view what) {
  if (!met)
    fail("the predicate is not true of " + std::string{what} + ".\nactual:" + text(actual));
}

} // namespace eventcore::internal
