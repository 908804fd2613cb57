#include "support/saga_world.hpp"

#include <eventcore/actors/breaker.hpp>
#include <eventcore/actors/internal/saga_actor.hpp>

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace eventcore::test;

namespace {

/// Three steps: the second one reads the reply of the first.
struct trip : saga<trip> {
  static constexpr std::string_view category = "trip";
  using input = bank::Deposit;

  static void define(definition<input>& saga) {
    saga.step("flight")
        .request_at("flight", [](const input& i) { return to("f", cents(i.cents())); })
        .replies<bank::Balance>()
        .compensate_at("flight", [](const input& i) { return to("f", cents(-i.cents())); })
        .within(1s)
        .retry({.retries = 2, .backoff = 100ms});
    saga.step("hotel")
        .request_at("hotel",
                    [](const input&, const saga_replies& r) {
                      return to("h", cents(r.get<bank::Balance>("flight").cents() + 1));
                    })
        .compensate_at("hotel", [](const input& i) { return to("h", cents(-i.cents() - 1)); })
        .within(1s)
        .retry({.retries = 0})
        .retry_compensation({.retries = 1, .backoff = 100ms});
    saga.step("car")
        .request_at("car", [](const input& i) { return cents(i.cents() + 2); })
        .within(1s)
        .retry({.retries = 0});
  }
};

/// `trip`, changed.
struct trip_without_hotel : saga<trip_without_hotel> {
  static constexpr std::string_view category = "trip";
  using input = bank::Deposit;

  static void define(definition<input>& saga) {
    saga.step("flight")
        .request_at("flight", [](const input& i) { return to("f", cents(i.cents())); })
        .compensate_at("flight", [](const input& i) { return to("f", cents(-i.cents())); })
        .within(1s);
    saga.step("car").request_at("car", [](const input& i) { return cents(i.cents() + 2); }).within(1s);
  }
};

struct trip_world : saga_world {
  trip_world()
      : saga_world{"flight", "hotel", "car"} {}
  saga_host<trip> sagas = start_sagas<trip>();
};

using text_list = std::vector<std::string>;

void check_asked(const saga_world& world, text_list expected) {
  BOOST_TEST(world.asked_for() == expected, boost::test_tools::per_element());
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(sagas_run, trip_world)

// -- spec 16, 17, 21

BOOST_AUTO_TEST_CASE(steps_are_requested_in_order_and_each_only_when_it_is_recorded) {
  auto started = start(sagas, "1");
  run();
  BOOST_TEST(seen.empty());
  BOOST_TEST(!started.arrived());
  write();
  run();
  check_asked(*this, {"flight:5"});
  BOOST_TEST((started.as<bank::Balance>().error().code() == entity_errc::unexpected_reply));
  settle();
  check_asked(*this, {"flight:5", "hotel:6", "car:7"});
  BOOST_TEST(seen[0].key == "trip-1/flight");
  BOOST_TEST(seen[1].id == "h");
  BOOST_TEST((status(sagas, "1").phase == saga_phase::completed));
  BOOST_TEST(types("trip-1") ==
                 (text_list{"SagaStarted", "SagaStepRequested", "SagaStepConfirmed", "SagaStepRequested",
                            "SagaStepConfirmed", "SagaStepRequested", "SagaStepConfirmed", "SagaCompleted"}),
             boost::test_tools::per_element());
  BOOST_TEST(timers() == 0);
}

BOOST_AUTO_TEST_CASE(a_second_start_changes_nothing_and_another_input_is_refused) {
  start(sagas, "1");
  settle();
  auto again = start(sagas, "1");
  auto other = start(sagas, "1", 6);
  settle();
  BOOST_TEST((again.answer().get_as<saga_phase>(0) == saga_phase::completed));
  BOOST_TEST((other.failure().reason() == "already_started"));
  BOOST_TEST(seen.size() == 3);
}

// -- spec 18

BOOST_AUTO_TEST_CASE(a_refused_step_undoes_what_was_confirmed_in_reverse_order) {
  script["car"] = always(refusal("no cars"));
  start(sagas, "1");
  settle();
  check_asked(*this, {"flight:5", "hotel:6", "car:7", "hotel:-6", "flight:-5"});
  BOOST_TEST(seen[3].key == "trip-1/hotel/undo");
  auto s = status(sagas, "1");
  BOOST_TEST((s.phase == saga_phase::compensated));
  BOOST_TEST(s.failed_step == "car");
  BOOST_TEST(s.why == "no cars");
  BOOST_TEST(types("trip-1").back() == "SagaCompensated");
  BOOST_TEST(timers() == 0);
  pass(3s);
  BOOST_TEST(seen.size() == 5);
}

BOOST_AUTO_TEST_CASE(a_step_in_doubt_is_undone_too_and_a_refused_one_is_not) {
  script["hotel"] = [](const seen_request& r) { return r.cents > 0 ? caf::message{} : reply(0); };
  start(sagas, "1");
  settle();
  check_asked(*this, {"flight:5", "hotel:6"});
  pass(1'050ms);
  check_asked(*this, {"flight:5", "hotel:6", "hotel:-6", "flight:-5"});
  // What comes after its time limit changes nothing any more.
  answer_late(1, reply(6));
  BOOST_TEST((status(sagas, "1").phase == saga_phase::compensated));
  BOOST_TEST(seen.size() == 4);
}

// -- spec 20: retries and deadlines

BOOST_AUTO_TEST_CASE(what_had_no_effect_is_tried_again_after_a_pause_with_the_same_key) {
  script["flight"] = [this](const seen_request& r) { return seen.size() < 3 ? trouble() : reply(r.cents); };
  start(sagas, "1");
  settle();
  BOOST_TEST(seen.size() == 1);
  BOOST_TEST(status(sagas, "1").steps[0].state == "delayed");
  pass(100ms);
  BOOST_TEST(seen.size() == 2);
  pass(200ms);
  check_asked(*this, {"flight:5", "flight:5", "flight:5", "hotel:6", "car:7"});
  BOOST_TEST(seen[2].key == seen[0].key);
  BOOST_TEST((status(sagas, "1").phase == saga_phase::completed));
  BOOST_TEST(timers() == 0);
}

BOOST_AUTO_TEST_CASE(retries_end_and_a_step_without_any_doubt_is_not_undone) {
  script["flight"] = always(trouble());
  start(sagas, "1");
  settle();
  pass(1s);
  check_asked(*this, {"flight:5", "flight:5", "flight:5"});
  BOOST_TEST((status(sagas, "1").phase == saga_phase::compensated));
}

BOOST_AUTO_TEST_CASE(a_late_answer_confirms_a_step_that_is_being_tried_again) {
  script["flight"] = never();
  start(sagas, "1");
  settle();
  pass(1'200ms);
  BOOST_TEST(seen.size() == 2);
  script["flight"] = nullptr;
  answer_late(0, reply(5));
  BOOST_TEST((status(sagas, "1").phase == saga_phase::completed));
  answer_late(1, refusal());
  BOOST_TEST((status(sagas, "1").phase == saga_phase::completed));
}

BOOST_AUTO_TEST_CASE(an_answer_of_another_type_leaves_the_step_in_doubt) {
  script["flight"] = [](const seen_request& r) {
    return r.cents > 0 ? caf::make_message(std::string{"ok"}) : reply(0);
  };
  start(sagas, "1");
  settle();
  pass(1s);
  check_asked(*this, {"flight:5", "flight:5", "flight:5", "flight:-5"});
  auto s = status(sagas, "1");
  BOOST_TEST((s.phase == saga_phase::compensated));
  BOOST_TEST(s.why.find("bank.Balance") != std::string::npos, s.why);
}

// -- spec 19

BOOST_AUTO_TEST_CASE(a_compensation_that_fails_for_good_leaves_the_saga_stuck_until_an_operator_decides) {
  script["car"] = always(refusal());
  script["hotel"] = [](const seen_request& r) { return r.cents > 0 ? reply(6) : trouble(); };
  for (auto* id : {"1", "2"})
    start(sagas, id);
  settle();
  pass(1s);
  for (auto* id : {"1", "2"})
    BOOST_TEST((status(sagas, id).phase == saga_phase::stuck));
  BOOST_TEST(timers() == 2);
  pass(10s);
  BOOST_TEST(seen.size() == 10);
  durable_timer after;
  BOOST_TEST(must(list_unfinished_sagas(journal, "trip", after)) == (text_list{"1", "2"}),
             boost::test_tools::per_element());

  auto operate = [&](const char* id, SagaOperated::Action action) {
    auto command = std::make_shared<OperateSaga>();
    command->set_action(action);
    asked answer{send(actor_of(sagas), caf::make_message(internal::saga_order{id, command}))};
    settle();
    return answer;
  };
  BOOST_TEST((operate("1", SagaOperated::ABORT).failure().reason() == "already_compensating"));
  operate("1", SagaOperated::RETRY);
  pass(1s);
  BOOST_TEST((status(sagas, "1").phase == saga_phase::stuck));
  BOOST_TEST(seen.size() == 12);
  script["hotel"] = nullptr;
  operate("1", SagaOperated::RETRY);
  BOOST_TEST((status(sagas, "1").phase == saga_phase::compensated));
  operate("2", SagaOperated::SKIP);
  BOOST_TEST((status(sagas, "2").phase == saga_phase::compensated));
  BOOST_TEST((operate("2", SagaOperated::SKIP).failure().reason() == "saga_is_final"));
  BOOST_TEST((operate("3", SagaOperated::SKIP).failure().reason() == "no_such_saga"));
  BOOST_TEST(timers() == 0);
}

BOOST_AUTO_TEST_CASE(a_running_saga_can_be_aborted_and_the_open_step_is_in_doubt) {
  script["hotel"] = [](const seen_request& r) { return r.cents > 0 ? caf::message{} : reply(0); };
  start(sagas, "1");
  settle();
  auto command = std::make_shared<OperateSaga>();
  command->set_action(SagaOperated::ABORT);
  command->set_why("the customer called");
  send(actor_of(sagas), caf::make_message(internal::saga_order{"1", command}));
  settle();
  check_asked(*this, {"flight:5", "hotel:6", "hotel:-6", "flight:-5"});
  BOOST_TEST(status(sagas, "1").why == "the customer called");
}

// -- spec 22

BOOST_AUTO_TEST_CASE(unfinished_sagas_go_on_by_themselves_after_a_restart) {
  script["hotel"] = never();
  for (auto i = 0; i != 100; ++i)
    start(sagas, std::to_string(i));
  settle();
  BOOST_TEST(seen.size() == 200);
  kill(sagas);
  script["hotel"] = nullptr;
  sagas = saga_host<trip>{start_sagas(saga_type_of<trip>(), {.max_waking = 7})};
  settle();
  for (auto i = 0; i != 100; ++i)
    BOOST_TEST((status(sagas, std::to_string(i)).phase == saga_phase::completed));
  BOOST_TEST(seen.size() == 400);
  BOOST_TEST(timers() == 0);
}

BOOST_AUTO_TEST_CASE(deadlines_and_pauses_hold_over_a_restart) {
  script["hotel"] = [](const seen_request& r) { return r.cents > 0 ? caf::message{} : reply(0); };
  start(sagas, "1");
  settle();
  kill(sagas);
  sagas = start_sagas<trip>();
  settle();
  BOOST_TEST(seen.size() == 3); // the request once more
  kill(sagas);
  advance(5s);
  sagas = start_sagas<trip>();
  settle();
  pass(100ms);
  BOOST_TEST((status(sagas, "1").phase == saga_phase::compensated));
}

BOOST_AUTO_TEST_CASE(an_operator_can_decide_while_no_sagas_run) {
  script["car"] = always(refusal());
  script["hotel"] = [](const seen_request& r) { return r.cents > 0 ? reply(6) : trouble(); };
  start(sagas, "1");
  settle();
  pass(1s);
  kill(sagas);
  BOOST_TEST((must(read_saga(journal, "trip", "1")).phase == saga_phase::stuck));
  append("trip-1", expected_version::any(),
         {event_of_message(make<SagaOperated>([](auto& e) { e.set_action(SagaOperated::SKIP); }))});
  sagas = start_sagas<trip>();
  settle();
  BOOST_TEST((status(sagas, "1").phase == saga_phase::compensated));
}

// What a service says of a request that was sent twice, it may say of the second time alone.
BOOST_AUTO_TEST_CASE(a_request_that_is_sent_again_is_in_doubt_whatever_hinders_the_second_one) {
  script["hotel"] = never();
  start(sagas, "1");
  settle();
  kill(sagas);
  script["hotel"] = [](const seen_request& r) { return r.cents > 0 ? trouble() : reply(0); };
  sagas = start_sagas<trip>();
  settle();
  check_asked(*this, {"flight:5", "hotel:6", "hotel:6", "hotel:-6", "flight:-5"});
  BOOST_TEST((status(sagas, "1").phase == saga_phase::compensated));
  BOOST_TEST(status(sagas, "1").why == "trouble");
}

BOOST_AUTO_TEST_CASE(sagas_are_asked_again_when_an_answer_could_not_be_recorded) {
  // The answer of the last step comes while the journal takes nothing, and the time limit would fail that step.
  script["car"] = [this](const seen_request& r) {
    if (seen.size() == 3)
      journal.fail_reserve = [] { return make_error(journal_errc::overloaded, "too much waits"); };
    return reply(r.cents);
  };
  start(sagas, "1");
  settle();
  BOOST_TEST(types("trip-1").back() == "SagaStepRequested");
  journal.fail_reserve = nullptr;
  scheduler().advance_time(1s); // not civil time
  settle();
  BOOST_TEST((status(sagas, "1").phase == saga_phase::completed));
  BOOST_TEST(seen.size() == 4);
  BOOST_TEST(seen[3].key == seen[2].key);
}

BOOST_AUTO_TEST_CASE(who_waits_for_the_end_hears_of_it_though_the_last_commit_is_of_unknown_outcome) {
  asked finished{send(actor_of(sagas), caf::make_message(await_saga{"1"}))};
  script["car"] = [this](const seen_request& r) {
    journal.written_nevertheless = true;
    journal.fail_commit = [this](const commit&) {
      journal.fail_commit = nullptr;
      return make_error(journal_errc::outcome_unknown, "the disk went away");
    };
    return reply(r.cents);
  };
  settle();
  BOOST_TEST((finished.failure().reason() == "no_such_saga"));
  start(sagas, "1");
  run();
  write();
  run();
  finished = asked{send(actor_of(sagas), caf::make_message(await_saga{"1"}))};
  settle();
  BOOST_TEST(!finished.answered());
  BOOST_TEST(types("trip-1").back() == "SagaCompleted");
  pass(1s);
  BOOST_TEST((finished.answer().get_as<saga_phase>(0) == saga_phase::completed));
}

BOOST_AUTO_TEST_CASE(a_step_that_a_later_definition_lacks_fails_and_cannot_be_undone) {
  script["hotel"] = never();
  for (auto* id : {"1", "2"})
    start(sagas, id);
  settle();
  kill(sagas);
  auto later = start_sagas<trip_without_hotel>();
  settle();
  auto s = status(later, "1");
  BOOST_TEST((s.phase == saga_phase::stuck));
  BOOST_TEST(s.failed_step == "hotel");
  BOOST_TEST(s.steps[1].state == "undo_failed");
  BOOST_TEST(s.steps[1].why.find("no step of this name any more") != std::string::npos, s.steps[1].why);
  auto command = std::make_shared<OperateSaga>();
  command->set_action(SagaOperated::SKIP);
  send(actor_of(later), caf::make_message(internal::saga_order{"1", command}));
  settle();
  BOOST_TEST((status(later, "1").phase == saga_phase::compensated));
  // The definition that knows the step can undo it.
  kill(later);
  script["hotel"] = nullptr;
  sagas = start_sagas<trip>();
  send(actor_of(sagas), caf::make_message(internal::saga_order{"2", [] {
                                                                 auto c = std::make_shared<OperateSaga>();
                                                                 c->set_action(SagaOperated::RETRY);
                                                                 return c;
                                                               }()}));
  settle();
  BOOST_TEST((status(sagas, "2").phase == saga_phase::compensated));
  check_asked(*this, {"flight:5", "flight:5", "hotel:6", "hotel:6", "flight:-5", "hotel:-6", "flight:-5"});
}

BOOST_AUTO_TEST_CASE(a_decision_of_an_operator_is_carried_out_though_the_journal_is_full_at_the_start) {
  script["car"] = always(refusal());
  script["hotel"] = [](const seen_request& r) { return r.cents > 0 ? reply(6) : trouble(); };
  start(sagas, "1");
  settle();
  pass(1s);
  kill(sagas);
  script["hotel"] = nullptr;
  append("trip-1", expected_version::any(),
         {event_of_message(make<SagaOperated>([](auto& e) { e.set_action(SagaOperated::RETRY); }))});
  journal.fail_commit = [](const commit&) { return make_error(journal_errc::disk_full, "no space left"); };
  sagas = start_sagas<trip>();
  settle();
  BOOST_TEST((status(sagas, "1").phase == saga_phase::compensating));
  journal.fail_commit = nullptr;
  pass(1s);
  BOOST_TEST((status(sagas, "1").phase == saga_phase::compensated));
}

BOOST_AUTO_TEST_CASE(a_compensation_that_was_refused_is_tried_again_with_another_key) {
  // The services answer a key as they did the first time.
  std::map<std::string, bool> first_answers;
  auto closed = true;
  script["car"] = always(refusal());
  script["hotel"] = [&](const seen_request& r) {
    return first_answers.emplace(r.key, r.cents > 0 || !closed).first->second ? reply(6) : refusal("closed");
  };
  start(sagas, "1");
  settle();
  BOOST_TEST((status(sagas, "1").phase == saga_phase::stuck));
  closed = false;
  auto command = std::make_shared<OperateSaga>();
  command->set_action(SagaOperated::RETRY);
  send(actor_of(sagas), caf::make_message(internal::saga_order{"1", command}));
  settle();
  BOOST_TEST((status(sagas, "1").phase == saga_phase::compensated));
  BOOST_TEST(seen[3].key == "trip-1/hotel/undo");
  BOOST_TEST(seen[4].key == "trip-1/hotel/undo#2");
}

BOOST_AUTO_TEST_CASE(what_is_never_answered_is_forgotten) {
  script["flight"] = never();
  start(sagas, "1");
  asked waits_long{send(actor_of(sagas), caf::make_message(await_saga{"1"}))};
  asked waits_shortly{
      send(actor_of(sagas), caf::make_message(await_saga{"1", scheduler().clock().now() + 1s}))};
  settle();
  scheduler().advance_time(9s);
  settle();
  BOOST_TEST(!waits_shortly.answered());
  scheduler().advance_time(2s);
  settle();
  BOOST_TEST((waits_shortly.code() == entity_errc::outcome_unknown));
  BOOST_TEST(!waits_long.answered());
  answer_late(0, reply(5)); // late, and in time to go on
  check_asked(*this, {"flight:5", "hotel:6", "car:7"});
  BOOST_TEST((waits_long.answer().get_as<saga_phase>(0) == saga_phase::completed));
  start(sagas, "2");
  settle();
  scheduler().advance_time(100s);
  settle();
  answer_late(3, reply(5)); // nobody knows of it any more
  BOOST_TEST((status(sagas, "2").phase == saga_phase::running));
}

BOOST_AUTO_TEST_CASE(a_start_with_a_key_and_a_time_of_the_callers_is_a_start_like_others) {
  script["flight"] = never();
  command_context context;
  context.idempotency_key = "k";
  context.now = now() - 1h;
  auto ask = [&] { return asked{send(actor_of(sagas), caf::make_message("1"s, context, cents(5)))}; };
  ask();
  settle();
  auto again = ask();
  settle();
  BOOST_TEST((again.answer().get_as<saga_phase>(0) == saga_phase::running));
  BOOST_TEST(seen.size() == 1);
  BOOST_TEST(types("trip-1") == (text_list{"SagaStarted", "SagaStepRequested"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

// -- steps that are confirmed later

namespace {

struct slow_trip : saga<slow_trip> {
  static constexpr std::string_view category = "slow_trip";
  using input = bank::Deposit;
  static void define(definition<input>& saga) {
    saga.step("visa")
        .request_at("flight", [](const input& i) { return cents(i.cents()); })
        .compensate_at("flight", [](const input& i) { return cents(-i.cents()); })
        .confirmed_later()
        .within(1s)
        .retry({.retries = 0});
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_confirmation_for_a_step_that_is_not_open_is_refused) {
  saga_world world{"flight"};
  auto sagas = world.start_sagas<slow_trip>();
  auto confirm = [&](const char* id, const char* step) {
    auto command = std::make_shared<SagaAnswered>();
    command->set_step(step);
    command->set_must_be_open(true);
    asked answer{world.send(actor_of(sagas), caf::make_message(internal::saga_order{id, command}))};
    world.settle();
    return answer;
  };
  for (auto* id : {"1", "2"})
    world.start(sagas, id);
  world.settle();
  BOOST_TEST((world.status(sagas, "1").phase == saga_phase::running));
  BOOST_TEST((confirm("1", "ticket").failure().reason() == "step_not_open"));
  BOOST_TEST((confirm("3", "visa").failure().reason() == "step_not_open"));
  BOOST_TEST((confirm("1", "visa").answer().get_as<saga_phase>(0) == saga_phase::completed));
  BOOST_TEST((confirm("1", "visa").failure().reason() == "step_not_open"));
  world.pass(1'100ms);
  BOOST_TEST((world.status(sagas, "2").phase == saga_phase::compensated));
  BOOST_TEST((confirm("2", "visa").failure().reason() == "step_not_open"));
}

// -- what errors mean

BOOST_AUTO_TEST_CASE(an_error_means_a_refusal_nothing_or_doubt) {
  auto of = [](auto code) { return outcome_of(make_error(code, "x")); };
  auto behind_a_breaker = [](auto code) {
    breaker b{{.name = "b", .is_failure = [](const error&) { return true; }}};
    auto answer = b.call([&]() -> result<int> { return make_error(code, "x"); });
    return outcome_of(answer.error());
  };
  using enum step_outcome;
  for (auto code : {entity_errc::rejected, entity_errc::invalid_id, entity_errc::invalid_command}) {
    BOOST_TEST((of(code) == refused));
    BOOST_TEST((behind_a_breaker(code) == refused));
  }
  for (auto code : {entity_errc::overloaded, entity_errc::deadline_exceeded, entity_errc::not_persisted}) {
    BOOST_TEST((of(code) == nothing_happened));
    BOOST_TEST((behind_a_breaker(code) == nothing_happened));
  }
  BOOST_TEST((of(entity_errc::outcome_unknown) == in_doubt));
  BOOST_TEST((behind_a_breaker(entity_errc::outcome_unknown) == in_doubt));
  for (auto code : {breaker_errc::circuit_open, breaker_errc::too_many_calls, breaker_errc::gave_up})
    BOOST_TEST((of(code) == nothing_happened));
  for (auto code : {breaker_errc::timeout, breaker_errc::operation_failed, breaker_errc::worker_lost})
    BOOST_TEST((of(code) == in_doubt));
  auto not_there = make_error(breaker_errc::worker_lost, "x");
  not_there.with_reason("retry_after_ms", "10");
  BOOST_TEST((outcome_of(not_there) == nothing_happened));
  BOOST_TEST((of(journal_errc::io_error) == in_doubt));
}

// -- definitions

namespace {

template <class S>
std::string complaint() {
  try {
    saga_type_of<S>();
  } catch (const std::logic_error& e) {
    return e.what();
  }
  return "none";
}

auto nothing() {
  return [](const bank::Deposit&) { return cents(1); };
}

struct no_steps : saga<no_steps> {
  static constexpr std::string_view category = "x";
  using input = bank::Deposit;
  static void define(definition<input>&) {}
};

struct wrong_steps : saga<wrong_steps> {
  static constexpr std::string_view category = "x";
  using input = bank::Deposit;
  static void define(definition<input>& saga) {
    saga.step("a").request_at("p", nothing()).within(1s);
    saga.step("a").request_at("p", nothing()).within(1s);
    saga.step("b").request_at("p", nothing());
    saga.step("c").compensate_at("p", nothing()).within(1s);
    saga.step("d/e").request_at("p", nothing()).within(1s);
    saga.step("f").request_at("p", nothing()).within(1s).retry({.backoff = -1ms});
    saga.step("undo").request_at("p", nothing()).within(1s);
    saga.step("").request_at("p", nothing()).within(1s);
    saga.step(std::string(65, 'x')).request_at("p", nothing()).within(1s);
    saga.step("g").request_at("p", nothing()).within(1s).classify({});
    saga.step("h\xff").request_at("p", nothing()).within(1s);
  }
};

struct undone_by_nobody : saga<undone_by_nobody> {
  static constexpr std::string_view category = "x";
  using input = bank::Deposit;
  static void define(definition<input>& saga) {
    saga.step("a").request_at("flight", nothing()).compensate_at("nobody", nothing()).within(1s);
  }
};

struct too_many_steps : saga<too_many_steps> {
  static constexpr std::string_view category = "x";
  using input = bank::Deposit;
  static void define(definition<input>& saga) {
    for (auto i = 0; i != 65; ++i)
      saga.step(std::to_string(i)).request_at("p", nothing()).within(1s);
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_wrong_definition_is_refused_when_it_is_registered_with_all_that_is_wrong) {
  BOOST_TEST(complaint<no_steps>().find("no steps") != std::string::npos);
  BOOST_TEST(complaint<too_many_steps>().find("at most 64 steps") != std::string::npos);
  auto all = complaint<wrong_steps>();
  for (auto* word : {"\"a\" is there twice", "\"b\" has no time limit", "\"c\" has no request", "\"d/e\"",
                     "\"f\" has a retry policy", "\"undo\" is that of", "\"\" has not 1 to 64",
                     "xxx\" has not 1 to 64", "\"g\" has an empty function", "is not UTF-8"})
    BOOST_TEST(all.find(word) != std::string::npos, word << " in: " << all);
}

BOOST_AUTO_TEST_CASE(a_saga_whose_requests_nobody_takes_does_not_start) {
  saga_world world{"flight"};
  BOOST_CHECK_EXCEPTION(world.start_sagas<trip>(), std::logic_error, [](auto& e) {
    return std::string{e.what()}.find("to hotel (step hotel), car (step car);") != std::string::npos;
  });
  BOOST_CHECK_EXCEPTION(world.start_sagas<undone_by_nobody>(), std::logic_error, [](auto& e) {
    return std::string{e.what()}.find("to nobody (step a);") != std::string::npos;
  });
}

namespace {

struct malformed_trip : saga<malformed_trip> {
  static constexpr std::string_view category = "malformed";
  using input = bank::Deposit;
  static void define(definition<input>& saga) {
    saga.step("flight").request_at("flight", [](const input& i) { return to("f\xff", i); }).within(1s);
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_request_to_an_id_that_is_no_text_fails_its_step) {
  saga_world world{"flight"};
  auto sagas = world.start_sagas<malformed_trip>();
  world.start(sagas, "1");
  world.settle();
  auto status = world.status(sagas, "1");
  BOOST_TEST((status.phase == saga_phase::compensated));
  BOOST_TEST(status.why.find("the request cannot be made: ") != std::string::npos);
  BOOST_TEST(world.seen.empty());
}

BOOST_AUTO_TEST_CASE(what_is_no_input_and_an_id_that_is_too_long_are_refused) {
  trip_world world;
  asked wrong{world.send(actor_of(world.sagas), caf::make_message(std::string{"1"}, bank::Withdraw{}))};
  auto too_long = world.start(world.sagas, std::string(200, 'x') + std::string(50, 'y'));
  auto no_id = world.start(world.sagas, "a*b");
  world.settle();
  BOOST_TEST((wrong.code() == entity_errc::unknown_command));
  BOOST_TEST((too_long.code() == entity_errc::invalid_id));
  BOOST_TEST((no_id.code() == entity_errc::invalid_id));
  BOOST_TEST(world.seen.empty());
}
