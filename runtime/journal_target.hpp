#pragma once

#include <eventcore/persistence/journal.hpp>
#include <eventcore/runtime/federation_target.hpp>

namespace eventcore {

/// A target in this process: its journal, to which the events are appended, in streams of the same names. Each event is
/// one commit that also moves the cursor `federation/<source service>`, so it is there exactly once, whatever crashes.
///
/// An event keeps its payload, schema version, metadata and time; it gets an id, version and position of the target's. Four
/// headers in its metadata tell of the source's: `federation.source`, `federation.event-id`, `federation.version` and
/// `federation.position`.
///
/// A journal that owns certain categories only takes events of these alone: others wait until it is opened with their
/// category, as do events while the disk is full or the journal closed. An event that is too large is refused.
///
/// `to` must outlive the target.
std::unique_ptr<federation_target> make_journal_target(journal& to);

/// After the source's journal, or the target's, was restored from a backup: the target takes the source's events from
/// `position + 1` on, and what it has stays. Not while a hub delivers to it. Errors: those of the journal.
result<void> accept_history(journal& target, const federation_source& source, log_position position);

} // namespace eventcore
