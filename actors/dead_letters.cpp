#include <eventcore/actors/dead_letters.hpp>

#include <eventcore/actors/effect.hpp>
#include <eventcore/actors/internal/dead_letter.pb.h>
#include <eventcore/actors/internal/subscription_cursor.hpp>
#include <eventcore/actors/subscription_errc.hpp>
#include <eventcore/persistence/internal/utf8.hpp>

#include <algorithm>
#include <map>

namespace eventcore {

namespace {

/// Events of one commit.
constexpr std::size_t max_together = 1'000;

error no_letter(std::string_view subscription, const std::string& which) {
  return make_error(subscription_errc::no_such_letter,
                    "subscription " + internal::quoted(subscription) + " has no dead letter" + which);
}

/// Appends a `Mark` for one letter or for all.
template <class Mark>
result<std::size_t> mark(journal& journal, std::string_view subscription,
                         std::optional<log_position> position) {
  auto letters = list_dead_letters(journal, subscription);
  if (!letters)
    return letters.error();
  if (position)
    std::erase_if(*letters, [&](auto& letter) { return letter.position != *position; });
  if (letters->empty())
    return no_letter(subscription, position ? " at position " + std::to_string(*position) : "");
  const auto stream = *internal::find_dead_letter_stream(subscription);
  for (std::size_t i = 0; i < letters->size(); i += max_together) {
    stream_append marks{stream, expected_version::any(), {}};
    for (auto j = i; j < std::min(i + max_together, letters->size()); ++j) {
      Mark m;
      m.set_position((*letters)[j].position);
      marks.events.push_back(internal::serialise(m));
    }
    commit c;
    c.appends.push_back(std::move(marks));
    if (auto done = journal.commit_and_wait(std::move(c)); !done)
      return done.error();
  }
  return letters->size();
}

} // namespace

result<std::vector<std::string>> list_dead_letter_subscriptions(journal_reader& journal) {
  const auto prefix = std::string{dead_letter_category} + '-';
  std::vector<std::string> names;
  std::string token;
  for (;;) {
    auto page = journal.list_streams(token);
    if (!page)
      return page.error();
    if (page->empty())
      break;
    for (auto& head : *page)
      if (head.stream.starts_with(prefix))
        names.push_back(head.stream.substr(prefix.size()));
  }
  std::ranges::sort(names);
  return names;
}

result<std::vector<dead_letter>> list_dead_letters(journal_reader& journal, std::string_view subscription) {
  auto stream = internal::find_dead_letter_stream(subscription);
  if (!stream)
    return stream.error();
  std::map<log_position, dead_letter> open;
  stream_cursor where{*stream};
  event_page page;
  for (;;) {
    if (auto done = journal.read_stream(where, page); !done)
      return done.error();
    if (page.empty())
      break;
    for (auto& event : page) {
      DeadLetter letter;
      DeadLetterReplayWanted wish;
      DeadLetterReplayed replayed;
      DeadLetterDropped dropped;
      const SubscriptionBound bound;
      if (event.type == letter.GetTypeName() && letter.ParseFromString(event.payload)) {
        open[letter.position()] = {letter.position(), letter.source(),   letter.stream(),
                                   letter.version(),  letter.type(),     letter.why(),
                                   letter.attempts(), event.occurred_at, false,
                                   event.version};
      } else if (event.type == wish.GetTypeName() && wish.ParseFromString(event.payload)) {
        if (auto i = open.find(wish.position()); i != open.end())
          i->second.replay_wanted = true;
      } else if (event.type == replayed.GetTypeName() && replayed.ParseFromString(event.payload)) {
        auto i = open.find(replayed.position());
        if (i == open.end())
          continue;
        if (replayed.failure().empty()) {
          open.erase(i);
          continue;
        }
        i->second.why = replayed.failure();
        ++i->second.attempts;
        i->second.replay_wanted = false;
      } else if (event.type == dropped.GetTypeName() && dropped.ParseFromString(event.payload)) {
        open.erase(dropped.position());
      } else if (event.type != bound.GetTypeName()) {
        return make_error(subscription_errc::not_decodable,
                          "event " + std::to_string(event.version) + " of stream " + event.stream +
                              " at position " + std::to_string(event.position) + " of type " + event.type +
                              " is nothing that a dead-letter stream holds");
      }
    }
  }
  std::vector<dead_letter> letters;
  for (auto& [position, letter] : open)
    letters.push_back(std::move(letter));
  return letters;
}

result<recorded_event> read_dead_letter_event(journal_reader& journal, std::string_view subscription,
                                              const dead_letter& letter) {
  if (!letter.source.empty()) {
    auto event = internal::read_parked_event(journal, subscription, letter.letter);
    if (!event)
      return event.error();
    return std::move(event->content);
  }
  event_page page;
  auto next = letter.position;
  if (auto read = journal.read_log(next, page, {}, {.events = 1}); !read)
    return read.error();
  if (page.empty())
    return make_error(subscription_errc::no_such_letter,
                      "there is no event at position " + std::to_string(letter.position));
  return *page.begin();
}

result<std::size_t> want_dead_letters_replayed(journal& journal, std::string_view subscription,
                                               std::optional<log_position> position) {
  return mark<DeadLetterReplayWanted>(journal, subscription, position);
}

result<std::size_t> drop_dead_letters(journal& journal, std::string_view subscription,
                                      std::optional<log_position> position) {
  return mark<DeadLetterDropped>(journal, subscription, position);
}

} // namespace eventcore
