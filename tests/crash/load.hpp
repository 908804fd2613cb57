#pragma once

#include "load.pb.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace crash {

/// The filler of an event: bytes that look random and follow from the arguments.
std::string filler_of(std::uint64_t commit, std::uint32_t index, std::size_t size);

/// What `crash_writer` says on its standard output, one after the other, each by one write(): so much is
/// promised.
struct promise {
  enum class kind : std::uint64_t {
    ready,     ///< the journal is open, the load begins
    committed, ///< `commit` is done; its first event stands at `position`, if that is not 0
    version,   ///< the entity with stream `entity-<commit>` has at least `position` events
  };
  kind what;
  std::uint64_t commit;
  std::uint64_t position;
};

} // namespace crash
