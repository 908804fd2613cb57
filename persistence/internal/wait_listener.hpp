#pragma once

#include <eventcore/persistence/commit.hpp>

#include <future>

namespace eventcore::internal {

/// Lets a thread that is not the writer's wait for the answer of one commit.
class wait_listener final : public commit_listener {
public:
  void on_commit(std::uint64_t, const result<committed>& outcome) noexcept override {
    if (outcome)
      answer_.set_value(*outcome);
    else
      answer_.set_value(outcome.error());
  }

  result<committed> wait() { return answer_.get_future().get(); }

private:
  std::promise<result<committed>> answer_;
};

} // namespace eventcore::internal
