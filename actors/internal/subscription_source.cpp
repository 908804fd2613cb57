#include <eventcore/actors/internal/subscription_actor.hpp>
#include <eventcore/actors/internal/subscription_cursor.hpp>
#include <eventcore/actors/subscription_errc.hpp>

#include <algorithm>

/// How a subscription finds its place in the log of another service, and what it does when that is away.
namespace eventcore::internal {

namespace {

/// A source that was not reached yet tells nobody when it is.
constexpr std::chrono::milliseconds max_bind_pause{1'000};

} // namespace

std::string_view subscription_actor::source_name() const {
  return options_.source ? std::string_view{options_.source->name()}
                         : std::string_view{journal_.info().service};
}

/// Opens the source's log where the subscription stands, if it is still the history that the cursor is of. The first time that also
/// says where a subscription without a cursor begins. False: not now.
bool subscription_actor::bind() {
  auto& source = *options_.source;
  const auto wait = [&](const error& why) {
    failed(reading_, why, std::min(options_.max_backoff, max_bind_pause));
    return false;
  };
  const auto now = source.current_history();
  if (!now)
    return wait(now.error());
  const auto head = source.head();
  if (!head)
    return wait(head.error());
  const bool has_cursor = options_.keep_cursor && !create_;
  if (history_ ? *history_ != *now : has_cursor && stored_history_ != history_of(now->incarnation)) {
    stand_still(other_history(*now));
    return false;
  }
  const auto through = !history_ && !has_cursor ? options_.start.first(*head) - 1
                       : chunks_.empty()        ? completed_
                                                : chunks_.back()->content.last();
  if (through > *head) {
    stand_still(make_error(subscription_errc::cursor_ahead,
                           "subscription " + options_.name + " is to go on with position " +
                               std::to_string(through + 1) + " of service " + source.name() +
                               ", but its log ends at " + std::to_string(*head) +
                               ": it is an older one, or another one, than the subscription followed"));
    return false;
  }
  open_feed(through + 1);
  // Which history the feed belongs to was not said: it is this one if it was this one before and after.
  if (const auto then = source.current_history(); !then || *then != *now) {
    feed_.reset();
    return wait(then ? make_error(journal_errc::wrong_journal,
                                  "the history of service " + source.name() + " changed a moment ago")
                     : then.error());
  }
  if (!std::exchange(history_, *now) && !has_cursor)
    completed_ = through;
  settle();
  return true;
}

/// What comes of a failed read: a source that is away is waited for with the feed open, which tells when it is back. A feed that says
/// anything else may have ended, and is opened anew.
void subscription_actor::reading_failed(const error& why) {
  if (options_.source && why.code() == journal_errc::wrong_journal) {
    feed_.reset();
    const auto now = options_.source->current_history();
    if (now && *now != *history_)
      return stand_still(other_history(*now));
  } else if (options_.source && why.code() != entity_errc::unreachable) {
    feed_.reset();
  }
  failed(reading_, why);
}

void subscription_actor::retry_reading() {
  reading_.waits = false;
  at_end_ = false;
  read_letters();
}

error subscription_actor::other_history(const event_source::history& now) const {
  const auto name = options_.source->name();
  return make_error(subscription_errc::other_history,
                    "subscription " + options_.name + " stands at position " +
                        std::to_string(handled_through()) + " of another history of service " + name +
                        " than the one that this has now (journal " + to_string(now.journal) +
                        ", incarnation " + to_string(now.incarnation) +
                        "): a backup was restored there since, or another journal has its name. Find out "
                        "which events it handled that are gone there, stop it, set its cursor with "
                        "set_subscription_cursor, giving this source, and start it again");
}

} // namespace eventcore::internal
