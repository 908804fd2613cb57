#include <eventcore/runtime/cli/schema_diff.hpp>
#include <eventcore/runtime/cli/verb.hpp>

#include <algorithm>

namespace eventcore::cli {

namespace {

class schema final : public verb {
  void declare(CLI::App& app) override {
    app.add_option("ACTION", action_, "print or diff")->required()->check(CLI::IsMember({"print", "diff"}));
    app.add_option("SOURCE", sources_,
                   "A journal's folder, or a file that 'protoc --include_imports -o FILE' wrote;\n"
                   "print takes one (default: the journal), diff takes OLD and NEW");
    app.footer("Examples:\n"
               "  eventcore schema print -j data             the types of a journal's events\n"
               "  protoc --include_imports -o new.pb bank.proto\n"
               "  eventcore schema diff data new.pb          can the new build read what is stored?\n"
               "\n"
               "diff names each change of OLD's types as compatible, as incompatible, or, if the type's\n"
               "schema version was raised, as one that needs an upcaster. Its exit codes: 0 nothing is\n"
               "incompatible, 1 something is, 2 bad usage, which is also a source that cannot be read.");
  }

  result<exit_code> run(const std::filesystem::path& journal_dir, output& out) override {
    if (action_ == "print" && sources_.empty())
      sources_.push_back(journal_dir.string());
    const std::size_t expected = action_ == "print" ? 1 : 2;
    if (sources_.size() != expected) {
      complain(expected == 1 ? "schema print takes one source"
                             : "schema diff takes two sources, OLD and NEW");
      return exit_code::bad_usage;
    }
    std::vector<loaded_contract> loaded;
    for (const auto& source : sources_) {
      auto one = load_contract(source);
      if (!one && action_ == "print")
        return one.error();
      if (!one) { // 1 says something else here
        complain(one.error().message());
        return exit_code::bad_usage;
      }
      loaded.push_back(std::move(*one));
    }
    return action_ == "print" ? print(loaded[0], out) : diff(loaded[0], loaded[1], out);
  }

  static exit_code print(const loaded_contract& source, output& out) {
    for (const auto& line : print_contract(source.types))
      out.line(line);
    return exit_code::done;
  }

  static exit_code diff(const loaded_contract& before, const loaded_contract& after, output& out) {
    const auto findings = compare(before.types, after.types);
    for (const auto& finding : findings)
      out.line(to_text(finding));
    return std::ranges::count(findings, verdict::incompatible, &schema_finding::what) == 0
               ? exit_code::done
               : exit_code::found_wrong;
  }

  std::string action_;
  std::vector<std::string> sources_;
};

const registered_verb<schema> registration{"schema",
                                           "Prints the event types, or compares those of two builds"};

} // namespace

} // namespace eventcore::cli
