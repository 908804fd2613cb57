#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/verify.hpp>
#include <eventcore/runtime/cli/verb.hpp>

#include <chrono>
#include <iostream>

#include <unistd.h>

namespace eventcore::cli {

namespace {

/// One line on a terminal that is written again and again; silent where standard error is none.
class progress_line {
public:
  ~progress_line() {
    if (shown_)
      std::cerr << "\r\x1b[K" << std::flush;
  }

  void show(verify_pass pass, std::uint64_t done, std::uint64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || now - last_ < std::chrono::milliseconds{100})
      return;
    last_ = now;
    shown_ = true;
    std::cerr << "\r\x1b[K" << (pass == verify_pass::log ? "log: " : "streams: ") << done << " of " << total
              << " events" << std::flush;
  }

private:
  const bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

class verify final : public verb {
  void declare(CLI::App& app) override {
    app.footer("Reads the whole log (checksums, positions without gaps, payloads that decode), then every\n"
               "stream by the index (versions without gaps, every event found once). What a process writes\n"
               "meanwhile is left out. Each problem is said on standard error; a damaged event can be named\n"
               "twice, once by its position and once by its stream.\n"
               "\n"
               "Example:\n"
               "  eventcore verify -j data && echo sound");
  }

  result<exit_code> run(const std::filesystem::path& journal_dir, output& out) override {
    const auto journal = open_lmdb_journal_reader(journal_dir);
    if (!journal)
      return journal.error();
    const auto report = [&] {
      progress_line line;
      return verify_journal(**journal, {.on_progress = [&](auto pass, auto done, auto total) {
        line.show(pass, done, total);
      }});
    }();
    for (const auto& problem : report.problems)
      complain(problem);
    if (report.problems.size() < report.problem_count)
      complain(std::to_string(report.problem_count) + " problems in all; the first " +
               std::to_string(report.problems.size()) + " are listed above");
    out.line(journal_dir.string() + ": " + std::to_string(report.events) + " of " +
             std::to_string(report.head) + " events sound, " + std::to_string(report.streams) + " streams, " +
             std::to_string(report.types) + " event types, " +
             (report.ok() ? "no" : std::to_string(report.problem_count)) +
             (report.problem_count == 1 ? " problem" : " problems"));
    return report.ok() ? exit_code::done : exit_code::found_wrong;
  }
};

const registered_verb<verify> registration{"verify", "Checks every record and every stream of a journal"};

} // namespace

} // namespace eventcore::cli
