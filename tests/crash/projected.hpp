#pragma once

#include <support/sums.hpp>

#include <eventcore/actors/projection_host.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>

#include <filesystem>
#include <memory>
#include <vector>

namespace crash {

/// Two journals that nobody writes to any more, and a projection of them that goes on step by step.
template <class P>
struct projected_journals {
  std::vector<std::unique_ptr<eventcore::journal>> journals;
  std::vector<std::shared_ptr<eventcore::event_source>> sources;
  eventcore::result<eventcore::projection_host<P>> view;

  projected_journals(const std::filesystem::path& journals_dir, const std::filesystem::path& view_dir)
      : view{open(journals_dir, view_dir)} {}
  ~projected_journals() {
    if (view)
      view->stop();
  }

private:
  eventcore::result<eventcore::projection_host<P>> open(const std::filesystem::path& journals_dir,
                                                        const std::filesystem::path& view_dir) {
    eventcore::projection_options options;
    for (auto* name : {"orders", "payments"}) {
      auto journal = eventcore::open_lmdb_journal(journals_dir / name);
      if (!journal)
        return journal.error();
      journals.push_back(*std::move(journal));
      sources.push_back(eventcore::make_journal_source(*journals.back(), name));
    }
    options.folder = view_dir;
    options.sources = sources;
    options.mode = eventcore::writer_mode::stepped;
    options.max_batch_events = 4;
    return eventcore::open_projection<P>(std::move(options));
  }
};

/// The projection before and after its `apply` was changed.
using old_projection = eventcore::test::sums_of<1>;
using new_projection = eventcore::test::sums_of<2>;

} // namespace crash
