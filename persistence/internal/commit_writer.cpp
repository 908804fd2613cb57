#include <eventcore/persistence/internal/commit_writer.hpp>

#include <eventcore/persistence/internal/descriptors.hpp>
#include <eventcore/persistence/internal/record_codec.hpp>
#include <eventcore/persistence/internal/utf8.hpp>

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <span>

namespace eventcore::internal {

namespace {

const saved_answer no_answer;
constexpr std::size_t max_name_size = 255;
constexpr std::size_t max_type_name_size = 400;
constexpr std::size_t kept_batch_bytes = 32u << 20;

const std::vector<double> sync_bounds{0.000'1, 0.000'25, 0.000'5, 0.001, 0.002'5, 0.005, 0.01, 0.025,
                                      0.05,    0.1,      0.25,    0.5,   1,       2.5,   5,    10};
const std::vector<double> batch_bounds{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1'024, 2'048, 4'096, 8'192};

distribution distribution_by(const std::vector<double>& bounds) {
  return {bounds, std::vector<std::uint64_t>(bounds.size() + 1), 0};
}

void count(distribution& d, double value) {
  ++d.counts[static_cast<std::size_t>(std::ranges::lower_bound(d.bounds, value) - d.bounds.begin())];
  d.sum += value;
}

std::int64_t system_microseconds() {
  using namespace std::chrono;
  return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

template <class Container, class Projection>
const std::string* find_repeated(const Container& items, Projection name_of) {
  if (items.size() < 2)
    return nullptr;
  std::vector<const std::string*> names;
  names.reserve(items.size());
  for (auto& item : items)
    names.push_back(&name_of(item));
  std::ranges::sort(names, {}, [](const std::string* s) -> const std::string& { return *s; });
  auto i = std::ranges::adjacent_find(names, [](auto* a, auto* b) { return *a == *b; });
  return i == names.end() ? nullptr : *i;
}

std::size_t size_of(const std::vector<timer_change>& changes) {
  std::size_t bytes = 0;
  for (auto& change : changes)
    bytes += change.name.size();
  return bytes;
}

/// The first text in `metadata` that is no UTF-8, as Protobuf and JSON demand it.
const std::string* find_malformed(const event_metadata& metadata) {
  for (auto* text : {&metadata.correlation_id, &metadata.causation_id, &metadata.tenant, &metadata.user,
                     &metadata.traceparent})
    if (!is_utf8(*text))
      return text;
  for (auto& [key, value] : metadata.headers) {
    if (!is_utf8(key))
      return &key;
    if (!is_utf8(value))
      return &value;
  }
  return nullptr;
}

} // namespace

commit_writer::commit_writer(store& backend, const journal_options& options, event_id last_id)
    : store_{backend}
    , options_{options}
    , ids_{options.clock ? options.clock : system_microseconds}
    , now_{options.clock ? options.clock : system_microseconds}
    , tail_{options.tail_bytes}
    , heads_{options.cached_heads} {
  ids_.observe(last_id);
  stats_.max_pending_commits = options_.max_pending_commits;
  stats_.max_pending_bytes = options_.max_pending_bytes;
  stats_.sync_seconds = distribution_by(sync_bounds);
  stats_.batch = distribution_by(batch_bounds);
  if (options_.writer == writer_mode::thread)
    thread_ = std::thread{[this] { run(); }};
}

commit_writer::~commit_writer() {
  close();
}

// -- the callers' side
// ------------------------------------------------------------------------------------------------

result<writer_credit> commit_writer::reserve(std::size_t bytes) {
  {
    std::lock_guard lock{mutex_};
    if (closing_)
      return make_error(journal_errc::closed, "the journal is closed");
  }
  auto waiting = pending_commits_.fetch_add(1);
  auto waiting_bytes = pending_bytes_.fetch_add(bytes);
  writer_credit credit{*this, bytes};
  auto overloaded = [this](std::string why) {
    overloaded_.fetch_add(1, std::memory_order_relaxed);
    last_overload_.store(clock::now().time_since_epoch().count(), std::memory_order_relaxed);
    return make_error(journal_errc::overloaded, std::move(why));
  };
  if (waiting >= options_.max_pending_commits)
    return overloaded("the journal's writer has " + std::to_string(waiting) +
                      " commits waiting, which is its bound; try again later");
  if (waiting > 0 && waiting_bytes + bytes > options_.max_pending_bytes)
    return overloaded("the journal's writer has " + std::to_string(waiting_bytes) + " bytes waiting of " +
                      std::to_string(options_.max_pending_bytes) + " allowed; try again later");
  return credit;
}

void commit_writer::give_back(std::size_t bytes) noexcept {
  pending_commits_.fetch_sub(1);
  pending_bytes_.fetch_sub(bytes);
}

bool commit_writer::owns(std::string_view category) const {
  return options_.categories.empty() || category == dead_letter_category ||
         std::ranges::find(options_.categories, category) != options_.categories.end();
}

std::optional<error> commit_writer::check_bounds(const commit& c) const {
  auto invalid = [](std::string why) { return make_error(journal_errc::invalid_argument, std::move(why)); };
  if (c.appends.empty() && c.cursors.empty() && c.timers.empty())
    return invalid("the commit is empty: it names no stream, no cursor and no timer");
  if (auto* twice = find_repeated(
          c.appends, [](auto& a) -> auto& { return a.stream.str(); }))
    return invalid("the commit names stream " + *twice + " twice; put all its events into one append");
  if (auto* twice = find_repeated(
          c.cursors, [](auto& m) -> auto& { return m.name; }))
    return invalid("the commit moves cursor " + *twice + " twice");
  for (auto& move : c.cursors)
    if (move.name.empty() || move.name.size() > max_name_size)
      return invalid("a cursor's name has 1 to 255 bytes, not " + std::to_string(move.name.size()));
  for (auto& change : c.timers) {
    if (auto& name = change.name; timer_owner(name).empty() || name.size() > max_name_size || !is_utf8(name))
      return invalid("a timer's name is <owner>/<rest>, UTF-8 of at most 255 bytes, not " +
                     internal::quoted(name));
    if (change.from < timestamp{} || change.to < timestamp{})
      return invalid("timer " + internal::quoted(change.name) + " cannot be due before the year 1970");
  }
  if (auto* text = find_malformed(c.metadata))
    return invalid("the commit's metadata says " + internal::quoted(*text) +
                   ", which is not well-formed UTF-8");
  std::size_t events = 0;
  std::size_t bytes = size_of(c.timers);
  for (auto& append : c.appends) {
    events += append.events.size();
    if (auto& key = append.answer.key; !key.empty()) {
      if (key.size() > max_name_size || !is_utf8(key))
        return invalid("an answer's key is UTF-8 of at most 255 bytes, not " + internal::quoted(key));
      if (append.events.empty())
        return invalid("the answer for key " + internal::quoted(key) + " has no event in stream " +
                       append.stream.str() + " to be stored with");
    }
    if (!append.events.empty() && !owns(append.stream.category()))
      return make_error(journal_errc::not_owned,
                        "stream " + append.stream.str() + " belongs to another service: " +
                            (options_.service.empty() ? std::string{"this journal"} : options_.service) +
                            " does not own the category " + std::string{append.stream.category()} +
                            "; add it to the journal's categories, or send the command to its owner");
    bytes += append.answer.key.size() + append.answer.content.size();
    for (auto& event : append.events) {
      if (event.type == nullptr)
        return invalid("an event for stream " + append.stream.str() + " has no type");
      if (event.type->full_name().size() > max_type_name_size)
        return invalid("the name of event type " + event.type->full_name() + " is longer than 400 bytes");
      bytes += event.payload.size();
    }
  }
  auto name = [&] {
    return c.appends.empty() ? std::string{} : " for stream " + c.appends.front().stream.str();
  };
  if (events + c.timers.size() > options_.max_commit_events)
    return make_error(journal_errc::too_large,
                      "a commit" + name() + " has " + std::to_string(events) + " events and " +
                          std::to_string(c.timers.size()) + " timers of " +
                          std::to_string(options_.max_commit_events) + " allowed; split it");
  if (bytes > options_.max_commit_bytes)
    return make_error(journal_errc::too_large, "a commit" + name() + " has " + std::to_string(bytes) +
                                                   " bytes of " + std::to_string(options_.max_commit_bytes) +
                                                   " allowed; split it");
  return std::nullopt;
}

void commit_writer::batch::clear() {
  jobs.clear();
  streams.clear();
  events.clear();
  cursors.clear();
  timers.clear();
  bodies.clear();
  // One huge batch must not hold its memory for ever.
  if (bodies.capacity() > kept_batch_bytes)
    *this = {};
}

void commit_writer::place::pass(const job& j) {
  stream += j.streams;
  event += j.events;
  cursor += j.cursors;
  timer += j.timers;
  body += j.bytes;
}

void commit_writer::submit(commit c, writer_credit credit, std::shared_ptr<commit_listener> listener,
                           std::uint64_t ticket) {
  auto refused = credit ? check_bounds(c)
                        : make_error(journal_errc::invalid_argument, "a commit was submitted without credit");
  if (refused) {
    if (c.epoch)
      c.epoch->close();
    credit = {};
    if (listener)
      listener->on_commit(ticket, std::move(*refused));
    return;
  }
  thread_local std::string bodies;
  thread_local std::vector<event_item> events;
  bodies.clear();
  events.clear();
  auto occurred_at =
      c.occurred_at != timestamp{} ? c.occurred_at : timestamp{std::chrono::microseconds{now_()}};
  for (auto& append : c.appends)
    for (auto& event : append.events) {
      auto before = bodies.size();
      const bool first = &event == &append.events.front();
      encode_body(bodies, ids_.next(), append.stream, event, c.metadata, occurred_at,
                  first ? append.answer : no_answer);
      events.push_back({event.type, bodies.size() - before});
    }
  job j;
  j.streams = c.appends.size();
  j.events = events.size();
  j.cursors = c.cursors.size();
  j.timers = c.timers.size();
  j.bytes = bodies.size();
  j.epoch = std::move(c.epoch);
  j.credit_bytes = credit.release();
  j.listener = std::move(listener);
  j.ticket = ticket;
  if (const auto needed = j.bytes + size_of(c.timers); needed > j.credit_bytes) {
    pending_bytes_.fetch_add(needed - j.credit_bytes);
    j.credit_bytes = needed;
  }
  enqueue(std::move(j), std::move(c), bodies, events);
  if (bodies.capacity() > kept_batch_bytes)
    bodies = {};
}

void commit_writer::enqueue(job j, commit&& content, std::string_view bodies,
                            const std::vector<event_item>& events) {
  std::unique_lock lock{mutex_};
  if (closing_) {
    lock.unlock();
    if (j.epoch)
      j.epoch->close();
    j.outcome.emplace(make_error(journal_errc::closed, "the journal is closed; nothing was written"));
    answer(j);
    return;
  }
  for (auto& append : content.appends)
    queue_.streams.push_back({std::move(append.stream), append.expected, append.events.size()});
  queue_.events.insert(queue_.events.end(), events.begin(), events.end());
  queue_.cursors.insert(queue_.cursors.end(), std::make_move_iterator(content.cursors.begin()),
                        std::make_move_iterator(content.cursors.end()));
  queue_.timers.insert(queue_.timers.end(), std::make_move_iterator(content.timers.begin()),
                       std::make_move_iterator(content.timers.end()));
  queue_.bodies += bodies;
  queue_.jobs.push_back(std::move(j));
  bool wake = std::exchange(idle_, false);
  lock.unlock();
  if (wake)
    work_.notify_one();
}

journal_stats commit_writer::stats() const {
  std::lock_guard lock{mutex_};
  auto copy = stats_;
  copy.events_by_type.assign(events_by_type_.begin(), events_by_type_.end());
  copy.pending_commits = pending_commits_;
  copy.pending_bytes = pending_bytes_;
  copy.overloaded = overloaded_;
  copy.last_overload = clock::time_point{clock::duration{last_overload_.load()}};
  return copy;
}

void commit_writer::close() {
  {
    std::lock_guard lock{mutex_};
    closing_ = true;
  }
  work_.notify_all();
  if (thread_.joinable())
    thread_.join();
  else
    step();
}

void commit_writer::settle(const std::string& stream) {
  if (options_.durability == durability::fsync)
    return;
  std::unique_lock lock{mutex_};
  if (!unsettled_streams_.contains(stream))
    return;
  lock.unlock();
  settle();
}

void commit_writer::settle() {
  if (options_.durability == durability::fsync)
    return;
  std::unique_lock lock{mutex_};
  auto wanted = transactions_begun_;
  if (transactions_ended_ >= wanted)
    return;
  hurry_ = true;
  idle_ = false;
  work_.notify_all();
  settled_.wait(lock, [&] { return transactions_ended_ >= wanted; });
}

// -- the writer's side
// ------------------------------------------------------------------------------------------------

void commit_writer::run() {
  std::unique_lock lock{mutex_};
  for (;;) {
    auto due = [this] { return opened_at_ + options_.relaxed_interval; };
    auto has_work = [&] { return !queue_.jobs.empty() || closing_ || (open_ && hurry_); };
    if (!has_work()) {
      idle_ = true;
      if (open_)
        work_.wait_until(lock, due(), has_work);
      else
        work_.wait(lock, has_work);
      idle_ = false;
    }
    if (!queue_.jobs.empty()) {
      std::swap(taken_, queue_);
      lock.unlock();
      work_off(taken_);
      taken_.clear();
      lock.lock();
    }
    if (open_ && (hurry_ || closing_ || clock::now() >= due())) {
      lock.unlock();
      end_transaction();
      lock.lock();
    }
    if (closing_ && queue_.jobs.empty() && !open_)
      return;
  }
}

std::size_t commit_writer::step() {
  std::lock_guard stepping{stepping_};
  {
    std::lock_guard lock{mutex_};
    std::swap(taken_, queue_);
  }
  auto answered = work_off(taken_);
  taken_.clear();
  if (open_)
    end_transaction();
  return answered;
}

std::size_t commit_writer::work_off(batch& work) {
  std::size_t answered = 0;
  place at;
  for (auto first = work.jobs.begin(); first != work.jobs.end();) {
    auto begin = at;
    auto last = apply_group(work, first, work.jobs.end(), at);
    if (options_.durability == durability::fsync)
      if (auto failed = end_transaction())
        refuse(first, last, *failed);
    settle_accounts(work, first, last, begin);
    for (; first != last; ++first, ++answered)
      answer(*first);
    bool full = open_events_ >= options_.max_group_events * 8 || open_bytes_ >= options_.max_group_bytes;
    if (open_ && (full || clock::now() >= opened_at_ + options_.relaxed_interval))
      end_transaction();
  }
  return answered;
}

commit_writer::job_iterator commit_writer::apply_group(const batch& work, job_iterator first,
                                                       job_iterator last, place& at) {
  std::size_t events = 0;
  std::size_t bytes = 0;
  auto begun = open_transaction();
  auto i = first;
  while (i != last) {
    const auto writes = i->events + i->timers;
    if (i != first &&
        (events + writes > options_.max_group_events || bytes + i->bytes > options_.max_group_bytes))
      break;
    events += writes;
    bytes += i->bytes;
    i->outcome.emplace(begun ? decide_fate(work, *i, at) : begun.error());
    if (*i->outcome)
      ++open_commits_;
    else if (i->epoch)
      i->epoch->close();
    at.pass(*i++);
    if (broken_) {
      auto why = *broken_;
      abort_transaction();
      refuse(first, i, why);
      return i;
    }
  }
  open_events_ += events;
  open_bytes_ += bytes;
  return i;
}

result<void> commit_writer::open_transaction() {
  if (open_)
    return {};
  if (auto begun = store_.begin(); !begun)
    return begun;
  open_ = true;
  opened_at_ = clock::now();
  open_commits_ = 0;
  open_events_ = 0;
  open_bytes_ = 0;
  head_before_ = store_.head();
  std::lock_guard lock{mutex_};
  ++transactions_begun_;
  return {};
}

result<committed> commit_writer::decide_fate(const batch& work, const job& j, const place& at) {
  auto streams = std::span{work.streams}.subspan(at.stream, j.streams);
  if (j.epoch && j.epoch->closed())
    return make_error(journal_errc::epoch_closed,
                      "an earlier commit of this writer" +
                          (streams.empty() ? std::string{} : " to stream " + streams.front().stream.str()) +
                          " failed, so this one was refused; nothing was written");
  versions_.clear();
  for (auto& item : streams) {
    auto found = version_of(item.stream);
    if (!found)
      return found.error();
    if (!item.expected.admits(**found))
      return make_error(journal_errc::conflict, "stream " + item.stream.str() + ": expected " +
                                                    item.expected.describe() + ", found version " +
                                                    std::to_string(**found) + "; nothing was written");
    versions_.push_back(*found);
  }
  for (auto& move : std::span{work.cursors}.subspan(at.cursor, j.cursors)) {
    auto found = store_.cursor(move.name);
    if (!found)
      return found.error();
    if (*found != move.expected)
      return make_error(journal_errc::conflict, "cursor " + move.name + ": expected position " +
                                                    std::to_string(move.expected) + ", found " +
                                                    std::to_string(*found) + "; nothing was written");
  }
  return apply(work, j, at);
}

result<committed> commit_writer::apply(const batch& work, const job& j, place at) {
  committed where;
  auto version = versions_.begin();
  for (auto& item : std::span{work.streams}.subspan(at.stream, j.streams)) {
    for (auto& event : std::span{work.events}.subspan(at.event, item.events)) {
      auto type = remember_type(event.type);
      if (!type)
        return broken(type.error());
      auto body = std::string_view{work.bodies}.substr(at.body, event.body_size);
      if (auto put = store_.append(item.stream, ++**version, body); !put)
        return broken(put.error());
      if ((*type)->open++ == 0)
        open_types_.push_back(*type);
      at.body += event.body_size;
      where.last = store_.head();
      tail_.add(body, **version, where.last);
      if (where.first == 0)
        where.first = where.last;
    }
    at.event += item.events;
    ++version;
  }
  for (auto& move : std::span{work.cursors}.subspan(at.cursor, j.cursors))
    if (auto put = store_.put_cursor(move.name, move.position); !put)
      return broken(put.error());
  for (auto& change : std::span{work.timers}.subspan(at.timer, j.timers)) {
    if (auto put = store_.change_timer(change); !put)
      return broken(put.error());
    if (change.to != timestamp{})
      earliest_set_ = std::min(change.to, earliest_set_.value_or(timestamp::max()));
  }
  return where;
}

error commit_writer::broken(const error& why) {
  broken_ = why;
  return why;
}

result<stream_version*> commit_writer::version_of(const stream_id& stream) {
  if (auto* known = heads_.find(stream.str()))
    return known;
  auto found = store_.version_of(stream);
  if (!found)
    return found.error();
  return heads_.put(stream.str(), *found);
}

result<commit_writer::event_type*> commit_writer::remember_type(const google::protobuf::Descriptor* type) {
  auto [known, is_new] = types_.try_emplace(type);
  auto& entry = known->second;
  if (is_new) {
    std::lock_guard lock{mutex_};
    entry.written = &events_by_type_[type->full_name()];
  }
  if (!entry.stored) {
    if (auto put = store_.put_event_type({type->full_name(), store_.head() + 1, describe_type(*type)}); !put)
      return put.error();
    entry.stored = true;
  }
  return &entry;
}

std::optional<error> commit_writer::end_transaction() {
  if (!open_)
    return std::nullopt;
  const auto begin = clock::now();
  auto committed = store_.commit();
  sync_time_ = clock::now() - begin;
  const auto earliest_set = earliest_set_;
  transaction_over(committed.has_value());
  if (!committed) {
    tail_.discard();
    forget();
    // What was found on disk nevertheless can be read from now on.
    if (auto head = store_.head(); head > head_before_)
      tail_followers_.notify(head);
    return committed.error();
  }
  tail_.publish();
  if (auto head = store_.head(); head != head_before_)
    tail_followers_.notify(head);
  if (earliest_set)
    timer_followers_.notify(*earliest_set);
  return std::nullopt;
}

void commit_writer::abort_transaction() {
  store_.abort();
  tail_.discard();
  transaction_over(false);
  forget();
}

void commit_writer::transaction_over(bool written) {
  open_ = false;
  broken_.reset();
  earliest_set_.reset();
  heads_.trim();
  {
    std::lock_guard lock{mutex_};
    hurry_ = false;
    unsettled_streams_.clear();
    ++transactions_ended_;
    ++stats_.transactions;
    if (written) {
      stats_.last_success = clock::now();
      count(stats_.sync_seconds, sync_time_.count());
      count(stats_.batch, static_cast<double>(open_commits_));
    }
    for (auto* type : open_types_) {
      const auto events = std::exchange(type->open, 0);
      *type->written += written ? events : 0;
    }
  }
  open_types_.clear();
  settled_.notify_all();
}

void commit_writer::forget() {
  heads_.clear();
  for (auto& [type, entry] : types_)
    entry.stored = false;
}

void commit_writer::refuse(job_iterator first, job_iterator last, const error& why) {
  for (; first != last; ++first) {
    if (!*first->outcome)
      continue;
    first->outcome.emplace(why);
    if (first->epoch)
      first->epoch->close();
  }
}

void commit_writer::settle_accounts(const batch& work, job_iterator first, job_iterator last, place at) {
  std::lock_guard lock{mutex_};
  for (; first != last; at.pass(*first++)) {
    auto& outcome = *first->outcome;
    if (outcome) {
      ++stats_.commits;
      stats_.events += first->events;
      stats_.event_bytes += first->bytes;
      if (options_.durability == durability::relaxed)
        for (auto& item : std::span{work.streams}.subspan(at.stream, first->streams))
          unsettled_streams_.insert(item.stream.str());
    } else if (outcome.error().code() == journal_errc::conflict ||
               outcome.error().code() == journal_errc::epoch_closed) {
      ++stats_.conflicts;
    } else {
      ++stats_.failures;
    }
  }
}

void commit_writer::answer(job& j) {
  give_back(j.credit_bytes);
  if (j.listener)
    j.listener->on_commit(j.ticket, *j.outcome);
}

} // namespace eventcore::internal
