#pragma once

#include <eventcore/actors/entity_type.hpp>
#include <eventcore/actors/stream_options.hpp>
#include <eventcore/persistence/error.hpp>
#include <eventcore/persistence/event.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eventcore {
class SavedState;
} // namespace eventcore

namespace eventcore::internal {

/// What identifies a command's content: a hash of its type and its fields.
std::uint64_t fingerprint_of(const google::protobuf::Message& command);

/// Nothing, or why `key` can be no idempotency key.
std::optional<error> check_idempotency_key(const std::string& key);

/// What is stored of a command's answer.
std::string encode_answer(std::uint64_t command, const google::protobuf::Message* reply,
                          const rejection* rejected);

/// The event to carry an answer where the command has none.
new_event answer_carrier();
bool is_answer_carrier(const recorded_event& event);

/// The answer to a repeat.
struct repeated_answer {
  std::unique_ptr<google::protobuf::Message> reply;
  std::unique_ptr<error> failure; ///< the rejection, or `key_reused`, or what is wrong with what was stored
};

/// The answers that one stream's commands with idempotency keys were given, bounded by count and age.
class saved_answers {
public:
  bool empty() const noexcept { return entries_.empty(); }
  void put(const answer_options& limits, std::string_view key, std::string_view content, timestamp given_at);

  /// The content stored for `key`, or nothing: it is unknown or expired at `now`. Valid until the next change.
  std::optional<std::string_view> find(const answer_options& limits, std::string_view key,
                                       timestamp now) const;

  void save(SavedState& to) const;

private:
  /// One allocation for both texts: there are many entries, and most are never looked at again.
  struct entry {
    std::string text; ///< the key, then the content
    std::size_t key_size;
    timestamp given_at;
    std::uint64_t hash; ///< of the key

    std::string_view key() const { return std::string_view{text}.substr(0, key_size); }
    std::string_view content() const { return std::string_view{text}.substr(key_size); }
  };

  /// Where an entry stands in `places_`: found by a look at one cache line, mostly, as most keys are new.
  struct place {
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    std::uint32_t tag = 0; ///< the upper half of the hash
    std::uint32_t entry = none;
  };

  std::size_t mask() const { return places_.size() - 1; }
  void index(std::uint32_t entry);
  void unindex(std::uint32_t entry);

  std::vector<entry> entries_; ///< a ring in the order of `put`
  std::size_t oldest_ = 0;
  std::vector<place> places_; ///< open addressing, linear probing; a power of two, at most half full
};

/// Decodes what `saved_answers::find` found for a repeat of `key` by a command of this fingerprint.
repeated_answer decode_answer(std::string_view content, const std::string& key, std::uint64_t command,
                              const google::protobuf::Message* reply_prototype);

} // namespace eventcore::internal
