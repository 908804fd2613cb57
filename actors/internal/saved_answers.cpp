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
  entry e{{}, key.size(), given_at};
  e.text.reserve(key.size() + content.size());
  e.text.append(key).append(content);
  if (entries_.size() < limits.keep && oldest_ == 0) {
    hashes_.push_back(hash_of(key));
    entries_.push_back(std::move(e));
    return;
  }
  hashes_[oldest_] = hash_of(key);
  entries_[oldest_] = std::move(e);
  oldest_ = (oldest_ + 1) % entries_.size();
}

std::optional<std::string_view> saved_answers::find(const answer_options& limits, std::string_view key,
                                                    timestamp now) const {
  auto hash = hash_of(key);
  const entry* newest = nullptr;
  for (auto i = hashes_.begin(); (i = std::find(i, hashes_.end(), hash)) != hashes_.end(); ++i) {
    auto& e = entries_[static_cast<std::size_t>(i - hashes_.begin())];
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
