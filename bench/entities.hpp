#pragma once

#include "driver.hpp"

#include <eventcore/runtime/node.hpp>

#include <filesystem>
#include <string>

namespace bench {

/// A node on the journal in `dir`. Throws.
eventcore::node open_node(const std::filesystem::path& dir);

/// How many commits shared a transaction, as text.
std::string batch_note(const eventcore::journal_stats& s);

/// Sends `Add` to `entities` entities of a host of `counter` at random, numbered from `first` on.
figure drive_adds(caf::actor_system& system, const load& l, const caf::actor& host, std::size_t entities,
                  std::size_t first = 0);

/// Writes streams of `counter` with ten events each, one round after the other, so that no entity's events lie together.
/// Throws.
void write_entities(const std::filesystem::path& dir, std::size_t entities);

} // namespace bench
