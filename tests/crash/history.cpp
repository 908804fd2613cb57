#include "history.hpp"

#include <algorithm>

namespace crash {

using eventcore::log_position;
using std::to_string;

std::vector<std::string> history::check(eventcore::journal_reader& journal,
                                        const std::vector<promise>& promises, promised kept) {
  problems_.clear();
  commits_.clear();
  new_events_.clear();
  check_log(journal);
  if (problems_.empty())
    check_streams(journal);
  if (problems_.empty())
    check_cursors(journal);
  if (problems_.empty())
    check_promises(promises, kept);
  return problems_;
}

void history::check_log(eventcore::journal_reader& journal) {
  const auto head = journal.head();
  if (!head)
    return wrong(head.error().message());
  if (*head < head_)
    return wrong("the journal ends at " + to_string(*head) + ", but was read up to " + to_string(head_) +
                 " before");
  eventcore::event_page page;
  for (auto next = head_ + 1; next <= *head;) {
    if (const auto read = journal.read_log(next, page); !read)
      return wrong(read.error().message());
    for (const auto& e : page) {
      if (e.position != head_ + 1)
        return wrong("position " + to_string(e.position) + " follows on " + to_string(head_));
      head_ = e.position;
      check_event(e);
    }
    if (page.empty())
      return wrong("nothing is found at position " + to_string(next) + ", but the journal ends at " +
                   to_string(*head));
  }
  if (open_size_ != open_index_)
    wrong("of commit " + to_string(open_commit_) + " only " + to_string(open_index_) + " of " +
          to_string(open_size_) + " events are there");
}

void history::check_event(const eventcore::recorded_event& e) {
  const auto name =
      "position " + to_string(e.position) + ", " + e.stream + " version " + to_string(e.version);
  Written w;
  if (e.type != Written::descriptor()->full_name() || !w.ParseFromString(e.payload))
    return wrong(name + ": is a " + e.type);
  auto& version = versions_[e.stream];
  if (e.version != version + 1)
    wrong(name + ": follows on version " + to_string(version));
  auto& [version_before, positions] = new_events_[e.stream];
  if (positions.empty())
    version_before = version;
  version = e.version;
  positions.push_back(e.position);

  if (w.stream() != e.stream || w.version() != e.version)
    wrong(name + ": was written as " + w.stream() + " version " + to_string(w.version()));
  if (w.filler() != filler_of(w.commit(), w.index(), w.filler().size()))
    wrong(name + ": the content is not what was written");

  if (open_index_ == open_size_) {
    open_commit_ = w.commit();
    open_index_ = 0;
    open_size_ = w.size();
    if (!commits_.emplace(w.commit(), commit_place{e.position, w.size()}).second)
      wrong(name + ": commit " + to_string(w.commit()) + " is there twice");
  }
  if (w.commit() != open_commit_ || w.index() != open_index_ || w.size() != open_size_)
    wrong(name + ": event " + to_string(w.index()) + " of commit " + to_string(w.commit()) +
          " stands where event " + to_string(open_index_) + " of commit " + to_string(open_commit_) +
          " should");
  ++open_index_;
  if (!w.cursor().empty())
    cursors_[w.cursor()] = w.cursor_position();
}

void history::check_streams(eventcore::journal_reader& journal) {
  eventcore::event_page page;
  for (const auto& [stream, news] : new_events_) {
    const auto& [version_before, positions] = news;
    eventcore::stream_cursor where{*eventcore::stream_id::parse(stream), version_before + 1};
    std::vector<log_position> found;
    do {
      if (const auto read = journal.read_stream(where, page); !read)
        return wrong(read.error().message());
      for (const auto& e : page)
        found.push_back(e.position);
    } while (!page.empty());
    if (found != positions)
      wrong(stream + ": after version " + to_string(version_before) + " the stream leads to " +
            to_string(found.size()) + " events, not to the " + to_string(positions.size()) +
            " that the log holds");
  }
  for (const auto& [stream, version] : versions_) {
    const auto head = journal.head_of(*eventcore::stream_id::parse(stream));
    if (!head)
      wrong(head.error().message());
    else if (head->version != version)
      wrong(stream + ": ends at version " + to_string(head->version) + ", in the log at " +
            to_string(version));
  }
}

void history::check_cursors(eventcore::journal_reader& journal) {
  for (const auto& [name, position] : cursors_) {
    const auto found = journal.load_cursor(name);
    if (!found)
      wrong(found.error().message());
    else if (*found != position)
      wrong(name + " stands at " + to_string(*found) + ", but its last move was to " + to_string(position));
  }
}

void history::check_promises(const std::vector<promise>& promises, promised kept) {
  for (const auto& p : promises) {
    if (p.what == promise::kind::committed) {
      const auto found = commits_.find(p.commit);
      if (found == commits_.end()) {
        if (kept == promised::prefix && p.position > head_)
          ++lost_;
        else
          wrong("commit " + to_string(p.commit) + " was acknowledged and is not there");
      } else if (p.position != 0 && p.position != found->second.first)
        wrong("commit " + to_string(p.commit) + " was acknowledged at position " + to_string(p.position) +
              " and stands at " + to_string(found->second.first));
    } else if (p.what == promise::kind::version && kept == promised::all) {
      const auto found = versions_.find("entity-" + to_string(p.commit));
      if (const auto version = found == versions_.end() ? 0 : found->second; version < p.position)
        wrong("entity-" + to_string(p.commit) + " answered with version " + to_string(p.position) +
              ", but its stream ends at " + to_string(version));
    }
  }
}

} // namespace crash
