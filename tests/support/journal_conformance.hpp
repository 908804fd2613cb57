#pragma once

#include <eventcore/persistence/journal.hpp>

#include <functional>
#include <memory>
#include <string>

namespace eventcore::test {

/// Where the suite gets a backend's journals from. One factory stands for one journal.
class journal_factory {
public:
  virtual ~journal_factory() = default;

  /// Opens the factory's journal, which is empty at the first call. At a later one the journal opened before
  /// is destroyed already, and what it held is there again; called once only if the backend is not
  /// persistent.
  virtual std::unique_ptr<journal> open(const journal_options& options) = 0;

  virtual bool persistent() const = 0;
};

using make_journal_factory = std::function<std::unique_ptr<journal_factory>()>;

/// Registers the conformance suite, which checks all that journal.hpp and commit.hpp promise, for one
/// backend: test suite `name`, with one suite for each durability in it. Call it while a test program's
/// statics are initialised:
///
///   const bool registered = register_journal_conformance("my_journal", [] { return
///   std::make_unique<my_factory>(); });
bool register_journal_conformance(const std::string& name, make_journal_factory make_factory);

} // namespace eventcore::test
