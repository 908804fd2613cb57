#pragma once

#include "support/outside_program.hpp"
#include "support/raw_server.hpp"
#include "support/temp_dir.hpp"

#include <httplib.h>

#include <sys/prctl.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>

namespace eventcore::test {

/// The program of a real Consul, which is put into the build folder when it is asked for the first time. Where it cannot be had
/// the test program ends: as skipped for CTest (77), and in CI as failed.
inline const std::string& consul_program() {
  static const std::string program = [] {
    auto path = debian_program("bullseye", "consul", "consul"); // Debian 12 has no package of it
    if (path.empty()) {
      skip_loudly("nothing was tested with a real Consul", "none can be had here");
      std::_Exit(77);
    }
    return path;
  }();
  return program;
}

/// A Consul agent of its own on loopback: a cluster of one that keeps all in memory, and lets nobody do anything without a token.
/// Ends with this object, or with the process.
class consul_agent {
public:
  static constexpr auto token = "5d5b5b5e-0000-4000-8000-000000000001"; ///< may do everything

  consul_agent() {
    for (int attempt = 1; !start(); ++attempt) // somebody else may have taken a port
      if (attempt == 5)
        throw std::runtime_error{"Consul does not start: " + log()};
  }
  consul_agent(const consul_agent&) = delete;
  consul_agent& operator=(const consul_agent&) = delete;
  ~consul_agent() { kill(); }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(ports_[0]); }

  void kill() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
  }

  /// As a new one that has forgotten everything, at the same address.
  void restart() {
    kill();
    if (!launch())
      throw std::runtime_error{"Consul does not start again: " + log()};
  }

  /// A request with the token that may do everything; its answer, which must be a success.
  std::string ask(const std::string& method, const std::string& path, const std::string& body = {}) const {
    auto answer = request(method, path, body);
    if (!answer || answer->status != 200)
      throw std::runtime_error{path + ": " + (answer ? answer->body : httplib::to_string(answer.error()))};
    return answer->body;
  }

private:
  httplib::Result request(const std::string& method, const std::string& path,
                          const std::string& body = {}) const {
    httplib::Client client{"127.0.0.1", ports_[0]};
    httplib::Request r;
    r.method = method;
    r.path = path;
    r.body = body;
    r.headers = {{"X-Consul-Token", token}};
    return client.send(r);
  }

  /// Free a moment ago.
  static int free_port() {
    return raw_server{[](auto&) {}}.port();
  }

  bool start() {
    for (auto& port : ports_)
      port = free_port();
    std::ofstream{dir_.path() / "agent.json"} << R"({"bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
      "disable_update_check": true, "log_level": "warn", "ports": {"http": )"
                                              << ports_[0] << R"(, "server": )" << ports_[1]
                                              << R"(, "serf_lan": )" << ports_[2]
                                              << R"(, "serf_wan": -1, "dns": -1, "grpc": -1},
      "acl": {"enabled": true, "default_policy": "deny", "tokens": {"master": ")"
                                              << token << R"(", "agent": ")" << token << R"("}}})";
    return launch();
  }

  bool launch() {
    const auto program = consul_program();
    const auto config = (dir_.path() / "agent.json").string();
    const auto log_file = (dir_.path() / "log").string();
    const auto parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int out = ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      ::dup2(out, 1);
      ::dup2(out, 2);
      if (::getppid() == parent)
        ::execl(program.c_str(), "consul", "agent", "-dev", "-node=tests", "-config-file", config.c_str(),
                nullptr);
      ::_exit(127);
    }
    // It takes registrations when it has elected itself, and shows them when it has registered itself.
    for (const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{60};
         std::chrono::steady_clock::now() < give_up;) {
      const auto itself = request("GET", "/v1/health/node/tests");
      if (itself && itself->status == 200 && itself->body.find("serfHealth") != std::string::npos)
        return true;
      if (::waitpid(pid_, nullptr, WNOHANG) == pid_)
        break;
      ::usleep(20'000);
    }
    return false;
  }

  std::string log() const {
    std::ostringstream text;
    text << std::ifstream{dir_.path() / "log"}.rdbuf();
    return std::move(text).str();
  }

  temp_dir dir_;
  int ports_[3]{};
  pid_t pid_ = -1;
};

} // namespace eventcore::test
