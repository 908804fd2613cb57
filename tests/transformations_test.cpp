#include "support/journal_helpers.hpp"
#include "support/personal_events.hpp"

#include <eventcore/runtime/internal/federation/emails.hpp>
#include <eventcore/runtime/internal/federation/personal_data.hpp>
#include <eventcore/runtime/transformations.hpp>

#include "old_people.pb.h"

#include <google/protobuf/util/message_differencer.h>

#include <regex>

namespace eventcore {

inline std::ostream& operator<<(std::ostream& out, federation_errc e) {
  return out << make_error_code(e).message();
}

namespace test {

namespace {

using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;
using internal::email_form;
using internal::find_personal_data;
using internal::mask_emails;
using internal::mask_personal_data;

std::string without_emails(std::string_view text, email_form form = email_form::text) {
  return mask_emails(text, form).value_or(std::string{text});
}

DistributedEvent envelope(const std::string& type = "people.UserRegistered") {
  recorded_event e;
  e.position = 7;
  e.stream = "user-17";
  e.version = 3;
  e.id = *uuid::parse("01890a5d-ac96-774b-bcce-b302099a8057");
  e.type = type;
  return to_distributed(e, "users", {}, {});
}

/// A copy of `message` in a draft.
event_draft draft_of(const Message& message, DistributedEvent event = envelope()) {
  std::unique_ptr<Message> copy{message.New()};
  copy->CopyFrom(message);
  event.set_event_type(message.GetDescriptor()->full_name());
  return {std::move(event), std::move(copy)};
}

error must_fail_with(const result<void>& r, federation_errc code) {
  BOOST_REQUIRE(!r);
  BOOST_TEST_REQUIRE((r.error().code() == code), r.error().message());
  return r.error();
}

result<void> apply_one(event_draft& draft, const transformation& t) {
  const named_transformation step{"it", t};
  return transform(draft, {&step, 1});
}

template <class M>
M payload_of(event_draft& draft) {
  M typed;
  typed.CopyFrom(*must(draft.payload()));
  return typed;
}

} // namespace

// -- e-mail addresses

BOOST_AUTO_TEST_CASE(addresses_are_masked_and_nothing_else) {
  const std::pair<const char*, const char*> cases[]{
      {"ann@example.org", "***@***.***"},
      {"Ann <ann.smith+tag@mail.example.co.uk>, bob@x.org.", "Ann <***@***.***>, ***@***.***."},
      {"mailto:ann@x.org?subject=hi", "mailto:***@***.***?subject=hi"},
      {"\"ann smith\"@x.org", "***@***.***"},
      {"root@localhost", "***@***.***"},
      {"ann@[192.168.0.1]!", "***@***.***!"},
      {"j\u00fcrgen@b\u00fccher.de", "***@***.***"},
      {"https://x.org/?to=ann%40x.org&a", "https:***@***.***&a"},
      {"a@b@c@d", "***@***.***"},
      {"***@***.***", "***@***.***"},
      {"@ann said 2 @ 3, ann@ and @", "@ann said 2 @ 3, ann@ and @"},
      {"100%40", "100%40"},
      {"", ""},
  };
  for (const auto& [text, masked] : cases)
    BOOST_TEST(without_emails(text) == masked, text << " became " << without_emails(text));

  const std::string binary{"\xff\0"
                           "ann@x.org"
                           "\0\x01@\xfe",
                           15};
  BOOST_TEST((without_emails(binary, email_form::binary) == std::string{"\xff\0***@***.***\0\x01@\xfe", 17}));
  BOOST_TEST(!mask_emails("a@b \x07@c.1", email_form::binary));
}

BOOST_AUTO_TEST_CASE(no_address_survives_and_masked_twice_is_masked_once) {
  const auto parts =
      rc::gen::element<std::string>("a", "Z9", "@", "@", ".", "\"", " ", "%40", "[", "]", "-", "\u00fc", "*",
                                    "ann@x.org", "b.c@[1.2.3.4]", "\"q q\"@h.net", "<", ">", ",", "\n");
  const std::regex address{R"([A-Za-z0-9_+-]@[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)*)"};
  BOOST_TEST(rc::check("no address survives", [&](bool binary) {
    std::string text;
    for (const auto& part : *rc::gen::container<std::vector<std::string>>(parts))
      text += part;
    const auto form = binary ? email_form::binary : email_form::text;
    const auto once = without_emails(text, form);
    RC_ASSERT(without_emails(once, form) == once);
    RC_ASSERT(!internal::holds_email(once, form));
    if (!binary)
      RC_ASSERT(!std::regex_search(once, address));
  }));
}

BOOST_AUTO_TEST_CASE(a_long_text_is_searched_in_linear_time) {
  std::string text;
  for (int i = 0; i < 1'000'000; ++i)
    text += "%40";
  BOOST_TEST(!internal::holds_email(text));
}

// -- marked fields

/// spec 30
BOOST_AUTO_TEST_CASE(marked_fields_are_masked_wherever_they_are) {
  people::UserRegistered m;
  m.set_name("Ann");
  m.set_email("ann@x.org");
  m.set_note("write to ann@x.org");
  m.set_born(1970);
  m.mutable_home()->set_street("Main Street 1");
  m.mutable_home()->set_city("Wien");
  m.mutable_home()->set_parcel(4711);
  m.mutable_hideout()->set_city("Graz");
  m.add_phones("0660");
  m.add_phones("0661");
  m.add_notes("x");
  m.add_notes("ann@x.org");
  m.add_places()->set_street("Side Street 2");
  m.add_pins(1234);
  (*m.mutable_labels())["ann@x.org"] = "a";
  (*m.mutable_labels())["bob@x.org"] = "b";
  (*m.mutable_labels())["plain"] = "bob@x.org";
  (*m.mutable_contacts())["bob"].set_street("Third Street 3");
  (*m.mutable_aliases())["annie"] = "q";
  m.set_phone("0662");
  m.set_photo("jpg");
  m.set_blob(std::string{"\xff"
                         "ann@x.org\0",
                         11});
  m.set_level(people::HIGH);
  m.set_nick("annie");
  m.mutable_mentor()->set_name("Bob");
  m.set_points(9);

  mask_personal_data(m);
  BOOST_TEST(m.name() == "***");
  BOOST_TEST(m.email() == "***@***.***");
  BOOST_TEST(m.note() == "write to ***@***.***");
  BOOST_TEST(m.born() == 0);
  BOOST_TEST(m.home().street() == "***");
  BOOST_TEST(m.home().city() == "Wien");
  BOOST_TEST(m.home().parcel() == 0u);
  BOOST_TEST(m.has_hideout());
  BOOST_TEST(m.hideout().ByteSizeLong() == 0u);
  BOOST_TEST(m.phones_size() == 2);
  BOOST_TEST(m.phones(1) == "***");
  BOOST_TEST(m.notes(0) == "x");
  BOOST_TEST(m.notes(1) == "***@***.***");
  BOOST_TEST(m.places(0).street() == "***");
  BOOST_TEST(m.pins_size() == 0);
  BOOST_TEST(m.labels_size() == 3);
  BOOST_TEST(m.labels().contains("***@***.***"));
  BOOST_TEST(m.labels().contains("***@***.*** (2)"));
  BOOST_TEST(m.labels().at("plain") == "***@***.***");
  BOOST_TEST(m.contacts().at("bob").street() == "***");
  BOOST_TEST(m.aliases_size() == 0);
  BOOST_TEST((m.contact_case() == people::UserRegistered::kPhone));
  BOOST_TEST(m.phone() == "***");
  BOOST_TEST(m.photo().empty());
  BOOST_TEST((m.blob() == std::string{"\xff***@***.***\0", 13}));
  BOOST_TEST((m.level() == people::NONE));
  BOOST_TEST(m.nick() == "***");
  BOOST_TEST(m.mentor().name() == "***");
  BOOST_TEST(m.points() == 9u);
}

BOOST_AUTO_TEST_CASE(what_only_proto2_has_is_masked_too) {
  old_people::Registered m;
  m.set_name("Ann");
  m.set_age(33);
  m.mutable_passport()->set_number("P123");
  m.mutable_passport()->set_kind(old_people::SECOND);
  m.mutable_passport()->set_office("Wien");
  m.set_kind(old_people::SECOND);
  m.set_member(true);
  m.add_visit()->set_place("Graz");
  m.mutable_visit(0)->set_remark("by ann@x.org");
  m.SetExtension(old_people::shoe, "43");
  m.SetExtension(old_people::comment, "ann@x.org");

  mask_personal_data(m);
  BOOST_TEST_REQUIRE(m.IsInitialized());
  BOOST_TEST(m.name() == "***");
  BOOST_TEST(m.age() == 0);
  BOOST_TEST(m.passport().number().empty());
  BOOST_TEST((m.passport().kind() == old_people::FIRST));
  BOOST_TEST(!m.passport().has_office());
  BOOST_TEST((m.kind() == old_people::FIRST));
  BOOST_TEST(!m.member());
  BOOST_TEST(m.visit(0).place() == "***");
  BOOST_TEST(m.visit(0).remark() == "by ***@***.***");
  BOOST_TEST(m.GetExtension(old_people::shoe) == "***");
  BOOST_TEST(m.GetExtension(old_people::comment) == "***@***.***");
}

BOOST_AUTO_TEST_CASE(what_the_schema_does_not_describe_is_dropped) {
  people::UserRegistered full;
  full.set_note("fine");
  full.mutable_home()->set_city("Wien");
  people::UserRegistered m;
  m.mutable_home();
  // Field 99 at two depths.
  BOOST_TEST_REQUIRE(
      m.mutable_home()->ParseFromString(full.home().SerializeAsString() + "\x9a\x06\x06SECRET"));
  BOOST_TEST_REQUIRE(m.MergeFromString(std::string{"\x9a\x06\x06SECRET"}));
  m.set_note("fine");
  BOOST_TEST(find_personal_data(m, "").any);
  mask_personal_data(m);
  BOOST_TEST(m.SerializeAsString().find("SECRET") == std::string::npos);
  BOOST_TEST(MessageDifferencer::Equals(m, full));
  BOOST_TEST(!find_personal_data(m, "").any);
}

BOOST_AUTO_TEST_CASE(messages_in_an_any_are_masked_or_dropped_with_it) {
  people::Address inner;
  inner.set_street("Main Street 1");
  inner.set_city("Wien");
  people::UserRegistered m;
  m.mutable_extra()->PackFrom(inner);
  mask_personal_data(m);
  BOOST_TEST_REQUIRE(m.extra().UnpackTo(&inner));
  BOOST_TEST(inner.street() == "***");
  BOOST_TEST(inner.city() == "Wien");

  m.mutable_extra()->set_type_url("type.googleapis.com/people.Nobody");
  mask_personal_data(m);
  BOOST_TEST(m.extra().ByteSizeLong() == 0u);

  // Each Any in an Any costs stack.
  google::protobuf::Any deep;
  deep.PackFrom(inner);
  for (int i = 0; i < 10'000; ++i) {
    google::protobuf::Any around;
    around.PackFrom(deep);
    deep = around;
  }
  *m.mutable_extra() = deep;
  BOOST_TEST(find_personal_data(m, "").any);
  mask_personal_data(m);
  BOOST_TEST(m.SerializeAsString().size() < 1'000u);
}

BOOST_AUTO_TEST_CASE(no_personal_data_survives_in_any_bytes) {
  const foreign_type foreign{*people::UserRegistered::descriptor()};
  BOOST_TEST(rc::check("no personal data survives", [&](bool by_program) {
    personal_writer writer;
    people::UserRegistered typed;
    writer.fill(typed);
    // The same for who knows the type by its program and for who has only the journal's descriptors.
    std::unique_ptr<Message> m{by_program ? typed.New() : foreign.make().release()};
    RC_ASSERT(m->ParseFromString(typed.SerializeAsString()));
    mask_personal_data(*m);
    const auto bytes = m->SerializeAsString();
    const auto found = found_in(bytes, writer.secrets());
    RC_LOG() << m->ShortDebugString();
    RC_ASSERT(found == "");
    people::UserRegistered once;
    RC_ASSERT(once.ParseFromString(bytes));
    auto twice = once;
    mask_personal_data(twice);
    RC_ASSERT(MessageDifferencer::Equals(once, twice));
    RC_ASSERT(MessageDifferencer::Equals(once, typed) || find_personal_data(typed, "").any);
  }));
}

// -- anonymize_pii

BOOST_AUTO_TEST_CASE(an_event_without_personal_data_is_not_changed) {
  people::Counted counted;
  counted.set_count(3);
  (*counted.mutable_by_name())["a"] = 1;
  auto draft = draft_of(counted);
  const auto before = draft.event().SerializeAsString();
  must_pass(apply_one(draft, anonymize_pii()));
  BOOST_TEST(draft.changed_payload() == nullptr);
  BOOST_TEST(draft.event().SerializeAsString() == before);
}

BOOST_AUTO_TEST_CASE(the_metadata_is_anonymized_too) {
  auto event = envelope();
  auto& m = *event.mutable_metadata();
  m.set_user("Ann Smith");
  m.set_correlation_id("order of ann@x.org");
  m.set_causation_id("4711");
  m.set_tenant("x.org");
  m.set_traceparent("of ann");
  (*m.mutable_headers())["customer"] = "Ann Smith";
  auto draft = draft_of(people::Counted{}, event);
  must_pass(apply_one(draft, anonymize_pii()));
  const auto& masked = draft.event().metadata();
  BOOST_TEST(masked.user() == "***");
  BOOST_TEST(masked.correlation_id() == "order of ***@***.***");
  BOOST_TEST(masked.causation_id() == "4711");
  BOOST_TEST(masked.tenant() == "x.org");
  BOOST_TEST(masked.traceparent().empty());
  BOOST_TEST(masked.headers().empty());
  BOOST_TEST(draft.changed_payload() == nullptr);
}

BOOST_AUTO_TEST_CASE(a_trace_context_stays) {
  recorded_event e;
  e.metadata.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  auto draft = draft_of(people::Counted{}, to_distributed(e, "users", {}, {}));
  must_pass(apply_one(draft, anonymize_pii()));
  BOOST_TEST(draft.event().metadata().traceparent() == e.metadata.traceparent);
  BOOST_TEST(draft.event().span_id() == "b7ad6b7169203331");
}

BOOST_AUTO_TEST_CASE(an_event_whose_stream_name_is_personal_must_not_leave) {
  auto event = envelope();
  event.set_stream_id("user-ann@x.org");
  auto draft = draft_of(people::Counted{}, event);
  check_contains(
      must_fail_with(apply_one(draft, anonymize_pii()), federation_errc::personal_stream_id).message(),
      "e-mail address");

  people::UserRegistered m;
  m.mutable_mentor()->set_name("ann");
  event.set_stream_id("user-ann");
  draft = draft_of(m, event);
  const auto failed = must_fail_with(apply_one(draft, anonymize_pii()), federation_errc::personal_stream_id);
  for (const auto* part :
       {"people.UserRegistered.name", "stream user-ann", "position 7", "transformation it"})
    check_contains(failed.message(), part);

  m.mutable_mentor()->set_name("smith");
  event.set_stream_id("user-ann-smith-1");
  draft = draft_of(m, event);
  must_fail_with(apply_one(draft, anonymize_pii()), federation_errc::personal_stream_id);

  // Short text is in a name by chance, and the category is no key.
  m.mutable_mentor()->set_name("nn");
  m.set_name("user");
  draft = draft_of(m, event);
  must_pass(apply_one(draft, anonymize_pii()));
}

BOOST_AUTO_TEST_CASE(a_payload_that_cannot_be_decoded_is_an_error) {
  event_draft draft{envelope(),
                    [] { return result<Message*>{make_error(journal_errc::corrupt, "no message")}; }};
  const auto failed = apply_one(draft, anonymize_pii());
  BOOST_TEST_REQUIRE(!failed);
  BOOST_TEST((failed.error().code() == journal_errc::corrupt));
  check_contains(failed.error().message(), "no message");
}

// -- renaming

/// spec 30
BOOST_AUTO_TEST_CASE(a_type_word_is_renamed_and_no_other_text) {
  const std::pair<const char*, const char*> cases[]{
      {"shop.UserCreated", "shop.CustomerCreated"},
      {"shop.User", "shop.Customer"},
      {"shop.User_2", "shop.Customer_2"},
      {"UserCreated", "CustomerCreated"},
      {"User.UserCreated", "User.CustomerCreated"},
      {"shop.Superuser", "shop.Superuser"},
      {"shop.SuperUser", "shop.SuperUser"},
      {"shop.Username", "shop.Username"},
      {"shop.UserUser", "shop.CustomerUser"},
      {"shop.userCreated", "shop.userCreated"},
      {"User.Created", "User.Created"},
  };
  const auto rename = *transformations{}.find("user_to_customer");
  for (const auto& [from, to] : cases) {
    event_draft draft{envelope(from), std::make_unique<people::Counted>()};
    must_pass(apply_one(draft, rename));
    BOOST_TEST(draft.event().event_type() == to);
    BOOST_TEST(draft.changed_payload() == nullptr);
  }
}

// -- composing

BOOST_AUTO_TEST_CASE(steps_are_applied_in_order_until_one_fails) {
  std::string done;
  const auto step = [&](const std::string& name, bool good) {
    return named_transformation{name, [&done, name, good](event_draft&) -> result<void> {
                                  done += name;
                                  if (good)
                                    return {};
                                  return make_error(federation_errc::transformation_failed, "no");
                                }};
  };
  auto draft = draft_of(people::Counted{});
  const std::vector<named_transformation> steps{step("a", true), step("b", false), step("c", true)};
  const auto failed = must_fail_with(transform(draft, steps), federation_errc::transformation_failed);
  BOOST_TEST(done == "ab");
  for (const auto* part :
       {"transformation b", "stream user-17", "version 3", "position 7", "people.Counted", ": no"})
    check_contains(failed.message(), part);
}

BOOST_AUTO_TEST_CASE(an_exception_is_an_error) {
  auto draft = draft_of(people::Counted{});
  check_contains(
      must_fail_with(apply_one(draft, [](event_draft&) -> result<void> { throw std::runtime_error{"oops"}; }),
                     federation_errc::transformation_failed)
          .message(),
      "oops");
  must_fail_with(apply_one(draft, [](event_draft&) -> result<void> { throw 7; }),
                 federation_errc::transformation_failed);
}

BOOST_AUTO_TEST_CASE(what_identifies_an_event_cannot_be_changed) {
  const auto refused = [](auto change, std::string_view part) {
    auto draft = draft_of(people::Counted{});
    const auto failed = apply_one(draft, [&](event_draft& d) -> result<void> {
      change(d.event());
      return {};
    });
    check_contains(must_fail_with(failed, federation_errc::transformation_failed).message(), part);
  };
  refused([](auto& e) { e.set_stream_id("user-18"); }, "changed the stream id");
  refused([](auto& e) { e.set_event_id("x"); }, "changed the event id");
  refused([](auto& e) { e.set_version(8); }, "changed the version");
  refused([](auto& e) { e.set_position(8); }, "changed the position");
  refused([](auto& e) { e.set_service_id("x"); }, "changed the service id");
  refused([](auto& e) { e.set_payload("x"); }, "change_payload");
}

/// spec 30
BOOST_AUTO_TEST_CASE(unknown_and_taken_names_are_refused) {
  transformations all;
  const auto missing = all.find("anonymise");
  BOOST_TEST_REQUIRE(!missing);
  BOOST_TEST((missing.error().code() == federation_errc::unknown_transformation));
  check_contains(missing.error().message(), "unknown transformation 'anonymise'");
  check_contains(missing.error().message(), "'anonymize_pii', 'user_to_customer'");
  BOOST_CHECK_THROW(all.add("anonymize_pii", anonymize_pii()), std::logic_error);
  BOOST_CHECK_THROW(all.add("", anonymize_pii()), std::logic_error);
  all.add("mine", anonymize_pii());
  BOOST_TEST(all.contains("mine"));
}

/// Whatever else the rules of an overlap do, in whatever order: what one of them masks stays masked.
BOOST_AUTO_TEST_CASE(no_composition_undoes_a_masking) {
  transformations all;
  all.add("note", [](event_draft& d) -> result<void> {
    auto payload = d.change_payload();
    if (!payload)
      return payload.error();
    // A copy into an unmarked field, of what it is given.
    auto& m = static_cast<people::UserRegistered&>(**payload);
    m.set_note(m.email() + " " + m.note());
    return {};
  });
  all.add("nothing", [](event_draft&) -> result<void> { return {}; });
  BOOST_TEST(rc::check("masked stays masked", [&] {
    personal_writer writer;
    people::UserRegistered m;
    writer.fill(m);
    auto names = *rc::gen::container<std::vector<std::string>>(
        rc::gen::element<std::string>("user_to_customer", "note", "nothing", "anonymize_pii"));
    names.insert(names.begin() +
                     *rc::gen::inRange<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(names.size()) + 1),
                 "anonymize_pii");
    std::vector<named_transformation> steps;
    for (const auto& name : names)
      steps.push_back({name, *all.find(name)});
    auto draft = draft_of(m);
    RC_ASSERT(transform(draft, steps).has_value());
    const auto bytes = (*draft.payload())->SerializeAsString();
    auto addresses = writer.secrets();
    std::erase_if(addresses, [](const std::string& secret) { return secret.find('@') == std::string::npos; });
    RC_ASSERT(found_in(bytes, addresses) == "");
    // Marked fields are masked, whoever copied them before.
    auto typed = payload_of<people::UserRegistered>(draft);
    RC_ASSERT(typed.born() == 0);
    RC_ASSERT((typed.name().empty() || typed.name() == "***" || typed.name() == "***@***.***"));
  }));
}

} // namespace test
} // namespace eventcore
