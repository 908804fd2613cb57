#pragma once

#include "support/outside_program.hpp"
#include "support/temp_dir.hpp"

#include <boost/test/unit_test.hpp>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace eventcore::test {

/// A collector that keeps what it gets in files, and tells what OpenTelemetry's own decoder reads in them.
class otlp_collector {
public:
  explicit otlp_collector(std::function<int()> status = [] { return 200; })
      : status_{std::move(status)} {
    server_.Post("/v1/traces", [this](const httplib::Request& request, httplib::Response& answer) {
      answer.status = status_();
      std::lock_guard guard{mutex_};
      ++requests_;
      content_type_ = request.get_header_value("content-type");
      if (answer.status == 200)
        std::ofstream{folder_.path() / std::to_string(files_++)} << request.body;
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread{[this] { server_.listen_after_bind(); }};
    while (!server_.is_running())
      std::this_thread::yield();
  }
  ~otlp_collector() {
    server_.stop();
    thread_.join();
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int requests() {
    std::lock_guard guard{mutex_};
    return requests_;
  }

  /// Nothing: the decoder cannot be had here.
  std::optional<std::vector<nlohmann::json>> spans() {
    std::string command =
        EVENTCORE_SOURCE_DIR "/tests/support/otlp_decoder/decode '" EVENTCORE_BIN_DIR "/../otlp_decoder'";
    {
      std::lock_guard guard{mutex_};
      BOOST_TEST(content_type_ == "application/x-protobuf");
      for (int i = 0; i != files_; ++i)
        command += ' ' + (folder_.path() / std::to_string(i)).string();
    }
    const auto out = (folder_.path() / "out").string();
    const auto code = WEXITSTATUS(std::system((command + " > " + out).c_str()));
    if (code == 3) {
      skip_loudly(boost::unit_test::framework::current_test_case().p_name,
                  "OpenTelemetry's decoder cannot be had: it needs node, npm and npm's registry");
      return std::nullopt;
    }
    BOOST_REQUIRE(code == 0);
    std::vector<nlohmann::json> found;
    std::ifstream lines{out};
    for (std::string line; std::getline(lines, line);)
      found.push_back(nlohmann::json::parse(line));
    return found;
  }

private:
  std::function<int()> status_;
  temp_dir folder_;
  httplib::Server server_;
  std::mutex mutex_;
  int requests_ = 0;
  int files_ = 0;
  std::string content_type_;
  int port_ = 0;
  std::thread thread_;
};

} // namespace eventcore::test
