// The options of options.proto, the comparison of contracts, and the tool's verb for both.

#include <support/journal_helpers.hpp>
#include <support/program.hpp>
#include <support/temp_dir.hpp>

#include <eventcore/persistence/lmdb_journal.hpp>
#include <eventcore/persistence/schema.hpp>
#include <eventcore/runtime/cli/schema_diff.hpp>

#include "schema.pb.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

using namespace eventcore;
using namespace eventcore::test;

namespace {

namespace pb = google::protobuf;

std::string content_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream{file, std::ios::binary}.rdbuf();
  return std::move(text).str();
}

/// What a .proto file compiles to, in a pool of its own.
class compiled {
public:
  /// `body` is put behind syntax and package (test) and an import of options.proto.
  explicit compiled(const std::string& body, const std::string& syntax = "proto3") {
    const temp_dir dir;
    std::ofstream{dir.path() / "test.proto"}
        << "syntax = \"" << syntax << "\"; package test; import \"eventcore/persistence/options.proto\";\n"
        << body;
    const auto command = "'" EVENTCORE_PROTOC "' --include_imports -I '" + dir.path().string() +
                         "' -I '" EVENTCORE_PROTO_DIR "' -o '" + (dir.path() / "set.pb").string() +
                         "' test.proto 2>&1 | grep -v 'Import eventcore/persistence/options.proto is unused'";
    [[maybe_unused]] const int unmatched = std::system(command.c_str());
    BOOST_REQUIRE_MESSAGE(files_.ParseFromString(content_of(dir.path() / "set.pb")) && files_.file_size() > 0,
                          body);
    for (const auto& file : files_.file())
      BOOST_REQUIRE_MESSAGE(pool_.BuildFile(file) != nullptr, body);
  }

  const pb::Descriptor& type(const std::string& name) const {
    const auto* found = pool_.FindMessageTypeByName("test." + name);
    BOOST_REQUIRE(found != nullptr);
    return *found;
  }

  cli::contract contract() const {
    cli::contract types;
    const auto& file = *pool_.FindFileByName("test.proto");
    for (int i = 0; i < file.message_type_count(); ++i)
      types[file.message_type(i)->full_name()] = {file.message_type(i)};
    return types;
  }

  /// As `protoc --include_imports -o` writes it.
  std::filesystem::path write(const std::filesystem::path& to) const {
    std::ofstream out{to, std::ios::binary};
    BOOST_REQUIRE(files_.SerializeToOstream(&out));
    return to;
  }

  new_event event(const std::string& name) const { return {&type(name), "", 1}; }

private:
  pb::FileDescriptorSet files_;
  pb::DescriptorPool pool_;
};

using lines = std::vector<std::string>;

lines texts(const std::vector<cli::schema_finding>& findings) {
  lines all;
  for (const auto& finding : findings)
    all.push_back(to_text(finding));
  return all;
}

lines diff(const compiled& before, const compiled& after) {
  return texts(cli::compare(before.contract(), after.contract()));
}

/// The findings between two bodies of message M.
lines diff_of(const std::string& before, const std::string& after, const std::string& syntax = "proto3") {
  return diff(compiled{"message M {" + before + "}", syntax}, compiled{"message M {" + after + "}", syntax});
}

void check_same(const lines& found, const lines& expected) {
  BOOST_TEST(found == expected, boost::test_tools::per_element());
}

lines lines_of(const std::string& text) {
  lines all;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);)
    all.push_back(line);
  return all;
}

program_result schema(std::vector<std::string> args) {
  args.insert(args.begin(), "schema");
  return run_program("eventcore", args);
}

/// A journal that holds one event of each.
void write_journal(const std::filesystem::path& dir, const std::vector<new_event>& events) {
  auto journal = open_lmdb_journal(dir);
  BOOST_REQUIRE(journal);
  for (const auto& e : events)
    BOOST_REQUIRE((*journal)->commit_and_wait(append("stream-1", expected_version::any(), {e})));
}

const char* const deposited = "message Deposited { int64 cents = 1; }";

} // namespace

// -- options -----------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_linked_in_type_says_its_version_and_former_names) {
  const auto& plain = *schema_test::Plain::descriptor();
  BOOST_TEST(schema_version_of(plain) == 1u);
  BOOST_TEST(former_names_of(plain).empty());
  const auto& type = *schema_test::Deposited::descriptor();
  BOOST_TEST(schema_version_of(type) == 3u);
  check_same(former_names_of(type), {"schema_test.PaidIn", "schema_test.Paid"});
}

BOOST_AUTO_TEST_CASE(a_type_of_a_pool_of_its_own_says_them_too) {
  const compiled types{"message Plain {}\n"
                       "message Zero { option (eventcore.schema_version) = 0; }\n"
                       "message Now { option (eventcore.schema_version) = 4294967295;\n"
                       "  option (eventcore.formerly) = \"a.B\"; option (eventcore.formerly) = \"c.D\"; }"};
  BOOST_TEST(schema_version_of(types.type("Plain")) == 1u);
  BOOST_TEST(former_names_of(types.type("Plain")).empty());
  BOOST_TEST(schema_version_of(types.type("Zero")) == 1u);
  BOOST_TEST(schema_version_of(types.type("Now")) == 4'294'967'295u);
  check_same(former_names_of(types.type("Now")), {"a.B", "c.D"});
}

// -- comparing ---------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(equal_types_give_no_finding) {
  const auto body =
      "message M { M self = 1; map<string, N> by_name = 2; E e = 3; oneof o { int32 a = 4; string b = 5; }"
      "  reserved 7; } message N { repeated M all = 1; } enum E { X = 0; }";
  check_same(diff(compiled{body}, compiled{body}), {});
}

BOOST_AUTO_TEST_CASE(types_that_read_stored_values_alike_are_compatible) {
  for (const auto& [before, after] : std::vector<std::pair<std::string, std::string>>{
           {"int32", "int64"}, {"uint32", "uint64"}, {"sint32", "sint64"}, {"string", "bytes"}})
    check_same(diff_of(before + " f = 1;", after + " f = 1;"),
               {"compatible: test.M.f (field 1): type changed from " + before + " to " + after});
}

BOOST_AUTO_TEST_CASE(other_changes_of_type_are_not) {
  for (const auto& [before, after] : std::vector<std::pair<std::string, std::string>>{{"int64", "string"},
                                                                                      {"int64", "int32"},
                                                                                      {"int32", "uint32"},
                                                                                      {"int32", "sint32"},
                                                                                      {"int64", "fixed64"},
                                                                                      {"bytes", "string"},
                                                                                      {"bool", "int32"},
                                                                                      {"uint32", "bool"},
                                                                                      {"float", "double"},
                                                                                      {"M", "bytes"}}) {
    const auto name = [](const std::string& type) { return type == "M" ? "test.M" : type; };
    check_same(
        diff_of(before + " f = 1;", after + " f = 1;"),
        {"incompatible: test.M.f (field 1): type changed from " + name(before) + " to " + name(after)});
  }
  check_same(
      diff(compiled{"message M { E f = 1; } enum E { X = 0; }"}, compiled{"message M { int32 f = 1; }"}),
      {"incompatible: test.M.f (field 1): type changed from test.E to int32"});
}

BOOST_AUTO_TEST_CASE(a_field_must_stay_single_or_repeated) {
  check_same(diff_of("int32 f = 1;", "repeated int32 f = 1;"),
             {"incompatible: test.M.f (field 1): changed from singular to repeated"});
  check_same(diff_of("repeated string f = 1;", "string f = 1;"),
             {"incompatible: test.M.f (field 1): changed from repeated to singular"});
  check_same(diff_of("int32 f = 1;", "optional int32 f = 1;"), {});
}

BOOST_AUTO_TEST_CASE(a_field_is_removed_only_if_its_number_is_reserved) {
  check_same(diff_of("int32 a = 1; int32 f = 3;", "int32 a = 1;"),
             {"incompatible: test.M.f (field 3): removed; reserve number 3 so that nobody uses it again"});
  check_same(diff_of("int32 a = 1; int32 f = 3;", "int32 a = 1; reserved \"f\";"),
             {"incompatible: test.M.f (field 3): removed; reserve number 3 so that nobody uses it again"});
  check_same(diff_of("int32 a = 1; int32 f = 3;", "int32 a = 1; reserved 2 to 4;"),
             {"compatible: test.M.f (field 3): removed; its number is reserved"});
}

BOOST_AUTO_TEST_CASE(numbers_keep_their_meaning) {
  check_same(diff_of("int32 f = 1;", "int32 g = 1;"), {"compatible: test.M.f (field 1): renamed to g"});
  check_same(diff_of("int32 f = 1;", "string g = 1;"),
             {"incompatible: test.M.f (field 1): number reused: was int32 f, is string g"});
  check_same(
      diff_of("int32 f = 1;", "int32 f = 2;"),
      {"incompatible: test.M.f (field 1): renumbered from 1 to 2: what is stored is not found any more",
       "compatible: test.M.f (field 2): field added"});
  check_same(diff_of("int32 f = 1; int32 g = 2;", "int32 g = 1; int32 f = 2;"),
             {"incompatible: test.M.f (field 1): number now belongs to g, and f has number 2",
              "incompatible: test.M.g (field 2): number now belongs to f, and g has number 1"});
  check_same(diff_of("reserved 2;", "int32 f = 2;"),
             {"incompatible: test.M.f (field 2): added with a number that was reserved; take a new one"});
}

BOOST_AUTO_TEST_CASE(a_field_may_be_added_unless_it_is_required) {
  check_same(diff_of("", "int32 f = 1;"), {"compatible: test.M.f (field 1): field added"});
  check_same(diff_of("", "required int32 f = 1;", "proto2"),
             {"incompatible: test.M.f (field 1): required field added, which stored events lack"});
  check_same(diff_of("optional int32 f = 1;", "required int32 f = 1;", "proto2"),
             {"incompatible: test.M.f (field 1): made required, which stored events may lack"});
  check_same(diff_of("required int32 f = 1;", "optional int32 f = 1;", "proto2"),
             {"compatible: test.M.f (field 1): no longer required"});
}

BOOST_AUTO_TEST_CASE(fields_that_exclude_each_other_stay_the_same) {
  check_same(diff_of("oneof o { int32 a = 1; int32 b = 2; } int32 c = 3;",
                     "oneof o { int32 a = 1; int32 b = 2; int32 c = 3; }"),
             {"incompatible: test.M.c (field 3): moved into oneof o"});
  check_same(diff_of("oneof o { int32 a = 1; int32 b = 2; }", "oneof o { int32 a = 1; } int32 b = 2;"),
             {"incompatible: test.M.b (field 2): moved out of oneof o"});
  check_same(diff_of("int32 a = 1; int32 b = 2;", "oneof o { int32 a = 1; int32 b = 2; }"),
             {"incompatible: test.M.a (field 1): moved into oneof o",
              "incompatible: test.M.b (field 2): moved into oneof o"});
  check_same(
      diff_of("oneof o { int32 a = 1; int32 b = 2; }", "oneof o { int32 a = 1; } oneof p { int32 b = 2; }"),
      {"incompatible: test.M.b (field 2): moved into oneof p"});
  // Alone in a new one, a field excludes nothing that is stored; and a oneof may be renamed.
  check_same(diff_of("int32 a = 1;", "oneof o { int32 a = 1; }"), {});
  check_same(diff_of("oneof o { int32 a = 1; int32 b = 2; }", "oneof p { int32 a = 1; int32 b = 2; }"), {});
}

BOOST_AUTO_TEST_CASE(maps_are_compared_by_key_and_value) {
  check_same(diff_of("map<string, int32> m = 1;", "map<string, int64> m = 1;"),
             {"compatible: test.M.MEntry.value (field 2) in test.M: type changed from int32 to int64"});
  check_same(diff_of("map<string, int32> m = 1;", "map<string, string> m = 1;"),
             {"incompatible: test.M.MEntry.value (field 2) in test.M: type changed from int32 to string"});
  check_same(diff_of("map<string, int32> m = 1;", "map<string, int32> n = 1;"),
             {"compatible: test.M.m (field 1): renamed to n"});
  check_same(diff_of("map<string, int32> m = 1;", "string m = 1;"),
             {"incompatible: test.M.m (field 1): type changed from map<string, int32> to string",
              "incompatible: test.M.m (field 1): changed from repeated to singular"});
}

BOOST_AUTO_TEST_CASE(enum_values_keep_their_numbers) {
  const auto enums = [](const std::string& before, const std::string& after) {
    const std::string user = "message M { E e = 1; } enum E { ZERO = 0; ";
    return diff(compiled{user + before + "}"}, compiled{user + after + "}"});
  };
  check_same(enums("", "ONE = 1;"), {"compatible: test.E.ONE (value 1): value added"});
  check_same(enums("ONE = 1;", ""),
             {"incompatible: test.E.ONE (value 1): removed; reserve number 1 so that nobody uses it again"});
  check_same(enums("ONE = 1;", "reserved 1;"),
             {"compatible: test.E.ONE (value 1): removed; its number is reserved"});
  check_same(enums("ONE = 1;", "UNO = 1;"), {"compatible: test.E.ONE (value 1): renamed to UNO"});
  check_same(enums("ONE = 1;", "ONE = 2;"), {"incompatible: test.E.ONE (value 1): renumbered from 1 to 2",
                                             "compatible: test.E.ONE (value 2): value added"});
  check_same(enums("reserved 1;", "ONE = 1;"),
             {"incompatible: test.E.ONE (value 1): added with a number that was reserved; take a new one"});
}

BOOST_AUTO_TEST_CASE(another_enum_must_have_all_values_of_the_old_one) {
  const std::string first = " enum E { A = 0; B = 1; }";
  check_same(diff(compiled{"message M { E e = 1; }" + first},
                  compiled{"message M { F.E e = 1; } message F { enum E { A = 0; B = 1; C = 2; } }"}),
             {"compatible: test.M.e (field 1): type changed from test.E to test.F.E"});
  check_same(diff(compiled{"message M { E e = 1; }" + first},
                  compiled{"message M { F e = 1; } enum F { X = 0; Y = 1; }"}),
             {"incompatible: test.M.e (field 1): type changed from test.E to test.F"});
}

BOOST_AUTO_TEST_CASE(a_change_deep_inside_is_found_through_messages_that_refer_to_each_other) {
  const auto body = [](const std::string& type) {
    return "message A { B b = 1; } message B { A a = 1; repeated C c = 2; } message C { C next = 1; " + type +
           " f = 2; }";
  };
  check_same(diff(compiled{body("int64")}, compiled{body("string")}),
             {"incompatible: test.C.f (field 2) in test.A: type changed from int64 to string",
              "incompatible: test.C.f (field 2) in test.B: type changed from int64 to string",
              "incompatible: test.C.f (field 2): type changed from int64 to string"});
}

BOOST_AUTO_TEST_CASE(a_type_may_get_a_new_name_but_must_not_vanish) {
  check_same(diff(compiled{deposited}, compiled{"message PaidIn { int64 cents = 1; }"}),
             {"incompatible: test.Deposited: type removed, and no other names it in (eventcore.formerly)"});
  check_same(
      diff(
          compiled{deposited},
          compiled{"message PaidIn { option (eventcore.formerly) = \"test.Deposited\"; string cents = 1; }"}),
      {"compatible: test.Deposited: renamed to test.PaidIn",
       "incompatible: test.Deposited.cents (field 1): type changed from int64 to string"});
}

BOOST_AUTO_TEST_CASE(a_type_in_a_field_may_get_a_new_name_with_all_that_it_holds) {
  check_same(diff(compiled{"message M { In f = 1; } message In { enum E { A = 0; B = 1; } E e = 1; }"},
                  compiled{"message M { Out f = 1; } message Out { option (eventcore.formerly) = \"test.In\";"
                           "  enum E { A = 0; C = 1; } E e = 1; }"}),
             {"compatible: test.In: renamed to test.Out",
              "compatible: test.In.e (field 1): type changed from test.In.E to test.Out.E",
              "compatible: test.In.E.B (value 1): renamed to C",
              "compatible: test.M.f (field 1): type changed from test.In to test.Out"});
  check_same(diff(compiled{"message M { In f = 1; } message In {}"},
                  compiled{"message M { Out f = 1; } message Out {} message In {}"}),
             {"incompatible: test.M.f (field 1): type changed from test.In to test.Out"});
}

BOOST_AUTO_TEST_CASE(with_a_raised_schema_version_changes_need_an_upcaster) {
  const auto version = [](int n, const std::string& rest) {
    return "message Deposited { option (eventcore.schema_version) = " + std::to_string(n) + "; " + rest +
           " }";
  };
  check_same(
      diff(compiled{deposited}, compiled{version(2, "string cents = 1; int32 added = 2;")}),
      {"needs upcaster from version 1: test.Deposited.cents (field 1): type changed from int64 to string",
       "compatible: test.Deposited.added (field 2): field added"});
  check_same(diff(compiled{version(3, "int64 cents = 1;")}, compiled{version(2, "int64 cents = 1;")}),
             {"incompatible: test.Deposited: schema version lowered from 3 to 2"});
  // The version of an event covers what it uses; another event that uses the same is not covered.
  const auto both = [&](int n, const std::string& type) {
    return version(n, "In in = 1;") + " message Other { In in = 1; } message In { " + type + " f = 1; }";
  };
  check_same(diff(compiled{both(1, "int64")}, compiled{both(2, "string")}),
             {"needs upcaster from version 1: test.In.f (field 1) in test.Deposited: type changed from int64 "
              "to string",
              "incompatible: test.In.f (field 1): type changed from int64 to string",
              "incompatible: test.In.f (field 1) in test.Other: type changed from int64 to string"});
}

BOOST_AUTO_TEST_CASE(every_old_form_is_compared_with_the_newest_one) {
  const compiled first{"message M { int32 a = 1; }"};
  const compiled second{"message M { option (eventcore.schema_version) = 2; string a = 1; }"};
  const compiled third{"message M { option (eventcore.schema_version) = 2; string a = 1; int32 b = 2; }"};
  cli::contract before;
  before["test.M"] = {&first.type("M"), &second.type("M")};
  check_same(texts(cli::compare(before, third.contract())),
             {"needs upcaster from version 1: test.M.a (field 1): type changed from int32 to string",
              "compatible: test.M.b (field 2): field added"});
  cli::contract after;
  after["test.M"] = {&first.type("M"), &third.type("M")};
  check_same(texts(cli::compare(third.contract(), after)), {});
}

// -- the tool ----------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(print_shows_types_and_what_they_use) {
  const temp_dir dir;
  const compiled types{
      "message Sent { option (eventcore.schema_version) = 2; option (eventcore.formerly) = \"test.Old\";\n"
      "  repeated Item items = 2; string to = 1; optional int32 weight = 3; Kind kind = 4;\n"
      "  map<string, int64> prices = 5; oneof by { string road = 6; string air = 7; }\n"
      "  reserved 10, 12 to 14, 99 to max; reserved \"a\"; message Item { bytes code = 1; } }\n"
      "enum Kind { ANY = 0; BIG = 1; reserved 5 to 7; }\n"};
  const lines sent{"message test.Sent, schema version 2, formerly \"test.Old\"",
                   "  1 string to",
                   "  2 repeated test.Sent.Item items",
                   "  3 optional int32 weight",
                   "  4 test.Kind kind",
                   "  5 map<string, int64> prices",
                   "  6 string road (oneof by)",
                   "  7 string air (oneof by)",
                   "  reserved 10, 12 to 14, 99 to max, \"a\"",
                   "message test.Sent.Item, schema version 1",
                   "  1 bytes code"};
  lines expected{"enum test.Kind", "  0 ANY", "  1 BIG", "  reserved 5 to 7"};
  expected.insert(expected.end(), sent.begin(), sent.end());

  const auto of_file = schema({"print", types.write(dir.path() / "set.pb").string()});
  BOOST_TEST(of_file.exit_code == 0);
  BOOST_TEST(of_file.err == "");
  check_same(lines_of(of_file.out), expected);

  write_journal(dir.path() / "journal", {types.event("Sent")});
  for (const auto& args : {lines{"print", "-j"}, lines{"print"}}) {
    auto with_source = args;
    with_source.push_back((dir.path() / "journal").string());
    const auto of_journal = schema(with_source);
    BOOST_TEST(of_journal.exit_code == 0);
    BOOST_TEST(of_journal.err == "");
    check_same(lines_of(of_journal.out), expected);
  }
}

BOOST_AUTO_TEST_CASE(diff_compares_a_journal_with_a_build) {
  const temp_dir dir;
  const auto journal = (dir.path() / "journal").string();
  const compiled first{deposited};
  const compiled second{"message Deposited { int64 cents = 1; string note = 2; }"};
  write_journal(journal, {first.event("Deposited"), second.event("Deposited")});

  const auto same = schema({"diff", journal, second.write(dir.path() / "same.pb").string()});
  BOOST_TEST(same.exit_code == 0, same.err);
  BOOST_TEST(same.out == "compatible: test.Deposited.note (field 2): field added\n");

  const compiled wrong{"message Deposited { string cents = 1; reserved 2; }"};
  const auto refused = schema({"diff", journal, wrong.write(dir.path() / "wrong.pb").string()});
  BOOST_TEST(refused.exit_code == 1);
  check_same(lines_of(refused.out),
             {"incompatible: test.Deposited.cents (field 1): type changed from int64 to string",
              "compatible: test.Deposited.note (field 2): removed; its number is reserved"});
}

BOOST_AUTO_TEST_CASE(what_is_no_source_is_named) {
  const temp_dir dir;
  const auto good = compiled{deposited}.write(dir.path() / "good.pb").string();
  const auto write = [&](const std::string& name, const std::string& content) {
    std::ofstream{dir.path() / name, std::ios::binary} << content;
  };
  write("empty", "");
  write("text", "this is no set of descriptors\n");
  write("unknown_fields", std::string{"\x10\x01", 2});
  std::filesystem::create_directory(dir.path() / "folder");
  pb::FileDescriptorSet lacking;
  lacking.add_file()->set_name("a.proto");
  lacking.mutable_file(0)->add_dependency("b.proto");
  write("lacking", lacking.SerializeAsString());
  pb::FileDescriptorSet circle;
  circle.add_file()->set_name("a.proto");
  circle.mutable_file(0)->add_dependency("a.proto");
  write("circle", circle.SerializeAsString());
  const auto whole = content_of(good);
  write("cut", whole.substr(0, whole.size() - 3));

  for (const std::string name :
       {"missing", "empty", "text", "unknown_fields", "folder", "lacking", "circle", "cut"}) {
    const auto path = (dir.path() / name).string();
    for (const auto& args : {lines{"print", path}, lines{"diff", path, good}, lines{"diff", good, path}}) {
      const auto r = schema(args);
      // As with other verbs; to `diff`, 1 is an answer.
      BOOST_TEST(r.exit_code == (args[0] == "print" ? 1 : 2), name << " gave " << r.exit_code);
      BOOST_TEST(r.out == "");
      BOOST_TEST(r.complained(path), r.err);
      BOOST_TEST(!r.complained("crashed"), r.err);
    }
  }
  for (const auto& args : {lines{}, lines{"paint"}, lines{"diff", good}, lines{"print", good, good}}) {
    const auto r = schema(args);
    BOOST_TEST(r.exit_code == 2);
    BOOST_TEST(r.err != "");
  }
}

BOOST_AUTO_TEST_CASE(a_damaged_set_of_descriptors_never_crashes_the_tool) {
  const temp_dir dir;
  const auto good =
      compiled{"message M { M m = 1; E e = 2; } enum E { A = 0; }"}.write(dir.path() / "good.pb");
  const auto bytes = content_of(good);
  const auto own_part = bytes.size() - 120; // the file itself; before it stand its imports
  for (auto at = own_part; at < bytes.size(); at += 5) {
    auto damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x15);
    const auto path = dir.path() / "damaged.pb";
    std::ofstream{path, std::ios::binary} << damaged;
    const auto r = schema({"diff", good.string(), path.string()});
    BOOST_TEST(!r.complained("crashed"), "byte " << at << ": " << r.err);
    BOOST_TEST(r.exit_code >= 0);
    BOOST_TEST(r.exit_code <= 2);
  }
}
