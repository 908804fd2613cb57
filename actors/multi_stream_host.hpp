#pragma once

#include <eventcore/actors/multi_stream.hpp>
#include <eventcore/actors/stream_options.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>

namespace eventcore {

/// Bounds of the commands of one multi-stream decider.
struct multi_stream_options {
  /// How often a command that lost against another writer is tried again before it is answered `conflict`. The last try makes
  /// the entities that live on its streams finish what they have and wait for it.
  std::size_t retries = 4;
  /// Pause before the first retry, doubled for each further one; a random share of up to a half is taken off.
  std::chrono::milliseconds backoff{10};
  /// For how long an entity waits for a last try. After it the entity goes on, whatever became of the command.
  std::chrono::milliseconds lease{2'000};
  /// A command with more streams is answered `invalid_command`.
  std::size_t max_streams = 1'000;
  /// How often a command may discover more streams before it is answered `invalid_command`.
  std::size_t max_discoveries = 16;
  /// Commands that may be under way or wait at one time. More are answered `overloaded`.
  std::size_t max_waiting = 16'384;
  /// Streams whose states stay in memory when no command uses them; the ones used last stay.
  std::size_t max_cached = 100'000;
  /// Events that are read in one step before other commands get their turn.
  std::size_t read_chunk = 512;
  /// `every` counts events that were read or appended here; `on_passivation` has no meaning.
  snapshot_options snapshots{};
  answer_options answers{};
};

/// Counters since the start.
struct multi_stream_stats {
  std::size_t under_way = 0;                 ///< commands not answered
  std::size_t cached_streams = 0;            ///< states in memory
  std::uint64_t commands = 0;                ///< commands answered
  std::uint64_t conflicts = 0;               ///< commits lost against other writers
  std::uint64_t retries = 0;                 ///< tries after the first ones
  std::uint64_t holds = 0;                   ///< last tries that made entities wait
  std::chrono::microseconds longest_wait{0}; ///< from a command's arrival to its answer
  std::uint64_t snapshots_saved = 0;
  std::uint64_t snapshots_too_large = 0;
  std::uint64_t snapshots_passed_over = 0;
};

/// A handle of what runs the commands of a multi-stream decider, without types. Cheap to copy; empty when default made.
/// Thread-safe. Must not be used after the node's end.
class multi_stream_handle {
public:
  struct impl;

  multi_stream_handle() = default;
  explicit multi_stream_handle(std::shared_ptr<impl> content)
      : impl_{std::move(content)} {}

  explicit operator bool() const noexcept { return impl_ != nullptr; }

  /// For `eventcore/actors/caf.hpp`.
  impl& content() const noexcept { return *impl_; }

  /// Runs `command` and waits for the answer. `within` bounds both: after it, a command that was not decided is
  /// `deadline_exceeded`, else `outcome_unknown`. Null: the effect has no reply.
  result<std::unique_ptr<google::protobuf::Message>> ask(std::unique_ptr<google::protobuf::Message> command,
                                                         std::chrono::nanoseconds within,
                                                         command_context context = {}) const;

  /// Waits for the answer, at most `within`.
  result<multi_stream_stats> stats(std::chrono::nanoseconds within) const;

private:
  std::shared_ptr<impl> impl_;
};

/// A handle of what runs the commands of multi-stream decider `D`, for use from any thread that is not an actor. (Actors:
/// `eventcore/actors/caf.hpp`.)
template <class D>
class multi_stream_host : public multi_stream_handle {
public:
  multi_stream_host() = default;
  explicit multi_stream_host(multi_stream_handle untyped)
      : multi_stream_handle{std::move(untyped)} {}

  /// Runs `command` and waits for its answer for at most `within`. When a reply is here, the events are durable, and all
  /// streams of the command were, at one moment, as it saw them. Errors: `entity_errc`; `conflict` names the stream and its
  /// expected and found version.
  template <class Command>
  result<multi_stream_reply<D, Command>> ask(Command command, std::chrono::nanoseconds within,
                                             command_context context = {}) const {
    using reply = multi_stream_reply<D, Command>;
    static_assert(internal::occurrences<typename D::commands, Command> == 1,
                  "eventcore: this is none of the decider's commands<...>");
    auto answer =
        multi_stream_handle::ask(std::make_unique<Command>(std::move(command)), within, std::move(context));
    if (!answer)
      return answer.error();
    if constexpr (internal::message_type<reply>) {
      if (auto* typed = dynamic_cast<reply*>(answer->get()))
        return std::move(*typed);
      return make_error(entity_errc::unexpected_reply,
                        "the reply is of another type than the decider declares");
    } else {
      return reply{};
    }
  }
};

} // namespace eventcore
