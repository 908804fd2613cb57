#include "support/journal_helpers.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/persistence/internal/view_folder.hpp>

#include <boost/test/unit_test.hpp>

#include <fstream>
#include <set>

using namespace eventcore;
using namespace eventcore::test;
using eventcore::internal::view_folder;

namespace {

view_form form(std::uint32_t version = 1) {
  return {"orders", version, {{"rows", "string", "test.Row"}}, {"a.Created"}};
}

struct projection_folder {
  temp_dir dir;
  std::filesystem::path path = dir.path() / "orders";
  std::unique_ptr<view_folder> folder;

  projection_folder() { open(); }

  void open(std::uint32_t version = 1) {
    folder.reset();
    folder = must(view_folder::open(path, form(version)));
  }
  static void put(view_store& view, const std::string& value) {
    auto changes = must(view.begin());
    must_pass(changes.put(0, "key", value));
    must_pass(changes.commit());
  }
  static std::string in(view_store& view) { return must(view.get(0, "key")).value_or("nothing"); }
  std::string live() { return in(*folder->live()); }
  std::set<std::string> subfolders() const {
    std::set<std::string> found;
    for (auto& entry : std::filesystem::directory_iterator{path})
      if (entry.is_directory())
        found.insert(entry.path().filename().string());
    return found;
  }
  std::filesystem::path data(const std::string& view) const { return path / view / "data.mdb"; }
  void write(const std::filesystem::path& file, const std::string& content) {
    std::filesystem::create_directories(file.parent_path());
    std::ofstream{file, std::ios::binary} << content;
  }
};

using names = std::set<std::string>;

} // namespace

BOOST_FIXTURE_TEST_SUITE(view_folder_test, projection_folder)

BOOST_AUTO_TEST_CASE(there_is_always_a_view_that_serves) {
  BOOST_TEST((subfolders() == names{"view-1"}));
  put(*folder->live(), "one");
  open();
  BOOST_TEST(live() == "one");
  BOOST_TEST(!folder->building());
  BOOST_TEST(!folder->damage());
}

BOOST_AUTO_TEST_CASE(a_built_view_takes_the_place_of_the_other) {
  put(*folder->live(), "old");
  must_pass(folder->start_building());
  put(*folder->building(), "new");
  BOOST_TEST(live() == "old");
  auto reader = folder->live();
  must_pass(folder->swap());
  BOOST_TEST(live() == "new");
  BOOST_TEST(!folder->building());
  BOOST_TEST(in(*reader) == "old", "who reads goes on");
  BOOST_TEST((subfolders() == names{"view-1", "view-2"}));
  reader.reset();
  BOOST_TEST((subfolders() == names{"view-2"}), "and then the files are gone");
  open();
  BOOST_TEST(live() == "new");
}

BOOST_AUTO_TEST_CASE(building_goes_on_after_a_restart) {
  put(*folder->live(), "old");
  must_pass(folder->start_building());
  put(*folder->building(), "half");
  open();
  BOOST_TEST(live() == "old");
  BOOST_REQUIRE(folder->building());
  BOOST_TEST(in(*folder->building()) == "half");
  must_pass(folder->start_building());
  BOOST_TEST(in(*folder->building()) == "nothing", "begun again");
  BOOST_TEST((subfolders() == names{"view-1", "view-3"}));
}

BOOST_AUTO_TEST_CASE(a_view_of_another_form_serves_and_is_not_built_on) {
  put(*folder->live(), "old");
  must_pass(folder->start_building());
  open(2);
  BOOST_TEST(live() == "old");
  BOOST_TEST(folder->live()->form().version == 1u);
  BOOST_TEST(!folder->building());
  BOOST_TEST((subfolders() == names{"view-1"}));
  must_pass(folder->start_building());
  must_pass(folder->swap());
  BOOST_TEST(folder->live()->form().version == 2u);
}

BOOST_AUTO_TEST_CASE(of_two_that_serve_the_later_one_does) {
  put(*folder->live(), "old");
  must_pass(folder->start_building());
  put(*folder->building(), "new");
  auto reader = folder->live();
  must_pass(folder->swap());
  // As after the end of the process between the two.
  const auto copy = dir.path() / "copy";
  std::filesystem::copy(path, copy, std::filesystem::copy_options::recursive);
  folder.reset();
  reader.reset();
  path = copy;
  open();
  BOOST_TEST(live() == "new");
  BOOST_TEST((subfolders() == names{"view-2"}));
}

BOOST_AUTO_TEST_CASE(a_damaged_view_is_given_up_and_said) {
  put(*folder->live(), "old");
  folder.reset();
  write(data("view-1"), std::string(50'000, 'g'));
  open();
  BOOST_TEST(live() == "nothing");
  BOOST_REQUIRE(folder->damage());
  check_contains(folder->damage()->message(), "view-1");
  BOOST_TEST((subfolders() == names{"view-2"}));
}

BOOST_AUTO_TEST_CASE(a_damaged_view_leaves_the_one_that_is_being_built) {
  must_pass(folder->start_building());
  put(*folder->building(), "half");
  folder.reset();
  std::filesystem::resize_file(data("view-1"), 5'000);
  open();
  BOOST_TEST(live() == "half");
  BOOST_TEST(!folder->building());
  BOOST_TEST(folder->damage().has_value());
  open();
  BOOST_TEST(live() == "half");
  BOOST_TEST(!folder->damage());
}

BOOST_AUTO_TEST_CASE(unfinished_views_are_removed) {
  put(*folder->live(), "old");
  folder.reset();
  std::filesystem::create_directories(path / "view-7");
  write(data("view-8"), "");
  open();
  BOOST_TEST(live() == "old");
  BOOST_TEST((subfolders() == names{"view-1"}));
  must_pass(folder->start_building());
  BOOST_TEST((subfolders() == names{"view-1", "view-9"}));
}

BOOST_AUTO_TEST_CASE(a_view_of_another_format_is_refused) {
  folder.reset();
  std::string content{std::istreambuf_iterator<char>{std::ifstream{data("view-1"), std::ios::binary}.rdbuf()},
                      {}};
  // LMDB's own version number, in both of its meta pages.
  for (std::size_t at : {std::size_t{20}, std::size_t{4'096 + 20}})
    content[at] = 77;
  write(data("view-1"), content);
  must_fail(view_folder::open(path, form()), journal_errc::wrong_format);
  BOOST_TEST((subfolders() == names{"view-1"}), "nothing is removed");
}

BOOST_AUTO_TEST_CASE(a_folder_has_one_user) {
  check_contains(must_fail(view_folder::open(path, form()), journal_errc::locked), "projection folder");
  folder.reset();
  open();
}

BOOST_AUTO_TEST_CASE(somebody_elses_folder_is_refused) {
  write(dir.path() / "home" / "letter.txt", "dear");
  must_fail(view_folder::open(dir.path() / "home", form()), journal_errc::cannot_open);
  write(dir.path() / "file", "dear");
  must_fail(view_folder::open(dir.path() / "file", form()), journal_errc::cannot_open);
  // Files beside the views, and in their folders, are not touched.
  write(path / "note.txt", "mine");
  write(path / "view-5" / "note.txt", "mine");
  open();
  BOOST_TEST(std::filesystem::exists(path / "note.txt"));
  BOOST_TEST(std::filesystem::exists(path / "view-5" / "note.txt"));
}

BOOST_AUTO_TEST_SUITE_END()
