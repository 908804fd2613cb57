#include <eventcore/actors/dead_letters.hpp>
#include <eventcore/actors/distributed_event.hpp>
#include <eventcore/actors/internal/dead_letter.pb.h>
#include <eventcore/actors/internal/stored_event.hpp>
#include <eventcore/actors/internal/subscription_actor.hpp>
#include <eventcore/actors/internal/subscription_cursor.hpp>
#include <eventcore/actors/subscription_errc.hpp>
#include <eventcore/persistence/internal/stream_index.hpp>
#include <eventcore/persistence/internal/utf8.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

/// What a subscription commits: its cursor, dead letters, and the commands that its handlers answer with.
namespace eventcore::internal {

namespace {

constexpr std::size_t max_why_bytes = 2'000;
/// A larger event is not kept in its letter.
constexpr std::size_t max_letter_bytes = std::size_t{8} << 20;

/// What went wrong says nothing of the event or of its command.
bool is_passing(const error& e) {
  return e.code() == entity_errc::overloaded || e.code() == entity_errc::not_persisted ||
         e.code() == entity_errc::conflict || e.code() == entity_errc::outcome_unknown ||
         e.code() == entity_errc::stopped;
}

std::string text_of(const std::string& why) {
  return is_utf8(why) && why.size() <= max_why_bytes ? why : quoted(why, max_why_bytes);
}

} // namespace

/// Null: all that is in hand is handled. It may be handled, too, as far as its lane was asked.
const recorded_event* subscription_actor::lowest_unfinished() const {
  const recorded_event* lowest = nullptr;
  for (auto& l : lanes_) {
    auto s = l.shares.begin();
    const bool running = l.at == lane::phase::running && (s == l.shares.end() || !s->letter);
    if (s != l.shares.end() && s->letter)
      ++s;
    if (s == l.shares.end())
      continue;
    const auto next = std::min(s->done + (running ? l.run->done() : 0), s->events.size() - 1);
    if (lowest == nullptr || s->events[next]->position < lowest->position)
      lowest = s->events[next];
  }
  return lowest;
}

/// The lowest unfinished event is not before the next position.
log_position subscription_actor::handled_through() const {
  if (chunks_.empty())
    return completed_;
  const auto* next = lowest_unfinished();
  return std::max(next != nullptr ? next->position - 1 : chunks_.back()->content.last(), completed_);
}

bool subscription_actor::may_commit() const {
  return !committing_ && !writing_.waits && !create_ &&
         !(stood_still_ && stood_still_->code() == subscription_errc::cursor_moved);
}

/// Commits what can be committed next, if anything.
void subscription_actor::settle() {
  if (create_ && feed_ && !committing_ && !writing_.waits && !stood_still_ && !stopping_)
    return create_cursor();
  for (auto& l : lanes_) {
    if (!may_commit() || stopping_)
      return;
    if (l.at != lane::phase::settling)
      continue;
    if (l.answer)
      react(l);
    else if (l.shares.front().letter)
      resolve(l);
    else
      park(l);
  }
  if (may_commit() && handled_through() >= cursor_ + options_.cursor_every)
    move_cursor();
}

void subscription_actor::create_cursor() {
  commit c;
  c.cursors.push_back({cursor_name_, 0, completed_});
  c.cursors.push_back({subscription_history_name(options_.name), 0, history_of(history_->incarnation)});
  if (options_.source)
    c.appends.push_back(
        {letter_stream_, expected_version::any(), {bound_to(options_.source.get(), *history_)}});
  const auto created = c.cursors.back();
  submit(std::move(c), {created});
}

/// To all that is handled, if it is not there.
void subscription_actor::move_cursor() {
  const auto through = handled_through();
  if (!options_.keep_cursor || through <= cursor_)
    return;
  commit c;
  c.cursors.push_back({cursor_name_, cursor_, through});
  const auto move = c.cursors.back();
  submit(std::move(c), {move});
}

void subscription_actor::park(lane& l) {
  const auto& event = next_event(l);
  DeadLetter letter;
  letter.set_subscription(options_.name);
  letter.set_position(event.position);
  letter.set_stream(event.stream);
  letter.set_version(event.version);
  letter.set_type(event.type);
  letter.set_why(text_of(l.failure->message()));
  letter.set_attempts(l.shares.front().attempt);
  if (options_.source) {
    letter.set_source(options_.source->name());
    *letter.mutable_event() = to_distributed(event, letter.source(), {}, {});
    if (letter.ByteSizeLong() > max_letter_bytes)
      letter.clear_event();
  }
  commit c;
  c.appends.push_back({letter_stream_, expected_version::any(), {serialise(letter)}});
  c.metadata.causation_id = to_string(event.id);
  c.metadata.correlation_id = event.metadata.correlation_id;
  c.metadata.traceparent = event.metadata.traceparent;
  in_flight what{{}, l.index};
  // With one lane, all before the event is handled.
  const auto through = lanes_.size() == 1 ? event.position : handled_through();
  if (options_.keep_cursor && through > cursor_) {
    what.move = {cursor_name_, cursor_, through};
    c.cursors.push_back(what.move);
  }
  submit(std::move(c), std::move(what));
}

void subscription_actor::react(lane& l) {
  const auto& event = next_event(l);
  const auto answer = *std::exchange(l.answer, std::nullopt);
  in_flight what{{cursor_name_, cursor_, event.position}, l.index};
  if (const auto wish = l.shares.front().letter) {
    // A cursor for each letter that is replayed takes the place of the subscription's own.
    what.move.name = letter_cursor_name(options_.name, event.position);
    auto replayed = journal_.load_cursor(what.move.name);
    if (!replayed) {
      l.answer = answer;
      return failed(reading_, replayed.error());
    }
    if (*replayed >= *wish)
      return resolve(l);
    what.move.expected = *replayed;
    what.move.position = *wish;
  }
  auto host = answer.decider ? hosts_->find(*answer.decider) : hosts_->find(answer.category);
  if (!host) {
    const auto whom = answer.decider ? std::string{answer.decider->name} : answer.category;
    return on_failure(l,
                      make_error(subscription_errc::handler_failed,
                                 describe(event) + " is answered with a command for " + whom +
                                     ", which this node does not host; host it before subscribing"),
                      false);
  }
  command_context context;
  context.metadata = event.metadata;
  if (!answer.traceparent.empty())
    context.metadata.traceparent = answer.traceparent;
  context.metadata.causation_id = to_string(event.id);
  if (context.metadata.correlation_id.empty())
    context.metadata.correlation_id = context.metadata.causation_id;
  context.cursors.push_back(what.move);
  std::unique_ptr<google::protobuf::Message> command{answer.command->New()};
  command->CopyFrom(*answer.command);
  auto message = answer.decider ? make_command_message(std::move(context), std::move(command))
                                : make_command_message(answer.id, std::move(context), std::move(command));
  const auto request = new_request_id(caf::message_priority::normal);
  what.reaction = request.response_id();
  committing_ = std::move(what);
  caf::actor_cast<caf::abstract_actor*>(host)->enqueue(
      caf::make_mailbox_element(ctrl(), request, {}, std::move(message)), this->context());
}

void subscription_actor::submit(commit c, in_flight what) {
  auto credit = journal_.reserve();
  if (!credit)
    return failed(writing_, credit.error());
  committing_ = std::move(what);
  journal_.submit(std::move(c), *std::move(credit), outcomes_, ++numbers_);
}

/// Whether a commit of unknown outcome is in the journal: what moved a cursor is there as a whole or not at all. One that moved
/// none, a letter, is written again.
bool subscription_actor::is_done(const in_flight& what) {
  if (what.move.name.empty())
    return false;
  auto found = journal_.load_cursor(what.move.name);
  return found && *found == what.move.position && what.move.position != what.move.expected;
}

void subscription_actor::on_outcomes() {
  for (auto& outcome : outcomes_->take()) {
    const auto what = *std::exchange(committing_, std::nullopt);
    if (outcome.why && outcome.why->code() == journal_errc::conflict) {
      stand_still(cursor_moved());
      continue;
    }
    if (outcome.why && !(outcome.why->code() == journal_errc::outcome_unknown && is_done(what))) {
      failed(writing_, *outcome.why);
      continue;
    }
    writing_ = {};
    if (std::exchange(create_, false))
      cursor_ = completed_;
    else if (what.move.name == cursor_name_)
      cursor_ = what.move.position;
    if (!what.lane)
      continue;
    auto& l = lanes_[*what.lane];
    if (l.shares.front().letter) {
      end_letter(l);
    } else {
      ++stats_.parked;
      spdlog::warn("subscription {}: {}; parked after {} tries", options_.name, l.failure->message(),
                   l.shares.front().attempt);
      l.at = lane::phase::idle;
      advance(l, 1);
    }
  }
  went_on();
}

void subscription_actor::on_answer(caf::message content) {
  const auto what = *std::exchange(committing_, std::nullopt);
  auto& l = lanes_[*what.lane];
  auto& s = l.shares.front();
  std::optional<error> why;
  if (content.match_elements<caf::error>())
    why = from_caf_error(content.get_as<caf::error>(0));
  if (why && why->code() == entity_errc::rejected) {
    ++stats_.rejected;
    if (spdlog::should_log(spdlog::level::debug))
      spdlog::debug("subscription {}: the command that {} is answered with was rejected: {}", options_.name,
                    describe(next_event(l)), why->message());
    why.reset();
  }
  if (why && is_done(what))
    why.reset();
  if (!why) {
    l.breakdowns = 0;
    ++stats_.handled;
    if (s.letter) {
      l.failure.reset(); // still settling: now its end is to be recorded
    } else {
      cursor_ = what.move.position;
      l.at = lane::phase::idle;
      advance(l, 1);
    }
    return went_on();
  }
  if (auto found = journal_.load_cursor(what.move.name); found && *found != what.move.expected) {
    stand_still(cursor_moved());
    return leave_if_done();
  }
  const auto text = "the command that " + describe(next_event(l)) + " is answered with ";
  if (is_passing(*why)) {
    l.failure = make_error(subscription_errc::handler_failed, text + "waits: " + why->message());
    pause(l, doubled(options_.backoff, l.breakdowns++, options_.max_backoff));
  } else {
    on_failure(l, error{why->code(), text + "failed: " + why->message()}, false);
  }
  went_on();
}

error subscription_actor::cursor_moved() const {
  return make_error(subscription_errc::cursor_moved,
                    "the cursor of subscription " + options_.name + " does not stand at position " +
                        std::to_string(cursor_) +
                        " any more: it runs twice, or its cursor was set while it ran; start it once");
}

// -- dead letters

/// Takes in what is new in the dead-letter stream, a page at a time.
void subscription_actor::read_letters() {
  event_page page;
  if (auto done = journal_.read_stream(*letters_read_, page, options_.chunk); !done)
    return failed(reading_, done.error());
  for (auto& event : page) {
    DeadLetter letter;
    DeadLetterReplayWanted wish;
    DeadLetterReplayed replayed;
    DeadLetterDropped dropped;
    if (event.type == letter.GetTypeName() && letter.ParseFromString(event.payload)) {
      foreign_.erase(letter.position());
      if (!letter.source().empty())
        foreign_[letter.position()] = event.version;
    } else if (event.type == wish.GetTypeName() && wish.ParseFromString(event.payload))
      letters_[wish.position()] = event.version;
    else if (event.type == replayed.GetTypeName() && replayed.ParseFromString(event.payload)) {
      letters_.erase(replayed.position());
      if (replayed.failure().empty())
        foreign_.erase(replayed.position());
    } else if (event.type == dropped.GetTypeName() && dropped.ParseFromString(event.payload)) {
      letters_.erase(dropped.position());
      foreign_.erase(dropped.position());
    }
  }
  if (!page.empty())
    send(this, look_at_letters{});
  else
    went_on();
}

/// The event of the letter at `position`: a source's from the letter, which holds it, and the own journal's from the log.
result<void> subscription_actor::read_letter(log_position position, chunk_in_hand& to) {
  if (auto foreign = foreign_.find(position); foreign != foreign_.end()) {
    auto parked = read_parked_event(journal_, options_.name, foreign->second);
    if (!parked)
      return parked.error();
    to.letter = std::move(parked->content);
    to.letter_source = std::move(parked->source);
    return {};
  }
  dead_letter own;
  own.position = position;
  auto event = read_dead_letter_event(journal_, options_.name, own);
  if (!event)
    return event.error();
  to.letter = *std::move(event);
  return {};
}

/// Gives the next letter to the lane of its stream, if that has nothing in hand.
void subscription_actor::start_letter() {
  if (letter_in_hand_ || letters_.empty() || create_ || stopping_ || stood_still_ ||
      (reading_.waits && !options_.source))
    return;
  const auto [position, wish] = *letters_.begin();
  auto chunk = std::make_shared<chunk_in_hand>();
  if (auto found = read_letter(position, *chunk); !found) {
    spdlog::error("subscription {}: the dead letter at position {} cannot be replayed: {}", options_.name,
                  position, found.error().message());
    letters_.erase(position);
    return send(this, look_at_letters{});
  }
  const auto* event = &chunk->letter;
  auto& l = lanes_[hash_of(event->stream) % lanes_.size()];
  if (l.at != lane::phase::idle)
    return;
  chunk->shares = {{event}};
  l.shares.push_front({chunk, chunk->shares[0], 0, 1, wish});
  letter_in_hand_ = true;
}

/// Records what the replay of the lane's letter came to.
void subscription_actor::resolve(lane& l) {
  DeadLetterReplayed replayed;
  replayed.set_position(next_event(l).position);
  if (l.failure)
    replayed.set_failure(text_of(l.failure->message()));
  commit c;
  c.appends.push_back({letter_stream_, expected_version::any(), {serialise(replayed)}});
  c.metadata.causation_id = to_string(next_event(l).id);
  submit(std::move(c), {{}, l.index});
}

void subscription_actor::end_letter(lane& l) {
  ++(l.failure ? stats_.replays_failed : stats_.replayed);
  if (l.failure)
    spdlog::warn("subscription {}: {}; it was replayed, and stays parked", options_.name,
                 l.failure->message());
  letters_.erase(next_event(l).position);
  letter_in_hand_ = false;
  l.failure.reset();
  l.shares.pop_front();
  l.at = lane::phase::idle;
}

} // namespace eventcore::internal
