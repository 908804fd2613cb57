#include <support/journal_helpers.hpp>

#include <eventcore/persistence/event_decoder.hpp>
#include <eventcore/persistence/memory_journal.hpp>

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>

using namespace eventcore;
using namespace eventcore::test;

namespace {

/// `shop.Placed` with these fields of type string, as one version of a program knows it.
class program_version {
public:
  explicit program_version(const std::vector<std::string>& fields) {
    google::protobuf::FileDescriptorProto file;
    file.set_name("shop.proto");
    file.set_package("shop");
    file.set_syntax("proto3");
    auto* type = file.add_message_type();
    type->set_name("Placed");
    for (const auto& name : fields) {
      auto* field = type->add_field();
      field->set_name(name);
      field->set_number(type->field_size());
      field->set_type(google::protobuf::FieldDescriptorProto::TYPE_STRING);
      field->set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
    }
    BOOST_REQUIRE(pool_.BuildFile(file) != nullptr);
  }

  /// An event that says its fields' values.
  new_event placed(const std::vector<std::string>& values) {
    const auto* type = pool_.FindMessageTypeByName("shop.Placed");
    const std::unique_ptr<google::protobuf::Message> message{factory_.GetPrototype(type)->New()};
    for (int i = 0; i < type->field_count(); ++i)
      message->GetReflection()->SetString(message.get(), type->field(i), values[static_cast<std::size_t>(i)]);
    return {type, message->SerializeAsString(), 1};
  }

private:
  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;
};

std::string text_of(result<google::protobuf::Message*> decoded) {
  return must(std::move(decoded))->ShortDebugString();
}

} // namespace

BOOST_AUTO_TEST_CASE(an_event_is_decoded_by_the_form_it_was_written_in) {
  // The older version calls the first field otherwise.
  program_version older{{"customer"}};
  program_version newer{{"buyer", "note"}};
  const auto journal = open_memory_journal();
  event_decoder decoder{*journal};
  must(journal->commit_and_wait(append("order-1", expected_version::none(), {older.placed({"Ann"})})));
  must(journal->commit_and_wait(append("order-1", expected_version::exact(1), {older.placed({"Ben"})})));
  BOOST_TEST(text_of(decoder.decode(read_log(*journal).at(0))) == "customer: \"Ann\"");

  must(journal->commit_and_wait(
      append("order-1", expected_version::exact(2), {newer.placed({"Cleo", "soon"})})));
  const auto events = read_log(*journal);
  BOOST_TEST(text_of(decoder.decode(events.at(2))) == "buyer: \"Cleo\" note: \"soon\"");
  BOOST_TEST(text_of(decoder.decode(events.at(1))) == "customer: \"Ben\"");
}

BOOST_AUTO_TEST_CASE(a_type_that_imports_another_file_is_decoded) {
  const auto journal = open_memory_journal();
  Detailed detailed;
  detailed.mutable_details();
  must(journal->commit_and_wait(append("order-1", expected_version::none(),
                                       {{Detailed::descriptor(), detailed.SerializeAsString(), 1}})));
  event_decoder decoder{*journal};
  BOOST_TEST(text_of(decoder.decode(read_log(*journal).at(0))) == detailed.ShortDebugString());
}

BOOST_AUTO_TEST_CASE(what_cannot_be_decoded_is_named) {
  const auto journal = open_memory_journal();
  must(journal->commit_and_wait(
      append("order-1", expected_version::none(), {{Happened::descriptor(), "\xff", 1}, happened(7)})));
  event_decoder decoder{*journal};
  auto events = read_log(*journal);
  for (const auto* part : {"order-1", "version 1", "position 1", "eventcore.test.Happened"})
    check_contains(must_fail(decoder.decode(events.at(0)), journal_errc::corrupt), part);

  BOOST_TEST(text_of(decoder.decode(events.at(1))) == "number: 7");
  events.at(1).type = "shop.Unknown";
  check_contains(must_fail(decoder.decode(events.at(1)), journal_errc::corrupt), "shop.Unknown");
}
