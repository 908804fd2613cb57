#include <eventcore/actors/given.hpp>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/field_comparator.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

namespace eventcore::internal {

namespace {

using google::protobuf::Message;

using message_ptr = std::unique_ptr<Message>;

[[noreturn]] void fail(std::string message) {
  throw expectation_failed{std::move(message)};
}

const entity_type::event& row_of(const entity_type& type, const new_event& event) {
  return *std::ranges::find(type.events, event.type,
                            [](const entity_type::event& row) { return row.prototype->GetDescriptor(); });
}

message_ptr parsed(const entity_type& type, const new_event& event) {
  message_ptr result{row_of(type, event).prototype->New()};
  if (!result->ParseFromString(event.payload))
    fail("the event " + event.type->full_name() + " does not parse from its serialised form");
  return result;
}

bool equal(const Message& a, const Message& b) {
  if (a.GetDescriptor() != b.GetDescriptor())
    return false;
  google::protobuf::util::DefaultFieldComparator fields;
  fields.set_treat_nan_as_equal(true);
  google::protobuf::util::MessageDifferencer messages;
  messages.set_field_comparator(&fields);
  return messages.Compare(a, b);
}

bool equal(const entity_type& type, const decision& a, const decision& b) {
  if (a.stop != b.stop || a.rejected.has_value() != b.rejected.has_value() ||
      a.events.size() != b.events.size() || (a.reply == nullptr) != (b.reply == nullptr))
    return false;
  if (a.rejected && (a.rejected->code != b.rejected->code || a.rejected->message != b.rejected->message ||
                     a.rejected->details != b.rejected->details))
    return false;
  if (a.reply && !equal(*a.reply, *b.reply))
    return false;
  return std::ranges::equal(a.events, b.events, [&](const new_event& x, const new_event& y) {
    return equal(*parsed(type, x), *parsed(type, y));
  });
}

std::string text(const Message& message) {
  const auto fields = message.ShortDebugString();
  return message.GetTypeName() + (fields.empty() ? " {}" : " { " + fields + " }");
}

std::string line(std::string_view content) {
  return "\n  " + std::string{content};
}

std::string text(const rejection& no) {
  return "rejected: " + no.message + " (code " + no.code +
         (no.details.empty() ? "" : ", details " + no.details) + ")";
}

std::string text(const entity_type& type, const decision& decided) {
  std::string result;
  if (decided.rejected)
    result += line(text(*decided.rejected));
  for (const auto& event : decided.events)
    result += line("event " + text(*parsed(type, event)));
  if (decided.reply)
    result += line("reply " + text(*decided.reply));
  if (decided.stop)
    result += line("stop");
  return result.empty() ? line("neither events nor a reply") : result;
}

} // namespace

void replay_all(const entity_type& type, void* state, std::span<const new_event> events,
                std::string_view origin) {
  for (const auto& event : events)
    if (!row_of(type, event).replay(state, event.payload))
      fail("an event " + event.type->full_name() + " that " + std::string{origin} +
           " does not parse from its serialised form");
}

void expect_same(const entity_type& type, const decision& once, const decision& again) {
  if (!equal(type, once, again))
    fail("decide is not pure: it came to two things, given the same state, command and context.\nonce:" +
         text(type, once) + "\nagain:" + text(type, again));
}

void expect_rebuilt(const entity_type& type, const decision& actual, bool equal) {
  if (!equal)
    fail("evolve is not pure: the state after these events differs from the one that is rebuilt from all "
         "events."
         "\nactual:" +
         text(type, actual));
}

void expect_events(const entity_type& type, const decision& actual,
                   std::span<const Message* const> expected) {
  const auto same =
      std::ranges::equal(expected, actual.events, [&](const Message* wanted, const new_event& found) {
        return equal(*wanted, *parsed(type, found));
      });
  if (same)
    return;
  std::string wanted;
  for (const auto* event : expected)
    wanted += line("event " + text(*event));
  fail("expected:" + (wanted.empty() ? line("no events") : wanted) + "\nactual:" + text(type, actual));
}

void expect_reply(const entity_type& type, const decision& actual, const Message& expected) {
  if (!actual.reply || !equal(expected, *actual.reply))
    fail("expected:" + line("reply " + text(expected)) + "\nactual:" + text(type, actual));
}

void expect_rejected(const entity_type& type, const decision& actual) {
  if (!actual.rejected)
    fail("expected:" + line("rejected") + "\nactual:" + text(type, actual));
}

void expect_rejected(const entity_type& type, const decision& actual, std::string_view message_or_code) {
  if (!actual.rejected ||
      (actual.rejected->message != message_or_code && actual.rejected->code != message_or_code))
    fail("expected:" + line("rejected: ") + std::string{message_or_code} + "\nactual:" + text(type, actual));
}

void expect_stop(const entity_type& type, const decision& actual) {
  if (!actual.stop)
    fail("expected:" + line("stop") + "\nactual:" + text(type, actual));
}

void expect_true(const entity_type& type, const decision& actual, bool met, std::string_view what) {
  if (!met)
    fail("not as expected: " + std::string{what} + "\nactual:" + text(type, actual));
}

void expect_no_rejection(const entity_type& type, const decision& actual) {
  if (actual.rejected)
    fail("expected:" + line("a reply") + "\nactual:" + text(type, actual));
}

} // namespace eventcore::internal
