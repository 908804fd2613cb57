#include <eventcore/persistence/internal/run_filter.hpp>

#include <algorithm>
#include <bit>

namespace eventcore::internal {

namespace {

constexpr std::size_t entries_per_word = 4;

} // namespace

run_filter::run_filter(std::size_t entries)
    : words_(std::bit_ceil(std::max<std::size_t>(entries / entries_per_word, 2)))
    , shift_{64 - std::countr_zero(words_.size())} {}

template <class F>
void run_filters::change(F&& f) {
  auto changed = std::make_shared<table>(*all());
  f(*changed);
  std::lock_guard lock{mutex_};
  table_ = std::move(changed);
}

void run_filters::put(std::uint32_t run, std::shared_ptr<const run_filter> filter) {
  change([&](table& t) { t[run] = std::move(filter); });
}

void run_filters::erase(std::uint32_t run) {
  change([&](table& t) { t.erase(run); });
}

void run_filters::clear() {
  change([](table& t) { t.clear(); });
}

} // namespace eventcore::internal
