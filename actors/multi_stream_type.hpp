#pragma once

#include <eventcore/actors/command_context.hpp>
#include <eventcore/actors/entity_type.hpp>
#include <eventcore/persistence/stream_id.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <typeinfo>
#include <vector>

namespace eventcore {

/// The streams of one command with their states, with all types erased: what `stream_set` and `stream_states` show.
class command_streams {
public:
  struct item {
    stream_id stream;
    const fold_type* fold;
    const void* state; ///< null: not read yet
    stream_version version = 0;
  };

  virtual ~command_streams() = default;
  /// Null: the stream is not among those of the command.
  virtual const item* find(const stream_id& stream) const = 0;
};

/// Events for one stream of a command.
struct stream_events {
  stream_id stream;
  std::vector<new_event> events;
};

/// What a multi-stream command came to, with all types erased.
struct multi_stream_decision {
  std::vector<stream_events> appends; ///< each stream at most once
  std::unique_ptr<google::protobuf::Message> reply;
  std::optional<rejection> rejected;
};

/// A stream that a command declares.
struct declared_stream {
  stream_id stream;
  const fold_type* fold;
};

/// A multi-stream decider as a table: what runs its commands without knowing its types. Lives for ever, as do the tables
/// of its folds.
struct multi_stream_type {
  struct command {
    const google::protobuf::Message* prototype;
    const std::type_info* cpp_type;
    const google::protobuf::Message* reply; ///< null: there is none
    /// The streams that the command needs, given those that were read. Throws what the user's function throws, and
    /// `invalid_command_streams`.
    std::vector<declared_stream> (*declare)(const google::protobuf::Message& command,
                                            const command_streams& known);
    multi_stream_decision (*decide)(const google::protobuf::Message& command, const command_streams& read,
                                    const command_context& context);
  };

  std::string_view name; ///< of the decider, for messages
  std::span<const command> commands;
};

/// The table of multi-stream decider `D`, made once. Throws as `fold_type_of` does.
template <class D>
const multi_stream_type& multi_stream_type_of();

} // namespace eventcore
