// The log of a process, which threads write to while nodes take it over and give it back.

#include "support/journal_helpers.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/runtime/internal/observability/node_log.hpp>

#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <fstream>
#include <thread>

using namespace eventcore;
using namespace eventcore::internal;
using namespace eventcore::test;

namespace {

/// Lines that no node takes are kept.
struct kept {
  kept() { spdlog::set_default_logger(std::make_shared<spdlog::logger>("kept", before)); }

  static log_options into(const std::filesystem::path& file) {
    log_options options;
    options.enabled = true;
    options.file = file;
    return options;
  }

  static std::string text_of(const std::filesystem::path& file) {
    std::ifstream in{file};
    return {std::istreambuf_iterator{in}, {}};
  }

  temp_dir dir;
  std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> before =
      std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(4);
};

} // namespace

BOOST_FIXTURE_TEST_CASE(lines_are_written_while_logs_begin_and_end, kept) {
  node_log{into(dir.path() / "log"), "till"};
  std::atomic<bool> ended = false;
  std::atomic<int> lines = 0;
  std::vector<std::thread> writing;
  for (int t = 0; t != 3; ++t)
    writing.emplace_back([&] {
      for (; !ended; ++lines)
        spdlog::info("a line");
    });
  for (int i = 0; i != 50; ++i) {
    const auto before = lines.load();
    const node_log log{into(dir.path() / "log"), "till"};
    while (lines < before + 20)
      std::this_thread::yield();
  }
  ended = true;
  for (auto& thread : writing)
    thread.join();
  BOOST_TEST(text_of(dir.path() / "log").find("a line") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(the_log_is_that_of_the_node_that_began_last, kept) {
  auto first = std::make_unique<node_log>(into(dir.path() / "first"), "first");
  auto second = std::make_unique<node_log>(into(dir.path() / "second"), "second");
  spdlog::info("to the second");
  first.reset();
  spdlog::info("to the second, too");
  auto third = std::make_unique<node_log>(into(dir.path() / "third"), "third");
  spdlog::info("to the third");
  third.reset();
  spdlog::info("to the second again");
  second.reset();
  spdlog::info("to nobody");
  const auto lines = before->last_formatted();
  BOOST_REQUIRE(lines.size() == 1u);
  BOOST_TEST(lines[0].find("to nobody") != std::string::npos);
  BOOST_TEST(text_of(dir.path() / "first").empty());
  const auto text = text_of(dir.path() / "second");
  for (auto* line : {"to the second\n", "to the second, too\n", "to the second again\n"})
    BOOST_TEST(text.find(line) != std::string::npos, line);
  BOOST_TEST(text_of(dir.path() / "third").find("to the third\n") != std::string::npos);
}
