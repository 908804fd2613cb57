#include "support/entity_world.hpp"
#include "support/journal_helpers.hpp"

#include "evolution.pb.h"

#include <boost/test/unit_test.hpp>

#include <stdexcept>

using namespace eventcore;
using namespace eventcore::test;
using namespace evolution_test;

namespace {

using version = expected_version;

/// The amount whose lift throws.
constexpr int unliftable = 13;
constexpr int oddly_unliftable = 26;

PaidV2 lift_units(const PaidV1& old) {
  if (old.units() == unliftable)
    throw std::runtime_error{"13 units are too few"};
  if (old.units() == oddly_unliftable)
    throw old.units();
  return make<PaidV2>([&](auto& e) { e.set_cents(old.units() * 100); });
}

Paid lift_cents(const PaidV2& old) {
  return make<Paid>([&](auto& e) {
    e.set_cents(old.cents());
    e.set_currency("EUR");
  });
}

/// Decides about all forms that evolution.proto knows. Its state is what it saw, as text.
struct purse : decider<purse> {
  static constexpr std::string_view category = "purse";
  using commands = eventcore::commands<Pay, Describe>;
  using events = eventcore::events<Paid, Closed, Lent>;
  struct state {
    std::string text;
  };

  static void evolve(state& s, const Paid& e) {
    s.text += "paid " + std::to_string(e.cents()) + e.currency() + ";";
  }
  static void evolve(state& s, const Closed& e) { s.text += "closed " + e.by() + ";"; }
  static void evolve(state& s, const Lent& e) { s.text += "lent " + std::to_string(e.cents()) + ";"; }

  static void upcast(upcasters& u) {
    u.lift("evolution_test.Paid", 2, lift_cents);
    u.lift("evolution_test.Paid", 1, lift_units);
    u.lift("evolution_test.Lent", 1,
           [](const Borrowed& old) { return make<Lent>([&](auto& e) { e.set_cents(old.units() * 100); }); });
  }

  static effect<Description> decide(const state&, const Pay& c) {
    return persist(make<Paid>([&](auto& e) {
             e.set_cents(c.cents());
             e.set_currency(c.currency());
           }))
        .then_reply(description);
  }
  static effect<Description> decide(const state& s, const Describe&) { return description(s); }

  static Description description(const state& s) {
    return make<Description>([&](auto& d) { d.set_text(s.text); });
  }
};

/// A purse that has no lift from version 1.
struct forgetful : decider<forgetful> {
  static constexpr std::string_view category = "purse";
  using commands = eventcore::commands<Describe>;
  using events = eventcore::events<Paid, Lent>;
  using state = purse::state;
  static void evolve(state& s, const Paid& e) { s.text += std::to_string(e.cents()) + ";"; }
  static void evolve(state&, const Lent&) {}
  static void upcast(upcasters& u) { u.lift("evolution_test.Paid", 2, lift_cents); }
  static effect<Description> decide(const state& s, const Describe&) { return purse::description(s); }
};

template <class Stored>
new_event stored_as(const google::protobuf::Descriptor* type, std::uint32_t schema_version,
                    const Stored& payload) {
  return {type, payload.SerializeAsString(), schema_version};
}

new_event paid_v1(std::int32_t units) {
  return stored_as(Paid::descriptor(), 1, make<PaidV1>([&](auto& e) { e.set_units(units); }));
}
new_event paid_v2(std::int64_t cents) {
  return stored_as(Paid::descriptor(), 2, make<PaidV2>([&](auto& e) { e.set_cents(cents); }));
}
new_event paid_v3(std::int64_t cents, const char* currency) {
  return stored_as(Paid::descriptor(), 3, make<Paid>([&](auto& e) {
                     e.set_cents(cents);
                     e.set_currency(currency);
                   }));
}
template <class Event>
new_event by_whom(const char* who) {
  return stored_as(Event::descriptor(), 1, make<Event>([&](auto& e) { e.set_by(who); }));
}

template <class D>
asked describe_stream(entity_world& world, std::vector<new_event> history) {
  world.append("purse-a", version::none(), std::move(history));
  auto request = world.ask(world.start<D>(), "a", Describe{});
  world.settle();
  return request;
}

/// What a purse makes of a stream with these events.
std::string state_of(std::vector<new_event> history) {
  entity_world world;
  auto answer = describe_stream<purse>(world, std::move(history)).answer();
  BOOST_REQUIRE_MESSAGE(answer.match_elements<Description>(), caf::to_string(answer));
  return answer.get_as<Description>(0).text();
}

/// The message of the failed recovery of a stream with these events, which must name all of `words`.
template <class D = purse>
void check_refused(std::vector<new_event> history, std::initializer_list<const char*> words) {
  entity_world world;
  asked request = describe_stream<D>(world, std::move(history));
  auto failure = request.failure();
  BOOST_TEST((failure.code() == entity_errc::recovery_failed));
  for (auto* word : words)
    BOOST_TEST(failure.message().find(word) != std::string::npos, word << " in: " << failure.message());
}

} // namespace

BOOST_AUTO_TEST_SUITE(stored_events)

BOOST_AUTO_TEST_CASE(older_versions_are_lifted_step_by_step) {
  BOOST_TEST(state_of({paid_v1(7), paid_v2(5), paid_v3(3, "USD"), paid_v1(1)}) ==
             "paid 700EUR;paid 5EUR;paid 3USD;paid 100EUR;");
}

BOOST_AUTO_TEST_CASE(former_names_are_read_as_the_present_one) {
  BOOST_TEST(state_of({by_whom<Shut>("x"), by_whom<Closed>("y"), by_whom<Locked>("z"), by_whom<Shut>("x")}) ==
             "closed x;closed y;closed z;closed x;");
}

BOOST_AUTO_TEST_CASE(a_renamed_event_of_an_older_version_is_lifted) {
  auto borrowed = make<Borrowed>([](auto& e) { e.set_units(7); });
  auto lent = make<Lent>([](auto& e) { e.set_cents(5); });
  BOOST_TEST(state_of({
                 stored_as(Borrowed::descriptor(), 1, borrowed), // before both
                 stored_as(Lent::descriptor(), 1, borrowed),     // renamed first
                 stored_as(Borrowed::descriptor(), 2, lent),     // changed first
                 stored_as(Lent::descriptor(), 2, lent),
             }) == "lent 700;lent 700;lent 5;lent 5;");
}

BOOST_AUTO_TEST_CASE(new_events_are_written_in_the_present_form) {
  entity_world world;
  world.append("purse-a", version::none(), {paid_v1(7)});
  auto host = world.start<purse>();
  auto request = world.ask(host, "a", make<Pay>([](auto& c) {
                             c.set_cents(3);
                             c.set_currency("USD");
                           }));
  world.settle();
  BOOST_TEST(request.answer().get_as<Description>(0).text() == "paid 700EUR;paid 3USD;");
  auto all = world.events("purse-a");
  BOOST_REQUIRE(all.size() == 2u);
  BOOST_TEST(all[0].schema_version == 1u); // what is stored stays as it is
  BOOST_TEST(all[0].payload == paid_v1(7).payload);
  BOOST_TEST(all[1].type == "evolution_test.Paid");
  BOOST_TEST(all[1].schema_version == 3u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(streams_that_cannot_be_read)

BOOST_AUTO_TEST_CASE(a_newer_version_is_refused_with_both_versions) {
  check_refused(
      {paid_v3(1, "EUR"), stored_as(Paid::descriptor(), 4'711, Paid{})},
      {"purse-a", "event 2", "position 2", "evolution_test.Paid", "schema version 4711", "only up to 3"});
}

BOOST_AUTO_TEST_CASE(a_newer_version_under_a_former_name_is_refused) {
  check_refused({stored_as(Shut::descriptor(), 2, Shut{})},
                {"purse-a", "event 1", "evolution_test.Shut", "schema version 2", "only up to 1"});
}

BOOST_AUTO_TEST_CASE(a_version_without_a_lift_is_named) {
  check_refused<forgetful>(
      {paid_v2(1), paid_v1(1)},
      {"purse-a", "event 2", "position 2", "evolution_test.Paid", "schema version 1", "no upcaster", "to 3"});
  check_refused<forgetful>({stored_as(Lent::descriptor(), 1, Borrowed{})},
                           {"purse-a", "event 1", "evolution_test.Lent", "schema version 1", "no upcaster"});
}

BOOST_AUTO_TEST_CASE(a_lift_that_throws_is_named_with_what_it_said) {
  check_refused({paid_v2(1), paid_v1(unliftable)}, {"purse-a", "event 2", "position 2", "evolution_test.Paid",
                                                    "upcaster", "13 units are too few", "schema version 1"});
  check_refused({paid_v1(oddly_unliftable)},
                {"purse-a", "event 1", "evolution_test.Paid", "upcaster", "no std::exception"});
}

BOOST_AUTO_TEST_CASE(a_payload_that_is_not_of_its_versions_form_is_named) {
  auto broken = paid_v1(1);
  broken.payload = "\xff\xff\xff";
  check_refused({broken}, {"purse-a", "event 1", "position 1", "evolution_test.Paid", "does not parse",
                           "evolution_test.PaidV1"});
}

BOOST_AUTO_TEST_CASE(a_name_that_nobody_has_or_had_is_refused) {
  check_refused({event_of_message(PaidV1{})}, {"purse-a", "event 1", "evolution_test.PaidV1", "unknown"});
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

/// A decider with these events, and lifts that a test makes up.
template <class Tag, class... Events>
struct made_up : decider<made_up<Tag, Events...>> {
  static constexpr std::string_view category = "made_up";
  using commands = eventcore::commands<Describe>;
  using events = eventcore::events<Events...>;
  struct state {};
  template <class Event>
  static void evolve(state&, const Event&) {}
  static void upcast(upcasters& u) { Tag::upcast(u); }
  static eventcore::effect<made_up, Description> decide(const state&, const Describe&) {
    return Description{};
  }
};

struct no_lifts {
  static void upcast(upcasters&) {}
};

/// Making the table must fail with a message that names all of `words`, each time it is tried.
template <class D>
void check_no_table(std::initializer_list<const char*> words) {
  for (auto tries = 0; tries != 2; ++tries)
    BOOST_CHECK_EXCEPTION(entity_type_of<D>(), std::logic_error, [&](const std::logic_error& e) {
      for (auto* word : words)
        BOOST_TEST(std::string_view{e.what()}.find(word) != std::string_view::npos,
                   word << " in: " << e.what());
      return true;
    });
}

} // namespace

BOOST_AUTO_TEST_SUITE(registration)

BOOST_AUTO_TEST_CASE(a_gap_on_the_way_to_the_present_is_an_error) {
  struct lifts {
    static void upcast(upcasters& u) { u.lift("evolution_test.Paid", 1, lift_units); }
  };
  check_no_table<made_up<lifts, Paid>>({"made_up", "no lift", "evolution_test.Paid at schema version 2"});
}

BOOST_AUTO_TEST_CASE(two_lifts_of_one_version_are_an_error) {
  struct lifts {
    static void upcast(upcasters& u) {
      u.lift("evolution_test.Paid", 2, lift_cents);
      u.lift("evolution_test.Paid", 2, lift_cents);
    }
  };
  check_no_table<made_up<lifts, Paid>>({"two lifts", "evolution_test.Paid", "version 2"});
}

BOOST_AUTO_TEST_CASE(a_lift_of_what_is_no_event_is_an_error) {
  struct lifts {
    static void upcast(upcasters& u) { u.lift("evolution_test.PaidV2", 2, lift_cents); }
  };
  check_no_table<made_up<lifts, Paid>>({"made_up", "evolution_test.PaidV2", "none of the events"});
  struct lifts_by_former_name {
    static void upcast(upcasters& u) {
      u.lift("evolution_test.Borrowed", 1, [](const Borrowed&) { return Lent{}; });
    }
  };
  check_no_table<made_up<lifts_by_former_name, Lent>>({"evolution_test.Borrowed", "none of the events"});
}

BOOST_AUTO_TEST_CASE(a_lift_at_or_behind_the_present_version_is_an_error) {
  struct at_present {
    static void upcast(upcasters& u) {
      u.lift("evolution_test.Paid", 2, lift_cents);
      u.lift("evolution_test.Paid", 3, [](const Paid& e) { return e; });
    }
  };
  check_no_table<made_up<at_present, Paid>>({"made_up", "evolution_test.Paid at schema version 3", "is 3"});
  struct unversioned {
    static void upcast(upcasters& u) {
      u.lift("evolution_test.Closed", 1, [](const Closed& e) { return e; });
    }
  };
  check_no_table<made_up<unversioned, Closed>>({"evolution_test.Closed at schema version 1", "is 1"});
}

BOOST_AUTO_TEST_CASE(a_lift_of_version_0_is_an_error) {
  struct lifts {
    static void upcast(upcasters& u) { u.lift("evolution_test.Paid", 0, lift_units); }
  };
  check_no_table<made_up<lifts, Paid>>({"evolution_test.Paid", "begin with 1"});
}

BOOST_AUTO_TEST_CASE(steps_that_do_not_fit_each_other_are_an_error) {
  struct lifts {
    static void upcast(upcasters& u) {
      u.lift("evolution_test.Paid", 1, [](const PaidV1&) { return PaidV1{}; });
      u.lift("evolution_test.Paid", 2, lift_cents);
    }
  };
  check_no_table<made_up<lifts, Paid>>({"made_up", "takes evolution_test.PaidV2", "evolution_test.PaidV1"});
}

BOOST_AUTO_TEST_CASE(a_last_step_that_does_not_make_the_event_is_an_error) {
  struct lifts {
    static void upcast(upcasters& u) {
      u.lift("evolution_test.Paid", 2, [](const PaidV2& e) { return e; });
    }
  };
  check_no_table<made_up<lifts, Paid>>(
      {"made_up", "makes evolution_test.PaidV2 instead of evolution_test.Paid"});
}

BOOST_AUTO_TEST_CASE(a_former_name_that_two_events_claim_is_an_error) {
  check_no_table<made_up<no_lifts, Closed, Barred>>(
      {"made_up", "evolution_test.Closed", "evolution_test.Barred", "evolution_test.Shut"});
}

BOOST_AUTO_TEST_CASE(a_former_name_that_is_an_event_itself_is_an_error) {
  check_no_table<made_up<no_lifts, Closed, Sealed>>(
      {"made_up", "evolution_test.Sealed", "the name evolution_test.Closed"});
}

BOOST_AUTO_TEST_CASE(claims_of_events_that_the_decider_does_not_have_do_not_matter) {
  BOOST_CHECK_NO_THROW((entity_type_of<made_up<no_lifts, Sealed, Paid>>()));
}

BOOST_AUTO_TEST_CASE(lifts_may_begin_with_the_oldest_version_that_was_ever_stored) {
  BOOST_CHECK_NO_THROW(entity_type_of<forgetful>());
}

/// Notes what it hears, as a purse does in its state.
struct purse_watcher : subscriber<purse_watcher> {
  using events = purse::events;
  purse::state& seen;

  explicit purse_watcher(purse::state& s)
      : seen{s} {}
  template <class Event>
  void handle(const Event& e) {
    purse::evolve(seen, e);
  }
  static void upcast(upcasters& u) { purse::upcast(u); }
};

BOOST_AUTO_TEST_CASE(subscribers_lift_events_and_know_former_names) {
  entity_world world;
  purse::state seen;
  auto s = must(world.subscribe<purse_watcher>({.name = "watcher", .on_failure = on_failure::skip},
                                               [&] { return std::make_unique<purse_watcher>(seen); }));
  world.append("purse-a", version::none(),
               {paid_v1(1), paid_v2(250), paid_v3(3, "USD"), by_whom<Shut>("Ann"), by_whom<Locked>("Bob"),
                stored_as(Borrowed::descriptor(), 1, make<Borrowed>([](auto& e) { e.set_units(7); })),
                paid_v1(unliftable), paid_v3(4, "USD")});
  world.settle();
  BOOST_TEST(seen.text == "paid 100EUR;paid 250EUR;paid 3USD;closed Ann;closed Bob;lent 700;paid 4USD;");
  BOOST_TEST(world.stats(s).skipped == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
