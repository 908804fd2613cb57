// Events between processes: a projection of another service's events, and federation, over kills of the other process.

#include "support/cluster_process.hpp"
#include "support/projection_world.hpp"

#include <eventcore/runtime/cluster_errc.hpp>
#include <eventcore/runtime/federation_hub.hpp>
#include <eventcore/runtime/internal/cluster/remote_source.hpp>
#include <eventcore/runtime/internal/cluster/remote_target.hpp>

#include <boost/test/unit_test.hpp>

using namespace eventcore;
using namespace eventcore::test;

namespace {

struct balances : projection<balances> {
  static constexpr std::string_view name = "balances";
  struct accounts : view<std::string, Sum> {
    static constexpr std::string_view name = "accounts";
  };
  using views = eventcore::views<accounts>;
  using events = eventcore::events<bank::Deposited>;

  static void apply(views& v, const bank::Deposited& e, const event_context& c) {
    v.update<accounts>(std::string{c.key()}, [&](auto& sum) { add(sum, e.cents(), c.position); });
  }
};

/// The other process offers its events, and sends them to service `shop`.
void publish_all(node& n) {
  n.offer_events();
  publication content;
  content.map<bank::Opened, bank::Deposited, bank::Withdrawn>("accounts").publish<account>();
  auto rules = federation_rules::create({{"", "bank", "*", {"shop"}, ""}});
  static std::optional<federation_hub> hub;
  hub = must(federation_hub::start(n, must(n.publish(std::move(content))), must(std::move(rules)),
                                   {{"shop", n.remote_target("shop")}}));
}

struct bank_and_shop {
  temp_dir dir;
  std::uint16_t bank_port = free_port();
  std::uint16_t shop_port = free_port();
  service_process bank{member_options(dir.path(), "bank", bank_port, {loopback(shop_port)}), publish_all};
  std::optional<node> shop;
  std::int64_t deposits = 0;

  void start(bool accept) {
    bank.start();
    auto options = member_options(dir.path(), "shop", shop_port, {loopback(bank_port)});
    shop.emplace(must(node::open(options)));
    if (accept)
      shop->accept_events();
    must_pass(shop->join());
    must_pass(shop->service("bank").ask("a", std::make_unique<bank::Open>(), patience));
  }

  void deposit(int count) {
    for (int i = 0; i != count; ++i) {
      command_context key;
      key.idempotency_key = std::to_string(++deposits);
      must_pass(shop->service("bank").ask<bank::Balance>(
          "a", make<bank::Deposit>([](auto& c) { c.set_cents(1); }), patience, key));
    }
  }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(a_projection_follows_another_process_over_kills, bank_and_shop) {
  start(false);
  projection_options options;
  options.sources.push_back(shop->remote_events("bank"));
  auto view = must(shop->project<balances>(options));
  for (int i = 0; i != 4; ++i) {
    deposit(50);
    bank.kill();
    bank.start();
    deposit(50);
  }
  const auto sum = [&] {
    auto row = view.get<balances::accounts>("a");
    return row && *row ? (*row)->total() : 0;
  };
  BOOST_TEST(eventually([&] { return sum() >= deposits; }));
  BOOST_TEST(sum() == deposits);
  BOOST_TEST((*must(view.get<balances::accounts>("a"))).events() == deposits);
}

BOOST_FIXTURE_TEST_CASE(events_are_sent_to_another_process_once_over_kills, bank_and_shop) {
  start(true);
  for (int i = 0; i != 4; ++i) {
    deposit(50);
    bank.kill();
    bank.start();
    deposit(50);
  }
  const auto received = [&] {
    event_page page;
    std::int64_t count = 0;
    for (log_position next = 1;; next = page.events().back().position + 1) {
      must_pass(shop->journal().read_log(next, page, {}));
      if (page.empty())
        return count;
      for (const auto& e : page)
        count += e.type == "bank.Deposited";
    }
  };
  BOOST_TEST(eventually([&] { return received() >= deposits; }));
  BOOST_TEST(received() == deposits);
}

BOOST_FIXTURE_TEST_CASE(who_offers_nothing_says_so, bank_and_shop) {
  start(false);
  node other = must(node::open(member_options(dir.path(), "other", free_port(), {loopback(shop_port)})));
  must_pass(other.join());
  auto source = other.remote_events("shop");
  BOOST_REQUIRE(eventually([&] { return source->current_history().has_value(); }));
  BOOST_TEST(to_string(source->current_history()->incarnation) ==
             to_string(shop->journal().info().incarnation));
  auto feed = source->open(1, {}, [] {});
  auto page = feed->read({});
  BOOST_REQUIRE(!page);
  BOOST_TEST(page.error().message().find("does not offer its events") != std::string::npos);
  BOOST_TEST((page.error().code() == cluster_errc::not_offered));
}

BOOST_AUTO_TEST_CASE(a_feed_of_a_history_that_ended_says_so) {
  const auto source = std::make_shared<internal::remote_source>("bank");
  const auto out = [] { return std::make_shared<internal::outbox>([] {}); };
  const auto first = out();
  const event_source::history before{uuid::random(), uuid::random()};
  source->connected(first, before, 7, true);
  auto feed = source->open(1, {}, [] {});
  BOOST_TEST(feed->read({}).has_value());
  source->on_head(*first, 9);
  BOOST_TEST(must(source->head()) == 9u);
  source->lost(*first, "it was stopped");
  auto gone = feed->read({});
  BOOST_REQUIRE(!gone);
  BOOST_TEST((gone.error().code() == entity_errc::unreachable));
  // A backup was restored.
  const event_source::history after{before.journal, uuid::random()};
  source->connected(out(), after, 3, true);
  auto restored = feed->read({});
  BOOST_REQUIRE(!restored);
  BOOST_TEST((restored.error().code() == journal_errc::wrong_journal));
  BOOST_TEST((*source->current_history() == after));
  source->on_head(*first, 11); // said before
  BOOST_TEST(must(source->head()) == 3u);
  BOOST_TEST(source->open(1, {}, [] {})->read({}).has_value());
}

BOOST_FIXTURE_TEST_CASE(the_end_of_another_log_is_known_to_those_who_do_not_read_it, bank_and_shop) {
  start(false);
  auto source = shop->remote_events("bank");
  deposit(5);
  BOOST_TEST(eventually([&] {
    auto head = source->head();
    return head && *head == 6;
  }));
}

BOOST_FIXTURE_TEST_CASE(a_slow_reader_has_a_window_and_gets_all, bank_and_shop) {
  start(false);
  shop->offer_events();
  node reader = must(node::open(member_options(dir.path(), "reader", free_port(), {loopback(shop_port)})));
  must_pass(reader.join());
  constexpr std::uint64_t count = 20'000;
  for (std::uint64_t written = 0; written != count; written += 1'000) {
    commit c;
    std::vector<new_event> events(1'000, {bank::Deposited::descriptor(), std::string(100, '\0'), 1});
    for (auto& e : events)
      e.payload = make<bank::Deposited>([](auto& d) { d.set_cents(1); }).SerializeAsString();
    c.appends.push_back({*stream_id::parse("account-x"), expected_version::any(), std::move(events)});
    must_pass(shop->journal().commit_and_wait(std::move(c)));
  }
  auto source = reader.remote_events("shop");
  std::atomic<int> wakes = 0;
  auto feed = source->open(1, {}, [&] { ++wakes; });
  log_position expected = 1;
  while (expected <= count) {
    auto page = feed->read({.events = 100});
    if (!page || (page->events.empty() && !page->more)) {
      BOOST_REQUIRE(!page ? page.error().code() == entity_errc::unreachable : true);
      const int before = wakes;
      eventually([&] { return wakes != before || feed == nullptr; });
      continue;
    }
    for (const auto* e : page->events) {
      BOOST_REQUIRE(e->position == expected);
      BOOST_REQUIRE(e->type == "bank.Deposited");
      ++expected;
    }
    BOOST_REQUIRE(page->last + 1 == expected);
  }
  BOOST_TEST(must(source->head()) == count);
}

BOOST_AUTO_TEST_CASE(what_waits_for_a_node_that_has_moved_is_answered_before_its_former_connection_is_lost) {
  internal::remote_target target{"shop", 1'000'000};
  const auto former = std::make_shared<internal::outbox>([] {});
  const auto present = std::make_shared<internal::outbox>([] {});
  target.connected(former, true);
  std::vector<std::string> answers;
  target.ask_position({}, [&](const result<log_position>& at) { answers.push_back(at.error().message()); });
  target.deliver({}, [&](const federation_answer& a) { answers.push_back(a.why->message()); });
  target.connected(present, true);
  BOOST_TEST(answers == std::vector<std::string>(2, "service shop is not reached: it has moved"),
             boost::test_tools::per_element());
  target.lost(*former, "it was closed");
  internal::byte_buffer sent;
  target.ask_position({}, [](const result<log_position>&) {});
  BOOST_TEST(present->take(sent));
}
