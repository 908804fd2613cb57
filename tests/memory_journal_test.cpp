#include "support/journal_conformance.hpp"

#include <eventcore/persistence/memory_journal.hpp>

namespace eventcore::test {

namespace {

class memory_factory final : public journal_factory {
public:
  std::unique_ptr<journal> open(const journal_options& options) override {
    return open_memory_journal(options);
  }
  bool persistent() const override { return false; }
};

[[maybe_unused]] const bool registered =
    register_journal_conformance("memory_journal", [] { return std::make_unique<memory_factory>(); });

} // namespace

} // namespace eventcore::test
