#pragma once

#include <eventcore/persistence/journal.hpp>
#include <eventcore/runtime/cli/output.hpp>

#include <CLI/App.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace eventcore::cli {

/// What the tool answers its caller with.
enum class exit_code : int {
  done = 0,
  found_wrong = 1, ///< said on standard error
  bad_usage = 2,   ///< said on standard error
};

/// One task of the tool. A verb is one file in verbs/ which defines a class and registers it:
///
///     const registered_verb<info> registration{"info", "Says what a journal is"};
///
/// The tool then lists it in its help and runs it.
class verb {
public:
  virtual ~verb() = default;

  /// Declares options and positionals, and ends the help with an example (`app.footer`). Every verb
  /// has `-j,--journal` besides.
  virtual void declare(CLI::App& app) = 0;

  /// Does the work. What the verb has to say goes to `out`, complaints go through `complain`. A returned
  /// error is said by the caller. Returns soon when `out` takes no more.
  virtual result<exit_code> run(const std::filesystem::path& journal_dir, output& out) = 0;
};

struct verb_entry {
  std::string name;
  std::string summary; ///< one line
  std::unique_ptr<verb> content;
};

/// All registered verbs, for `main` and registrations.
std::vector<verb_entry>& verbs();

template <class Verb>
struct registered_verb {
  registered_verb(std::string name, std::string summary) {
    verbs().push_back({std::move(name), std::move(summary), std::make_unique<Verb>()});
  }
};

// -- values of options --

/// Admits whole decimal numbers from `least` on that fit into 64 bits.
CLI::Validator is_number(std::uint64_t least = 0);

/// Admits stream ids.
CLI::Validator is_stream_id();

/// Admits what can stand before the first `-` of a stream id.
CLI::Validator is_category();

} // namespace eventcore::cli
