#pragma once

#include <support/temp_dir.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <vector>

namespace eventcore::test {

/// How a program ended and what it printed.
struct program_result {
  int exit_code = -1; ///< 128 + n: signal n killed it
  std::string out;
  std::string err;

  bool printed(std::string_view text) const { return out.find(text) != std::string::npos; }
  bool complained(std::string_view text) const { return err.find(text) != std::string::npos; }
};

/// Runs a program of this build, such as `permits`, to its end, without standard input. `before` are commands of the shell that
/// runs it, such as `ulimit -n 10; `.
inline program_result run_program(const std::string& name, const std::vector<std::string>& args,
                                  const std::string& before = {}) {
  const temp_dir dir;
  const auto quoted = [](const std::string& text) {
    std::string result = "'";
    for (const char c : text)
      result += c == '\'' ? std::string{"'\\''"} : std::string{c};
    return result + "'";
  };
  auto command = before + quoted(std::string{EVENTCORE_BIN_DIR} + "/" + name);
  for (const auto& arg : args)
    command += " " + quoted(arg);
  command += " </dev/null >" + quoted(dir.path() / "out") + " 2>" + quoted(dir.path() / "err");

  const int status = std::system(command.c_str());
  const auto content = [&](const char* file) {
    std::ostringstream text;
    text << std::ifstream{dir.path() / file}.rdbuf();
    return std::move(text).str();
  };
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content("out"), content("err")};
}

} // namespace eventcore::test
