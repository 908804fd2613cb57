#pragma once

#include <eventcore/actors/command_context.hpp>
#include <eventcore/actors/decider.hpp>
#include <eventcore/actors/errc.hpp>
#include <eventcore/actors/stream_options.hpp>
#include <eventcore/persistence/error.hpp>

#include <google/protobuf/message.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace eventcore {

/// Bounds of a host and its entities. All times are steady-clock times.
struct host_options {
  /// An entity that got no command for this long is passivated.
  std::chrono::milliseconds idle_time{120'000};
  /// More entities than this are passivated, the longest idle first. Entities at work stay, so the number can
  /// be passed for a while, up to twice the limit; then new ids are answered `overloaded`.
  std::size_t max_resident = 100'000;
  /// Entities that recover at one time; others wait for a permit.
  std::size_t max_recoveries = 64;
  /// Commands that may wait at one entity (mailbox, recovery, unanswered). More are answered `overloaded`.
  std::size_t max_waiting = 16'384;
  /// Events that one recovery step reads before it lets other actors run.
  std::size_t recovery_chunk = 512;
  /// How often the commands in flight are decided again after a conflict before their callers get `conflict`.
  std::size_t max_redecisions = 16;
  /// Queries and rejections that wait for no commit are checked against the end of the stream in the journal
  /// (one look-up), so that they are right even where another writer was faster. Without it they may show the
  /// state before that writer. To be turned off where a stream has one writer for sure, and with
  /// `durability::relaxed`, where the look-up waits for the disk.
  bool check_head = true;
  snapshot_options snapshots{};
  answer_options answers{};
  /// A failed recovery is tried again after this time, doubled each time, at most `max_backoff`.
  std::chrono::milliseconds backoff{200};
  std::chrono::milliseconds max_backoff{30'000};
};

/// Counters of a host since it started.
struct host_stats {
  std::size_t resident = 0;   ///< entities in memory
  std::size_t recovering = 0; ///< of these, not ready yet
  std::uint64_t activations = 0;
  std::uint64_t passivations = 0;
  std::uint64_t snapshots_saved = 0;       ///< handed to the journal
  std::uint64_t snapshots_too_large = 0;   ///< larger than `snapshot_options::max_bytes`, so not saved
  std::uint64_t snapshots_passed_over = 0; ///< of another state version or not readable, found at a recovery
};

/// A handle of the actor that finds or starts the entity for an id, without types. Cheap to copy; empty when
/// default made. Thread-safe. Holds the host, but not the node: must not be used after the node's end.
class host_handle {
public:
  struct impl;

  host_handle() = default;
  explicit host_handle(std::shared_ptr<impl> content)
      : impl_{std::move(content)} {}

  explicit operator bool() const noexcept { return impl_ != nullptr; }

  /// For `eventcore/actors/caf.hpp`.
  impl& content() const noexcept { return *impl_; }

  /// Sends `command` to entity `id` and waits for the answer. `within` bounds both: after it, a command that
  /// was not taken up is `deadline_exceeded`, else `outcome_unknown`. Null: the effect has no reply.
  result<std::unique_ptr<google::protobuf::Message>> ask(std::string_view id,
                                                         std::unique_ptr<google::protobuf::Message> command,
                                                         std::chrono::nanoseconds within,
                                                         command_context context = {}) const;

  /// Sends `command` and forgets it. What it came to is nowhere said, except for an unexpected failure, in
  /// the log.
  void tell(std::string_view id, std::unique_ptr<google::protobuf::Message> command,
            command_context context = {}) const;

  /// Waits for the host's answer, at most `within`.
  result<host_stats> stats(std::chrono::nanoseconds within) const;

private:
  std::shared_ptr<impl> impl_;
};

/// A handle of the host of decider `D`, for use from any thread that is not an actor. (Actors:
/// `eventcore/actors/caf.hpp`.)
template <class D>
class host : public host_handle {
public:
  host() = default;
  explicit host(host_handle untyped)
      : host_handle{std::move(untyped)} {}

  /// Sends `command` to entity `id` (stream `<category>-<id>`) and waits for its answer for at most `within`.
  /// When a reply is here, the events that it depends on are durable. Errors: `entity_errc`.
  template <class Command>
  result<reply_of<D, Command>> ask(std::string_view id, Command command, std::chrono::nanoseconds within,
                                   command_context context = {}) const {
    static_assert(replies<D, Command>, "eventcore: this command's effect has no reply; send it with tell()");
    auto answer =
        host_handle::ask(id, std::make_unique<Command>(std::move(command)), within, std::move(context));
    if (!answer)
      return answer.error();
    if (auto* reply = dynamic_cast<reply_of<D, Command>*>(answer->get()))
      return std::move(*reply);
    return make_error(entity_errc::unexpected_reply,
                      "the entity's reply is of another type than its decider declares");
  }

  template <class Command>
  void tell(std::string_view id, Command command, command_context context = {}) const {
    static_assert(handles<D, Command>, "eventcore: the decider has no decide() for this command type");
    host_handle::tell(id, std::make_unique<Command>(std::move(command)), std::move(context));
  }
};

} // namespace eventcore
