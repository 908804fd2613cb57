#pragma once

#include <chrono>
#include <cstddef>

namespace eventcore {

/// When states are saved, so that a stream is not read from its start again. For deciders and folds whose state can be
/// saved (see `fold`); it costs others nothing. Snapshots hold durable states only, are written by the
/// journal in the background, and may be deleted at any time.
struct snapshot_options {
  /// Save the state each time that this many events came since it was saved last. 0: never.
  std::size_t every = 256;
  /// Save the state of an entity that leaves memory if at least this many events came since it was saved last. 0: never.
  std::size_t on_passivation = 32;
  /// How many of a stream are kept; older ones are deleted.
  std::size_t keep = 2;
  /// A larger state (with the answers saved with it) is not saved: it is logged and counted in `snapshots_too_large`.
  std::size_t max_bytes = 8u << 20;
};

/// For how long a repeat of a command gets the answer that its idempotency key was given first. After it, the repeat is
/// a new command. Both bounds hold for each stream.
struct answer_options {
  /// The newest this many answers are kept.
  std::size_t keep = 1'000;
  /// Answers older than this, by the times of the commands, are forgotten.
  std::chrono::seconds age = std::chrono::hours{24};
};

} // namespace eventcore
