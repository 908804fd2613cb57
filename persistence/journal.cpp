#include <eventcore/persistence/internal/wait_listener.hpp>
#include <eventcore/persistence/journal.hpp>

namespace eventcore {

result<committed> journal::commit_and_wait(commit c) {
  std::size_t bytes = 0;
  for (auto& append : c.appends)
    for (auto& event : append.events)
      bytes += event.payload.size();
  auto credit = reserve(bytes);
  if (!credit)
    return credit.error();
  auto listener = std::make_shared<internal::wait_listener>();
  submit(std::move(c), *std::move(credit), listener, 0);
  return listener->wait();
}

} // namespace eventcore
