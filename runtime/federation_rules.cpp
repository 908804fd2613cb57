#include <eventcore/runtime/federation_rules.hpp>

#include <eventcore/persistence/internal/utf8.hpp>
#include <eventcore/persistence/stream_id.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <initializer_list>

namespace eventcore {

namespace {

using nlohmann::json;

constexpr auto file_form = R"(expected {"rules": [{"source": ..., "event": ..., "targets": [...]}, ...]})";
constexpr auto pattern_form =
    "allowed are * for all events, a full type name such as shop.OrderCreated, and a prefix "
    "followed by * such as shop.Order*";

constexpr std::size_t max_id_size = 128;

std::string name_of(std::size_t place, const std::string& name) {
  return "rule " + std::to_string(place + 1) + (name.empty() ? "" : " (" + name + ")");
}

/// Collects all that is wrong, and says it in the order of the rules.
class complaints {
public:
  /// `place`: of the rule, from 1; 0: the file.
  void add(std::size_t place, federation_errc code, std::string what) {
    all_.emplace_back(place, make_error(code, std::move(what)));
  }
  void add(std::string what) { add(0, federation_errc::invalid_rules, std::move(what)); }
  bool empty() const noexcept { return all_.empty(); }

  /// There is one at least.
  error take() {
    if (all_.size() == 1)
      return std::move(all_.front().second);
    std::ranges::stable_sort(all_, {}, [](const auto& one) { return one.first; });
    std::string text = std::to_string(all_.size()) + " things are wrong in the federation rules:";
    for (const auto& [place, one] : all_)
      text.append("\n").append(one.message());
    return make_error(federation_errc::invalid_rules, std::move(text));
  }

private:
  std::vector<std::pair<std::size_t, error>> all_;
};

template <class Names>
std::string list(const Names& names) {
  std::string text;
  for (const std::string& name : names)
    text.append(text.empty() ? "" : ", ").append(internal::quoted(name));
  return text.empty() ? "none" : text;
}

// -- reading --

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

/// Finds fields that an object has twice, of which the parser would keep the last in silence.
class repeated_fields {
public:
  explicit repeated_fields(complaints& wrong)
      : wrong_{wrong} {}

  bool operator()(int depth, json::parse_event_t event, const json& parsed) {
    constexpr int rules_depth = 2;
    if (event == json::parse_event_t::object_start) {
      open_.emplace_back();
      rule_ += depth == rules_depth ? 1 : 0;
    } else if (event == json::parse_event_t::object_end) {
      open_.pop_back();
    } else if (event == json::parse_event_t::key) {
      auto key = parsed.get<std::string>();
      if (!open_.back().insert(key).second)
        wrong_.add(depth > rules_depth ? rule_ : 0, federation_errc::invalid_rules,
                   (depth > rules_depth ? name_of(rule_ - 1, {}) + ", field " : "field ") +
                       internal::quoted(key) + ": it is there twice; leave one");
    }
    return true;
  }

private:
  complaints& wrong_;
  std::vector<std::set<std::string>> open_;
  std::size_t rule_ = 0;
};

/// One rule, as far as it can be read.
class rule_reader {
public:
  rule_reader(const json& from, std::size_t place, complaints& wrong)
      : from_{from}
      , place_{place}
      , wrong_{wrong} {}

  federation_rule read() {
    if (!from_.is_object()) {
      wrong_.add(place_ + 1, federation_errc::invalid_rules,
                 name_of(place_, {}) + ": it is " + from_.type_name() +
                     R"( instead of an object such as {"source": ..., "event": ..., "targets": [...]})");
      return {};
    }
    federation_rule rule;
    if (from_.contains("name"))
      rule_name_ = rule.name = text("name", false);
    for (const auto& [field, value] : from_.items())
      if (!is_one_of(field, {"name", "source", "event", "targets", "transformation"}))
        complain(internal::quoted(field),
                 "it is unknown; allowed are name, source, event, targets and transformation");
    rule.source = text("source", true);
    rule.event = text("event", true);
    rule.targets = targets();
    rule.transformation = text("transformation", false);
    return rule;
  }

private:
  void complain(const std::string& field, const std::string& what) {
    wrong_.add(place_ + 1, federation_errc::invalid_rules,
               name_of(place_, rule_name_) + ", field " + field + ": " + what);
  }

  /// Empty if the field is missing or wrong.
  std::string text(const char* field, bool needed) {
    const auto found = from_.find(field);
    if (found == from_.end()) {
      if (needed)
        complain(field, "it is missing; every rule has source, event and targets");
      return {};
    }
    if (!found->is_string()) {
      complain(field, std::string{"it is "} + found->type_name() + " instead of a string");
      return {};
    }
    auto value = found->get<std::string>();
    if (value.empty())
      complain(field, needed ? "it is empty" : "it is empty; leave it out instead");
    return value;
  }

  std::vector<std::string> targets() {
    const auto found = from_.find("targets");
    if (found == from_.end()) {
      complain("targets", "it is missing; every rule has source, event and targets");
      return {};
    }
    if (!found->is_array() || found->empty()) {
      complain("targets", (found->is_array() ? "it is empty" : std::string{"it is "} + found->type_name()) +
                              "; expected a list of services, such as [\"analytics\"]");
      return {};
    }
    std::vector<std::string> names;
    for (const auto& target : *found)
      if (target.is_string() && !target.get_ref<const std::string&>().empty())
        names.push_back(target);
      else
        complain("targets", (target.is_string() ? "it holds an empty name"
                                                : std::string{"it holds "} + target.type_name()) +
                                "; expected the names of services");
    return names;
  }

  const json& from_;
  std::size_t place_;
  complaints& wrong_;
  std::string rule_name_;
};

std::vector<federation_rule> read_rules(std::string_view text, complaints& wrong) {
  if (text.size() > federation_rules::max_file_size) {
    wrong.add("the rules have " + std::to_string(text.size()) + " bytes of " +
              std::to_string(federation_rules::max_file_size) + " allowed");
    return {};
  }
  for (std::size_t at = 0; at < text.size();) {
    const auto size = internal::first_utf8_char(text.substr(at)).size;
    if (size == 0) {
      wrong.add("the rules are not UTF-8: byte " + std::to_string(at + 1) + " is not well-formed");
      return {};
    }
    at += size;
  }
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    wrong.add(std::string{"the rules are empty; "} + file_form);
    return {};
  }
  json whole;
  try {
    whole = json::parse(text, repeated_fields{wrong});
  } catch (const json::exception& e) {
    const std::string_view what = e.what();
    wrong.add("the rules are no JSON: " + std::string{what.substr(what.find("] ") + 2)});
    return {};
  }
  if (!whole.is_object() || !whole.contains("rules") || !whole["rules"].is_array()) {
    wrong.add(!whole.is_object() ? std::string{"the rules are "} + whole.type_name() + "; " + file_form
              : !whole.contains("rules") ? std::string{"field rules: it is missing; "} + file_form
                                         : std::string{"field rules: it is "} + whole["rules"].type_name() +
                                               " instead of a list; " + file_form);
    return {};
  }
  for (const auto& [field, value] : whole.items())
    if (field != "rules")
      wrong.add("field " + internal::quoted(field) + ": it is unknown; " + file_form);
  std::vector<federation_rule> rules;
  for (const auto& rule : whole["rules"])
    rules.push_back(rule_reader{rule, rules.size(), wrong}.read());
  return rules;
}

// -- checking --

/// A full type name, or the beginning of one.
bool is_type_name(std::string_view text, bool whole) {
  bool at_start = true;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    const bool digit = c >= '0' && c <= '9';
    if (!letter && (at_start || (!digit && c != '.')))
      return false;
    at_start = c == '.';
  }
  return !text.empty() && !(whole && at_start);
}

bool is_pattern(std::string_view text) {
  if (text == "*")
    return true;
  const bool prefix = text.ends_with('*');
  return is_type_name(prefix ? text.substr(0, text.size() - 1) : text, !prefix);
}

class rule_checker {
public:
  rule_checker(const std::vector<federation_rule>& rules, const federation_names& known, complaints& wrong)
      : rules_{rules}
      , known_{known}
      , wrong_{wrong} {}

  void check() {
    if (rules_.empty())
      wrong_.add(std::string{"field rules: there is no rule; "} + file_form);
    for (place_ = 0; place_ < rules_.size(); ++place_) {
      const auto& rule = rules_[place_];
      check_name(rule);
      check_source(rule);
      if (!rule.event.empty() && !is_pattern(rule.event))
        complain("event", internal::quoted(rule.event) + " is no pattern; " + pattern_form);
      check_targets(rule);
      check_transformation(rule);
      check_repetition(rule);
    }
  }

private:
  void complain(const char* field, const std::string& what,
                federation_errc code = federation_errc::invalid_rules) {
    wrong_.add(place_ + 1, code, name_of(place_, rules_[place_].name) + ", field " + field + ": " + what);
  }

  void check_name(const federation_rule& rule) {
    if (!rule.name.empty() && !names_.insert(rule.name).second)
      complain("name", "another rule has it already; names differ");
    for (std::string_view rest = rule.name; !rest.empty();) {
      const auto c = internal::first_utf8_char(rest);
      if (c.size == 0 || c.is_control())
        return complain("name", internal::quoted(rule.name) + " holds control characters, or is not UTF-8");
      rest.remove_prefix(c.size);
    }
  }

  /// Ids stand in the names of cursors and subscriptions.
  void check_id(const char* field, const std::string& id) {
    if (const auto valid = stream_id::parse(id); !valid || id.size() > max_id_size)
      complain(field, internal::quoted(id) + " is no service id: it has 1 to " + std::to_string(max_id_size) +
                          " bytes of UTF-8, no control characters and none of * ? [ ]");
  }

  void check_source(const federation_rule& rule) {
    if (!rule.source.empty())
      check_id("source", rule.source);
    if (known_.services && !rule.source.empty() && !known_.services->contains(rule.source))
      complain("source",
               internal::quoted(rule.source) + " is no service; there are: " + list(*known_.services),
               federation_errc::unknown_source);
  }

  void check_targets(const federation_rule& rule) {
    std::set<std::string> seen;
    for (const auto& target : rule.targets) {
      check_id("targets", target);
      if (!seen.insert(target).second)
        complain("targets", internal::quoted(target) + " is there twice; leave one");
      if (target == rule.source)
        complain("targets",
                 internal::quoted(target) + " is the source; a service has its own events already");
      else if (known_.targets && !known_.targets->contains(target))
        complain("targets", internal::quoted(target) + " is no target; there are: " + list(*known_.targets),
                 federation_errc::unknown_target);
    }
  }

  void check_transformation(const federation_rule& rule) {
    const auto& name = rule.transformation;
    if (!name.empty() && known_.transformations && !known_.transformations->contains(name))
      complain("transformation",
               "unknown transformation " + internal::quoted(name) +
                   "; registered are: " + list(*known_.transformations),
               federation_errc::unknown_transformation);
  }

  /// Twice the same would transform twice.
  void check_repetition(const federation_rule& rule) {
    for (std::size_t other = 0; other < place_; ++other) {
      const auto& before = rules_[other];
      if (rule.source != before.source || rule.event != before.event ||
          rule.transformation != before.transformation)
        continue;
      for (const auto& target : rule.targets)
        if (std::ranges::find(before.targets, target) != before.targets.end())
          return complain("targets", name_of(other, before.name) + " sends the same events to " +
                                         internal::quoted(target) + " in the same way already; leave one");
    }
  }

  const std::vector<federation_rule>& rules_;
  const federation_names& known_;
  complaints& wrong_;
  std::size_t place_ = 0;
  std::set<std::string> names_;
};

} // namespace

bool federation_rule::takes(std::string_view service, std::string_view event_type) const {
  if (service != source)
    return false;
  return event.ends_with('*') ? event_type.starts_with(std::string_view{event}.substr(0, event.size() - 1))
                              : event_type == event;
}

result<federation_rules> federation_rules::parse(std::string_view json, const federation_names& known) {
  complaints wrong;
  auto rules = read_rules(json, wrong);
  if (!rules.empty() || wrong.empty())
    rule_checker{rules, known, wrong}.check();
  if (!wrong.empty())
    return wrong.take();
  return federation_rules{std::move(rules)};
}

result<federation_rules> federation_rules::read(const std::filesystem::path& file,
                                                const federation_names& known) {
  errno = 0;
  std::ifstream in{file, std::ios::binary};
  // One byte more than allowed tells that it is too large.
  std::string text(max_file_size + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (!in.is_open() || in.bad() || errno != 0)
    return make_error(federation_errc::cannot_read_rules,
                      file.string() + ": cannot be read: " + std::strerror(errno));
  auto rules = parse(text, known);
  if (!rules)
    return error{rules.error().code(), file.string() + ": " + rules.error().message()};
  return rules;
}

result<federation_rules> federation_rules::create(std::vector<federation_rule> rules,
                                                  const federation_names& known) {
  complaints wrong;
  for (std::size_t place = 0; place < rules.size(); ++place) {
    const auto& rule = rules[place];
    for (const auto& [field, empty] : {std::pair{"source", rule.source.empty()},
                                       {"event", rule.event.empty()},
                                       {"targets", rule.targets.empty()}})
      if (empty)
        wrong.add(place + 1, federation_errc::invalid_rules,
                  name_of(place, rule.name) + ", field " + field + ": it is empty");
  }
  rule_checker{rules, known, wrong}.check();
  if (!wrong.empty())
    return wrong.take();
  return federation_rules{std::move(rules)};
}

std::vector<federation_route> federation_rules::routes(std::string_view source,
                                                       std::string_view event_type) const {
  std::vector<federation_route> routes;
  for (std::size_t place = 0; place < rules_.size(); ++place) {
    const auto& rule = rules_[place];
    if (!rule.takes(source, event_type))
      continue;
    for (const auto& target : rule.targets) {
      auto route = std::ranges::find(routes, target, &federation_route::target);
      if (route == routes.end())
        route = routes.insert(route, {target, {}, {}});
      route->rules.push_back(place);
      if (!rule.transformation.empty())
        route->transformations.push_back(rule.transformation);
    }
  }
  return routes;
}

std::string federation_rules::describe(std::size_t rule) const {
  return name_of(rule, rules_.at(rule).name);
}

} // namespace eventcore
