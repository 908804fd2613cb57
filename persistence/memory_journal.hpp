#pragma once

#include <eventcore/persistence/journal.hpp>

namespace eventcore {

/// A journal that lives as long as the object and promises all but durability. For tests and experiments.
std::unique_ptr<journal> open_memory_journal(journal_options options = {});

} // namespace eventcore
