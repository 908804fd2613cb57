// The command-line tool: looks at journals, also while another process writes them, and acts for operators. Its verbs are in verbs/.

#include <eventcore/runtime/cli/verb.hpp>

#include <CLI/CLI.hpp>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include <fcntl.h>
#include <unistd.h>

namespace {

using namespace eventcore::cli;

/// Opens what the caller closed, so that no file of a journal takes the number of standard output. Writing to
/// it fails.
void open_missing_descriptors() {
  while (true) {
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fd > 2) {
      if (fd > 2)
        ::close(fd);
      return;
    }
  }
}

/// LMDB reads through a memory map and trusts what it finds: a file that is damaged in its structure can end
/// the process.
void explain_crashes() {
  const auto explain = [](int) {
    constexpr std::string_view what = "eventcore: reading the journal crashed; its file is damaged (restore "
                                      "it from a backup), or this tool has a bug\n";
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, what.data(), what.size());
    std::_Exit(static_cast<int>(exit_code::found_wrong));
  };
  for (const int signal : {SIGABRT, SIGBUS, SIGSEGV})
    std::signal(signal, explain);
}

exit_code run_verb(verb& chosen, const std::filesystem::path& journal_dir) {
  output out;
  auto code = exit_code::done;
  if (const auto ended = chosen.run(journal_dir, out); ended) {
    code = *ended;
  } else {
    complain(ended.error().message());
    code = exit_code::found_wrong;
  }
  out.flush();
  if (out.fault() != 0) {
    complain("cannot write to standard output: " + std::string{std::strerror(out.fault())});
    code = exit_code::found_wrong;
  }
  return code;
}

} // namespace

int main(int argc, char** argv) {
  open_missing_descriptors();
  std::signal(SIGPIPE, SIG_IGN);
  explain_crashes();
  // What Protobuf would log is said in our own errors, which also name the event.
  google::protobuf::SetLogHandler(nullptr);

  CLI::App app{"Looks at eventcore journals, also while another process writes, and carries out an "
               "operator's decisions.",
               "eventcore"};
  app.set_version_flag("--version", "eventcore " EVENTCORE_VERSION);
  app.require_subcommand(0, 1); // no verb at all is said below, after an unknown one
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.footer("Examples:\n"
             "  eventcore info -j data                 what journal is this?\n"
             "  eventcore show order-4711 -j data      the events of one stream, as lines of JSON\n"
             "  eventcore tail --follow -j data        what is happening now\n"
             "\n"
             "'eventcore VERB --help' tells more. Exit codes: 0 done, 1 found something wrong, 2 bad usage.");

  std::filesystem::path journal_dir = "data";
  const auto add_journal_option = [&](CLI::App& to) {
    to.add_option("-j,--journal", journal_dir, "The journal's folder")
        ->type_name("DIR")
        ->check([](const std::string& dir) { return dir.empty() ? "the name of the folder is empty" : ""; })
        ->capture_default_str();
  };
  add_journal_option(app);
  auto& all = verbs();
  std::ranges::sort(all, {}, &verb_entry::name);
  for (auto& entry : all) {
    auto* subcommand = app.add_subcommand(entry.name, entry.summary);
    subcommand->group("Verbs");
    entry.content->declare(*subcommand);
    add_journal_option(*subcommand);
  }

  const auto refuse = [&](const std::string& why) {
    const auto chosen = app.get_subcommands();
    complain(why);
    std::cerr << "Try 'eventcore" << (chosen.empty() ? "" : " " + chosen.front()->get_name())
              << " --help'.\n";
    return static_cast<int>(exit_code::bad_usage);
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return e.get_exit_code() == 0 ? app.exit(e) : refuse(e.what());
  }
  if (app.get_subcommands().empty())
    return refuse("a verb is missing");
  const auto name = app.get_subcommands().front()->get_name();
  const auto chosen = std::ranges::find(all, name, &verb_entry::name);
  return static_cast<int>(run_verb(*chosen->content, journal_dir));
}
