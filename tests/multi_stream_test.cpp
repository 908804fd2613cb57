#include "support/scripted_commands.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <random>
#include <tuple>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::literals;

BOOST_FIXTURE_TEST_SUITE(multi_stream_commands, bank_world)

BOOST_AUTO_TEST_CASE(a_transfer_appends_to_both_streams_or_to_none) {
  auto commands = start_multi_stream<transfers>();
  auto good = ask(commands, transfer("alice", "bob", 500));
  run();
  BOOST_TEST(!good.answered()); // nothing is durable
  settle();
  BOOST_TEST(good.cents() == 200);
  BOOST_TEST(events("account-alice").size() == 3);
  BOOST_TEST(events("account-bob").size() == 2);
  auto bad = ask(commands, transfer("alice", "bob", 500));
  settle();
  BOOST_TEST((bad.code() == entity_errc::rejected));
  BOOST_TEST(events("account-bob").size() == 2);
}

BOOST_AUTO_TEST_CASE(a_command_that_lost_is_decided_again_on_the_new_state) {
  auto commands = start_multi_stream<transfers>();
  auto answer = ask(commands, transfer("alice", "bob", 500));
  run();
  append("account-alice", expected_version::exact(2), {withdrawn(400)});
  settle();
  BOOST_TEST(!answer.answered());
  advance(10ms);
  settle();
  BOOST_TEST(answer.failure().message() == "insufficient funds");
}

BOOST_AUTO_TEST_CASE(live_entities_take_in_what_was_appended_to_their_streams) {
  auto accounts = start<account>();
  auto commands = start_multi_stream<transfers>();
  auto before = ask(accounts, "alice", bank::GetBalance{});
  settle();
  BOOST_TEST(before.cents() == 700);
  auto moved = ask(commands, transfer("alice", "bob", 500));
  settle();
  auto after = ask(accounts, "alice", withdraw(200));
  settle();
  BOOST_TEST(moved.cents() == 200);
  BOOST_TEST(after.cents() == 0);
  BOOST_TEST(journal.stats().conflicts == 0);
}

BOOST_AUTO_TEST_CASE(the_last_retry_holds_the_entities_and_both_sides_finish) {
  auto accounts = start<account>();
  auto commands = start_multi_stream<transfers>();
  std::vector<asked> deposits;
  deposits.push_back(ask(accounts, "alice", deposit(1)));
  run();
  auto moved = ask(commands, transfer("alice", "bob", 500));
  for (int i = 0; i < 400 && !moved.answered(); ++i) {
    // The entity has something in flight whenever the command is decided.
    deposits.push_back(ask(accounts, "alice", deposit(1)));
    run();
    advance(1ms);
    write();
    run();
  }
  BOOST_TEST(moved.answered());
  settle();
  advance(3s);
  settle();
  for (auto& d : deposits)
    BOOST_TEST(d.answered());
  BOOST_TEST(stats(commands).holds == 1);
  BOOST_TEST(stats(commands).retries == 4);
  auto balance = ask(accounts, "alice", bank::GetBalance{});
  settle();
  BOOST_TEST(balance.cents() == 200 + static_cast<std::int64_t>(deposits.size()));
}

BOOST_AUTO_TEST_CASE(a_repeat_with_the_same_key_gets_the_same_answer_and_has_no_effect) {
  command_context keyed;
  keyed.idempotency_key = "transfer-1";
  std::int64_t first = 0;
  {
    auto commands = start_multi_stream<transfers>();
    auto once = ask(commands, transfer("alice", "bob", 500), keyed);
    auto again = ask(commands, transfer("alice", "bob", 500), keyed);
    settle();
    first = once.cents();
    BOOST_TEST(again.cents() == first);
  }
  auto restarted = start_multi_stream<transfers>();
  auto later = ask(restarted, transfer("alice", "bob", 500), keyed);
  auto other = ask(restarted, transfer("alice", "bob", 1), keyed);
  settle();
  BOOST_TEST(later.cents() == first);
  BOOST_TEST((other.code() == entity_errc::key_reused));
  BOOST_TEST(events("account-alice").size() == 3);
}

// -- what a command may not do

BOOST_AUTO_TEST_CASE(a_command_that_is_wrong_is_answered_and_disturbs_nothing) {
  using wrong_thing = std::tuple<const char*, std::function<void(declared&)>,
                                 std::function<scripted_effect(const states&)>, entity_errc, const char*>;
  auto declares = [](auto text, std::function<void(declared&)> f, entity_errc code, auto word) {
    return wrong_thing{text, std::move(f), {}, code, word};
  };
  auto decides = [](auto text, std::function<scripted_effect(const states&)> f, entity_errc code, auto word) {
    return wrong_thing{text, read_both, std::move(f), code, word};
  };
  const std::vector<wrong_thing> all{
      declares(
          "a stream twice",
          [](auto& s) {
            read_both(s);
            s.template read<account>("alice");
          },
          entity_errc::invalid_command, "account-alice twice"),
      declares(
          "no stream", [](auto&) {}, entity_errc::invalid_command, "no stream"),
      declares(
          "an id that makes no stream",
          [](auto& s) {
            read_both(s);
            s.template read<account>("a*b");
          },
          entity_errc::invalid_id, "a*b"),
      declares(
          "too many streams",
          [](auto& s) {
            for (auto i = 0; i != 10'000; ++i)
              s.template read<account>(std::to_string(i));
          },
          entity_errc::invalid_command, "10000 streams"),
      declares(
          "discovery without end",
          [](auto& s) {
            for (auto i = 0; s.template read<account>(std::to_string(i));)
              ++i;
          },
          entity_errc::invalid_command, "account-17"),
      declares(
          "declare throws", [](auto&) { throw std::runtime_error{"my mistake"}; },
          entity_errc::decider_failed, "my mistake"),
      declares(
          "declare throws when it has read",
          [](auto& s) {
            if (s.template read<account>("alice"))
              throw 7;
          },
          entity_errc::decider_failed, "scripted"),
      decides(
          "decide throws", [](auto&) -> scripted_effect { throw std::runtime_error{"my mistake"}; },
          entity_errc::decider_failed, "my mistake"),
      decides(
          "decide throws something", [](auto&) -> scripted_effect { throw 7; }, entity_errc::decider_failed,
          "bank.GetBalance"),
      decides(
          "an undeclared state", [](auto& s) { return balance(s.template get<account>("carol").cents); },
          entity_errc::invalid_command, "account-carol"),
      decides(
          "an undeclared version",
          [](auto& s) { return balance(static_cast<std::int64_t>(s.template version<notes>("x"))); },
          entity_errc::invalid_command, "note-x"),
      decides(
          "an append to an undeclared stream",
          [](auto&) -> scripted_effect {
            return scripted::append<account>("alice", some(1))
                .append<account>("carol", some(1))
                .then_reply(balance(0));
          },
          entity_errc::invalid_command, "account-carol"),
      decides(
          "an append to no stream",
          [](auto&) -> scripted_effect {
            return scripted::append<account>("[]", some(1)).then_reply(balance(0));
          },
          entity_errc::invalid_id, "[]"),
  };
  auto commands = start_multi_stream<scripted>();
  for (auto& [what, declare, decide, code, word] : all) {
    BOOST_TEST_CONTEXT(what) {
      bank_world reset; // of the script
      auto good_decide = scripted::on_decide;
      scripted::on_declare = declare;
      if (decide)
        scripted::on_decide = decide;
      auto bad = ask(commands, bank::GetBalance{}, with_key("k"));
      settle();
      BOOST_TEST((bad.code() == code), bad.failure().code().message());
      check_names(bad.failure(), {word});
      scripted::on_declare = read_both;
      scripted::on_decide = good_decide;
      auto good = ask(commands, bank::GetBalance{});
      settle();
      BOOST_TEST(good.cents() == 700);
    }
  }
  BOOST_TEST(events("account-alice").size() == 2);
  BOOST_TEST(stats(commands).under_way == 0);
  BOOST_TEST(stats(commands).commands == 2 * all.size());
}

BOOST_AUTO_TEST_CASE(an_evolve_that_throws_leaves_all_streams_as_they_were) {
  scripted::on_declare = [](declared& s) {
    s.read<account>("alice");
    s.read<notes>("a");
  };
  std::int64_t cents = 1;
  scripted::on_decide = [&](const states& s) -> scripted_effect {
    auto before = *s.get<notes>("a").sum;
    return scripted::append<account>("alice", some(1))
        .append<notes>("a", some(1), some(cents))
        .then_reply(balance(before));
  };
  auto commands = start_multi_stream<scripted>();
  for (std::int64_t next : {1, 13, 1}) {
    cents = next;
    auto answer = ask(commands, bank::GetBalance{}, with_key("k" + std::to_string(events("note-a").size())));
    settle();
    if (next != 13) {
      BOOST_TEST(answer.cents() == static_cast<std::int64_t>(events("note-a").size()) - 2);
    } else {
      BOOST_TEST((answer.code() == entity_errc::decider_failed));
      check_names(answer.failure(), {"evolve cannot take 13"});
      BOOST_TEST(events("note-a").size() == 2);
    }
  }
  BOOST_TEST(events("account-alice").size() == 4);
  BOOST_TEST(events("note-a").size() == 4);
}

BOOST_AUTO_TEST_CASE(what_is_no_command_is_refused_by_name) {
  auto commands = start_multi_stream<transfers>();
  auto empty = ask_raw(commands, caf::message{});
  auto number = ask_raw(commands, caf::make_message(1));
  auto other = ask(commands, deposit(1));
  auto addressed = ask_raw(commands, caf::make_message(std::string{"alice"}, transfer("alice", "bob", 1)));
  auto long_key = ask(commands, transfer("alice", "bob", 1), with_key(std::string(256, 'k')));
  auto no_text = ask(commands, transfer("alice", "bob", 1), with_key("\xff"));
  settle();
  for (auto* refused : {&empty, &number, &other, &addressed})
    BOOST_TEST((refused->code() == entity_errc::unknown_command));
  check_names(empty.failure(), {"empty"});
  check_names(other.failure(), {"bank::Deposit", "transfers"});
  BOOST_TEST((long_key.code() == entity_errc::invalid_command));
  BOOST_TEST((no_text.code() == entity_errc::invalid_command));
  auto longest = ask(commands, transfer("alice", "bob", 1), with_key(std::string(255, 'k')));
  settle();
  BOOST_TEST(longest.cents() == 699);
}

BOOST_AUTO_TEST_CASE(a_stream_that_only_a_state_can_name_is_discovered_in_each_try) {
  append("account-order", expected_version::none(), {deposited(42)});
  auto rounds = 0;
  scripted::on_declare = [&](declared& s) {
    ++rounds;
    if (auto* order = s.read<account>("order"))
      s.read<account>(std::to_string(order->cents));
  };
  scripted::on_decide = [](const states& s) -> scripted_effect {
    auto customer = std::to_string(s.get<account>("order").cents);
    return scripted::append<account>(customer, some(1)).then_reply(balance(s.get<account>(customer).cents));
  };
  auto commands = start_multi_stream<scripted>();
  auto first = ask(commands, bank::GetBalance{});
  settle();
  BOOST_TEST(first.cents() == 0);
  BOOST_TEST(rounds == 3);
  auto second = ask(commands, bank::GetBalance{}, with_key("k"));
  run();
  append("account-order", expected_version::exact(1), {deposited(1)}); // another customer
  settle();
  advance(10ms);
  settle();
  BOOST_TEST(second.cents() == 0);
  BOOST_TEST(events("account-42").size() == 1);
  BOOST_TEST(events("account-43").size() == 1);
}

// -- limits

BOOST_AUTO_TEST_CASE(a_deadline_that_passes_in_the_queue_or_in_a_pause_is_said) {
  auto commands = start_multi_stream<transfers>();
  command_context soon;
  soon.deadline = system().clock().now() + 5ms;
  auto first = ask(commands, transfer("alice", "bob", 1));
  auto second = ask(commands, transfer("bob", "alice", 1), soon);
  run();
  advance(6ms);
  settle();
  BOOST_TEST(first.cents() == 699);
  BOOST_TEST((second.code() == entity_errc::deadline_exceeded));
  soon.deadline = system().clock().now() + 3ms;
  auto third = ask(commands, transfer("alice", "bob", 1), soon);
  lose_next("account-alice", 2); // the first one only shows that what was in memory is old
  settle();
  BOOST_TEST(!third.answered());
  advance(10ms);
  settle();
  BOOST_TEST((third.code() == entity_errc::deadline_exceeded));
  BOOST_TEST(events("account-bob").size() == 2);
}

BOOST_AUTO_TEST_CASE(too_many_commands_are_refused_and_the_others_go_on) {
  auto commands = start_multi_stream<transfers>({.max_waiting = 3});
  std::vector<asked> all;
  for (auto i = 0; i != 5; ++i)
    all.push_back(ask(commands, transfer("alice", "bob", 1)));
  settle();
  for (std::size_t i = 0; i != 3; ++i)
    BOOST_TEST(all[i].cents() == 699 - static_cast<std::int64_t>(i));
  BOOST_TEST((all[3].code() == entity_errc::overloaded));
  BOOST_TEST((all[4].code() == entity_errc::overloaded));
  journal.fail_reserve = [] { return make_error(journal_errc::overloaded, "full"); };
  auto no_credit = ask(commands, transfer("alice", "bob", 1));
  settle();
  BOOST_TEST((no_credit.code() == entity_errc::overloaded));
  journal.fail_reserve = nullptr;
  auto later = ask(commands, transfer("alice", "bob", 1));
  settle();
  BOOST_TEST(later.cents() == 696);
}

BOOST_AUTO_TEST_CASE(streams_that_nobody_uses_are_forgotten_and_read_again) {
  auto commands = start_multi_stream<transfers>({.max_cached = 0, .read_chunk = 1});
  for (auto cents : {699, 698, 697}) {
    auto answer = ask(commands, transfer("alice", "bob", 1), with_key(std::to_string(cents)));
    settle();
    BOOST_TEST(answer.cents() == cents);
    BOOST_TEST(stats(commands).cached_streams == 0);
  }
}

// -- other writers

BOOST_AUTO_TEST_CASE(each_answer_is_checked_against_all_streams_that_were_read) {
  using decision = std::function<scripted_effect(const states&)>;
  const std::vector<decision> decisions{
      [](auto& s) { return balance(sum_of_both(s)); },
      [](auto& s) { return scripted::reject(std::to_string(sum_of_both(s))); },
      [](auto& s) -> scripted_effect {
        return scripted::append<account>("alice", some(0)).then_reply(balance(sum_of_both(s)));
      },
      [](auto& s) -> scripted_effect {
        return scripted::append<account>("bob", some(0)).then_reply(balance(sum_of_both(s)));
      },
  };
  for (auto* stranger : {"account-alice", "account-bob"})
    for (auto& decide : decisions) {
      bank_world world;
      scripted::on_decide = decide;
      auto commands = world.start_multi_stream<scripted>();
      auto answer = world.ask(commands, bank::GetBalance{});
      world.run();
      world.append(stranger, expected_version::any(), {deposited(5)});
      world.settle();
      BOOST_TEST(!answer.answered());
      world.advance(10ms);
      world.settle();
      auto saw = answer.answer().match_elements<bank::Balance>() ? answer.cents()
                                                                 : std::stoll(answer.failure().message());
      BOOST_TEST(saw == 705);
      BOOST_TEST(world.stats(commands).retries == 1);
    }
}

BOOST_AUTO_TEST_CASE(pauses_double_and_the_last_conflict_names_stream_and_versions) {
  auto commands = start_multi_stream<transfers>();
  auto answer = ask(commands, transfer("alice", "bob", 1), with_key("k"));
  lose_next("account-bob", 5);
  settle();
  for (std::size_t tries = 1; tries != 5; ++tries) {
    BOOST_TEST(journal.submitted == tries);
    caf::timespan pause = 10ms * (1 << (tries - 1));
    advance(pause / 2);
    settle();
    BOOST_TEST(journal.submitted == tries);
    BOOST_TEST(!answer.answered());
    advance(pause / 2);
    settle();
  }
  BOOST_TEST(journal.submitted == 5);
  BOOST_TEST((answer.code() == entity_errc::conflict));
  check_names(answer.failure(), {"account-bob", "expected version 5", "found version 6", "5 times"});
  BOOST_TEST(events("account-alice").size() == 2);
  BOOST_TEST(stats(commands).conflicts == 5);
  BOOST_TEST(stats(commands).retries == 4);
  auto next = ask(commands, transfer("alice", "bob", 1), with_key("k"));
  settle();
  BOOST_TEST(next.cents() == 699);
}

BOOST_AUTO_TEST_CASE(what_was_decided_from_memory_and_does_not_stand_is_decided_again_at_once) {
  auto commands = start_multi_stream<transfers>({.retries = 0});
  auto first = ask(commands, transfer("alice", "bob", 1));
  settle();
  BOOST_TEST(first.cents() == 699);
  append("account-alice", expected_version::any(), {deposited(1'000)});
  auto more_than_was_there = ask(commands, transfer("alice", "bob", 1'500));
  settle();
  BOOST_TEST(more_than_was_there.cents() == 199);
  BOOST_TEST(stats(commands).conflicts == 0);
  auto submitted = journal.submitted;
  append("account-alice", expected_version::any(), {deposited(1)});
  auto looked_first = ask(commands, transfer("alice", "bob", 200));
  settle();
  BOOST_TEST(looked_first.cents() == 0);
  BOOST_TEST(journal.submitted == submitted + 1);
}

BOOST_AUTO_TEST_CASE(a_decider_that_fails_on_what_was_in_memory_is_asked_again) {
  auto commands = start_multi_stream<scripted>();
  scripted::on_decide = [](const states& s) -> scripted_effect {
    if (s.get<account>("bob").cents > s.get<account>("alice").cents)
      throw std::logic_error{"bob has more than alice"};
    return scripted::append<account>("bob", some(800)).then_reply(balance(sum_of_both(s)));
  };
  auto first = ask(commands, bank::GetBalance{});
  settle();
  BOOST_TEST(first.cents() == 700);
  append("account-alice", expected_version::any(), {deposited(200)});
  auto second = ask(commands, bank::GetBalance{});
  settle();
  BOOST_TEST(second.cents() == 1'700);
  auto third = ask(commands, bank::GetBalance{});
  settle();
  BOOST_TEST((third.code() == entity_errc::decider_failed));
}

BOOST_AUTO_TEST_CASE(without_retries_the_first_conflict_is_told) {
  auto commands = start_multi_stream<transfers>({.retries = 0});
  auto answer = ask(commands, transfer("alice", "bob", 1));
  lose_next("account-alice");
  settle();
  BOOST_TEST((answer.code() == entity_errc::conflict));
}

BOOST_AUTO_TEST_CASE(a_stream_that_cannot_be_read_fails_its_commands_only) {
  auto commands = start_multi_stream<transfers>();
  auto before = ask(commands, transfer("alice", "bob", 1));
  settle();
  BOOST_TEST(before.cents() == 699);
  append("account-bob", expected_version::any(), {deposited(1)});
  journal.fail_read = [](const stream_cursor& where) -> std::optional<error> {
    if (where.stream.str() == "account-bob")
      return make_error(journal_errc::corrupt, "position 3: wrong checksum");
    return std::nullopt;
  };
  auto damaged = ask(commands, transfer("alice", "bob", 1), with_key("k"));
  auto apart = ask(commands, transfer("alice", "carol", 1));
  settle();
  BOOST_TEST((damaged.code() == entity_errc::recovery_failed));
  check_names(damaged.failure(), {"account-bob", "wrong checksum"});
  BOOST_TEST(apart.cents() == 698);
  journal.fail_read = nullptr;
  auto repaired = ask(commands, transfer("alice", "bob", 1), with_key("k"));
  settle();
  BOOST_TEST(repaired.cents() == 697);
  append("account-bob", expected_version::any(), {event_of_message(bank::Balance{})});
  for (auto i = 0; i != 2; ++i) {
    auto unknown = ask(commands, transfer("alice", "bob", 1));
    settle();
    BOOST_TEST((unknown.code() == entity_errc::recovery_failed));
    check_names(unknown.failure(), {"account-bob", "event 5", "bank.Balance", "unknown"});
  }
  auto last = ask(commands, transfer("alice", "carol", 1));
  settle();
  BOOST_TEST(last.cents() == 696);
}

BOOST_AUTO_TEST_CASE(a_state_that_cannot_be_copied_survives_conflicts) {
  scripted::on_declare = [](declared& s) { s.read<notes>("a"); };
  scripted::on_decide = [](const states& s) -> scripted_effect {
    auto sum = *s.get<notes>("a").sum;
    return scripted::append<notes>("a", some(10)).then_reply(balance(sum));
  };
  auto commands = start_multi_stream<scripted>();
  std::vector<asked> answers;
  for (auto i = 0; i != 4; ++i)
    answers.push_back(ask(commands, bank::GetBalance{}, with_key(std::to_string(i))));
  lose_next("note-a", 3);
  for (auto i = 0; i != 20; ++i) {
    settle();
    advance(40ms);
  }
  std::vector<std::int64_t> seen;
  for (auto& answer : answers)
    seen.push_back(answer.cents());
  std::ranges::sort(seen);
  BOOST_TEST(seen == (std::vector<std::int64_t>{3, 13, 23, 33}), boost::test_tools::per_element());
  BOOST_TEST(events("note-a").size() == 7);
}

// -- idempotency keys

BOOST_AUTO_TEST_CASE(a_rejection_is_repeated_after_a_restart_though_it_would_be_none_now) {
  {
    auto commands = start_multi_stream<transfers>();
    auto first = ask(commands, transfer("alice", "bob", 9'000), with_key("k"));
    settle();
    BOOST_TEST((first.code() == entity_errc::rejected));
  }
  append("account-alice", expected_version::any(), {deposited(20'000)});
  auto restarted = start_multi_stream<transfers>();
  auto again = ask(restarted, transfer("alice", "bob", 9'000), with_key("k"));
  settle();
  BOOST_TEST((again.code() == entity_errc::rejected));
  BOOST_TEST(again.failure().message() == "insufficient funds");
  BOOST_TEST(events("account-bob").size() == 1);
}

BOOST_AUTO_TEST_CASE(a_first_stream_that_is_only_read_keeps_the_answer) {
  scripted::on_decide = [](const states& s) -> scripted_effect {
    return scripted::append<account>("bob", some(1)).then_reply(balance(sum_of_both(s)));
  };
  auto accounts = start<account>();
  auto query = ask(accounts, "alice", bank::GetBalance{});
  settle();
  for (auto i = 0; i != 2; ++i) {
    auto commands = start_multi_stream<scripted>();
    for (auto j = 0; j != 2; ++j) {
      auto answer = ask(commands, bank::GetBalance{}, with_key("k"));
      settle();
      BOOST_TEST(answer.cents() == 700);
    }
  }
  BOOST_TEST(events("account-bob").size() == 2);
  BOOST_TEST(events("account-alice").size() == 3);
  auto after = ask(accounts, "alice", deposit(1));
  settle();
  BOOST_TEST(after.cents() == 701);
}

BOOST_AUTO_TEST_CASE(an_entity_and_the_commands_over_its_stream_share_their_keys) {
  auto accounts = start<account>();
  auto commands = start_multi_stream<transfers>();
  auto moved = ask(commands, transfer("alice", "bob", 1), with_key("k1"));
  auto put = ask(accounts, "bob", with_key("k2"), deposit(1));
  settle();
  BOOST_TEST(moved.cents() == 699);
  auto put_again = ask(accounts, "alice", with_key("k1"), deposit(1));
  auto moved_again = ask(commands, transfer("bob", "alice", 1), with_key("k2"));
  // The keys of the second stream are no keys of the command.
  auto other_key = ask(commands, transfer("alice", "bob", 1), with_key("k2"));
  settle();
  BOOST_TEST((put_again.code() == entity_errc::key_reused));
  BOOST_TEST((moved_again.code() == entity_errc::key_reused));
  BOOST_TEST(other_key.cents() == 698);
}

// -- order

BOOST_AUTO_TEST_CASE(commands_that_share_streams_come_out_as_if_run_one_by_one_in_order_of_arrival) {
  std::minstd_rand dice{7};
  auto commands = start_multi_stream<transfers>();
  std::map<std::string, std::int64_t> cents{{"a", 0}, {"b", 0}, {"c", 0}, {"d", 0}};
  for (auto& [id, sum] : cents) {
    sum = 50;
    append("account-" + id, expected_version::none(), {opened(), deposited(50)});
  }
  std::vector<std::pair<asked, std::optional<std::int64_t>>> all;
  for (auto i = 0; i != 300; ++i) {
    auto pick = dice() % 4;
    std::string from(1, static_cast<char>('a' + pick));
    std::string to(1, static_cast<char>('a' + (pick + 1 + dice() % 3) % 4));
    auto amount = static_cast<std::int64_t>(dice() % 60);
    std::optional<std::int64_t> expected;
    if (cents[from] >= amount) {
      cents[from] -= amount;
      cents[to] += amount;
      expected = cents[from];
    }
    all.emplace_back(ask(commands, transfer(from, to, amount)), expected);
    if (dice() % 4 == 0)
      run();
    if (dice() % 8 == 0)
      write();
  }
  settle();
  for (auto& [answer, expected] : all) {
    if (expected)
      BOOST_TEST(answer.cents() == *expected);
    else
      BOOST_TEST((answer.code() == entity_errc::rejected));
  }
  BOOST_TEST(stats(commands).conflicts == 0);
}

// -- commits that fail

BOOST_AUTO_TEST_CASE(a_category_of_another_service_is_refused_before_anything_is_written) {
  journal_options options;
  options.categories = {"account"};
  bank_world world{options};
  scripted::on_declare = [](declared& s) {
    s.read<account>("alice");
    s.read<notes>("a");
  };
  auto foreign = true;
  scripted::on_decide = [&](const states& s) -> scripted_effect {
    auto cents = s.get<account>("alice").cents + *s.get<notes>("a").sum;
    auto both = scripted::append<account>("alice", some(1));
    if (foreign)
      return std::move(both).append<notes>("a", some(1)).then_reply(balance(cents));
    return std::move(both).then_reply(balance(cents));
  };
  auto commands = world.start_multi_stream<scripted>();
  auto refused = world.ask(commands, bank::GetBalance{}, with_key("k"));
  world.settle();
  BOOST_TEST((refused.code() == entity_errc::not_owned));
  check_names(refused.failure(), {"note-a"});
  BOOST_TEST(world.events("account-alice").size() == 2);
  foreign = false; // to read it is allowed
  auto good = world.ask(commands, bank::GetBalance{}, with_key("k"));
  world.settle();
  BOOST_TEST(good.cents() == 700);
}

BOOST_AUTO_TEST_CASE(an_unknown_outcome_is_said_and_the_next_command_knows_it) {
  for (auto written : {false, true}) {
    bank_world world;
    auto commands = world.start_multi_stream<transfers>();
    world.journal.written_nevertheless = written;
    world.journal.fail_commit = [](const commit&) {
      return make_error(journal_errc::outcome_unknown, "the disk went away");
    };
    auto doubtful = world.ask(commands, transfer("alice", "bob", 500), with_key("k"));
    world.settle();
    BOOST_TEST((doubtful.code() == entity_errc::outcome_unknown));
    world.journal.fail_commit = nullptr;
    auto again = world.ask(commands, transfer("alice", "bob", 500), with_key("k"));
    auto next = world.ask(commands, transfer("alice", "bob", 1));
    world.settle();
    BOOST_TEST(again.cents() == 200);
    BOOST_TEST(next.cents() == 199);
    BOOST_TEST(world.events("account-bob").size() == 3);
  }
}

BOOST_AUTO_TEST_CASE(a_full_disk_fails_the_command_and_nothing_happened) {
  auto commands = start_multi_stream<transfers>();
  journal.fail_commit = [](const commit&) { return make_error(journal_errc::disk_full, "no space left"); };
  auto failed = ask(commands, transfer("alice", "bob", 500), with_key("k"));
  auto behind = ask(commands, transfer("alice", "bob", 9'999));
  settle();
  BOOST_TEST((failed.code() == entity_errc::not_persisted));
  BOOST_TEST((behind.code() == entity_errc::not_persisted));
  journal.fail_commit = nullptr;
  auto next = ask(commands, transfer("alice", "bob", 500), with_key("k"));
  settle();
  BOOST_TEST(next.cents() == 200);
}

// -- the end

BOOST_AUTO_TEST_CASE(a_stop_answers_everything) {
  for (auto at_once : {false, true}) {
    bank_world world;
    auto accounts = world.start<account>();
    auto commands = world.start_multi_stream<transfers>({.retries = 1});
    world.lose_next("account-alice");
    auto holding = world.ask(commands, transfer("alice", "carol", 1));
    world.settle();
    auto busy = world.ask(accounts, "carol", open_account());
    world.run(); // its commit waits, and with it the hold
    world.advance(10ms);
    auto in_flight = world.ask(commands, transfer("bob", "dora", 0));
    world.run();
    auto queued = world.ask(commands, transfer("dora", "bob", 0));
    world.run();
    BOOST_TEST(world.stats(commands).holds == 1);
    world.stop(commands, at_once);
    BOOST_TEST((holding.code() == entity_errc::stopped));
    BOOST_TEST((queued.code() == entity_errc::stopped));
    BOOST_TEST(in_flight.answered() == at_once);
    auto late = world.ask(commands, transfer("dora", "bob", 0));
    world.run();
    BOOST_TEST(late.answered());
    world.settle();
    if (at_once)
      BOOST_TEST((in_flight.code() == entity_errc::outcome_unknown));
    else
      BOOST_TEST(in_flight.cents() == 0);
    // Nobody is held any more.
    auto free = world.ask(accounts, "carol", deposit(1));
    world.settle();
    BOOST_TEST(free.cents() == 1);
  }
}

// -- holds

BOOST_AUTO_TEST_CASE(the_end_of_a_lease_lets_the_entity_go_on) {
  auto accounts = start<account>();
  auto commands = start_multi_stream<transfers>({.retries = 1, .lease = 2s});
  lose_next("account-alice");
  auto moved = ask(commands, transfer("alice", "bob", 500));
  settle();
  advance(10ms); // the entities are held, and the commit is stuck
  BOOST_TEST(stats(commands).holds == 1);
  auto put = ask(accounts, "alice", deposit(1));
  auto submitted = journal.submitted;
  advance(1'900ms);
  BOOST_TEST(journal.submitted == submitted);
  advance(200ms);
  BOOST_TEST(journal.submitted == submitted + 1);
  settle();
  BOOST_TEST(moved.cents() == 201);
  BOOST_TEST(put.cents() == 202);
}

BOOST_AUTO_TEST_CASE(two_holders_of_one_stream_come_one_after_the_other_with_the_entity_between) {
  auto accounts = start<account>();
  auto one = start_multi_stream<transfers>({.retries = 1});
  auto other = start_multi_stream<transfers>({.retries = 1});
  lose_next("account-alice", 2);
  auto first = ask(one, transfer("alice", "bob", 100));
  auto second = ask(other, transfer("alice", "carol", 100));
  settle();
  advance(10ms); // both hold
  BOOST_TEST(stats(one).holds + stats(other).holds == 2);
  auto put = ask(accounts, "alice", deposit(1'000));
  settle();
  auto sees_deposit = [](asked& a) { return a.cents() > 1'000; };
  BOOST_TEST(sees_deposit(first) + sees_deposit(second) == 1);
  BOOST_TEST(put.cents() == 1'602);
  BOOST_TEST(stats(one).conflicts + stats(other).conflicts == 2);
}

BOOST_AUTO_TEST_CASE(holds_meet_entities_that_come_and_go) {
  std::uint64_t holds = 0;
  for (unsigned seed = 0; seed != 300; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::minstd_rand dice{seed + 1};
      bank_world world;
      auto accounts = world.start<account>({.idle_time = 8ms, .max_resident = 1});
      auto commands = world.start_multi_stream<transfers>({.retries = 1, .lease = 20ms});
      std::vector<asked> transfers_made;
      std::vector<asked> deposits;
      std::vector<asked> queries;
      for (auto i = 0; i != 200; ++i) {
        switch (dice() % 16) {
        case 0:
          transfers_made.push_back(world.ask(commands, transfer("alice", "bob", 1)));
          break;
        case 1:
          deposits.push_back(world.ask(accounts, "alice", deposit(1)));
          break;
        case 2:
          queries.push_back(world.ask(accounts, dice() % 2 == 0 ? "alice" : "bob", bank::GetBalance{}));
          break;
        case 3:
          world.write();
          break;
        case 4:
          world.scheduler().advance_time(4ms);
          break;
        default:
          world.run_one(dice());
        }
      }
      for (auto i = 0; i != 20; ++i) {
        world.settle();
        world.advance(10ms);
      }
      std::int64_t alice = 700;
      for (auto& d : deposits)
        alice += d.answer().match_elements<bank::Balance>();
      for (auto& t : transfers_made)
        if (t.answer().match_elements<bank::Balance>())
          --alice;
        else
          BOOST_TEST((t.code() == entity_errc::conflict));
      for (auto& q : queries)
        BOOST_TEST(q.answered());
      holds += world.stats(commands).holds;
      auto left = world.ask(accounts, "alice", bank::GetBalance{});
      world.settle();
      BOOST_TEST(left.cents() == alice);
    }
  }
  BOOST_TEST(holds > 100);
}

BOOST_AUTO_TEST_CASE(what_an_entity_has_in_flight_when_a_foreign_commit_lands_is_decided_again) {
  auto accounts = start<account>();
  auto commands = start_multi_stream<transfers>();
  auto before = ask(accounts, "alice", bank::GetBalance{});
  settle();
  auto moved = ask(commands, transfer("alice", "bob", 500));
  run(); // the first in the writer's queue
  auto put = ask(accounts, "alice", deposit(1));
  auto too_much = ask(accounts, "alice", withdraw(600));
  auto query = ask(accounts, "alice", bank::GetBalance{});
  auto take = ask(accounts, "alice", with_key("k"), withdraw(100));
  settle();
  BOOST_TEST(moved.cents() == 200);
  BOOST_TEST(put.cents() == 201);
  BOOST_TEST((too_much.code() == entity_errc::rejected));
  BOOST_TEST(query.cents() == 201);
  BOOST_TEST(take.cents() == 101);
  BOOST_TEST(events("account-alice").size() == 5);
}

BOOST_AUTO_TEST_CASE(a_host_that_ends_while_it_is_asked_to_hold_stops_no_command) {
  auto accounts = start<account>();
  auto commands = start_multi_stream<transfers>({.retries = 1});
  lose_next("account-alice");
  auto moved = ask(commands, transfer("alice", "bob", 500));
  settle();
  auto put = ask(accounts, "alice", deposit(1));
  run();
  advance(10ms);
  BOOST_TEST(stats(commands).holds == 1);
  auto kept = ask(accounts, "alice", deposit(1));
  run();
  caf::anon_send(actor_of(accounts), internal::stop_host{false});
  settle();
  BOOST_TEST(put.cents() == 702);
  BOOST_TEST((kept.code() == entity_errc::stopped));
  BOOST_TEST(moved.cents() == 202);
}

// -- folds and bounds

BOOST_AUTO_TEST_CASE(folds_of_one_category_see_the_same_stream_in_turns) {
  auto as_count = false;
  scripted::on_declare = [&](declared& s) {
    if (as_count)
      s.read<deposits_made>("alice");
    else
      s.read<account>("alice");
  };
  scripted::on_decide = [&](const states& s) -> scripted_effect {
    if (as_count)
      return scripted::append<deposits_made>("alice", some(10))
          .then_reply(balance(s.get<deposits_made>("alice").number));
    return scripted::append<account>("alice", some(10)).then_reply(balance(s.get<account>("alice").cents));
  };
  multi_stream_options options;
  options.snapshots.every = 1;
  auto commands = start_multi_stream<scripted>(options);
  std::int64_t made = 1;
  for (auto i = 0; i != 6; ++i) {
    as_count = i % 2 == 1;
    auto answer = ask(commands, bank::GetBalance{}, with_key(std::to_string(i)));
    settle();
    BOOST_TEST(answer.cents() == (as_count ? made : 690 + 10 * made));
    ++made;
    as_count = !as_count;
    auto again = ask(commands, bank::GetBalance{}, with_key(std::to_string(i)));
    settle();
    BOOST_TEST(again.cents() == answer.cents());
  }
  as_count = false;
  scripted::on_decide = [](const states& s) { return balance(s.get<deposits_made>("alice").number); };
  auto other_fold = ask(commands, bank::GetBalance{});
  settle();
  BOOST_TEST((other_fold.code() == entity_errc::invalid_command));
  check_names(other_fold.failure(), {"account-alice", "another fold"});
}

BOOST_AUTO_TEST_CASE(as_many_streams_as_allowed_are_appended_to_in_one_commit) {
  scripted::on_declare = [](declared& s) {
    for (auto i = 0; i != 1'000; ++i)
      s.read<account>(std::to_string(i));
  };
  scripted::on_decide = [](const states& s) -> scripted_effect {
    auto effect = scripted::append<account>("0", some(1));
    for (auto i = 1; i != 1'000; ++i)
      effect = std::move(effect).append<account>(std::to_string(i), some(1));
    return std::move(effect).then_reply(balance(static_cast<std::int64_t>(s.version<account>("999"))));
  };
  auto commands = start_multi_stream<scripted>();
  for (auto i = 0; i != 2; ++i) {
    auto answer = ask(commands, bank::GetBalance{});
    settle();
    BOOST_TEST(answer.cents() == i);
  }
  BOOST_TEST(stats(commands).cached_streams == 1'000);
}

BOOST_AUTO_TEST_SUITE_END()
