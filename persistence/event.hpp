#pragma once

#include <eventcore/persistence/stream_id.hpp>
#include <eventcore/persistence/uuid.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace google::protobuf {
class Descriptor;
} // namespace google::protobuf

namespace eventcore {

/// An event's number in its stream, from 1. A stream without events is at version 0.
using stream_version = std::uint64_t;

/// An event's number in the journal's total order, from 1, without gaps.
using log_position = std::uint64_t;

/// A point of civil time in microseconds since the Unix epoch (UTC).
using timestamp = std::chrono::sys_time<std::chrono::microseconds>;

/// What travels with every event besides its payload: UTF-8 text. Empty fields cost nothing in the journal.
struct event_metadata {
  std::string correlation_id; ///< The same for everything that one outside request caused.
  std::string causation_id;   ///< The message or event that led to this one.
  std::string tenant;
  std::string user;
  std::string traceparent; ///< W3C trace context, as its header writes it.
  std::map<std::string, std::string> headers;

  friend bool operator==(const event_metadata&, const event_metadata&) = default;
};

/// What a command with an idempotency key was answered, kept with its events so that a repeat gets the same answer.
struct saved_answer {
  std::string key;     ///< UTF-8, at most 255 bytes; empty: there is none
  std::string content; ///< in a form of the writer's own
};

/// An event that is to be appended.
struct new_event {
  /// The payload's Protobuf type. Its full name is the event's type name, and its descriptor is stored in the journal.
  /// Must live as long as the journal; generated types do.
  const google::protobuf::Descriptor* type = nullptr;
  /// The serialised message.
  std::string payload;
  std::uint32_t schema_version = 1;
};

/// An event as the journal holds it.
struct recorded_event {
  log_position position = 0;
  std::string stream; ///< A valid stream id's text.
  stream_version version = 0;
  event_id id;
  std::string type; ///< Full Protobuf name, such as `bank.Deposited`.
  std::uint32_t schema_version = 1;
  timestamp occurred_at;
  std::string payload;
  event_metadata metadata;
  saved_answer
      answer; ///< of the command that persisted the event; with the first of its events in this stream
};

/// A page of events, filled by the journal's reads. Use one page again and again: its events keep their memory.
class event_page {
public:
  std::span<const recorded_event> events() const noexcept { return {storage_.data(), size_}; }
  auto begin() const noexcept { return events().begin(); }
  auto end() const noexcept { return events().end(); }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  void clear() noexcept { size_ = 0; }

  /// For journals: a slot at the end, holding whatever an earlier use left in it.
  recorded_event& emplace_back() {
    if (size_ == storage_.size())
      storage_.emplace_back();
    return storage_[size_++];
  }
  /// For journals: gives the last slot back.
  void pop_back() noexcept { --size_; }

private:
  std::vector<recorded_event> storage_;
  std::size_t size_ = 0;
};

} // namespace eventcore
