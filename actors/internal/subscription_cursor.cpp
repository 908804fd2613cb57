#include <eventcore/actors/internal/subscription_cursor.hpp>

#include <eventcore/actors/distributed_event.hpp>
#include <eventcore/actors/effect.hpp>
#include <eventcore/actors/internal/dead_letter.pb.h>
#include <eventcore/actors/subscription_errc.hpp>

namespace eventcore::internal {

namespace {

std::string bytes_of(const uuid& id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
}

} // namespace

new_event bound_to(const event_source* source, const event_source::history& history) {
  SubscriptionBound bound;
  if (source != nullptr)
    bound.set_source(source->name());
  bound.set_journal(bytes_of(history.journal));
  bound.set_incarnation(bytes_of(history.incarnation));
  return serialise(bound);
}

result<std::string> bound_source(journal_reader& journal, std::string_view name) {
  auto stream = find_dead_letter_stream(name);
  if (!stream)
    return stream.error();
  std::string source;
  stream_cursor where{*std::move(stream)};
  event_page page;
  do {
    if (auto done = journal.read_stream(where, page); !done)
      return done.error();
    SubscriptionBound bound;
    for (auto& event : page)
      if (event.type == bound.GetTypeName() && bound.ParseFromString(event.payload))
        source = bound.source();
  } while (!page.empty());
  return source;
}

result<parked_event> read_parked_event(journal_reader& journal, std::string_view name,
                                       stream_version version) {
  auto stream = find_dead_letter_stream(name);
  if (!stream)
    return stream.error();
  stream_cursor where{*std::move(stream), version};
  event_page page;
  if (auto done = journal.read_stream(where, page, {.events = 1}); !done)
    return done.error();
  DeadLetter letter;
  if (page.empty() || page.begin()->type != letter.GetTypeName() ||
      !letter.ParseFromString(page.begin()->payload))
    return make_error(subscription_errc::no_such_letter, "event " + std::to_string(version) + " of stream " +
                                                             where.stream.str() + " is no dead letter");
  if (!letter.has_event())
    return make_error(subscription_errc::no_such_letter,
                      "the event was too large for its letter; it is at position " +
                          std::to_string(letter.position()) + " of the log of service " + letter.source());
  auto event = from_distributed(letter.event());
  if (!event)
    return event.error();
  return parked_event{letter.source(), *std::move(event)};
}

} // namespace eventcore::internal
