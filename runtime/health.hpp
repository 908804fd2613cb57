#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace eventcore {

/// Looks after one thing: what is wrong with it, for people; nothing if it is as it should be. Called on a thread of the node's own, one
/// check at a time; should return within a second. An exception counts as what is wrong.
using health_check = std::function<std::optional<std::string>()>;

/// What a node's checks came to (spec 33).
struct health_report {
  struct check {
    std::string name;
    std::optional<std::string> problem;
  };
  std::vector<check> checks;

  bool ok() const {
    for (auto& c : checks)
      if (c.problem)
        return false;
    return true;
  }
};

} // namespace eventcore
