#include <eventcore/actors/internal/saved_answers.hpp>

#include <eventcore/actors/errc.hpp>
#include <eventcore/persistence/internal/utf8.hpp>

#include "eventcore/actors/internal/answer.pb.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <xxhash.h>

#include <algorithm>

namespace eventcore::internal {

namespace {

constexpr std::size_t max_key_size = 255;

std::uint64_t hash_of(std::string_view text) {
  return XXH3_64bits(text.data(), text.size());
}

} // namespace

std::uint64_t fingerprint_of(const google::protobuf::Message& command) {
  thread_local std::string text;
  text = command.GetDescriptor()->full_name();
  text += '\0';
  {
    google::protobuf::io::StringOutputStream target{&text};
    google::protobuf::io::CodedOutputStream out{&target};
    out.SetSerializationDeterministic(true);
    command.SerializePartialToCodedStream(&out);
  }
  return hash_of(text);
}

std::optional<error> check_idempotency_key(const std::string& key) {
  if (key.size() <= max_key_size && is_utf8(key))
    return std::nullopt;
  return make_error(entity_errc::invalid_command, "an idempotency key is UTF-8 of 1 to 255 bytes, not " +
                                                      quoted(key) + " of " + std::to_string(key.size()) +
                                                      " bytes");
}

std::string encode_answer(std::uint64_t command, const google::protobuf::Message* reply,
                          const rejection* rejected) {
  thread_local SavedAnswer answer;
  answer.Clear();
  answer.set_command(command);
  if (rejected) {
    auto& no = *answer.mutable_rejection();
    no.set_code(rejected->code);
    no.set_message(rejected->message);
    no.set_details(rejected->details);
  } else if (reply) {
    reply->SerializePartialToString(answer.mutable_reply());
  }
  return answer.SerializeAsString();
}

new_event answer_carrier() {
  return {CommandAnswered::descriptor(), {}, 1};
}

bool is_answer_carrier(const recorded_event& event) {
  static const auto name = CommandAnswered::descriptor()->full_name();
  return event.type == name;
}

void saved_answers::put(const answer_options& limits, std::string_view key, std::string_view content,
                        timestamp given_at) {
  if (limits.keep == 0)
    return;
  entry e{{}, key.size(), given_at, hash_of(key)};
  e.text.reserve(key.size() + content.size());
  e.text.append(key).append(content);
  if (entries_.size() < limits.keep && oldest_ == 0) {
    entries_.push_back(std::move(e));
    if (entries_.size() * 2 <= places_.size())
      return index(static_cast<std::uint32_t>(entries_.size() - 1));
    places_.assign(std::max<std::size_t>(places_.size() * 2, 8), {});
    for (std::uint32_t i = 0; i != entries_.size(); ++i)
      index(i);
    return;
  }
  auto place = static_cast<std::uint32_t>(oldest_);
  unindex(place);
  entries_[place] = std::move(e);
  index(place);
  oldest_ = (oldest_ + 1) % entries_.size();
}

void saved_answers::index(std::uint32_t entry) {
  auto hash = entries_[entry].hash;
  auto i = hash & mask();
  while (places_[i].entry != place::none)
    i = (i + 1) & mask();
  places_[i] = {static_cast<std::uint32_t>(hash >> 32), entry};
}

void saved_answers::unindex(std::uint32_t entry) {
  auto hole = entries_[entry].hash & mask();
  while (places_[hole].entry != entry)
    hole = (hole + 1) & mask();
  // What stands behind the hole moves into it, unless it would then stand before its own place (Knuth 6.4, algorithm R).
  for (auto i = (hole + 1) & mask(); places_[i].entry != place::none; i = (i + 1) & mask()) {
    auto own = entries_[places_[i].entry].hash & mask();
    if (((i - own) & mask()) >= ((i - hole) & mask())) {
      places_[hole] = places_[i];
      hole = i;
    }
  }
  places_[hole] = {};
}

std::optional<std::string_view> saved_answers::find(const answer_options& limits, std::string_view key,
                                                    timestamp now) const {
  if (places_.empty())
    return std::nullopt;
  auto hash = hash_of(key);
  auto tag = static_cast<std::uint32_t>(hash >> 32);
  const entry* newest = nullptr;
  for (auto i = hash & mask(); places_[i].entry != place::none; i = (i + 1) & mask()) {
    if (places_[i].tag != tag)
      continue;
    auto& e = entries_[places_[i].entry];
    // Rounded up, so that no age overflows where it would be compared in microseconds.
    if (e.key() == key && std::chrono::ceil<std::chrono::seconds>(now - e.given_at) <= limits.age &&
        (!newest || newest->given_at <= e.given_at))
      newest = &e;
  }
  return newest ? std::optional{newest->content()} : std::nullopt;
}

void saved_answers::save(SavedState& to) const {
  for (std::size_t i = 0; i != entries_.size(); ++i) {
    auto& e = entries_[(oldest_ + i) % entries_.size()];
    auto& saved = *to.add_answers();
    saved.set_key(std::string{e.key()});
    saved.set_content(std::string{e.content()});
    saved.set_given_at_us(e.given_at.time_since_epoch().count());
  }
}

repeated_answer decode_answer(std::string_view content, const std::string& key, std::uint64_t command,
                              const google::protobuf::Message* reply_prototype) {
  repeated_answer result;
  auto fail = [&](entity_errc code, const std::string& why) {
    result.reply.reset();
    result.failure = std::make_unique<error>(make_error(code, "idempotency key " + quoted(key) + " " + why));
  };
  SavedAnswer answer;
  if (!answer.ParseFromArray(content.data(), static_cast<int>(content.size()))) {
    fail(entity_errc::recovery_failed, "has a stored answer that does not parse");
  } else if (answer.command() != command) {
    fail(entity_errc::key_reused, "was used for another command before; use a new key for each command");
  } else if (answer.has_rejection()) {
    auto& no = answer.rejection();
    result.failure = std::make_unique<error>(make_error(entity_errc::rejected, no.message()));
    result.failure->with_reason(no.code(), no.details());
  } else if (reply_prototype) {
    result.reply.reset(reply_prototype->New());
    if (!result.reply->ParsePartialFromString(answer.reply()))
      fail(entity_errc::recovery_failed,
           "has a stored answer that is no " + reply_prototype->GetTypeName() + " any more");
  }
  return result;
}

} // namespace eventcore::internal
