#include "support/journal_helpers.hpp"
#include "support/program.hpp"

#include <eventcore/runtime/federation_rules.hpp>

#include <nlohmann/json.hpp>
#include <rapidcheck.h>

#include <algorithm>
#include <fstream>

namespace eventcore {

inline std::ostream& operator<<(std::ostream& out, federation_errc e) {
  return out << make_error_code(e).message();
}

namespace test {

namespace {

using strings = std::vector<std::string>;

const federation_names all_known{std::set<std::string>{"orders", "users", "analytics", "billing"},
                                 std::set<std::string>{"orders", "users", "analytics", "billing"},
                                 std::set<std::string>{"anonymize_pii", "user_to_customer"}};

/// A file with these rules between the brackets.
std::string file_of(const std::string& rules) {
  return R"({"rules": [)" + rules + "]}";
}

const std::string good_rule =
    R"({"name": "a", "source": "orders", "event": "shop.Order*", "targets": ["analytics"], "transformation": "anonymize_pii"})";

/// What is wrong with the rules, as one text.
std::string refused(const std::string& text, federation_errc code = federation_errc::invalid_rules) {
  const auto parsed = federation_rules::parse(text, all_known);
  BOOST_REQUIRE_MESSAGE(!parsed, "accepted: " << text);
  BOOST_TEST((parsed.error().code() == code), parsed.error().message());
  return parsed.error().message();
}

void check_refused(const std::string& text, const strings& parts,
                   federation_errc code = federation_errc::invalid_rules) {
  const auto message = refused(text, code);
  for (const auto& part : parts)
    check_contains(message, part);
}

/// A good rule with some fields replaced, or removed where the replacement is empty.
std::string changed(const std::vector<std::pair<std::string, std::string>>& changes) {
  auto rule = nlohmann::ordered_json::parse(good_rule);
  for (const auto& [field, value] : changes)
    if (value.empty())
      rule.erase(field);
    else
      rule[field] = nlohmann::ordered_json::parse(value);
  return rule.dump();
}

class rules_file {
public:
  explicit rules_file(const std::string& text) { std::ofstream{path(), std::ios::binary} << text; }
  std::string path() const { return dir_.path() / "rules.json"; }

private:
  temp_dir dir_;
};

} // namespace

BOOST_AUTO_TEST_CASE(good_rules_are_read) {
  const auto rules = must(federation_rules::parse(
      file_of(good_rule + R"(, {"source": "users", "event": "*", "targets": ["analytics", "billing"]})"),
      all_known));
  BOOST_TEST_REQUIRE(rules.all().size() == 2u);
  const auto& first = rules.all()[0];
  BOOST_TEST(first.name == "a");
  BOOST_TEST(first.source == "orders");
  BOOST_TEST(first.event == "shop.Order*");
  BOOST_TEST((first.targets == strings{"analytics"}));
  BOOST_TEST(first.transformation == "anonymize_pii");
  BOOST_TEST(rules.describe(0) == "rule 1 (a)");
  BOOST_TEST(rules.describe(1) == "rule 2");
  BOOST_TEST(rules.all()[1].transformation.empty());
  BOOST_TEST((rules.all()[1].targets == strings{"analytics", "billing"}));

  // Names that are not known here are not checked.
  must_pass(
      federation_rules::parse(file_of(changed({{"targets", R"(["x"])"}, {"transformation", R"("y")"}}))));
}

/// spec 27
BOOST_AUTO_TEST_CASE(what_is_wrong_is_said_by_rule_and_field) {
  check_refused("", {"the rules are empty", "expected {\"rules\""});
  check_refused(" \n\t", {"the rules are empty"});
  check_refused("\xff{}", {"not UTF-8", "byte 1"});
  check_refused(file_of("\"\xc3\x28\""), {"not UTF-8", "byte 13"});
  check_refused("{", {"no JSON", "line 1"});
  check_refused(file_of(good_rule) + "x", {"no JSON"});
  check_refused("[]", {"the rules are array", "expected"});
  check_refused("{}", {"field rules", "missing"});
  check_refused(R"({"rules": {}})", {"field rules", "object instead of a list"});
  check_refused(file_of(""), {"there is no rule"});
  check_refused(R"({"rules": [)" + good_rule + R"(], "version": 1})", {"field 'version'", "unknown"});
  check_refused(std::string(federation_rules::max_file_size, ' ') + file_of(good_rule), {"1048576 allowed"});

  check_refused(file_of("7"), {"rule 1", "number instead of an object"});
  check_refused(file_of(changed({{"to", R"("x")"}})),
                {"rule 1 (a), field 'to'", "unknown", "name, source, event, targets and transformation"});
  check_refused(file_of(R"({"source": "orders", "source": "users", "event": "*", "targets": ["analytics"]})"),
                {"rule 1, field 'source'", "there twice"});
  check_refused(R"({"rules": [], "rules": [)" + good_rule + "]}", {"field 'rules'", "there twice"});

  for (const auto* field : {"source", "event", "targets"}) {
    check_refused(file_of(changed({{field, ""}})), {"rule 1 (a), field " + std::string{field}, "missing"});
    check_refused(file_of(changed({{field, "7"}})), {"rule 1 (a), field " + std::string{field}, "number"});
  }
  check_refused(file_of(changed({{"name", "null"}})), {"rule 1, field name", "null instead of a string"});
  check_refused(file_of(changed({{"source", R"("")"}})), {"rule 1 (a), field source", "empty"});
  check_refused(file_of(changed({{"transformation", R"("")"}})), {"field transformation", "leave it out"});
  check_refused(file_of(changed({{"targets", "[]"}})), {"field targets", "empty", "list of services"});
  check_refused(file_of(changed({{"targets", R"([""])"}})), {"field targets", "empty name"});
  check_refused(file_of(changed({{"targets", R"([1])"}})), {"field targets", "number"});
  check_refused(file_of(changed({{"targets", R"(["analytics", "analytics"])"}})),
                {"field targets", "'analytics' is there twice"});
  check_refused(file_of(changed({{"targets", R"(["orders"])"}})),
                {"field targets", "'orders' is the source"});
  check_refused(file_of(changed({{"name", R"("a\u0007")"}})), {"field name", "control characters"});

  for (const auto* pattern : {"**", "*x", "shop.*Created", "shop.Order?", "shop..Order", ".shop", "shop.",
                              "7shop", "shop.7", "shop Order", "shop.Ord\u00e9r", "shop.[A]", "shop/x"})
    check_refused(file_of(changed({{"event", nlohmann::json(pattern).dump()}})),
                  {"rule 1 (a), field event", "is no pattern", "allowed are *"});
  for (const auto* pattern : {"*", "s*", "shop.*", "shop.Order", "shop.Order*", "_x.y2.Z_3", "Order"})
    must_pass(
        federation_rules::parse(file_of(changed({{"event", nlohmann::json(pattern).dump()}})), all_known));
}

/// spec 27, 30
BOOST_AUTO_TEST_CASE(unknown_names_have_codes_of_their_own) {
  check_refused(file_of(changed({{"targets", R"(["shipping"])"}})),
                {"rule 1 (a), field targets", "'shipping' is no target", "'analytics', 'billing'"},
                federation_errc::unknown_target);
  check_refused(file_of(changed({{"source", R"("shipping")"}})),
                {"rule 1 (a), field source", "'shipping' is no service", "'users'"},
                federation_errc::unknown_source);
  check_refused(file_of(changed({{"transformation", R"("anonymise")"}})),
                {"rule 1 (a), field transformation", "unknown transformation 'anonymise'", "'anonymize_pii'"},
                federation_errc::unknown_transformation);
}

BOOST_AUTO_TEST_CASE(rules_are_checked_as_a_whole) {
  const auto message =
      refused(file_of(changed({{"event", R"("*x")"}}) + "," +
                      changed({{"name", R"("b")"}, {"targets", R"(["x"])"}, {"z", "1"}}) + ", 1"));
  check_contains(message, "4 things are wrong");
  check_contains(message, "\nrule 1 (a), field event");
  check_contains(message, "\nrule 2 (b), field targets");
  check_contains(message, "\nrule 2 (b), field 'z'");
  check_contains(message, "\nrule 3: ");

  check_refused(file_of(good_rule + "," + good_rule),
                {"rule 2 (a), field name", "another rule has it", "rule 2 (a), field targets",
                 "rule 1 (a) sends the same events to 'analytics'"});
  // An overlap is none.
  must_pass(federation_rules::parse(
      file_of(good_rule + "," + changed({{"name", ""}, {"transformation", ""}})), all_known));
}

BOOST_AUTO_TEST_CASE(rules_of_a_program_are_checked_alike) {
  federation_rule rule{"", "orders", "shop.*", {"analytics"}, "anonymize_pii"};
  must_pass(federation_rules::create({rule}, all_known));
  rule.event = "?";
  const auto wrong = federation_rules::create({rule}, all_known);
  BOOST_TEST_REQUIRE(!wrong);
  check_contains(wrong.error().message(), "rule 1, field event");
  const auto empty = federation_rules::create({federation_rule{}}, all_known);
  BOOST_TEST_REQUIRE(!empty);
  for (const auto* part :
       {"field source: it is empty", "field event: it is empty", "field targets: it is empty"})
    check_contains(empty.error().message(), part);
  BOOST_TEST(!federation_rules::create({}, all_known));
}

/// spec 28
BOOST_AUTO_TEST_CASE(an_event_goes_to_each_target_once_with_all_transformations) {
  const auto rules = must(federation_rules::create(
      {{"all", "orders", "*", {"analytics", "billing"}, ""},
       {"", "orders", "shop.User*", {"analytics"}, "user_to_customer"},
       {"", "users", "*", {"billing"}, ""},
       {"", "orders", "shop.UserCreated", {"users", "analytics"}, "anonymize_pii"}}));
  const auto routes = rules.routes("orders", "shop.UserCreated");
  BOOST_TEST_REQUIRE(routes.size() == 3u);
  BOOST_TEST(routes[0].target == "analytics");
  BOOST_TEST((routes[0].rules == std::vector<std::size_t>{0, 1, 3}));
  BOOST_TEST((routes[0].transformations == strings{"user_to_customer", "anonymize_pii"}));
  BOOST_TEST(routes[1].target == "billing");
  BOOST_TEST(routes[1].transformations.empty());
  BOOST_TEST(routes[2].target == "users");
  BOOST_TEST((routes[2].transformations == strings{"anonymize_pii"}));
  BOOST_TEST(rules.routes("billing", "shop.UserCreated").empty());
  BOOST_TEST(rules.routes("orders", "shop.Use").size() == 2u);
}

/// Against a plain model: every rule that takes the event has its say, in order, and no other.
BOOST_AUTO_TEST_CASE(routes_follow_the_rules) {
  const auto service = rc::gen::element<std::string>("a", "b", "c", "d");
  const auto pattern = rc::gen::element<std::string>("*", "s.A", "s.A*", "s.Ab", "s.*", "t.*", "s.Abc");
  const auto type = rc::gen::element<std::string>("s.A", "s.Ab", "s.Abc", "t.A", "u.A");
  const auto transformation = rc::gen::element<std::string>("", "x", "y", "z");
  BOOST_TEST(rc::check("routes follow the rules", [&] {
    std::vector<federation_rule> all;
    for (auto n = *rc::gen::inRange(1, 8); n > 0; --n) {
      federation_rule rule{"", *service, *pattern, {}, *transformation};
      for (const auto* target : {"a", "b", "c", "d"})
        if (target != rule.source && *rc::gen::arbitrary<bool>())
          rule.targets.push_back(target);
      if (!rule.targets.empty())
        all.push_back(rule);
    }
    RC_PRE(!all.empty());
    const auto rules = federation_rules::create(all);
    RC_PRE(rules.has_value()); // the same twice
    const auto source = *service;
    const auto event = *type;
    std::map<std::string, std::pair<std::vector<std::size_t>, strings>> expected;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto& p = all[i].event;
      const bool matches =
          p == event || (p.back() == '*' && event.compare(0, p.size() - 1, p, 0, p.size() - 1) == 0);
      for (const auto& target : all[i].targets)
        if (matches && all[i].source == source) {
          expected[target].first.push_back(i);
          if (!all[i].transformation.empty())
            expected[target].second.push_back(all[i].transformation);
        }
    }
    const auto routes = rules->routes(source, event);
    RC_ASSERT(routes.size() == expected.size());
    for (const auto& route : routes) {
      RC_ASSERT(route.rules == expected.at(route.target).first);
      RC_ASSERT(route.transformations == expected.at(route.target).second);
    }
  }));
}

/// Whatever stands in a file: it is accepted, and then all of it makes sense, or it is refused in words.
BOOST_AUTO_TEST_CASE(any_file_does_no_harm) {
  const auto sound = [](const std::string& text) {
    const auto rules = federation_rules::parse(text, all_known);
    if (!rules) {
      RC_ASSERT(!rules.error().message().empty());
      RC_ASSERT(std::ranges::none_of(rules.error().message(),
                                     [](unsigned char c) { return c < 0x20 && c != '\n'; }));
      return;
    }
    RC_ASSERT(!rules->all().empty());
    std::vector<federation_rule> again{rules->all()};
    RC_ASSERT(federation_rules::create(again, all_known).has_value());
  };
  BOOST_TEST(rc::check("any bytes", [&](const std::string& bytes) { sound(bytes); }));

  // Pieces that belong in such a file, in any order.
  const auto piece = rc::gen::element<std::string>(
      "{", "}", "[", "]", ",", ":", "\"rules\"", "\"source\"", "\"event\"", "\"targets\"", "\"orders\"",
      "\"*\"", "\"analytics\"", "\"name\"", "null", "1e999", "\"\\u0000\"", "\"\\ud800\"", "{\"rules\":[",
      "]}", good_rule, "\xc3");
  BOOST_TEST(rc::check("any pieces", [&] {
    std::string text;
    for (const auto& p : *rc::gen::container<strings>(piece))
      text += p;
    sound(text);
  }));

  // A good file with some bytes changed, removed or doubled.
  BOOST_TEST(rc::check("damaged files", [&] {
    auto text = file_of(good_rule + "," + changed({{"name", ""}, {"event", R"("*")"}}));
    for (auto n = *rc::gen::inRange(1, 4); n > 0; --n) {
      const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
      switch (*rc::gen::inRange(0, 3)) {
      case 0:
        text[at] = *rc::gen::arbitrary<char>();
        break;
      case 1:
        text.erase(at, *rc::gen::inRange<std::size_t>(1, 20));
        break;
      case 2:
        text.insert(at, text.substr(at, *rc::gen::inRange<std::size_t>(1, 40)));
        break;
      }
      RC_PRE(!text.empty());
    }
    sound(text);
  }));

  sound(std::string(500'000, '['));
  sound(file_of(std::string(500'000, '[')));
  std::string deep;
  for (int i = 0; i < 100'000; ++i)
    deep += "{\"a\":";
  sound(file_of(deep + "1" + std::string(100'000, '}')));
}

// -- eventcore federation check

BOOST_AUTO_TEST_CASE(the_tool_lists_good_rules) {
  const rules_file file{
      file_of(good_rule + R"(, {"source": "users", "event": "*", "targets": ["analytics", "billing"]})")};
  const auto run = run_program("eventcore", {"federation", "check", file.path()});
  BOOST_TEST(run.exit_code == 0);
  BOOST_TEST(run.out == "rule 1 (a): shop.Order* of orders to analytics, by anonymize_pii\n"
                        "rule 2: * of users to analytics, billing, unchanged\n");
  BOOST_TEST(run.err.empty());
}

BOOST_AUTO_TEST_CASE(the_tool_explains_where_an_event_goes) {
  const rules_file file{file_of(
      good_rule +
      R"(, {"source": "orders", "event": "*", "targets": ["billing", "analytics"], "transformation": "mine"})")};
  const auto ask = [&](const std::string& type) {
    return run_program("eventcore", {"federation", "check", file.path(), "--event", type, "--from", "orders",
                                     "--transformation", "mine"});
  };
  BOOST_TEST(ask("shop.OrderCreated").out ==
             "shop.OrderCreated of orders goes to analytics by rule 1 (a), rule 2: anonymize_pii, then mine\n"
             "shop.OrderCreated of orders goes to billing by rule 2: mine\n");
  const auto none = run_program("eventcore", {"federation", "check", file.path(), "--event", "x.Y", "--from",
                                              "users", "--transformation", "mine"});
  BOOST_TEST(none.exit_code == 0);
  BOOST_TEST(none.out == "x.Y of users goes nowhere: no rule takes it\n");
}

BOOST_AUTO_TEST_CASE(the_tool_refuses_bad_rules_and_bad_usage) {
  const rules_file file{file_of(good_rule)};
  const rules_file bad{file_of(changed({{"event", R"("*x")"}, {"transformation", R"("y")"}}))};
  auto run = run_program("eventcore", {"federation", "check", bad.path()});
  BOOST_TEST(run.exit_code == 1);
  BOOST_TEST(run.complained(bad.path()));
  BOOST_TEST(run.complained("rule 1 (a), field event"));
  BOOST_TEST(run.complained("unknown transformation 'y'"));

  run = run_program("eventcore",
                    {"federation", "check", file.path(), "--service", "orders", "--service", "users"});
  BOOST_TEST(run.exit_code == 1);
  BOOST_TEST(run.complained("'analytics' is no target"));

  run = run_program("eventcore", {"federation", "check", file.path() + ".missing"});
  BOOST_TEST(run.exit_code == 2);
  BOOST_TEST(run.complained("No such file"));
  BOOST_TEST(run_program("eventcore", {"federation", "check", "/"}).exit_code == 2);
  BOOST_TEST(run_program("eventcore", {"federation", "check"}).exit_code == 2);
  BOOST_TEST(run_program("eventcore", {"federation", "chekc", file.path()}).exit_code == 2);
  BOOST_TEST(run_program("eventcore", {"federation", "check", file.path(), "--event", "x.Y"}).exit_code == 2);
  for (const auto* no_type : {"shop.Order*", "", "shop Order"}) {
    run = run_program("eventcore",
                      {"federation", "check", file.path(), "--event", no_type, "--from", "orders"});
    BOOST_TEST(run.exit_code == 2, no_type);
    BOOST_TEST(run.complained("is no event type"), run.err);
  }
}

} // namespace test
} // namespace eventcore
