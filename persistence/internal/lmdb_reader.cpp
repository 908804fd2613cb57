#include <eventcore/persistence/internal/lmdb_reader.hpp>

#include <eventcore/persistence/internal/log_filter.hpp>
#include <eventcore/persistence/internal/record_codec.hpp>
#include <eventcore/persistence/internal/timer_key.hpp>

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <thread>

namespace eventcore::internal {

namespace {

/// Walks through the records of the log.
class log_cursor {
public:
  log_cursor(MDB_txn* txn, const lmdb_tables& tables)
      : cursor_{txn, tables.log} {}

  /// The record at `position`, which must be there.
  result<std::string_view> at(log_position position) {
    MDB_val key{sizeof(position), &position};
    MDB_val value{};
    auto code = cursor_.get(key, value, last_ != 0 && position == last_ + 1 ? MDB_NEXT : MDB_SET_KEY);
    log_position found = 0;
    if (code == 0 && key.mv_size == sizeof(found))
      std::memcpy(&found, key.mv_data, sizeof(found));
    if (code == MDB_NOTFOUND || (code == 0 && found != position)) {
      last_ = 0;
      return make_error(journal_errc::corrupt, "the log has no record at position " +
                                                   std::to_string(position) +
                                                   "; restore the journal from a backup");
    }
    if (code != 0) {
      last_ = 0;
      return lmdb_error(code, "cannot read the record at position " + std::to_string(position));
    }
    last_ = position;
    return to_view(value);
  }

  result<record_key> peek(log_position position) {
    auto value = at(position);
    if (!value)
      return value.error();
    return peek_record(*value, position);
  }

private:
  lmdb_cursor cursor_;
  log_position last_ = 0;
};

std::uint64_t load_u64(std::string_view bytes) {
  std::uint64_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof(number));
  return number;
}

error damaged(const std::string& what) {
  return make_error(journal_errc::corrupt,
                    what + " is damaged: its checksum does not match; restore the journal from a backup");
}

} // namespace

std::string sortable_key(const std::string& name, std::uint64_t number) {
  std::string key = name;
  key += '\0';
  for (int shift = 56; shift >= 0; shift -= 8)
    key += static_cast<char>(number >> shift);
  return key;
}

std::string seal(std::string_view content) {
  auto checksum = XXH3_64bits(content.data(), content.size());
  std::string sealed(sizeof(checksum), '\0');
  std::memcpy(sealed.data(), &checksum, sizeof(checksum));
  sealed += content;
  return sealed;
}

std::optional<std::string_view> unseal(std::string_view value) {
  if (value.size() < sizeof(std::uint64_t))
    return std::nullopt;
  auto content = value.substr(sizeof(std::uint64_t));
  if (load_u64(value) != XXH3_64bits(content.data(), content.size()))
    return std::nullopt;
  return content;
}

result<log_position> last_position(MDB_txn* txn, const lmdb_tables& tables) {
  lmdb_cursor cursor{txn, tables.log};
  MDB_val key{};
  MDB_val value{};
  auto code = cursor.get(key, value, MDB_LAST);
  if (code == MDB_NOTFOUND)
    return log_position{0};
  if (code != 0)
    return lmdb_error(code, "cannot read the log's end");
  return load_u64(to_view(key));
}

result<void> extend_tail(MDB_txn* txn, const lmdb_tables& tables, tail_index& tail, log_position head,
                         bool strict) {
  log_cursor log{txn, tables};
  std::vector<std::uint64_t> hashes;
  for (auto position = tail.covered().head + 1; position <= head; ++position) {
    auto value = log.at(position);
    if (!value)
      return value.error();
    auto key = peek_record(*value, position);
    auto stream = key ? key->stream : guess_stream(*value);
    if (strict && !stream_id::parse(stream))
      return make_error(journal_errc::corrupt,
                        key.error().message() +
                            " (which stream it belongs to cannot be told, so no stream can be "
                            "written safely)");
    hashes.push_back(hash_of(stream));
  }
  tail.append(hashes);
  return {};
}

// -- views ------------------------------------------------------------------------------------------------------------

template <class F>
auto lmdb_reader::with_view(F&& f) -> decltype(f(std::declval<view&>())) {
  using answer = decltype(f(std::declval<view&>()));
  for (;;) {
    std::optional<answer> done =
        env_.read([&](MDB_txn* txn, const lmdb_tables& tables) -> std::optional<answer> {
          auto runs = load_runs(txn, tables);
          if (!runs)
            return answer{runs.error()};
          auto head = last_position(txn, tables);
          if (!head)
            return answer{head.error()};
          view v{txn, tables, *std::move(runs), *head, filters_.all()};
          if (owner_ == tail_owner::reader) {
            if (auto caught_up = catch_up(v); !caught_up)
              return answer{caught_up.error()};
          }
          auto tail = tail_.covered();
          // The writer turned the tail into a run that this transaction is too old to see.
          if (tail.base > v.indexed())
            return std::nullopt;
          v.head = std::min(v.head, std::max(tail.head, v.indexed()));
          auto found = f(v);
          if (tail_.covered().base > v.indexed())
            return std::nullopt;
          return found;
        });
    if (done)
      return *std::move(done);
  }
}

result<void> lmdb_reader::catch_up(view& v) {
  std::lock_guard lock{catching_up_};
  auto tail = tail_.covered();
  if (tail.base < v.indexed()) {
    if (v.indexed() <= tail.head)
      tail_.drop_until(v.indexed());
    else
      tail_.reset(v.indexed());
  }
  return extend_tail(v.txn, v.tables, tail_, v.head, false);
}

// -- streams ----------------------------------------------------------------------------------------------------------

result<void> lmdb_reader::find_positions(view& v, std::uint64_t hash, log_position after, std::size_t limit,
                                         std::vector<log_position>& out) {
  for (auto& run : v.runs) {
    if (out.size() >= limit)
      return {};
    if (run.last <= after || !v.may_have(run, hash))
      continue;
    run_cursor entries{v.txn, v.tables, run};
    for (auto more = entries.seek({hash, after + 1});; more = entries.next()) {
      if (!more)
        return more.error();
      if (!*more || entries.entry().hash != hash || out.size() >= limit)
        break;
      out.push_back(entries.entry().position);
    }
  }
  if (out.size() < limit)
    tail_.find(hash, std::max(after, v.indexed()), v.head, limit - out.size(), out);
  return {};
}

/// A position behind which the stream's reading may start to meet `version`; steps over whole chunks.
result<log_position> lmdb_reader::find_start(view& v, std::uint64_t hash, const stream_id& stream,
                                             stream_version version) {
  log_cursor log{v.txn, v.tables};
  // Whether the event there is of this stream and not behind `version`.
  auto not_behind = [&](log_position position) -> result<bool> {
    auto key = log.peek(position);
    if (!key)
      return key.error();
    return key->stream == stream.str() && key->version <= version;
  };
  std::vector<log_position> recent;
  tail_.find(hash, v.indexed(), v.head, ~std::size_t{0}, recent);
  log_position after = 0;
  for (std::size_t i = 0; i < recent.size(); i += chunk_entries) {
    auto start = not_behind(recent[i]);
    if (!start)
      return start.error();
    if (!*start)
      break;
    after = recent[i] - 1;
  }
  for (auto run = v.runs.rbegin(); after == 0 && run != v.runs.rend(); ++run) {
    if (!v.may_have(*run, hash))
      continue;
    run_cursor entries{v.txn, v.tables, *run};
    for (auto more = entries.seek({hash, 0});; more = entries.next_chunk()) {
      if (!more)
        return more.error();
      if (!*more || entries.entry().hash != hash)
        break;
      auto start = not_behind(entries.entry().position);
      if (!start)
        return start.error();
      if (!*start)
        break;
      after = entries.entry().position - 1;
    }
  }
  return after;
}

result<void> lmdb_reader::read_stream(stream_cursor& where, event_page& page, read_limits limits) {
  page.clear();
  where.next = std::max<stream_version>(where.next, 1);
  limits.events = std::clamp<std::size_t>(limits.events, 1, max_page_events);
  auto hash = hash_of(where.stream.str());
  const auto [next_before, after_before] = std::pair{where.next, where.after};
  return with_view([&](view& v) -> result<void> {
    page.clear();
    where.next = next_before;
    where.after = after_before;
    where.damaged_at = 0;
    auto after = where.after;
    if (after == 0 && where.next > 1) {
      auto start = find_start(v, hash, where.stream, where.next);
      if (!start)
        return start.error();
      after = *start;
    }
    // What stands before the damage is read first.
    auto damaged = [&](const error& why, log_position at) {
      where.damaged_at = at;
      return page.empty() ? result<void>{why} : result<void>{};
    };
    log_cursor log{v.txn, v.tables};
    std::vector<log_position> positions;
    std::size_t bytes = 0;
    for (;;) {
      positions.clear();
      if (auto found = find_positions(v, hash, after, limits.events - page.size(), positions); !found)
        return damaged(found.error(), 0);
      for (auto position : positions) {
        auto value = log.at(position);
        if (!value)
          return damaged(value.error(), position);
        auto& event = page.emplace_back();
        if (auto decoded = decode_record(*value, position, event); !decoded) {
          page.pop_back();
          return damaged(decoded.error(), position);
        }
        after = position;
        if (event.stream != where.stream.str() || event.version < where.next) {
          page.pop_back();
          continue;
        }
        if (event.version > where.next) {
          auto why =
              make_error(journal_errc::corrupt,
                         "stream " + where.stream.str() + " has no version " + std::to_string(where.next) +
                             " (position " + std::to_string(position) + " holds version " +
                             std::to_string(event.version) + "); restore the journal from a backup");
          page.pop_back();
          return damaged(why, position - 1);
        }
        bytes += size_of(event);
        if (page.size() > 1 && bytes > limits.bytes) {
          page.pop_back();
          return {};
        }
        ++where.next;
        where.after = position;
      }
      // A page without an event is the stream's end; one that met only others' events is not.
      if (positions.empty() || page.size() >= limits.events)
        return {};
    }
  });
}

result<stream_head> lmdb_reader::head_of(const stream_id& stream) {
  return with_view([&](view& v) { return find_head(v, stream); });
}

result<stream_head> lmdb_reader::head_of(MDB_txn* txn, const lmdb_tables& tables,
                                         const std::vector<index_run>& runs, const stream_id& stream) {
  view v{txn, tables, runs, tail_.covered().head, filters_.all()};
  return find_head(v, stream);
}

result<stream_head> lmdb_reader::find_head(view& v, const stream_id& stream) {
  auto hash = hash_of(stream.str());
  auto position = tail_.last_of(hash);
  if (position > v.head)
    return find_head_slowly(v, hash, stream.str());
  for (auto run = v.runs.rbegin(); position == 0 && run != v.runs.rend(); ++run) {
    if (!v.may_have(*run, hash))
      continue;
    run_cursor entries{v.txn, v.tables, *run};
    auto found = entries.seek_last_of(hash);
    if (!found)
      return found.error();
    if (*found)
      position = entries.entry().position;
  }
  if (position == 0)
    return stream_head{stream.str(), 0, 0};
  auto key = log_cursor{v.txn, v.tables}.peek(position);
  if (!key)
    return key.error();
  if (key->stream == stream.str())
    return stream_head{stream.str(), key->version, position};
  return find_head_slowly(v, hash, stream.str());
}

result<stream_head> lmdb_reader::find_head_slowly(view& v, std::uint64_t hash, const std::string& stream) {
  stream_head head{stream, 0, 0};
  std::vector<log_position> positions;
  if (auto found = find_positions(v, hash, 0, ~std::size_t{0}, positions); !found)
    return found.error();
  log_cursor log{v.txn, v.tables};
  for (auto i = positions.rbegin(); i != positions.rend(); ++i) {
    auto key = log.peek(*i);
    if (!key)
      return key.error();
    if (key->stream == stream)
      return stream_head{stream, key->version, *i};
  }
  return head;
}

result<std::vector<stream_head>> lmdb_reader::list_streams(std::string& token, std::size_t limit) {
  if (!token.empty() && token.size() != sizeof(std::uint64_t))
    return make_error(journal_errc::invalid_argument, "the token is none that list_streams gave");
  return with_view([&](view& v) -> result<std::vector<stream_head>> {
    bool from_start = token.empty();
    std::uint64_t above = from_start ? 0 : load_u64(token);
    auto done = above;
    std::vector<run_cursor> sources;
    for (auto& run : v.runs) {
      run_cursor source{v.txn, v.tables, run};
      auto found = source.seek(from_start ? index_entry{0, 0} : index_entry{above, ~log_position{0}});
      if (!found)
        return found.error();
      if (*found)
        sources.push_back(std::move(source));
    }
    // With entries of runs this transaction sees, only the tail's newer ones count.
    auto tail = tail_.occurrences(above, from_start, v.indexed(), v.head);
    auto recent = tail.begin();
    log_cursor log{v.txn, v.tables};
    std::vector<stream_head> found;
    while (found.size() < limit && (!sources.empty() || recent != tail.end())) {
      auto hash = recent != tail.end() ? recent->hash : ~std::uint64_t{0};
      for (auto& source : sources)
        hash = std::min(hash, source.entry().hash);
      std::uint64_t count = 0;
      log_position last = 0;
      for (auto source = sources.begin(); source != sources.end();) {
        bool more = true;
        while (more && source->entry().hash == hash) {
          ++count;
          last = std::max(last, source->entry().position);
          auto next = source->next();
          if (!next)
            return next.error();
          more = *next;
        }
        source = more ? std::next(source) : sources.erase(source);
      }
      if (recent != tail.end() && recent->hash == hash) {
        count += recent->count;
        last = recent->last;
        ++recent;
      }
      done = hash;
      auto key = log.peek(last);
      if (key && key->version == count) {
        found.push_back({std::string{key->stream}, key->version, last});
        continue;
      }
      // Several streams share this hash, or a record is damaged: look at each event.
      std::vector<log_position> positions;
      if (auto all = find_positions(v, hash, 0, ~std::size_t{0}, positions); !all)
        return all.error();
      auto first_of_hash = found.size();
      for (auto position : positions) {
        auto value = log.at(position);
        if (!value)
          return value.error();
        auto event = peek_record(*value, position);
        std::string name{event ? event->stream : guess_stream(*value)};
        auto i = std::find_if(found.begin() + static_cast<std::ptrdiff_t>(first_of_hash), found.end(),
                              [&](auto& s) { return s.stream == name; });
        if (i == found.end())
          i = found.insert(i, {name, 0, 0});
        i->version = event ? event->version : i->version + 1;
        i->position = position;
      }
    }
    if (!found.empty()) {
      token.resize(sizeof(done));
      std::memcpy(token.data(), &done, sizeof(done));
    }
    return found;
  });
}

// -- the log ----------------------------------------------------------------------------------------------------------

result<log_position> lmdb_reader::head() {
  return with_view([](view& v) -> result<log_position> { return v.head; });
}

result<void> lmdb_reader::read_log(log_position& next, event_page& page, const log_filter& filter,
                                   read_limits limits) {
  page.clear();
  next = std::max<log_position>(next, 1);
  limits.events = std::clamp<std::size_t>(limits.events, 1, max_page_events);
  return env_.read([&](MDB_txn* txn, const lmdb_tables& tables) -> result<void> {
    auto head = last_position(txn, tables);
    if (!head)
      return head.error();
    bool all = admits_all(filter);
    log_cursor log{txn, tables};
    std::size_t bytes = 0;
    for (auto looks = limits.events * looks_per_event; looks > 0 && page.size() < limits.events;
         --looks, ++next) {
      if (next > *head)
        return {};
      auto value = log.at(next);
      if (!value)
        return page.empty() ? result<void>{value.error()} : result<void>{};
      if (!all) {
        auto key = peek_record(*value, next);
        if (!key)
          return page.empty() ? result<void>{key.error()} : result<void>{};
        if (!admits(filter, key->stream, key->type))
          continue;
      }
      auto& event = page.emplace_back();
      auto decoded = decode_record(*value, next, event);
      if (decoded)
        bytes += size_of(event);
      if (!decoded || (page.size() > 1 && bytes > limits.bytes)) {
        page.pop_back();
        return decoded || !page.empty() ? result<void>{} : std::move(decoded);
      }
    }
    return {};
  });
}

// -- the small tables -------------------------------------------------------------------------------------------------

result<std::vector<event_type_info>> lmdb_reader::event_types() {
  return env_.read([&](MDB_txn* txn, const lmdb_tables& tables) -> result<std::vector<event_type_info>> {
    std::vector<event_type_info> types;
    lmdb_cursor cursor{txn, tables.types};
    MDB_val key{};
    MDB_val value{};
    auto code = cursor.get(key, value, MDB_FIRST);
    for (; code == 0; code = cursor.get(key, value, MDB_NEXT)) {
      std::string name{to_view(key).substr(0, to_view(key).find('\0'))};
      auto content = unseal(to_view(value));
      if (!content || content->size() < sizeof(log_position))
        return damaged("the stored descriptor of event type " + name);
      types.push_back({name, load_u64(*content), std::string{content->substr(sizeof(log_position))}});
    }
    if (code != MDB_NOTFOUND)
      return lmdb_error(code, "cannot read the event types");
    std::ranges::sort(types, [](auto& a, auto& b) {
      return std::tie(a.name, a.first_position) < std::tie(b.name, b.first_position);
    });
    return types;
  });
}

result<log_position> lmdb_reader::load_cursor(const std::string& name) {
  return env_.read([&](MDB_txn* txn, const lmdb_tables& tables) -> result<log_position> {
    auto key = to_val(name);
    MDB_val value{};
    auto code = name.empty() ? MDB_NOTFOUND : mdb_get(txn, tables.cursors, &key, &value);
    if (code == MDB_NOTFOUND)
      return log_position{0};
    if (code != 0)
      return lmdb_error(code, "cannot read cursor " + name);
    auto content = unseal(to_view(value));
    if (!content || content->size() != sizeof(log_position))
      return damaged("cursor " + name);
    return load_u64(*content);
  });
}

result<std::vector<durable_timer>> lmdb_reader::read_timers(const durable_timer& after, timestamp until,
                                                            std::size_t limit) {
  using timers = std::vector<durable_timer>;
  return env_.read([&](MDB_txn* txn, const lmdb_tables& tables) -> result<timers> {
    timers found;
    if (tables.timers == no_table)
      return found;
    lmdb_cursor cursor{txn, tables.timers};
    const auto start = timer_key(after);
    auto key = to_val(start);
    MDB_val value{};
    auto code = cursor.get(key, value, MDB_SET_RANGE);
    for (; code == 0 && found.size() < limit; code = cursor.get(key, value, MDB_NEXT)) {
      auto timer = parse_timer(to_view(key), to_view(value));
      if (!timer)
        return found.empty() ? result<timers>{timer.error()} : std::move(found);
      if (timer->due > until)
        return found;
      if (*timer > after)
        found.push_back(*std::move(timer));
    }
    if (code != 0 && code != MDB_NOTFOUND)
      return lmdb_error(code, "cannot read the timers");
    return found;
  });
}

} // namespace eventcore::internal
