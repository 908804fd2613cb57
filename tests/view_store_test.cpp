#include "support/journal_helpers.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/persistence/view_store.hpp>

#include <boost/test/unit_test.hpp>
#include <lmdb.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;

namespace {

view_form form() {
  return {"orders", 3, {{"rows", "string", "test.Row"}, {"by_time", "timestamp", "test.Row"}}, {"a.Created"}};
}

struct store_in_a_folder {
  temp_dir dir;
  view_options options;
  std::unique_ptr<view_store> view;

  store_in_a_folder() { view = must(view_store::create(dir.path() / "v", form(), true, options)); }

  void reopen() {
    view.reset();
    view = must(view_store::open(dir.path() / "v", options));
  }
  void put(std::initializer_list<std::pair<std::string, std::string>> rows, std::size_t table = 0) {
    auto changes = must(view->begin());
    for (auto& [key, value] : rows)
      must_pass(changes.put(table, key, value));
    must_pass(changes.commit());
  }
  std::optional<std::string> get(std::string_view key, std::size_t table = 0) {
    return must(view->get(table, key));
  }
  std::string keys(view_bounds where, read_limits limits = {}) {
    std::string found;
    for (auto& row : must(view->list(0, where, limits)))
      found += row.key + ' ';
    return found;
  }
  /// Changes a byte of the only place in the file where `text` stands.
  void damage(std::string_view text) {
    view.reset();
    const auto file = dir.path() / "v" / "data.mdb";
    std::string content{std::istreambuf_iterator<char>{std::ifstream{file, std::ios::binary}.rdbuf()}, {}};
    const auto at = content.find(text);
    BOOST_REQUIRE(at != std::string::npos);
    content[at] ^= 1;
    std::ofstream{file, std::ios::binary} << content;
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(view_store_test, store_in_a_folder)

BOOST_AUTO_TEST_CASE(rows_and_cursors_are_there_after_a_restart) {
  const auto now = timestamp{1'700'000'000'123'456us};
  const view_cursor cursor{"shop", uuid::random(), uuid::random(), 17, now};
  {
    auto changes = must(view->begin());
    must_pass(changes.put(0, "a", "one"));
    must_pass(changes.put(1, "a", "other"));
    must_pass(changes.put_cursor(cursor));
    BOOST_TEST((must(changes.get(0, "a")) == "one"), "a transaction sees its own changes");
    BOOST_TEST(!get("a"), "nobody else does");
    must_pass(changes.commit());
  }
  for (int i = 0; i < 2; ++i) {
    BOOST_TEST((get("a") == "one"));
    BOOST_TEST((get("a", 1) == "other"));
    BOOST_TEST(!get("b"));
    const auto cursors = must(view->cursors());
    BOOST_TEST_REQUIRE(cursors.size() == 1u);
    BOOST_TEST(cursors[0].source == "shop");
    BOOST_TEST(cursors[0].journal == cursor.journal);
    BOOST_TEST(cursors[0].incarnation == cursor.incarnation);
    BOOST_TEST(cursors[0].position == 17u);
    BOOST_TEST((cursors[0].occurred_at == now));
    BOOST_TEST((view->form() == form()));
    reopen();
  }
}

BOOST_AUTO_TEST_CASE(what_is_not_committed_did_not_happen) {
  put({{"a", "1"}});
  {
    auto changes = must(view->begin());
    must_pass(changes.put(0, "a", "2"));
    BOOST_TEST(must(changes.erase(0, "a")));
    BOOST_TEST(!must(changes.erase(0, "a")));
    BOOST_TEST(!must(changes.get(0, "a")));
  }
  BOOST_TEST((get("a") == "1"));
}

BOOST_AUTO_TEST_CASE(rows_are_listed_in_pages_and_in_order) {
  put({{"b", "2"}, {"a", "1"}, {"ca", "3"}, {"cb", "4"}, {"d", ""}});
  BOOST_TEST(keys({}) == "a b ca cb d ");
  BOOST_TEST(keys({"b", "cb"}) == "b ca ");
  BOOST_TEST(keys({"bb", ""}) == "ca cb d ");
  BOOST_TEST(keys(view_bounds::prefix("c")) == "ca cb ");
  BOOST_TEST(keys({"x", ""}) == "");
  view_bounds all;
  std::string found;
  for (;;) {
    auto page = must(view->list(0, all, {.events = 2}));
    if (page.empty())
      break;
    BOOST_TEST(page.size() <= 2u);
    for (auto& row : page)
      found += row.key + row.value;
  }
  BOOST_TEST(found == "a1b2ca3cb4d");
  BOOST_TEST(keys({}, {.events = 10, .bytes = 1}) == "a ");
}

BOOST_AUTO_TEST_CASE(the_longest_key_passes_and_one_longer_is_named) {
  const std::string longest(max_view_key, 'k');
  put({{longest, "v"}, {"l", "w"}});
  BOOST_TEST((get(longest) == "v"));
  view_bounds where{longest, {}};
  BOOST_TEST(must(view->list(0, where, {.events = 1})).size() == 1u);
  BOOST_TEST(must(view->list(0, where)).front().key == "l");
  for (auto& key : {longest + "k", std::string{}}) {
    auto changes = must(view->begin());
    const auto why = must_fail(changes.put(0, key, "v"), journal_errc::invalid_argument);
    check_contains(why, "table rows");
    check_contains(why, "takes " + std::to_string(key.size()) + " bytes");
    check_contains(why, "511");
    must_fail(changes.get(0, key), journal_errc::invalid_argument);
    must_fail(changes.erase(0, key), journal_errc::invalid_argument);
    must_fail(view->get(0, key), journal_errc::invalid_argument);
  }
}

BOOST_AUTO_TEST_CASE(a_value_too_large_is_named) {
  auto changes = must(view->begin());
  must_pass(changes.put(0, "fits", std::string(max_view_value, 'v')));
  check_contains(
      must_fail(changes.put(0, "big", std::string(max_view_value + 1, 'v')), journal_errc::too_large),
      "key 'big'");
}

BOOST_AUTO_TEST_CASE(a_damaged_row_is_named_and_hides_no_other) {
  put({{"a", "first"}, {"b", "the damaged value"}, {"c", "last"}});
  damage("the damaged value");
  reopen();
  BOOST_TEST((get("a") == "first"));
  const auto why = must_fail(view->get(0, "b"), journal_errc::corrupt);
  check_contains(why, "table rows");
  check_contains(why, "'b'");
  check_contains(why, "rebuild");
  view_bounds all;
  must_fail(view->list(0, all), journal_errc::corrupt);
}

BOOST_AUTO_TEST_CASE(a_damaged_cursor_is_an_error) {
  uuid journal;
  std::ranges::copy(std::string_view{"the journal's id"}, journal.bytes.begin());
  {
    auto changes = must(view->begin());
    must_pass(changes.put_cursor({"the shop", journal, uuid::random(), 17, {}}));
    must_pass(changes.commit());
  }
  damage("the journal's id");
  reopen();
  check_contains(must_fail(view->cursors(), journal_errc::corrupt), "the shop");
}

BOOST_AUTO_TEST_CASE(a_damaged_form_is_an_error) {
  damage("a.Created");
  must_fail(view_store::open(dir.path() / "v"), journal_errc::corrupt);
}

BOOST_AUTO_TEST_CASE(a_failed_commit_leaves_a_usable_view) {
  bool fails = true;
  view.reset();
  options.commit = [&](MDB_txn* txn) {
    if (!fails)
      return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return EIO;
  };
  fails = false;
  reopen();
  put({{"a", "1"}});
  fails = true;
  {
    auto changes = must(view->begin());
    must_pass(changes.put(0, "a", "2"));
    must_fail(changes.commit(), journal_errc::io_error);
  }
  must_fail(view->get(0, "a"), journal_errc::io_error);
  fails = false;
  put({{"b", "3"}});
  BOOST_TEST((get("a") == "1"));
  BOOST_TEST((get("b") == "3"));
}

BOOST_AUTO_TEST_CASE(readers_see_one_state_while_rows_change) {
  put({{"a", "0"}, {"b", "0"}});
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0};
  std::atomic<int> backward{0};
  std::vector<std::jthread> readers;
  for (int i = 0; i < 8; ++i)
    readers.emplace_back([&] {
      int last = 0;
      while (!stop) {
        view_bounds all;
        auto rows = view->list(0, all);
        torn += !rows || rows->size() != 2 || (*rows)[0].value != (*rows)[1].value;
        const auto now = rows && !rows->empty() ? std::stoi(rows->front().value) : 0;
        backward += now < last;
        last = now;
      }
    });
  for (int i = 1; i < 500; ++i)
    put({{"a", std::to_string(i)}, {"b", std::to_string(i)}});
  stop = true;
  readers.clear();
  BOOST_TEST(torn == 0);
  BOOST_TEST(backward == 0, "a reader saw a state that was not committed yet");
}

BOOST_AUTO_TEST_CASE(a_transaction_knows_about_how_much_memory_it_takes) {
  {
    auto changes = must(view->begin());
    BOOST_TEST(changes.memory() == 0u);
    for (int i = 0; i < 10'000; ++i)
      must_pass(changes.put(0, "key" + std::to_string(i), std::string(200, 'x')));
    BOOST_TEST(changes.memory() > 2'000'000u);
    BOOST_TEST(changes.memory() < 6'000'000u);
    must_pass(changes.commit());
  }
  auto changes = must(view->begin());
  for (int n = 0; n < 20; ++n)
    must_pass(changes.put(0, "key17", "y"));
  BOOST_TEST(changes.memory() < 500'000u, "the same page again and again");
  must_pass(changes.put(0, "large", std::string(1'000'000, 'z')));
  BOOST_TEST(changes.memory() > 1'000'000u);
}

BOOST_AUTO_TEST_CASE(a_closed_view_says_so) {
  put({{"a", "1"}});
  view->close();
  must_fail(view->get(0, "a"), journal_errc::closed);
  must_fail(view->begin(), journal_errc::closed);
  must_fail(view->cursors(), journal_errc::closed);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_said_before_anything_is_changed) {
  put({{"a", "1"}});
  options.reserve_disk_bytes = ~std::size_t{0};
  reopen();
  check_contains(must_fail(view->begin(), journal_errc::disk_full), "view folder");
  BOOST_TEST((get("a") == "1"));
}

BOOST_AUTO_TEST_CASE(a_full_map_undoes_the_transaction) {
  view.reset();
  options.map_bytes = 256u << 10;
  view = must(view_store::create(dir.path() / "small", form(), true, options));
  put({{"a", "1"}});
  {
    auto changes = must(view->begin());
    result<void> last;
    for (int i = 0; i < 1'000 && last; ++i)
      last = changes.put(0, "key" + std::to_string(i), std::string(1'000, 'x'));
    must_fail(last, journal_errc::disk_full);
  }
  BOOST_TEST((get("a") == "1"));
  put({{"b", "2"}});
  BOOST_TEST(keys({}) == "a b ");
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

void write(const std::filesystem::path& file, const std::string& content) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream{file, std::ios::binary} << content;
}

} // namespace

BOOST_AUTO_TEST_CASE(what_is_no_view_is_refused) {
  temp_dir dir;
  must_fail(view_store::open(dir.path() / "nothing"), journal_errc::cannot_open);
  write(dir.path() / "empty" / "data.mdb", "");
  must_fail(view_store::open(dir.path() / "empty"), journal_errc::corrupt);
  write(dir.path() / "garbage" / "data.mdb", std::string(100'000, 'g'));
  must_fail(view_store::open(dir.path() / "garbage"), journal_errc::corrupt);
  must_fail(view_store::create(dir.path() / "garbage", form(), true), journal_errc::cannot_open);
  write(dir.path() / "file", "");
  must_fail(view_store::create(dir.path() / "file", form(), true), journal_errc::cannot_open);
  // Somebody else's tables.
  std::filesystem::create_directories(dir.path() / "foreign");
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi table = 0;
  BOOST_REQUIRE(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 2) == 0);
  BOOST_REQUIRE(mdb_env_open(env, (dir.path() / "foreign").c_str(), 0, 0644) == 0);
  BOOST_REQUIRE(mdb_txn_begin(env, nullptr, 0, &txn) == 0);
  BOOST_REQUIRE(mdb_dbi_open(txn, "theirs", MDB_CREATE, &table) == 0);
  BOOST_REQUIRE(mdb_txn_commit(txn) == 0);
  mdb_env_close(env);
  must_fail(view_store::open(dir.path() / "foreign"), journal_errc::cannot_open);
}

BOOST_AUTO_TEST_CASE(a_file_that_was_cut_is_refused_and_does_not_kill_the_reader) {
  temp_dir dir;
  {
    auto view = must(view_store::create(dir.path() / "v", form(), true));
    auto changes = must(view->begin());
    for (int i = 0; i < 1'000; ++i)
      must_pass(changes.put(0, "key" + std::to_string(i), std::string(100, 'x')));
    must_pass(changes.commit());
  }
  const auto file = dir.path() / "v" / "data.mdb";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  must_fail(view_store::open(dir.path() / "v"), journal_errc::corrupt);
}
