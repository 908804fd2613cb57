#include "support/child_process.hpp"
#include "support/journal_conformance.hpp"
#include "support/journal_helpers.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/persistence/internal/lmdb_journal.hpp>
#include <eventcore/persistence/lmdb_journal.hpp>

#include <lmdb.h>

#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <thread>

namespace eventcore::test {

namespace {

namespace fs = std::filesystem;

// -- what every backend promises ------------------------------------------------------------------

class lmdb_factory final : public journal_factory {
public:
  std::unique_ptr<journal> open(const journal_options& options) override {
    lmdb_options with_all;
    static_cast<journal_options&>(with_all) = options;
    return must(open_lmdb_journal(dir_.path() / "journal", with_all));
  }
  bool persistent() const override { return true; }

private:
  temp_dir dir_;
};

[[maybe_unused]] const bool registered =
    register_journal_conformance("lmdb_journal", [] { return std::make_unique<lmdb_factory>(); });

// -- helpers --------------------------------------------------------------------------------------

struct journal_folder {
  temp_dir dir;
  fs::path path = dir.path() / "journal";
  fs::path data = path / "data.mdb";

  std::unique_ptr<journal> open(lmdb_options options = {}) const {
    return must(open_lmdb_journal(path, options));
  }
  std::unique_ptr<journal_reader> open_reader() const { return must(open_lmdb_journal_reader(path)); }

  /// Both ways of opening must fail with `code` and name the folder. Returns the writer's message.
  std::string refused(journal_errc code, lmdb_options options = {}) const {
    check_contains(must_fail(open_lmdb_journal_reader(path), code), path.string());
    auto message = must_fail(open_lmdb_journal(path, options), code);
    check_contains(message, path.string());
    return message;
  }

  std::string content() const {
    std::ifstream in{data, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  void replace_content(const std::string& bytes) const {
    std::ofstream{data, std::ios::binary | std::ios::trunc} << bytes;
  }
  /// Flips a bit at `offset` behind every place where `text` stands in the file. Returns their number.
  std::size_t damage(const std::string& text, std::size_t offset = 0) const {
    auto bytes = content();
    std::size_t places = 0;
    for (auto at = bytes.find(text); at != std::string::npos;
         at = bytes.find(text, at + text.size()), ++places)
      bytes[at + offset] = static_cast<char>(bytes[at + offset] ^ 1);
    replace_content(bytes);
    return places;
  }
};

lmdb_options no_creation() {
  lmdb_options options;
  options.create = false;
  return options;
}

void fill(journal& j, std::size_t events) {
  auto answers = std::make_shared<recorder>();
  for (std::size_t i = 0; i < events; ++i)
    BOOST_TEST_REQUIRE(
        submit(j, append("s-" + std::to_string(i % 7), expected_version::any(), {happened(0)}), answers, i));
  BOOST_TEST_REQUIRE(answers->wait_for(events));
}

/// Writes to a table of a database that nobody has open, past the journal: `work(txn, table)`.
template <class F>
void write_raw(const fs::path& dir, const char* table, F work) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  BOOST_TEST_REQUIRE(mdb_env_create(&env) == 0);
  BOOST_TEST_REQUIRE(mdb_env_set_maxdbs(env, 10) == 0);
  BOOST_TEST_REQUIRE(mdb_env_set_mapsize(env, 64u << 20) == 0);
  BOOST_TEST_REQUIRE(mdb_env_open(env, dir.c_str(), 0, 0644) == 0);
  BOOST_TEST_REQUIRE(mdb_txn_begin(env, nullptr, 0, &txn) == 0);
  BOOST_TEST_REQUIRE(mdb_dbi_open(txn, table, MDB_CREATE, &dbi) == 0);
  work(txn, dbi);
  BOOST_TEST_REQUIRE(mdb_txn_commit(txn) == 0);
  mdb_env_close(env);
}

void put_raw(const fs::path& dir, const char* table, std::string name, std::string text) {
  write_raw(dir, table, [&](MDB_txn* txn, MDB_dbi dbi) {
    MDB_val key{name.size(), name.data()};
    MDB_val value{text.size(), text.data()};
    BOOST_TEST_REQUIRE(mdb_put(txn, dbi, &key, &value, 0) == 0);
  });
}

/// Gives up root's rights over files while it lives.
class unprivileged {
public:
  unprivileged() {
    if (was_root_ && ::seteuid(65'534) != 0)
      throw std::runtime_error{"cannot become an ordinary user"};
  }
  ~unprivileged() {
    if (was_root_ && ::seteuid(0) != 0)
      std::abort();
  }

private:
  bool was_root_ = ::geteuid() == 0;
};

} // namespace

BOOST_AUTO_TEST_SUITE(lmdb_folder)

// -- folders that hold no journal -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_file_is_no_folder) {
  journal_folder folder;
  std::ofstream{folder.path} << "some text";
  folder.refused(journal_errc::cannot_open);
  BOOST_TEST(fs::is_regular_file(folder.path));
  folder.path /= "below";
  folder.refused(journal_errc::cannot_open);
}

BOOST_AUTO_TEST_CASE(a_missing_folder_is_created_only_on_demand) {
  journal_folder folder;
  folder.path = folder.dir.path() / "a" / "b" / "journal";
  folder.refused(journal_errc::cannot_open, no_creation());
  BOOST_TEST(!fs::exists(folder.dir.path() / "a"));
  folder.open().reset();
  folder.open(no_creation()).reset();
  BOOST_TEST(must(folder.open_reader()->head()) == 0u);
}

BOOST_AUTO_TEST_CASE(an_empty_folder_becomes_a_journal_only_on_demand) {
  journal_folder folder;
  fs::create_directory(folder.path);
  folder.refused(journal_errc::cannot_open, no_creation());
  BOOST_TEST(fs::is_empty(folder.path));
  folder.open().reset();
}

BOOST_AUTO_TEST_CASE(a_folder_of_other_files_is_left_alone) {
  journal_folder folder;
  fs::create_directory(folder.path);
  std::ofstream{folder.path / "thesis.txt"} << "years of work";
  folder.refused(journal_errc::cannot_open);
  BOOST_TEST(std::distance(fs::directory_iterator{folder.path}, {}) == 1);
}

BOOST_AUTO_TEST_CASE(garbage_is_no_journal) {
  std::mt19937 random{1};
  for (std::size_t size : {1, 100, 4'096, 8'192, 100'000}) {
    journal_folder folder;
    fs::create_directory(folder.path);
    std::string bytes(size, '\0');
    folder.replace_content(bytes);
    folder.refused(journal_errc::cannot_open);
    for (auto& byte : bytes)
      byte = static_cast<char>(random());
    folder.replace_content(bytes);
    folder.refused(journal_errc::cannot_open);
    BOOST_TEST((folder.content() == bytes), "garbage may be somebody's treasure");
  }
}

BOOST_AUTO_TEST_CASE(the_database_of_another_program_is_left_alone) {
  journal_folder folder;
  fs::create_directory(folder.path);
  put_raw(folder.path, "addresses", "somebody", "somewhere");
  const auto before = folder.content();
  folder.refused(journal_errc::cannot_open);
  BOOST_TEST((folder.content() == before));
}

/// However much is missing at its end: an error, never a crash, and nothing is changed. A writer may accept a file that lacks
/// nothing but free pages, which can lie at the end; then every event is there.
BOOST_AUTO_TEST_CASE(a_journal_that_was_cut_is_refused) {
  journal_folder folder;
  {
    auto j = folder.open();
    fill(*j, 20'000);
  }
  const auto whole = folder.content();
  for (auto size : {whole.size() - 1, whole.size() - 4'096, whole.size() - 8'192, whole.size() - 100'000,
                    whole.size() / 2, whole.size() / 10, std::size_t{12'288}, std::size_t{8'192},
                    std::size_t{8'191}, std::size_t{4'096}, std::size_t{200}}) {
    folder.replace_content(whole.substr(0, size));
    must_fail(open_lmdb_journal_reader(folder.path), journal_errc::cannot_open);
    auto opened = open_lmdb_journal(folder.path);
    if (opened && whole.size() - size <= 100'000) {
      BOOST_TEST(read_log(**opened).size() == 20'000u);
      continue;
    }
    check_contains(must_fail(opened, journal_errc::cannot_open), folder.path.string());
    BOOST_TEST(fs::file_size(folder.data) == size);
  }
  folder.replace_content(whole);
  BOOST_TEST(read_log(*folder.open()).size() == 20'000u);
}

/// LMDB does not write the last pages if a transaction took and freed them: a file may be short and whole.
BOOST_AUTO_TEST_CASE(a_journal_that_was_emptied_does_not_begin_anew) {
  journal_folder f;
  f.open();
  fs::remove(f.path / "lock.mdb"); // as a backup that was cut short on the way
  f.replace_content("");
  const auto why = f.refused(journal_errc::cannot_open);
  check_contains(why, "data.mdb is empty");
  check_contains(why, "restore");
  check_contains(why, "remove the folder");
  BOOST_TEST(fs::file_size(f.data) == 0u);
}

BOOST_AUTO_TEST_CASE(a_journal_whose_file_is_gone_does_not_begin_anew) {
  journal_folder f;
  f.open();
  fs::remove(f.data);
  check_contains(f.refused(journal_errc::cannot_open), "has lost its data.mdb");
  BOOST_TEST(!fs::exists(f.data));
}

BOOST_AUTO_TEST_CASE(a_creation_that_was_killed_begins_again) {
  journal_folder f;
  fs::create_directories(f.path / "new"); // where the file is made
  std::ofstream{f.path / "writer.lock"} << 4'711;
  for (const auto* unfinished : {"", "half a page"}) {
    std::ofstream{f.path / "new" / "data.mdb", std::ios::trunc} << unfinished;
    std::ofstream{f.path / "new" / "lock.mdb", std::ios::trunc} << unfinished;
    BOOST_TEST(*f.open()->head() == 0u);
    fs::remove(f.data);
    fs::remove(f.path / "lock.mdb");
    fs::create_directories(f.path / "new");
  }
}

BOOST_AUTO_TEST_CASE(a_journal_that_is_short_of_free_pages_is_whole) {
  journal_folder folder;
  {
    auto j = folder.open();
    must(j->commit_and_wait(append("order-1", expected_version::none(), {happened(1)})));
  }
  auto put = [](MDB_txn* txn, MDB_dbi dbi, std::string name, std::size_t size) {
    std::string content(size, 'x');
    MDB_val key{name.size(), name.data()};
    MDB_val value{size, content.data()};
    BOOST_TEST_REQUIRE(mdb_put(txn, dbi, &key, &value, 0) == 0);
  };
  auto remove = [](MDB_txn* txn, MDB_dbi dbi, std::string name) {
    MDB_val key{name.size(), name.data()};
    BOOST_TEST_REQUIRE(mdb_del(txn, dbi, &key, nullptr) == 0);
  };
  // Free pages from transactions before, so that the last one finds some to write itself to.
  write_raw(folder.path, "cursors", [&](MDB_txn* txn, MDB_dbi dbi) {
    for (int i = 0; i < 40; ++i)
      put(txn, dbi, "old" + std::to_string(i), 3'000);
  });
  write_raw(folder.path, "cursors", [&](MDB_txn* txn, MDB_dbi dbi) {
    for (int i = 0; i < 40; ++i)
      remove(txn, dbi, "old" + std::to_string(i));
  });
  write_raw(folder.path, "cursors", [&](MDB_txn* txn, MDB_dbi dbi) { put(txn, dbi, "a", 10); });
  write_raw(folder.path, "cursors", [&](MDB_txn* txn, MDB_dbi dbi) {
    put(txn, dbi, "b", 10);
    put(txn, dbi, "c", 400'000);
    remove(txn, dbi, "c");
  });
  BOOST_TEST_REQUIRE(fs::file_size(folder.data) < 400'000u, "the pages were not written");
  check_contains(must_fail(open_lmdb_journal_reader(folder.path), journal_errc::cannot_open),
                 "open it for writing");
  BOOST_TEST(must(folder.open()->head()) == 1u);
  BOOST_TEST(must(folder.open_reader()->head()) == 1u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_written_is_refused) {
  journal_folder folder;
  folder.open().reset();
  fs::permissions(folder.dir.path(), fs::perms::owner_all | fs::perms::others_exec | fs::perms::others_read);
  fs::permissions(folder.path, fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read |
                                   fs::perms::others_exec);
  for (const auto& file : fs::directory_iterator{folder.path})
    fs::permissions(file, fs::perms::owner_read | fs::perms::others_read);
  {
    unprivileged user;
    check_contains(must_fail(open_lmdb_journal(folder.path), journal_errc::cannot_open),
                   folder.path.string());
    const auto inner = folder.path / "new";
    check_contains(must_fail(open_lmdb_journal(inner), journal_errc::cannot_open), inner.string());
  }
  fs::permissions(folder.path, fs::perms::none);
  {
    unprivileged user;
    folder.refused(journal_errc::cannot_open);
  }
  fs::permissions(folder.path, fs::perms::owner_all);
  for (const auto& file : fs::directory_iterator{folder.path})
    fs::permissions(file, fs::perms::owner_all);
  folder.open().reset();
}

// -- journals that are not the expected ones ------------------------------------------------------

BOOST_AUTO_TEST_CASE(another_format_version_is_refused) {
  journal_folder folder;
  folder.open().reset();
  put_raw(folder.path, "meta", "format_version", "99");
  check_contains(folder.refused(journal_errc::wrong_format), "99");
}

BOOST_AUTO_TEST_CASE(another_journal_is_refused) {
  journal_folder folder;
  lmdb_options options;
  options.service = "billing";
  options.expected_id = uuid::random();
  const auto id = options.expected_id;
  BOOST_TEST(folder.open(options)->info().id == id);
  options.expected_id = uuid::random();
  auto message = must_fail(open_lmdb_journal(folder.path, options), journal_errc::wrong_journal);
  check_contains(message, folder.path.string());
  check_contains(message, to_string(id));
  check_contains(message, to_string(options.expected_id));
  options.expected_id = id;
  options.service = "another";
  auto j = folder.open(options);
  BOOST_TEST(j->info().service == "billing", "written when the journal was created");
}

// -- one writer -----------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_journal_is_open_once_in_a_process) {
  journal_folder folder;
  auto j = folder.open();
  const auto pid = std::to_string(::getpid());
  check_contains(folder.refused(journal_errc::locked), pid);
  const auto link = folder.dir.path() / "link";
  fs::create_directory_symlink(folder.path, link);
  must_fail(open_lmdb_journal(link), journal_errc::locked);
  must_fail(open_lmdb_journal(folder.path / ".." / "journal"), journal_errc::locked);
  j->close();
  auto again = folder.open();
  j.reset();
  folder.refused(journal_errc::locked);
  again.reset();
  auto reader = folder.open_reader();
  must_fail(open_lmdb_journal(folder.path), journal_errc::locked);
  reader.reset();
  folder.open().reset();
}

BOOST_AUTO_TEST_CASE(another_process_that_writes_is_named) {
  journal_folder folder;
  child_process writer{[&](channel& parent) {
    auto j = open_lmdb_journal(folder.path);
    parent.say(j ? 'o' : 'f');
    parent.hear();
    return 0;
  }};
  BOOST_TEST_REQUIRE(writer.hear() == 'o');
  auto message = must_fail(open_lmdb_journal(folder.path), journal_errc::locked);
  check_contains(message, folder.path.string());
  check_contains(message, std::to_string(writer.pid()));
  BOOST_TEST(must(folder.open_reader()->head()) == 0u, "a reader may open what another process writes");
  writer.kill();
  folder.open().reset();
}

BOOST_AUTO_TEST_CASE(a_reader_follows_another_process) {
  constexpr std::size_t rounds = 50;
  constexpr std::size_t events = 2'000; // a round; together more than the index keeps in memory
  journal_folder folder;
  child_process writer{[&](channel& parent) {
    auto j = *open_lmdb_journal(folder.path);
    parent.say('o');
    log_position cursor = 0;
    while (parent.hear() == 'w') {
      commit c;
      for (std::size_t stream = 0; stream < 20; ++stream)
        c.appends.push_back(
            {sid("s-" + std::to_string(stream)), expected_version::any(), happened_many(events / 20)});
      if (!j->commit_and_wait(std::move(c)))
        return 1;
      auto moved = j->commit_and_wait(move_cursor("mail", cursor, cursor + 1));
      j->save_snapshot(sid("s-0"), {++cursor, 1, "t", 1, "state"});
      j->flush_snapshots();
      if (!moved)
        return 1;
      parent.say('d');
    }
    return 0;
  }};
  BOOST_TEST_REQUIRE(writer.hear() == 'o');
  auto reader = folder.open_reader();
  log_position next = 1;
  stream_cursor where{sid("s-7")};
  event_page page;
  for (std::size_t round = 1; round <= rounds; ++round) {
    writer.say('w');
    BOOST_TEST_REQUIRE(writer.hear() == 'd');
    BOOST_TEST_REQUIRE(must(reader->head()) == round * events);
    std::size_t seen = 0;
    while (next <= round * events) {
      must_pass(reader->read_log(next, page));
      seen += page.size();
    }
    BOOST_TEST_REQUIRE(seen == events);
    std::size_t in_stream = 0;
    do {
      must_pass(reader->read_stream(where, page));
      in_stream += page.size();
    } while (!page.empty());
    BOOST_TEST_REQUIRE(in_stream == events / 20);
    BOOST_TEST_REQUIRE(must(reader->head_of(sid("s-19"))).version == round * events / 20);
    BOOST_TEST_REQUIRE(must(reader->load_cursor("mail")) == round);
    BOOST_TEST_REQUIRE(must(reader->load_snapshot(sid("s-0"), "t"))->version == round);
  }
  std::string token;
  BOOST_TEST(must(reader->list_streams(token)).size() == 20u);
  BOOST_TEST(must(reader->event_types()).size() == 1u);
  BOOST_TEST(read_stream(*reader, sid("s-3")).size() == rounds * events / 20);
  writer.say('e');
  BOOST_TEST(writer.wait() == 0);
}

/// A reader that was killed in the middle of its work must not keep the writer from using pages again for
/// ever.
BOOST_AUTO_TEST_CASE(dead_readers_are_cleared) {
  journal_folder folder;
  folder.open().reset();
  // LMDB's own view of its readers; the environment must not be open in this process.
  auto has_reader = [&](pid_t pid) {
    child_process observer{[&](channel&) {
      MDB_env* env = nullptr;
      mdb_env_create(&env);
      mdb_env_set_mapsize(env, 1u << 20); // ThreadSanitizer leaves no room for a second map of the usual size
      if (mdb_env_open(env, folder.path.c_str(), MDB_RDONLY, 0644) != 0)
        return 2;
      std::string table;
      mdb_reader_list(
          env,
          [](const char* line, void* all) {
            *static_cast<std::string*>(all) += line;
            return 0;
          },
          &table);
      return table.find(std::to_string(pid) + " ") != std::string::npos ? 1 : 0;
    }};
    const auto answer = observer.wait();
    BOOST_TEST_REQUIRE(answer != 2);
    return answer == 1;
  };
  child_process reader{[&](channel& parent) {
    auto j = *open_lmdb_journal_reader(folder.path);
    parent.say(j->head() ? 'r' : 'f');
    parent.hear();
    return 0;
  }};
  BOOST_TEST_REQUIRE(reader.hear() == 'r');
  BOOST_TEST_REQUIRE(has_reader(reader.pid()));
  lmdb_options options;
  options.max_group_events = 1;
  // Thousands of transactions: without waiting for the disk.
  auto j = must(internal::open_lmdb_journal(folder.path, options, [](MDB_txn* txn) {
    mdb_env_set_flags(mdb_txn_env(txn), MDB_NOSYNC, 1);
    return mdb_txn_commit(txn);
  }));
  reader.kill();
  BOOST_TEST_REQUIRE(has_reader(reader.pid()), "nobody clears it at once");
  // The writer does, time and again while it writes.
  auto answers = std::make_shared<recorder>();
  bool there = true;
  for (std::size_t round = 1; there && round <= 20; ++round) {
    for (std::size_t i = 0; i < 1'000; ++i)
      BOOST_TEST_REQUIRE(submit(*j, append("s-1", expected_version::any(), {happened(0)}), answers, i));
    BOOST_TEST_REQUIRE(answers->wait_for(round * 1'000));
    there = has_reader(reader.pid());
  }
  BOOST_TEST(!there);
}

// -- damage ---------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_damaged_record_is_named_and_stops_its_stream_alone) {
  journal_folder folder;
  {
    auto j = folder.open();
    for (int i = 1; i <= 5; ++i) {
      must(j->commit_and_wait(
          append("order-1", expected_version::any(), {happened(i, "payload number " + std::to_string(i))})));
      must(j->commit_and_wait(append("order-2", expected_version::any(), {happened(i)})));
    }
  }
  BOOST_TEST_REQUIRE(folder.damage("payload number 3") >= 1u); // order-1, version 3, position 5
  auto check = [&](journal_reader& j) {
    event_page page;
    log_position next = 1;
    for (int reads = 0; next < 5 && reads < 5; ++reads)
      must_pass(j.read_log(next, page));
    BOOST_TEST_REQUIRE(next == 5u);
    auto message = must_fail(j.read_log(next, page), journal_errc::corrupt);
    for (auto part : {"position 5", "order-1", "version 3", "eventcore.test.Happened", "checksum"})
      check_contains(message, part);
    BOOST_TEST(page.empty());
    BOOST_TEST(next == 5u);
    BOOST_TEST(read_log(j, 6).size() == 5u);

    stream_cursor where{sid("order-1")};
    must_pass(j.read_stream(where, page));
    BOOST_TEST(page.size() == 2u);
    BOOST_TEST(where.next == 3u);
    check_contains(must_fail(j.read_stream(where, page), journal_errc::corrupt), "position 5");
    BOOST_TEST(page.empty());
    BOOST_TEST(where.next == 3u);
    where = {where.stream, where.next + 1, where.damaged_at};
    must_pass(j.read_stream(where, page));
    BOOST_TEST_REQUIRE(page.size() == 2u);
    BOOST_TEST(page.events()[0].version == 4u);
    must_fail(j.read_log(next = 5, page, {{"order"}, {}}), journal_errc::corrupt);
    BOOST_TEST(numbers(read_stream(j, sid("order-2"))) == (std::vector<std::int64_t>{1, 2, 3, 4, 5}),
               boost::test_tools::per_element());
    BOOST_TEST(must(j.head_of(sid("order-1"))).version == 5u);
  };
  check(*folder.open_reader());
  auto j = folder.open();
  check(*j);
  must(j->commit_and_wait(append("order-2", expected_version::exact(5), {happened(6)})));
  must(j->commit_and_wait(append("order-1", expected_version::exact(5), {happened(6)})));
}

/// With its last record damaged a stream's version is not known: it is not written, whatever is expected.
BOOST_AUTO_TEST_CASE(a_stream_whose_end_is_damaged_is_not_written) {
  journal_folder folder;
  {
    auto j = folder.open();
    must(j->commit_and_wait(append("order-2", expected_version::none(), {happened(1)})));
    must(j->commit_and_wait(append("order-1", expected_version::none(), {happened(1, "the first payload")})));
    must(j->commit_and_wait(append("order-1", expected_version::any(), {happened(2, "the last payload")})));
  }
  BOOST_TEST_REQUIRE(folder.damage("the last payload") >= 1u);
  auto j = folder.open();
  check_contains(must_fail(j->head_of(sid("order-1")), journal_errc::corrupt), "order-1");
  for (auto expected : {expected_version::any(), expected_version::none(), expected_version::exact(1),
                        expected_version::exact(2)})
    check_contains(
        must_fail(j->commit_and_wait(append("order-1", expected, {happened(3)})), journal_errc::corrupt),
        "position 3");
  must(j->commit_and_wait(append("order-2", expected_version::exact(1), {happened(2)})));
  must(j->commit_and_wait(append("order-3", expected_version::none(), {happened(3)})));
  BOOST_TEST(must(j->head()) == 5u);
}

// -- snapshots ------------------------------------------------------------------------------------

snapshot saved(stream_version version, std::string state = "state") {
  return {version, version, "t", 1, std::move(state)};
}

/// A journal with an event, and two snapshots of stream a-1: "the first state" and "the last state".
struct folder_with_snapshots : journal_folder {
  fs::path snapshots = path / "snapshots";

  folder_with_snapshots() {
    auto j = open();
    must(j->commit_and_wait(append("a-1", expected_version::none(), {happened(1)})));
    j->save_snapshot(sid("a-1"), saved(1, "the first state"));
    j->save_snapshot(sid("a-1"), saved(2, "the last state"));
  }

  /// The version of the snapshot that is found; 0 if there is none.
  static stream_version found(journal_reader& j) {
    auto s = must(j.load_snapshot(sid("a-1"), "t"));
    return s ? s->version : 0;
  }

  /// The journal and its reader find no snapshot, the event is there, and a new snapshot is kept.
  void check_made_anew() const {
    BOOST_TEST(found(*open_reader()) == 0u);
    {
      auto j = open();
      BOOST_TEST(found(*j) == 0u);
      BOOST_TEST(must(j->head()) == 1u);
      j->save_snapshot(sid("a-1"), saved(3));
      j->flush_snapshots();
      BOOST_TEST(j->stats().snapshots_written == 1u);
    }
    BOOST_TEST(found(*open()) == 3u);
    BOOST_TEST(found(*open_reader()) == 3u);
  }

  std::size_t damage_state(const std::string& state) const {
    journal_folder inner;
    inner.data = snapshots / "data.mdb";
    return inner.damage(state);
  }
};

BOOST_AUTO_TEST_CASE(snapshots_survive) {
  folder_with_snapshots folder;
  BOOST_TEST(folder.found(*folder.open_reader()) == 2u);
  BOOST_TEST(folder.found(*folder.open()) == 2u);
  BOOST_TEST(must(folder.open()->load_snapshot(sid("a-1"), "t", 1))->state == "the first state");
}

BOOST_AUTO_TEST_CASE(the_snapshots_folder_may_be_deleted) {
  folder_with_snapshots folder;
  fs::remove_all(folder.snapshots);
  folder.check_made_anew();
}

BOOST_AUTO_TEST_CASE(snapshots_without_their_journal_are_left_alone) {
  folder_with_snapshots folder;
  fs::remove(folder.data);
  fs::remove(folder.path / "lock.mdb");
  check_contains(folder.refused(journal_errc::cannot_open), "no journal");
  BOOST_TEST(fs::exists(folder.snapshots / "data.mdb"));
}

BOOST_AUTO_TEST_CASE(garbage_instead_of_snapshots_is_removed) {
  for (const std::string garbage : {"", "x", "garbage"}) {
    folder_with_snapshots folder;
    std::ofstream{folder.snapshots / "data.mdb", std::ios::trunc} << std::string(garbage.size() * 5'000, 'x');
    folder.check_made_anew();
  }
}

BOOST_AUTO_TEST_CASE(a_snapshots_file_that_was_cut_is_removed) {
  folder_with_snapshots folder;
  {
    auto j = folder.open();
    j->save_snapshot(sid("a-2"), saved(1, std::string(100'000, 's')));
  }
  fs::resize_file(folder.snapshots / "data.mdb", 3 * 4'096);
  folder.check_made_anew();
}

BOOST_AUTO_TEST_CASE(foreign_tables_instead_of_snapshots_are_removed) {
  folder_with_snapshots folder;
  fs::remove_all(folder.snapshots);
  fs::create_directory(folder.snapshots);
  put_raw(folder.snapshots, "foreign", "name", "text");
  folder.check_made_anew();
}

BOOST_AUTO_TEST_CASE(snapshots_of_another_journal_are_discarded) {
  folder_with_snapshots folder;
  folder_with_snapshots other;
  fs::remove_all(folder.snapshots);
  fs::copy(other.snapshots, folder.snapshots);
  folder.check_made_anew();
}

BOOST_AUTO_TEST_CASE(snapshots_of_another_incarnation_are_discarded) {
  folder_with_snapshots folder;
  put_raw(folder.path, "meta", "incarnation", to_string(uuid::random()));
  folder.check_made_anew();
}

BOOST_AUTO_TEST_CASE(a_damaged_snapshot_is_passed_over) {
  folder_with_snapshots folder;
  BOOST_TEST_REQUIRE(folder.damage_state("the last state") >= 1u);
  {
    auto j = folder.open();
    BOOST_TEST(folder.found(*j) == 1u);
    BOOST_TEST(j->stats().snapshots_damaged == 1u);
  }
  BOOST_TEST(folder.found(*folder.open_reader()) == 1u);
  BOOST_TEST_REQUIRE(folder.damage_state("the first state") >= 1u);
  BOOST_TEST(folder.found(*folder.open()) == 0u);
}

BOOST_AUTO_TEST_CASE(without_a_place_snapshots_are_dropped) {
  folder_with_snapshots folder;
  fs::remove_all(folder.snapshots);
  std::ofstream{folder.snapshots} << "a file where the folder should be";
  auto j = folder.open();
  j->save_snapshot(sid("a-1"), saved(3));
  BOOST_TEST(folder.found(*j) == 3u, "it is queued");
  j->flush_snapshots();
  BOOST_TEST(folder.found(*j) == 0u);
  BOOST_TEST(j->stats().snapshots_dropped == 1u);
  must(j->commit_and_wait(append("a-1", expected_version::exact(1), {happened(2)})));
  // As soon as there is a place, they are written again.
  fs::remove(folder.snapshots);
  j->save_snapshot(sid("a-1"), saved(4));
  j->flush_snapshots();
  BOOST_TEST(j->stats().snapshots_written == 1u);
  BOOST_TEST(folder.found(*j) == 4u);
}

BOOST_AUTO_TEST_CASE(snapshots_leave_the_disk_its_reserve) {
  folder_with_snapshots folder;
  lmdb_options options;
  options.reserve_disk_bytes = ~std::size_t{0};
  auto j = folder.open(options);
  j->save_snapshot(sid("a-1"), saved(3));
  j->flush_snapshots();
  BOOST_TEST(j->stats().snapshots_dropped == 1u);
  BOOST_TEST(folder.found(*j) == 2u);
}

BOOST_AUTO_TEST_CASE(snapshots_that_find_the_file_full_are_dropped) {
  journal_folder folder;
  lmdb_options options;
  options.snapshot_map_bytes = 1u << 20;
  auto j = folder.open(options);
  j->save_snapshot(sid("a-1"), saved(1));
  j->flush_snapshots();
  j->save_snapshot(sid("a-1"), saved(2, std::string(2u << 20, 's')));
  j->flush_snapshots();
  BOOST_TEST(j->stats().snapshots_dropped == 1u);
  j->save_snapshot(sid("a-1"), saved(3));
  j->flush_snapshots();
  BOOST_TEST(j->stats().snapshots_written == 2u);
  BOOST_TEST(must(j->load_snapshot(sid("a-1"), "t", 2))->version == 1u);
  BOOST_TEST(must(j->load_snapshot(sid("a-1"), "t"))->version == 3u);
}

BOOST_AUTO_TEST_CASE(the_snapshots_queue_is_bounded) {
  journal_folder folder;
  lmdb_options options;
  options.writer = writer_mode::stepped;
  auto j = folder.open(options);
  for (stream_version version = 1; version <= 5; ++version)
    j->save_snapshot(sid("a-1"), saved(version, std::string(15u << 20, 's')));
  BOOST_TEST(j->stats().snapshots_dropped == 1u);
  BOOST_TEST(j->stats().snapshots_written == 0u);
  BOOST_TEST(j->step() == 0u);
  BOOST_TEST(j->stats().snapshots_written == 4u);
  BOOST_TEST(must(j->load_snapshot(sid("a-1"), "t"))->version == 4u);
}

// -- failures of the disk -------------------------------------------------------------------------

/// Commits of LMDB that can be made to fail, before or after their work.
struct failing_commits {
  int code = 0;
  bool after_all = false;

  int operator()(MDB_txn* txn) {
    if (code == 0 || after_all)
      if (auto failed = mdb_txn_commit(txn))
        return failed;
    if (code != 0 && !after_all)
      mdb_txn_abort(txn);
    return std::exchange(code, 0);
  }
};

struct failing_journal : journal_folder {
  failing_commits commits;
  std::unique_ptr<journal> j =
      must(internal::open_lmdb_journal(path, {}, [this](MDB_txn* txn) { return commits(txn); }));
};

BOOST_AUTO_TEST_CASE(after_a_failed_commit_the_outcome_is_unknown) {
  failing_journal f;
  must(f.j->commit_and_wait(append("order-1", expected_version::none(), {happened(1)})));

  f.commits = {EIO, false};
  check_contains(must_fail(f.j->commit_and_wait(append("order-1", expected_version::exact(1), {happened(2)})),
                           journal_errc::outcome_unknown),
                 f.path.string());
  BOOST_TEST(must(f.j->head_of(sid("order-1"))).version == 1u);
  must(f.j->commit_and_wait(append("order-1", expected_version::exact(1), {happened(3)})));

  // The sync fails, but all is on disk.
  f.commits = {EIO, true};
  must_fail(f.j->commit_and_wait(append("order-1", expected_version::exact(2), {happened(4)})),
            journal_errc::outcome_unknown);
  BOOST_TEST(must(f.j->head_of(sid("order-1"))).version == 3u);
  must_fail(f.j->commit_and_wait(append("order-1", expected_version::exact(2), {happened(5)})),
            journal_errc::conflict);
  must(f.j->commit_and_wait(append("order-1", expected_version::exact(3), {happened(6)})));
  BOOST_TEST(numbers(read_stream(*f.j, sid("order-1"))) == (std::vector<std::int64_t>{1, 3, 4, 6}),
             boost::test_tools::per_element());
  BOOST_TEST(f.j->stats().failures == 2u);
}

BOOST_AUTO_TEST_CASE(a_full_disk_changes_nothing) {
  failing_journal f;
  must(f.j->commit_and_wait(append("order-1", expected_version::none(), {happened(1)})));
  f.commits = {ENOSPC, false};
  must_fail(f.j->commit_and_wait(append("order-1", expected_version::exact(1), {happened(2)})),
            journal_errc::disk_full);
  must(f.j->commit_and_wait(append("order-1", expected_version::exact(1), {happened(3)})));
  BOOST_TEST(read_log(*f.j).size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_reserve_of_the_disk_is_kept) {
  journal_folder folder;
  {
    auto j = folder.open();
    must(j->commit_and_wait(append("order-1", expected_version::none(), {happened(1)})));
  }
  lmdb_options options;
  options.reserve_disk_bytes = std::size_t{1} << 60;
  auto j = folder.open(options);
  check_contains(must_fail(j->commit_and_wait(append("order-1", expected_version::any(), {happened(2)})),
                           journal_errc::disk_full),
                 folder.path.string());
  BOOST_TEST(read_stream(*j, sid("order-1")).size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_full_map_refuses_and_goes_on_in_a_larger_one) {
  journal_folder folder;
  lmdb_options options;
  options.map_bytes = 2u << 20;
  stream_version written = 0;
  {
    auto j = folder.open(options);
    for (bool full = false; !full; ++written) {
      auto outcome = j->commit_and_wait(
          append("order-1", expected_version::exact(written), {happened(0, std::string(50'000, 'x'))}));
      if (!outcome) {
        must_fail(outcome, journal_errc::disk_full);
        break;
      }
      BOOST_TEST_REQUIRE(written < 100u);
    }
    BOOST_TEST(written > 5u);
    BOOST_TEST(read_stream(*j, sid("order-1")).size() == written);
    BOOST_TEST(j->commit_and_wait(append("order-1", expected_version::exact(written + 1), {happened(0)}))
                   .has_value() == false);
  }
  auto j = folder.open();
  BOOST_TEST(read_stream(*j, sid("order-1")).size() == written);
  must(j->commit_and_wait(append("order-1", expected_version::exact(written), {happened(0)})));
}

// -- the index ------------------------------------------------------------------------------------

/// So many events that runs of the index are merged, with reopenings at any moment of a merge.
BOOST_AUTO_TEST_CASE(streams_are_found_while_the_index_is_merged) {
  constexpr std::size_t streams = 3'000;
  constexpr std::size_t commits = 450;
  constexpr std::size_t events = 1'600; // a commit: 720,000 in all
  journal_folder folder;
  auto j = folder.open();
  std::vector<std::vector<log_position>> model(streams);
  std::mt19937 random{17};
  auto check_some = [&](std::size_t count) {
    for (std::size_t k = 0; k < count; ++k) {
      const auto i = random() % streams;
      const auto stream = sid("s-" + std::to_string(i));
      auto head = must(j->head_of(stream));
      BOOST_TEST_REQUIRE(head.version == model[i].size());
      BOOST_TEST_REQUIRE(head.position == (model[i].empty() ? 0 : model[i].back()));
      const auto from = model[i].empty() ? 1 : 1 + random() % model[i].size();
      auto found = read_stream(*j, stream, from);
      BOOST_TEST_REQUIRE(found.size() == model[i].size() - (from - 1));
      for (std::size_t e = 0; e < found.size(); ++e)
        BOOST_TEST_REQUIRE(found[e].position == model[i][from - 1 + e]);
    }
  };
  log_position position = 0;
  for (std::size_t n = 1; n <= commits; ++n) {
    commit c;
    std::map<std::size_t, std::size_t> counts;
    for (std::size_t e = 0; e < events; ++e)
      ++counts[random() % 2 == 0 ? random() % 10 : random() % streams];
    for (auto [i, count] : counts) {
      c.appends.push_back(
          {sid("s-" + std::to_string(i)), expected_version::exact(model[i].size()), happened_many(count)});
      for (std::size_t e = 0; e < count; ++e)
        model[i].push_back(++position);
    }
    must(j->commit_and_wait(std::move(c)));
    if (n % 10 == 0)
      check_some(3);
    if (n % 47 == 0) {
      j.reset();
      j = folder.open();
      check_some(20);
    }
  }
  check_some(500);
  std::set<std::string> names;
  std::string token;
  for (auto page = must(j->list_streams(token)); !page.empty(); page = must(j->list_streams(token)))
    for (const auto& head : page) {
      BOOST_TEST_REQUIRE(names.insert(head.stream).second);
      BOOST_TEST_REQUIRE(head.version == model[std::stoul(head.stream.substr(2))].size());
    }
  BOOST_TEST(names.size() == std::ranges::count_if(model, [](auto& s) { return !s.empty(); }));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace eventcore::test
