#pragma once

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

namespace eventcore::test {

/// The path of a program of a Debian package that is not installed, which is put into the build folder when it is asked for the first
/// time; `programs`, separated by spaces, begins with it, and the others lie beside it. Empty: it cannot be had, as is said on standard error.
inline std::string debian_program(const std::string& suite, const std::string& package,
                                  const std::string& programs) {
  const auto command = EVENTCORE_SOURCE_DIR "/tests/support/install_programs '" EVENTCORE_BIN_DIR "/../" +
                       package + "' " + suite + ' ' + package + ' ' + programs;
  std::string path;
  auto* out = ::popen(command.c_str(), "r");
  for (int c; out && (c = std::fgetc(out)) != EOF;)
    if (c != '\n')
      path += static_cast<char>(c);
  return out && ::pclose(out) == 0 ? path : std::string{};
}

/// Says that `what` was not tested for want of a program. In CI, where everything must run, the test program ends as failed.
inline void skip_loudly(const std::string& what, const std::string& lacks) {
  const bool must_run = std::getenv("CI") != nullptr;
  std::cerr << "\n*** " << (must_run ? "FAILED" : "SKIPPED") << ": " << what << ": " << lacks
            << " (see above) ***\n"
            << std::flush;
  if (must_run)
    std::_Exit(1);
}

} // namespace eventcore::test
