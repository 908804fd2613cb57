#pragma once

#include "support/program.hpp"

#include <algorithm>
#include <chrono>
#include <future>

namespace eventcore::test {

/// A run of the example `order_fulfilment` in a folder, beside the test.
class order_run {
public:
  order_run(const std::filesystem::path& dir, const std::string& arguments)
      : dir_{dir}
      , end_{std::async(std::launch::async, [=] {
        std::filesystem::create_directories(dir);
        return std::system(("'" EVENTCORE_BIN_DIR "/order_fulfilment' " + arguments + " --journal '" +
                            (dir / "run").string() + "' >'" + (dir / "out").string() + "' 2>'" +
                            (dir / "err").string() + "'")
                               .c_str());
      })} {}

  /// Waits for its end; 0: all was well.
  int wait() { return end_.get(); }

  std::string out() const { return text_of(dir_ / "out"); }
  std::string err() const { return text_of(dir_ / "err"); }
  std::string configuration_of(const std::string& service) const {
    return text_of(dir_ / "run" / (service + ".ini"));
  }
  std::string audit() const {
    const auto all = out();
    return all.substr(std::min(all.find("audit"), all.size()));
  }

  /// Until it has said so on standard error; false: it ended before, or a minute passed.
  bool says(const std::string& what) {
    using namespace std::chrono_literals;
    for (const auto limit = std::chrono::steady_clock::now() + 60s;
         std::chrono::steady_clock::now() < limit && end_.wait_for(20ms) != std::future_status::ready;)
      if (err().find(what) != std::string::npos)
        return true;
    return false;
  }

private:
  static std::string text_of(const std::filesystem::path& file) {
    std::ostringstream text;
    text << std::ifstream{file}.rdbuf();
    return std::move(text).str();
  }

  std::filesystem::path dir_;
  std::future<int> end_;
};

} // namespace eventcore::test
