#include <eventcore/runtime/cli/verb.hpp>
#include <eventcore/runtime/federation_rules.hpp>

#include <algorithm>
#include <cctype>

namespace eventcore::cli {

namespace {

std::string joined(const std::vector<std::string>& names, const char* between) {
  std::string text;
  for (const auto& name : names)
    text.append(text.empty() ? "" : between).append(name);
  return text;
}

/// What is wrong with it; empty: nothing.
std::string check_type_name(const std::string& name) {
  const auto belongs = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '.'; };
  if (!name.empty() && std::ranges::all_of(name, belongs))
    return {};
  return "'" + name + "' is no event type; expected a full name such as shop.OrderCreated";
}

class federation final : public verb {
  void declare(CLI::App& app) override {
    app.add_option("ACTION", action_, "check")->required()->check(CLI::IsMember({"check"}));
    app.add_option("RULES", file_, "The file with the rules, JSON")->required();
    auto* event =
        app.add_option("--event", event_, "Say where an event of this type goes, and by which rules")
            ->type_name("TYPE")
            ->check(check_type_name);
    auto* from = app.add_option("--from", from_, "The service that publishes it")->type_name("SERVICE");
    event->needs(from);
    from->needs(event);
    app.add_option("--service", services_,
                   "A service that there is; again for each. Without it, any name\nmay be source and target")
        ->type_name("NAME");
    app.add_option("--transformation", transformations_,
                   "A transformation that the program registers besides the built-in\nones; again for each")
        ->type_name("NAME");
    app.footer(
        "Examples:\n"
        "  eventcore federation check rules.json\n"
        "  eventcore federation check rules.json --service orders --service analytics\n"
        "  eventcore federation check rules.json --event shop.OrderCreated --from orders\n"
        "\n"
        "Exit codes: 0 the rules are good, 1 something is wrong with them, 2 bad usage, which is also\n"
        "a file that cannot be read.");
  }

  result<exit_code> run(const std::filesystem::path&, output& out) override {
    auto known_transformations = eventcore::transformations{}.names();
    known_transformations.insert(known_transformations.end(), transformations_.begin(),
                                 transformations_.end());
    federation_names known;
    known.transformations.emplace(known_transformations.begin(), known_transformations.end());
    if (!services_.empty()) {
      known.services.emplace(services_.begin(), services_.end());
      known.targets = known.services;
    }
    const auto rules = federation_rules::read(file_, known);
    if (!rules && rules.error().code() == federation_errc::cannot_read_rules) {
      complain(rules.error().message());
      return exit_code::bad_usage;
    }
    if (!rules)
      return rules.error();
    if (event_.empty())
      print(*rules, out);
    else
      explain(*rules, out);
    return exit_code::done;
  }

  static void print(const federation_rules& rules, output& out) {
    for (std::size_t place = 0; place < rules.all().size(); ++place) {
      const auto& rule = rules.all()[place];
      out.line(rules.describe(place) + ": " + rule.event + " of " + rule.source + " to " +
               joined(rule.targets, ", ") +
               (rule.transformation.empty() ? ", unchanged" : ", by " + rule.transformation));
    }
  }

  void explain(const federation_rules& rules, output& out) {
    const auto routes = rules.routes(from_, event_);
    if (routes.empty())
      out.line(event_ + " of " + from_ + " goes nowhere: no rule takes it");
    for (const auto& route : routes) {
      std::vector<std::string> by;
      for (const auto place : route.rules)
        by.push_back(rules.describe(place));
      out.line(event_ + " of " + from_ + " goes to " + route.target + " by " + joined(by, ", ") + ": " +
               (route.transformations.empty() ? "unchanged" : joined(route.transformations, ", then ")));
    }
  }

  std::string action_;
  std::string file_;
  std::string event_;
  std::string from_;
  std::vector<std::string> services_;
  std::vector<std::string> transformations_;
};

const registered_verb<federation> registration{"federation",
                                               "Checks federation rules, and says where events go by them"};

} // namespace

} // namespace eventcore::cli
