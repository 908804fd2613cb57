#include "support/projection_world.hpp"

#include <order_fulfilment/order_view.hpp>

#include <boost/test/unit_test.hpp>
#include <google/protobuf/util/message_differencer.h>
#include <rapidcheck.h>

using namespace eventcore;
using namespace eventcore::test;
using namespace std::chrono_literals;
using shop::OrderLine;

/// spec 25, by the events of three services in three journals.

namespace {

constexpr std::size_t orders = 0;
constexpr std::size_t payments = 1;
constexpr std::size_t shipping = 2;

shop::OrderCreated created(const std::string& customer, std::int64_t cents) {
  return make<shop::OrderCreated>([&](auto& e) {
    e.mutable_customer()->set_id(customer);
    e.mutable_customer()->set_name("Ada");
    e.set_cents(cents);
  });
}

OrderLine line(const std::string& customer, std::int64_t cents, OrderLine::Payment payment,
               OrderLine::Shipping shipping, std::int64_t updated_at_us) {
  return make<OrderLine>([&](auto& l) {
    l.set_customer_id(customer);
    l.set_customer_name("Ada");
    l.set_cents(cents);
    l.set_payment(payment);
    l.set_shipping(shipping);
    l.set_updated_at_us(updated_at_us);
  });
}

struct view_world : projection_world {
  projection_host<shop::order_view> view;

  view_world()
      : projection_world{{"orders", "payments", "shipping"}} {
    view = open<shop::order_view>();
  }

  /// An event that occurred `at` microseconds after the epoch.
  template <class Event>
  void occurs(std::size_t where, const std::string& stream, const Event& event, std::int64_t at) {
    commit c;
    c.appends.push_back(
        {sid(stream), expected_version::any(), {{Event::descriptor(), event.SerializeAsString(), 1}}});
    c.occurred_at = timestamp{std::chrono::microseconds{at}};
    must_pass(source(where).journal->commit_and_wait(std::move(c)));
  }
  void check(const std::string& id, const OrderLine& expected) {
    settle(view);
    const auto found = must(view.get<shop::order_view::orders>(id));
    BOOST_TEST_REQUIRE(found.has_value());
    BOOST_TEST(google::protobuf::util::MessageDifferencer::Equals(*found, expected),
               found->ShortDebugString() << " instead of " << expected.ShortDebugString());
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(order_view_test, view_world)

BOOST_AUTO_TEST_CASE(an_order_is_created_paid_and_dispatched) {
  occurs(orders, "order-1", created("c", 500), 10);
  check("1", line("c", 500, OrderLine::PENDING, OrderLine::NOT_STARTED, 10));
  occurs(payments, "payment-1", shop::PaymentTaken{}, 20);
  check("1", line("c", 500, OrderLine::COMPLETED, OrderLine::NOT_STARTED, 20));
  occurs(shipping, "shipment-1", shop::ShippingScheduled{}, 30);
  check("1", line("c", 500, OrderLine::COMPLETED, OrderLine::DISPATCHED, 30));
}

BOOST_AUTO_TEST_CASE(other_events_are_ignored) {
  occurs(orders, "order-1", created("c", 500), 10);
  occurs(orders, "order-1", shop::OrderCancelled{}, 20);
  occurs(payments, "payment-1", shop::PaymentCancelled{}, 20);
  occurs(shipping, "shipment-1", shop::ShippingCancelled{}, 20);
  check("1", line("c", 500, OrderLine::PENDING, OrderLine::NOT_STARTED, 10));
}

BOOST_AUTO_TEST_CASE(an_update_before_the_creation_is_kept_for_it) {
  occurs(payments, "payment-1", shop::PaymentTaken{}, 20);
  occurs(shipping, "shipment-1", shop::ShippingScheduled{}, 30);
  settle(view);
  BOOST_TEST(!must(view.get<shop::order_view::orders>("1")));
  view = open<shop::order_view>(); // and stays kept
  occurs(orders, "order-1", created("c", 500), 10);
  check("1", line("c", 500, OrderLine::COMPLETED, OrderLine::DISPATCHED, 30));
  BOOST_TEST(!must(view.get<shop::order_view::early>("1")));
}

BOOST_AUTO_TEST_CASE(a_repeated_event_changes_nothing) {
  for (int i = 0; i < 2; ++i) {
    occurs(orders, "order-1", created("c", 500), 10);
    occurs(payments, "payment-1", shop::PaymentTaken{}, 20);
    check("1", line("c", 500, OrderLine::COMPLETED, OrderLine::NOT_STARTED, 20));
  }
  source(orders).repeats = 10;
  view = open<shop::order_view>();
  check("1", line("c", 500, OrderLine::COMPLETED, OrderLine::NOT_STARTED, 20));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(the_view_does_not_depend_on_which_service_is_faster) {
  BOOST_TEST(rc::check("the view does not depend on which service is faster", [] {
    view_world world;
    // What each order meets; the parts arrive in any order, with steps and restarts between.
    std::vector<std::pair<int, std::size_t>> parts;
    std::map<int, std::set<std::size_t>> happened;
    for (int id = *rc::gen::inRange(1, 5); id > 0; --id)
      for (auto part : {orders, payments, shipping})
        if (*rc::gen::weightedElement<bool>({{4, true}, {1, false}})) {
          parts.emplace_back(id, part);
          happened[id].insert(part);
        }
    for (auto& part : std::vector{parts})
      if (*rc::gen::inRange(0, 4) == 0)
        parts.push_back(part); // repeated
    for (std::size_t i = parts.size(); i > 1; --i)
      std::swap(parts[i - 1], parts[*rc::gen::inRange<std::size_t>(0, i)]);
    for (auto& [id, part] : parts) {
      const auto at = 100 * id + 10 * static_cast<int>(part);
      const auto text = std::to_string(id);
      if (part == orders)
        world.occurs(orders, "order-" + text, created("c" + text, id), at);
      else if (part == payments)
        world.occurs(payments, "payment-" + text, shop::PaymentTaken{}, at);
      else
        world.occurs(shipping, "shipment-" + text, shop::ShippingScheduled{}, at);
      const auto then = *rc::gen::inRange(0, 8);
      if (then < 4)
        projection_world::settle(world.view);
      if (then == 0)
        world.view = world.open<shop::order_view>();
    }
    projection_world::settle(world.view);
    std::size_t shown = 0;
    for (auto& [id, met] : happened) {
      const auto text = std::to_string(id);
      const auto found = must(world.view.get<shop::order_view::orders>(text));
      RC_ASSERT(found.has_value() == met.contains(orders));
      if (!found)
        continue;
      ++shown;
      RC_ASSERT(google::protobuf::util::MessageDifferencer::Equals(
          *found, line("c" + text, id, met.contains(payments) ? OrderLine::COMPLETED : OrderLine::PENDING,
                       met.contains(shipping) ? OrderLine::DISPATCHED : OrderLine::NOT_STARTED,
                       100 * id + 10 * static_cast<int>(*met.rbegin()))));
      RC_ASSERT(!must(world.view.get<shop::order_view::early>(text)).has_value());
    }
    RC_ASSERT(must(shop::count_orders(world.view)).created == shown);
  }));
}
