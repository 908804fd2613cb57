#include "support/journal_conformance_cases.hpp"
#include "support/journal_helpers.hpp"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>

#include <map>
#include <thread>

namespace eventcore::test {

namespace {

// -- what else the journal knows ------------------------------------------------------------------

void every_stream_is_listed_once(const case_setup& setup) {
  constexpr std::size_t streams = 5'000;
  auto j = setup.open();
  auto answers = std::make_shared<recorder>();
  for (std::size_t i = 0; i < streams; ++i) {
    const auto name = "s" + std::to_string(i % 10) + "-" + std::to_string(i);
    BOOST_TEST_REQUIRE(submit(*j, append(name, none, happened_many(1 + i % 3)), answers, i));
  }
  BOOST_TEST_REQUIRE(answers->wait_for(streams));
  auto got = answers->take();
  wait_for_head(setup, *j, got.back().outcome->last);
  for (std::size_t limit : {97, 1'000, 10'000}) {
    auto found = list_all(*j, limit);
    BOOST_TEST_REQUIRE(found.size() == streams);
    for (std::size_t i = 0; i < streams; ++i) {
      const auto name = "s" + std::to_string(i % 10) + "-" + std::to_string(i);
      BOOST_TEST_REQUIRE(found.contains(name));
      BOOST_TEST_REQUIRE(found[name].version == 1 + i % 3);
      BOOST_TEST_REQUIRE(found[name].position == got[i].outcome->last);
    }
  }
}

void a_journal_describes_its_types(const case_setup& setup) {
  namespace pb = google::protobuf;
  auto j = setup.open();
  Detailed detailed;
  detailed.mutable_details()->set_note("see below");
  detailed.mutable_details()->add_codes(42);
  must(j->commit_and_wait(append("order-1", any, {happened(1), happened(2)})));
  must(j->commit_and_wait(
      append("order-1", any, {{Detailed::descriptor(), detailed.SerializeAsString(), 1}})));
  must_fail(j->commit_and_wait(append("order-1", none, {other()})), journal_errc::conflict);
  wait_for_head(setup, *j, 3);

  auto types = must(j->event_types());
  BOOST_TEST_REQUIRE(types.size() == 2u, "ordered by name, without the type that was never written");
  BOOST_TEST(types[0].name == "eventcore.test.Detailed");
  BOOST_TEST(types[0].first_position == 3u);
  BOOST_TEST(types[1].name == "eventcore.test.Happened");
  BOOST_TEST(types[1].first_position == 1u);

  pb::FileDescriptorSet files;
  BOOST_TEST_REQUIRE(files.ParseFromString(types[0].descriptors));
  BOOST_TEST(files.file_size() == 2);
  pb::DescriptorPool pool;
  for (const auto& file : files.file())
    BOOST_TEST_REQUIRE(pool.BuildFile(file) != nullptr, "dependencies come first");
  const auto* type = pool.FindMessageTypeByName(types[0].name);
  BOOST_TEST_REQUIRE(type != nullptr);
  pb::DynamicMessageFactory factory;
  std::unique_ptr<pb::Message> message{factory.GetPrototype(type)->New()};
  BOOST_TEST(message->ParseFromString(read_stream(*j, sid("order-1"), 3).at(0).payload));
  BOOST_TEST(message->ShortDebugString() == detailed.ShortDebugString());
}

/// A program that changed a type without a new name: both forms are kept, each with the position where it
/// began.
void all_forms_of_a_type_are_kept(const case_setup& setup) {
  namespace pb = google::protobuf;
  auto make_pool = [](std::string_view field) {
    pb::FileDescriptorProto file;
    file.set_name("shop.proto");
    file.set_package("shop");
    file.set_syntax("proto3");
    auto* added = file.add_message_type();
    added->set_name("Added");
    auto* number = added->add_field();
    number->set_name(std::string{field});
    number->set_number(1);
    number->set_type(pb::FieldDescriptorProto::TYPE_INT64);
    number->set_label(pb::FieldDescriptorProto::LABEL_OPTIONAL);
    auto pool = std::make_unique<pb::DescriptorPool>();
    pool->BuildFile(file);
    return pool;
  };
  const auto old_pool = make_pool("count");
  const auto new_pool = make_pool("quantity");
  const auto* old_form = old_pool->FindMessageTypeByName("shop.Added");
  const auto* new_form = new_pool->FindMessageTypeByName("shop.Added");
  auto j = setup.open();
  for (const auto* form : {old_form, old_form, new_form, old_form, new_form})
    must(j->commit_and_wait(append("cart-1", any, {{form, "\x08\x01", 1}})));
  wait_for_head(setup, *j, 5);
  auto types = must(j->event_types());
  BOOST_TEST_REQUIRE(types.size() == 2u);
  BOOST_TEST(types[0].name == "shop.Added");
  BOOST_TEST(types[0].first_position == 1u);
  check_contains(types[0].descriptors, "count");
  BOOST_TEST(types[1].name == "shop.Added");
  BOOST_TEST(types[1].first_position == 3u);
  check_contains(types[1].descriptors, "quantity");
  j->close();
}

void check_snapshot(journal_reader& j, std::string_view stream, const std::string& type, stream_version up_to,
                    const std::optional<snapshot>& expected) {
  auto found = must(j.load_snapshot(sid(stream), type, up_to));
  BOOST_TEST_REQUIRE(found.has_value() == expected.has_value());
  if (!found)
    return;
  BOOST_TEST(found->version == expected->version);
  BOOST_TEST(found->position == expected->position);
  BOOST_TEST(found->type == expected->type);
  BOOST_TEST(found->type_version == expected->type_version);
  BOOST_TEST((found->state == expected->state));
}

/// Calls `check(journal)` while the snapshots that `save(journal)` saved are queued, when they are written, and after the
/// journal was opened again.
template <class Save, class Check>
void check_snapshots(const case_setup& setup, Save save, Check check) {
  auto j = setup.open_stepped();
  save(*j);
  check(*j);
  j->flush_snapshots();
  check(*j);
  if (!setup.persistent())
    return;
  j.reset();
  check(*setup.open());
}

constexpr stream_version newest = ~stream_version{0};

void snapshots_are_found_by_version(const case_setup& setup) {
  const auto ten = saved(10, "account", "state at ten");
  const auto twenty = saved(20, "account", std::string(100'000, '\0'));
  check_snapshots(
      setup,
      [&](journal& j) {
        j.save_snapshot(sid("account-1"), twenty);
        j.save_snapshot(sid("account-1"), ten);
      },
      [&](journal& j) {
        check_snapshot(j, "account-1", "account", newest, twenty);
        check_snapshot(j, "account-1", "account", 20, twenty);
        check_snapshot(j, "account-1", "account", 19, ten);
        check_snapshot(j, "account-1", "account", 10, ten);
        check_snapshot(j, "account-1", "account", 9, std::nullopt);
        BOOST_TEST(must(j.head()) == 0u);
      });
}

void snapshots_of_other_streams_and_types_are_apart(const case_setup& setup) {
  const std::string long_name(255, 'n');
  const std::string long_type(255, 't');
  check_snapshots(
      setup,
      [&](journal& j) {
        j.save_snapshot(sid("a-1"), saved(5, "x"), 1);
        j.save_snapshot(sid("a-1"), saved(6, "y"), 1);
        j.save_snapshot(sid("a-12"), saved(7, "x"), 1);
        j.save_snapshot(sid(long_name), saved(8, long_type), 1);
      },
      [&](journal& j) {
        check_snapshot(j, "a-1", "x", newest, saved(5, "x"));
        check_snapshot(j, "a-1", "y", newest, saved(6, "y"));
        check_snapshot(j, "a-12", "x", newest, saved(7, "x"));
        check_snapshot(j, long_name, long_type, newest, saved(8, long_type));
        check_snapshot(j, "a", "x", newest, std::nullopt);
        check_snapshot(j, "a-2", "x", newest, std::nullopt);
        check_snapshot(j, "a-1", "z", newest, std::nullopt);
        check_snapshot(j, "a-1", "", newest, std::nullopt);
        check_snapshot(j, "a-12", "y", newest, std::nullopt);
        check_snapshot(j, long_name, long_type + "t", newest, std::nullopt);
      });
}

void only_the_newest_snapshots_are_kept(const case_setup& setup) {
  auto j = setup.open();
  for (stream_version version = 1; version <= 5; ++version) {
    j->save_snapshot(sid("a-1"), saved(version, "t"));
    j->save_snapshot(sid("a-1"), saved(version, "all"), 100);
    j->save_snapshot(sid("a-2"), saved(version, "t"), 0);
    if (version == 2)
      j->flush_snapshots();
  }
  j->flush_snapshots();
  check_snapshot(*j, "a-1", "t", newest, saved(5, "t"));
  check_snapshot(*j, "a-1", "t", 4, saved(4, "t"));
  check_snapshot(*j, "a-1", "t", 3, std::nullopt);
  for (stream_version version = 1; version <= 5; ++version)
    check_snapshot(*j, "a-1", "all", version, saved(version, "all"));
  check_snapshot(*j, "a-2", "t", newest, saved(5, "t"));
  check_snapshot(*j, "a-2", "t", 4, std::nullopt);
  j->save_snapshot(sid("a-1"), saved(1, "t"));
  j->flush_snapshots();
  check_snapshot(*j, "a-1", "t", 3, std::nullopt);
}

void a_snapshot_of_the_same_version_is_replaced(const case_setup& setup) {
  const auto old = saved(10, "t", "old");
  const auto twenty = saved(20, "t");
  snapshot changed{10, 4, "t", 9, ""};
  for (const bool written : {false, true}) {
    auto j = setup.open();
    j->save_snapshot(sid("a-1"), old);
    j->save_snapshot(sid("a-1"), twenty);
    if (written)
      j->flush_snapshots();
    j->save_snapshot(sid("a-1"), changed);
    check_snapshot(*j, "a-1", "t", 19, changed);
    j->flush_snapshots();
    check_snapshot(*j, "a-1", "t", 19, changed);
    check_snapshot(*j, "a-1", "t", newest, twenty);
  }
}

void snapshots_are_counted(const case_setup& setup) {
  constexpr std::size_t most = 16u << 20;
  auto j = setup.open();
  j->flush_snapshots();
  j->save_snapshot(sid("a-1"), saved(1, "t", std::string(most, 's')));
  j->save_snapshot(sid("a-1"), saved(2, "t", std::string(most + 1, 's')));
  j->save_snapshot(sid("a-1"), saved(3, ""));
  j->save_snapshot(sid("a-1"), saved(4, std::string(256, 't')));
  j->flush_snapshots();
  check_snapshot(*j, "a-1", "t", newest, saved(1, "t", std::string(most, 's')));
  BOOST_TEST(j->stats().snapshots_written == 1u);
  BOOST_TEST(j->stats().snapshots_dropped == 3u);
  BOOST_TEST(j->stats().snapshots_damaged == 0u);
  BOOST_TEST(j->stats().transactions == 0u, "snapshots stay out of the commits' transactions");
  j->save_snapshot(sid("a-1"), saved(5, "t"));
  j->close();
  BOOST_TEST(j->stats().snapshots_written == 2u, "closing writes what is queued");
}

void snapshots_are_saved_and_loaded_by_many_threads(const case_setup& setup) {
  constexpr stream_version rounds = 500;
  auto j = setup.open();
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i)
      threads.emplace_back([&, stream = "a-" + std::to_string(i)] {
        for (stream_version version = 1; version <= rounds; ++version) {
          j->save_snapshot(sid(stream), saved(version, "t"));
          auto found = j->load_snapshot(sid(stream), "t");
          if (!found || !*found || (*found)->version != version)
            throw std::runtime_error{"a snapshot that was saved is not found"};
          if (version % 100 == 0)
            j->flush_snapshots();
        }
      });
  }
  j->flush_snapshots();
  BOOST_TEST(j->stats().snapshots_dropped == 0u);
  for (int i = 0; i < 3; ++i)
    check_snapshot(*j, "a-" + std::to_string(i), "t", newest, saved(rounds, "t"));
}

} // namespace

std::vector<conformance_case> content_cases() {
  return {
      {"every_stream_is_listed_once", every_stream_is_listed_once},
      {"a_journal_describes_its_types", a_journal_describes_its_types},
      {"all_forms_of_a_type_are_kept", all_forms_of_a_type_are_kept},
      {"snapshots_are_found_by_version", snapshots_are_found_by_version},
      {"snapshots_of_other_streams_and_types_are_apart", snapshots_of_other_streams_and_types_are_apart},
      {"only_the_newest_snapshots_are_kept", only_the_newest_snapshots_are_kept},
      {"a_snapshot_of_the_same_version_is_replaced", a_snapshot_of_the_same_version_is_replaced},
      {"snapshots_are_counted", snapshots_are_counted},
      {"snapshots_are_saved_and_loaded_by_many_threads", snapshots_are_saved_and_loaded_by_many_threads},
  };
}

} // namespace eventcore::test
