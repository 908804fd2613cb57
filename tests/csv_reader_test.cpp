#include <permits/csv_reader.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

using permits::csv_reader;
using row = std::vector<std::string>;
using namespace std::literals;

namespace {

/// The value, or the end of the test case.
template <class T>
T required(eventcore::result<T> r) {
  if (!r)
    BOOST_FAIL(r.error().message());
  return std::move(*r);
}

/// A file of its own for each test.
struct csv_file {
  std::filesystem::path path;

  csv_file() {
    auto name = (std::filesystem::temp_directory_path() / "csv_reader_test-XXXXXX").string();
    close(mkstemp(name.data()));
    path = name;
  }
  ~csv_file() { std::filesystem::remove(path); }

  eventcore::result<csv_reader> holding(std::string_view content) const {
    std::ofstream{path, std::ios::binary} << content;
    return csv_reader::open(path);
  }

  /// All records, the header first; with them the line on which each starts.
  std::vector<row> records(std::string_view content, std::vector<std::uint64_t>* lines = nullptr) const {
    auto reader = required(holding(content));
    std::vector<row> all{reader.header()};
    while (required(reader.next())) {
      row fields;
      for (std::size_t i = 0; i < reader.size(); ++i)
        fields.emplace_back(reader.field(i));
      all.push_back(fields);
      if (lines)
        lines->push_back(reader.line());
    }
    return all;
  }

  /// The message of the error that ends the reading.
  std::string failure(std::string_view content) const {
    auto reader = holding(content);
    if (!reader)
      return reader.error().message();
    for (;;) {
      const auto found = reader->next();
      if (!found)
        return found.error().message();
      if (!*found)
        BOOST_FAIL("the file was read to its end");
    }
  }
};

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(csv_reader_test, csv_file)

BOOST_AUTO_TEST_CASE(plain_records) {
  const std::vector<row> expected{{"a", "b"}, {"1", "2"}, {"3", ""}, {"", ""}};
  BOOST_TEST((records("a,b\n1,2\n3,\n,\n") == expected));
}

BOOST_AUTO_TEST_CASE(the_last_line_end_may_be_missing) {
  BOOST_TEST((records("a,b\n1,2") == std::vector<row>{{"a", "b"}, {"1", "2"}}));
}

BOOST_AUTO_TEST_CASE(quoted_fields_hold_anything) {
  const std::vector<row> expected{
      {"a", "b"}, {"x, y", "say \"hi\""}, {"two\nlines", ""}, {"two\r\nlines", "\""}};
  BOOST_TEST((records("a,b\n\"x, y\",\"say \"\"hi\"\"\"\n\"two\nlines\",\"\"\n\"two\r\nlines\",\"\"\"\"\n") ==
              expected));
}

BOOST_AUTO_TEST_CASE(spaces_belong_to_their_field) {
  BOOST_TEST((records("a,b\n 1 ,\t2\n") == std::vector<row>{{"a", "b"}, {" 1 ", "\t2"}}));
}

BOOST_AUTO_TEST_CASE(every_form_of_line_end) {
  const std::vector<row> expected{{"a", "b"}, {"1", "2"}, {"3", "4"}};
  BOOST_TEST((records("a,b\r\n1,2\r\n3,4\r\n") == expected));
  BOOST_TEST((records("a,b\r1,2\r3,4") == expected));
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_and_empty_lines_are_passed_over) {
  BOOST_TEST((records("\xEF\xBB\xBF"
                      "a,b\n\n\r\n1,2\n\n") == std::vector<row>{{"a", "b"}, {"1", "2"}}));
}

BOOST_AUTO_TEST_CASE(rows_keep_the_number_of_fields_they_have) {
  BOOST_TEST((records("a,b\n1\n1,2,3\n") == std::vector<row>{{"a", "b"}, {"1"}, {"1", "2", "3"}}));
}

BOOST_AUTO_TEST_CASE(records_know_their_line) {
  for (const auto end : {"\n"sv, "\r\n"sv, "\r"sv}) {
    std::string content;
    for (const auto line : {"a,b", "1,2", "", "\"x", "y\",4", "5,6"})
      content.append(line).append(end);
    std::vector<std::uint64_t> lines;
    records(content, &lines);
    BOOST_TEST(lines == (std::vector<std::uint64_t>{2, 4, 6}), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(records_across_the_blocks_in_which_the_file_is_read) {
  std::string content = "name,text\r\n";
  std::vector<row> expected{{"name", "text"}};
  for (int i = 0; i < 5'000; ++i) {
    const auto name = std::to_string(i);
    const std::string text(static_cast<std::size_t>(i % 97), 'x');
    content += name + ",\"" + text + "\"\"\r\n" + text + "\"\r\n";
    expected.push_back({name, text + "\"\r\n" + text});
  }
  BOOST_TEST((records(content) == expected));
}

BOOST_AUTO_TEST_CASE(columns_are_found_by_name) {
  const auto reader = holding("a,b,c\n");
  BOOST_REQUIRE(reader);
  BOOST_TEST((*reader->columns({"c", "a"}) == std::vector<std::size_t>{2, 0}));
}

BOOST_AUTO_TEST_CASE(missing_and_ambiguous_columns_are_named) {
  const auto reader = holding("a,b,b\n");
  BOOST_REQUIRE(reader);
  const auto missing = reader->columns({"x", "a", "y"});
  BOOST_REQUIRE(!missing);
  BOOST_TEST(contains(missing.error().message(), "missing columns: x, y; the file has: a, b, b"));
  const auto ambiguous = reader->columns({"b"});
  BOOST_REQUIRE(!ambiguous);
  BOOST_TEST(contains(ambiguous.error().message(), "two columns are named b"));
}

BOOST_AUTO_TEST_CASE(broken_quotes_are_errors_with_their_line) {
  BOOST_TEST(contains(failure("a,b\n1,2\n3,x\"y\n"), "line 3: broken quotes"));
  BOOST_TEST(contains(failure("a,b\n\"1\"x,2\n"), "line 2: broken quotes"));
  BOOST_TEST(contains(failure("a,b\n1,2\n\"two\nlines\" x,2\n"), "line 4: broken quotes"));
  const auto open = failure("a,b\n1,2\n3,\"never closed\n5,6\n7,8\n");
  BOOST_TEST(contains(open, "line 3: broken quotes"));
  BOOST_TEST(contains(open, "never closed"));
}

BOOST_AUTO_TEST_CASE(an_empty_file_has_no_header) {
  for (const auto content : {""sv, "\n\r\n\n"sv, "\xEF\xBB\xBF"sv})
    BOOST_TEST(contains(failure(content), "the file is empty"));
}

BOOST_AUTO_TEST_CASE(a_header_that_is_not_utf8_is_refused) {
  BOOST_TEST(contains(failure("\xFF\xFE"
                              "a\0,\0b\0\n\0"s),
                      "not UTF-8"));
}

BOOST_AUTO_TEST_CASE(what_is_no_file_is_refused) {
  const auto missing = csv_reader::open("/no/such/file.csv");
  BOOST_REQUIRE(!missing);
  BOOST_TEST(contains(missing.error().message(), "/no/such/file.csv: there is no such file"));
  const auto folder = csv_reader::open(std::filesystem::temp_directory_path());
  BOOST_REQUIRE(!folder);
  BOOST_TEST(contains(folder.error().message(), "this is a folder"));
  const auto device = csv_reader::open("/dev/zero");
  BOOST_REQUIRE(!device);
  BOOST_TEST(contains(device.error().message(), "no regular file"));
}

BOOST_AUTO_TEST_CASE(an_unreadable_file_is_refused,
                     *boost::unit_test::precondition([](auto) { return geteuid() != 0; })) {
  std::filesystem::permissions(path, std::filesystem::perms::none);
  const auto reader = csv_reader::open(path);
  BOOST_REQUIRE(!reader);
  BOOST_TEST(contains(reader.error().message(), "check its permissions"));
}

BOOST_AUTO_TEST_CASE(records_have_a_bound) {
  const std::string largest(csv_reader::max_record_bytes - 3, 'x');
  BOOST_TEST(records("a,b\n" + largest + ",y\n").at(1).at(0).size() == largest.size());
  BOOST_TEST(contains(failure("a,b\n1,2\nx" + largest + ",y\n"),
                      "line 3: the record that starts here is longer than"));
}

BOOST_AUTO_TEST_CASE(an_endless_line_takes_no_memory) {
  constexpr std::uintmax_t huge = 1u << 30;
  const auto peak_kib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const auto line_of_commas = "a,b\n" + std::string(100'000'000, ',');
  std::ofstream{path} << line_of_commas;
  const auto before = peak_kib();
  auto reader = csv_reader::open(path);
  BOOST_REQUIRE(reader);
  const auto commas = reader->next();
  BOOST_REQUIRE(!commas);
  BOOST_TEST(contains(commas.error().message(), "line 2"));

  std::ofstream{path} << "a,b\n\"";
  std::filesystem::resize_file(path, huge); // zeros inside quotes
  reader = csv_reader::open(path);
  BOOST_REQUIRE(reader);
  const auto zeros = reader->next();
  BOOST_REQUIRE(!zeros);
  BOOST_TEST(contains(zeros.error().message(), "line 2"));
  BOOST_TEST(peak_kib() - before < 64 * 1'024);
}

BOOST_AUTO_TEST_SUITE_END()
