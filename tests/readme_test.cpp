#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

const fs::path root{EVENTCORE_SOURCE_DIR};

std::string content_of(const fs::path& file) {
  std::ifstream in{file};
  BOOST_REQUIRE_MESSAGE(in, "cannot read " << file);
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// The READMEs of the project: that of the root, and those of the folders below it that are not built.
std::vector<fs::path> readmes() {
  std::vector<fs::path> found{root / "README.md"};
  for (auto folder : {"persistence", "actors", "runtime", "examples", "tests", "bench"})
    for (const auto& entry : fs::recursive_directory_iterator{root / folder})
      if (entry.path().filename() == "README.md")
        found.push_back(entry.path());
  return found;
}

/// `text` without what stands between lines that begin with ```.
std::string without_code(const std::string& text) {
  std::istringstream in{text};
  std::string line, result;
  for (bool code = false; std::getline(in, line);) {
    if (line.starts_with("```"))
      code = !code;
    else if (!code)
      result += line + '\n';
  }
  return result;
}

void check_shows(const std::string& language, const fs::path& file) {
  const auto block = "```" + language + "\n" + content_of(root / file) + "```\n";
  BOOST_TEST((content_of(root / "README.md").find(block) != std::string::npos),
             "README.md does not show " << file << " as it is; copy the file into its ```" << language
                                        << " block");
}

} // namespace

// The files themselves are built and run by other tests, so what the README shows works.
BOOST_AUTO_TEST_CASE(readme_shows_the_files_that_are_built) {
  check_shows("cpp", "examples/account/main.cpp");
  check_shows("proto", "examples/account/bank.proto");
  check_shows("cmake", "tests/install/CMakeLists.txt");
}

BOOST_AUTO_TEST_CASE(relative_links_lead_somewhere) {
  static const std::regex link{R"(\]\(([^)#]+)[^)]*\))"};
  for (const auto& readme : readmes()) {
    const auto text = without_code(content_of(readme));
    for (std::sregex_iterator it{text.begin(), text.end(), link}, end; it != end; ++it) {
      const auto target = (*it)[1].str();
      if (!target.starts_with("http://") && !target.starts_with("https://"))
        BOOST_TEST(fs::exists(readme.parent_path() / target),
                   readme << " links to " << target << ", which does not exist");
    }
  }
}
