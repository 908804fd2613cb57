#include "support/program.hpp"

#include <order_fulfilment/faults.hpp>
#include <order_fulfilment/inventory.hpp>
#include <order_fulfilment/order.hpp>
#include <order_fulfilment/order_file.hpp>
#include <order_fulfilment/payment.hpp>
#include <order_fulfilment/shipping.hpp>

#include <eventcore/actors/given.hpp>
#include <eventcore/actors/given_streams.hpp>

#include <nlohmann/json.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <iterator>
#include <limits>
#include <set>

using namespace eventcore::test;
using namespace shop;
using eventcore::given;
using eventcore::given_streams;
using eventcore::on;

namespace {

Item item(std::string sku, std::int64_t quantity, std::int64_t cents) {
  return make<Item>([&](auto& i) {
    i.set_sku(std::move(sku));
    i.set_quantity(quantity);
    i.set_cents(cents);
  });
}

CreateOrder create(std::vector<Item> items, std::string address = "Seeufer 1") {
  return make<CreateOrder>([&](auto& c) {
    *c.mutable_items() = {items.begin(), items.end()};
    c.set_address(std::move(address));
  });
}

OrderCreated created(const CreateOrder& c, std::int64_t cents) {
  return make<OrderCreated>([&](auto& e) {
    *e.mutable_customer() = c.customer();
    *e.mutable_items() = c.items();
    e.set_address(c.address());
    e.set_cents(cents);
  });
}

Order order_in(Order::Status status, std::int64_t cents) {
  return make<Order>([&](auto& r) {
    r.set_status(status);
    r.set_cents(cents);
  });
}

template <class Command>
Command items_of(const std::string& order, std::vector<Item> items) {
  return make<Command>([&](auto& c) {
    c.set_order_id(order);
    *c.mutable_items() = {items.begin(), items.end()};
  });
}

StockReceived received(std::int64_t quantity) {
  return make<StockReceived>([&](auto& e) { e.set_quantity(quantity); });
}

template <class Event>
Event units(const std::string& order, std::int64_t quantity) {
  return make<Event>([&](auto& e) {
    e.set_order_id(order);
    e.set_quantity(quantity);
  });
}

Reservation reservation_in(Reservation::Status status) {
  return make<Reservation>([&](auto& r) { r.set_status(status); });
}

TakePayment take(std::int64_t cents) {
  return make<TakePayment>([&](auto& c) {
    c.set_customer_id("c-1");
    c.set_cents(cents);
  });
}

PaymentTaken taken(std::int64_t cents) {
  return make<PaymentTaken>([&](auto& e) {
    e.set_customer_id("c-1");
    e.set_cents(cents);
  });
}

PaymentCancelled payment_cancelled(std::int64_t cents) {
  return make<PaymentCancelled>([&](auto& e) { e.set_cents(cents); });
}

Payment payment_in(Payment::Status status, std::int64_t cents) {
  return make<Payment>([&](auto& r) {
    r.set_status(status);
    r.set_cents(cents);
  });
}

ScheduleShipping schedule(std::string address) {
  return make<ScheduleShipping>([&](auto& c) { c.set_address(std::move(address)); });
}

ShippingScheduled scheduled(std::string address) {
  return make<ShippingScheduled>([&](auto& e) { e.set_address(std::move(address)); });
}

Shipment shipment_in(Shipment::Status status) {
  return make<Shipment>([&](auto& r) { r.set_status(status); });
}

constexpr auto most = std::numeric_limits<std::int64_t>::max();

std::vector<std::string> with(const temp_dir& dir, std::vector<std::string> more) {
  std::vector<std::string> args{"--journal", (dir.path() / "journal").string()};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

/// What the program says of a file of orders with these lines.
program_result run_lines(const std::string& lines) {
  const temp_dir dir;
  std::ofstream{dir.path() / "orders.jsonl"} << lines;
  return run_program("order_fulfilment", with(dir, {"--orders", (dir.path() / "orders.jsonl").string()}));
}

/// Of all files in a folder, those of its subfolders included.
std::string bytes_of(const std::filesystem::path& dir) {
  std::string bytes;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{dir})
    if (entry.is_regular_file()) {
      std::ifstream in{entry.path(), std::ios::binary};
      bytes.append(std::istreambuf_iterator<char>{in}, {});
    }
  return bytes;
}

std::string order_line(const std::string& id, const std::string& items) {
  return R"({"order_id":")" + id +
         R"(","customer":{"id":"c-1","name":"Ada","email":"ada@example.com"},"address":"Seeufer 1","items":)" +
         items + "}\n";
}

} // namespace

// -- the services

BOOST_AUTO_TEST_CASE(an_order_is_created_once_and_knows_its_total) {
  const auto c = create({item("mug", 2, 500), item("tea", 1, 0)});
  given<order>().when(c).then(created(c, 1'000)).then_reply(order_in(Order::CREATED, 1'000));
  given<order>(created(c, 1'000)).when(c).then_rejected("exists");
}

BOOST_AUTO_TEST_CASE(an_order_that_makes_no_sense_is_refused) {
  given<order>().when(create({})).then_rejected("no_items");
  given<order>().when(create({item("mug", 1, 1)}, "")).then_rejected("no_address");
  given<order>().when(create({item("mug", 0, 1)})).then_rejected("bad_amount");
  given<order>().when(create({item("mug", -1, 1)})).then_rejected("bad_amount");
  given<order>().when(create({item("mug", 1, -1)})).then_rejected("bad_amount");
  given<order>().when(create({item("mug", 2, most)})).then_rejected("bad_amount");
  given<order>().when(create({item("mug", 1, most), item("tea", 1, 1)})).then_rejected("bad_amount");
  const auto c = create({item("mug", 1, most)});
  given<order>().when(c).then(created(c, most)).then_reply(order_in(Order::CREATED, most));
}

BOOST_AUTO_TEST_CASE(an_order_is_cancelled_once_also_before_it_is_created) {
  const auto c = create({item("mug", 2, 500)});
  given<order>(created(c, 1'000))
      .when(CancelOrder{})
      .then(OrderCancelled{})
      .then_reply(order_in(Order::CANCELLED, 1'000));
  given<order>(created(c, 1'000), OrderCancelled{})
      .when(CancelOrder{})
      .then_no_events()
      .then_reply(order_in(Order::CANCELLED, 1'000));
  given<order>().when(CancelOrder{}).then(OrderCancelled{}).then_reply(order_in(Order::CANCELLED, 0));
  given<order>(OrderCancelled{}).when(c).then_rejected("cancelled");
}

BOOST_AUTO_TEST_CASE(all_items_of_an_order_are_reserved_or_none) {
  const auto reserve =
      items_of<ReserveItems>("o-1", {item("mug", 2, 5), item("tea", 1, 5), item("mug", 1, 5)});
  given_streams<inventory>(on<stock>("mug", received(3)), on<stock>("tea", received(5)))
      .when(reserve)
      .then(on<reservation>("o-1", ItemsReserved{}), on<stock>("mug", units<UnitsReserved>("o-1", 3)),
            on<stock>("tea", units<UnitsReserved>("o-1", 1)))
      .then_reply(reservation_in(Reservation::RESERVED));
  given_streams<inventory>(on<stock>("mug", received(2)), on<stock>("tea", received(5)))
      .when(reserve)
      .then_rejected("sold_out");
  given_streams<inventory>(on<stock>("mug", received(3))).when(reserve).then_rejected("unknown_item");
  given_streams<inventory>(on<stock>("mug", received(9)), on<stock>("tea", received(9)),
                           on<reservation>("o-1", ItemsReserved{}))
      .when(reserve)
      .then_rejected("reserved");
}

BOOST_AUTO_TEST_CASE(a_reservation_with_amounts_that_make_no_sense_is_refused) {
  const std::vector<std::vector<Item>> cases{
      {}, {item("mug", -1, 0)}, {item("mug", most, 0), item("mug", most, 0)}};
  for (auto& items : cases)
    given_streams<inventory>(on<stock>("mug", received(3)))
        .when(items_of<ReserveItems>("o-1", items))
        .then_rejected(items.size() == 2 ? "sold_out" : "bad_amount");
}

BOOST_AUTO_TEST_CASE(items_are_released_once_also_before_they_are_reserved) {
  const auto release = items_of<ReleaseItems>("o-1", {item("mug", 2, 5)});
  given_streams<inventory>(on<stock>("mug", received(3), units<UnitsReserved>("o-1", 2)),
                           on<reservation>("o-1", ItemsReserved{}))
      .when(release)
      .then(on<reservation>("o-1", ItemsReleased{}), on<stock>("mug", units<UnitsReleased>("o-1", 2)))
      .then_reply(reservation_in(Reservation::RELEASED));
  given_streams<inventory>(on<reservation>("o-1", ItemsReserved{}, ItemsReleased{}))
      .when(release)
      .then_no_events()
      .then_reply(reservation_in(Reservation::RELEASED));
  given_streams<inventory>(on<stock>("mug", received(3)))
      .when(release)
      .then(on<reservation>("o-1", ItemsReleased{}))
      .then_reply(reservation_in(Reservation::RELEASED));
  given_streams<inventory>(on<stock>("mug", received(3)), on<reservation>("o-1", ItemsReleased{}))
      .when(items_of<ReserveItems>("o-1", {item("mug", 2, 5)}))
      .then_rejected("released");
}

BOOST_AUTO_TEST_CASE(an_item_is_stocked_once) {
  const auto receive = make<ReceiveStock>([](auto& c) {
    for (auto sku : {"mug", "tea"}) {
      auto& u = *c.add_units();
      u.set_sku(sku);
      u.set_quantity(7);
    }
  });
  given_streams<inventory>(on<stock>("mug", received(7), units<UnitsReserved>("o-1", 7)))
      .when(receive)
      .then(on<stock>("tea", received(7)));
}

BOOST_AUTO_TEST_CASE(a_payment_is_taken_once_and_cancelled_once) {
  given<payment>().when(take(500)).then(taken(500)).then_reply(payment_in(Payment::TAKEN, 500));
  given<payment>().when(take(-1)).then_rejected("bad_amount");
  given<payment>(taken(500)).when(take(500)).then_rejected("taken");
  given<payment>(taken(500))
      .when(CancelPayment{})
      .then(payment_cancelled(500))
      .then_reply(payment_in(Payment::CANCELLED, 500));
  given<payment>(taken(500), payment_cancelled(500)).when(CancelPayment{}).then_no_events();
  given<payment>(taken(500), payment_cancelled(500)).when(take(500)).then_rejected("cancelled");
  given<payment>()
      .when(CancelPayment{})
      .then(payment_cancelled(0))
      .then_reply(payment_in(Payment::CANCELLED, 0));
  given<payment>(payment_cancelled(0)).when(take(500)).then_rejected("cancelled");
}

BOOST_AUTO_TEST_CASE(a_shipment_is_scheduled_once_and_cancelled_once) {
  given<shipping>()
      .when(schedule("Seeufer 1"))
      .then(scheduled("Seeufer 1"))
      .then_reply(shipment_in(Shipment::SCHEDULED));
  given<shipping>().when(schedule("")).then_rejected("no_address");
  given<shipping>(scheduled("Seeufer 1")).when(schedule("Seeufer 1")).then_rejected("scheduled");
  given<shipping>(scheduled("Seeufer 1")).when(CancelShipping{}).then(ShippingCancelled{});
  given<shipping>(scheduled("Seeufer 1"), ShippingCancelled{}).when(CancelShipping{}).then_no_events();
  given<shipping>().when(CancelShipping{}).then(ShippingCancelled{});
  given<shipping>(ShippingCancelled{}).when(schedule("Seeufer 1")).then_rejected("cancelled");
}

// -- faults

BOOST_AUTO_TEST_CASE(shares_of_faults_are_read_or_named) {
  fault_rates rates;
  BOOST_TEST(parse_rates("payment=0.2,shipping=1", rates) == "");
  BOOST_TEST(rates["payment"] == 0.2);
  BOOST_TEST(rates["shipping"] == 1.0);
  BOOST_TEST(!rates.contains("order"));
  BOOST_TEST(parse_rates("0.5", rates) == "");
  BOOST_TEST(rates.size() == 4u);
  for (auto wrong :
       {"payment", "payment=", "payment=2", "payment=-1", "payment=nan", "payment=0.1x", "bank=0.1"})
    BOOST_TEST(parse_rates(wrong, rates) != "", wrong);
}

BOOST_AUTO_TEST_CASE(the_share_of_orders_that_fail_is_about_as_asked) {
  faults some;
  some.fail["payment"] = 0.2;
  int failing = 0;
  for (int i = 0; i < 10'000; ++i)
    failing += some.of("payment", "o-" + std::to_string(i)) == fault::fail;
  BOOST_TEST(failing > 1'800);
  BOOST_TEST(failing < 2'200);
  BOOST_TEST((some.of("order", "o-1") == fault::none));
}

// -- the program

BOOST_AUTO_TEST_CASE(orders_are_fulfilled) {
  const temp_dir dir;
  auto run = run_program("order_fulfilment", with(dir, {"--first", "40"}));
  BOOST_TEST(run.exit_code == 0, run.out << run.err);
  BOOST_TEST(run.printed("ok: 40 orders, 40 completed, 0 compensated"), run.out);
}

BOOST_AUTO_TEST_CASE(orders_that_fail_are_compensated) {
  const temp_dir dir;
  auto run = run_program("order_fulfilment", with(dir, {"--first", "40", "--fail", "0.2"}));
  BOOST_TEST(run.exit_code == 0, run.out << run.err);
  BOOST_TEST(run.printed("ok: 40 orders"), run.out);
  for (auto step : {"create_order", "reserve_payment", "reserve_inventory", "schedule_shipping"})
    BOOST_TEST(run.printed(std::string{"because of "} + step), run.out);
  BOOST_TEST(!run.printed(" 0 completed"), run.out);
}

BOOST_AUTO_TEST_CASE(orders_of_services_that_are_slow_or_lie_are_completed_or_compensated) {
  const temp_dir dir;
  auto run =
      run_program("order_fulfilment",
                  with(dir, {"--first", "12", "--slow", "shipping=0.2", "--lie", "0.2", "--at-once", "12"}));
  BOOST_TEST(run.exit_code == 0, run.out << run.err);
  BOOST_TEST(run.printed("ok: 12 orders"), run.out);
}

BOOST_AUTO_TEST_CASE(a_run_that_was_killed_goes_on_and_ends_as_if_it_had_not_been) {
  const temp_dir dir, whole_dir;
  const std::vector<std::string> what{"--first", "40", "--fail", "0.2"};
  auto more = [&](std::vector<std::string> args) {
    args.insert(args.begin(), what.begin(), what.end());
    return args;
  };
  const auto whole = run_program("order_fulfilment", with(whole_dir, what));
  BOOST_TEST(whole.exit_code == 0, whole.out << whole.err);
  const auto killed = run_program("order_fulfilment", with(dir, more({"--kill-at", "150"})));
  BOOST_TEST(killed.exit_code == 128 + 9, killed.out << killed.err);
  const auto again = run_program("order_fulfilment", with(dir, more({"--resume", "--kill-at", "300"})));
  BOOST_TEST(again.exit_code == 128 + 9, again.out << again.err);
  const auto resumed = run_program("order_fulfilment", with(dir, more({"--resume"})));
  BOOST_TEST(resumed.exit_code == 0, resumed.out << resumed.err);
  BOOST_TEST(resumed.printed("going on with 40 orders"), resumed.out);
  BOOST_TEST(resumed.out.substr(resumed.out.find("audit")) == whole.out.substr(whole.out.find("audit")));
}

/// spec 30: all orders of the sample: what tells who placed one is in the shop's files, and in none of the analytics service's.
BOOST_AUTO_TEST_CASE(the_analytics_service_learns_no_personal_data) {
  std::set<std::string> personal;
  std::ifstream orders{EVENTCORE_SOURCE_DIR "/examples/order_fulfilment/orders.jsonl"};
  std::size_t count = 0;
  for (std::string line; std::getline(orders, line); ++count) {
    const auto placed = nlohmann::json::parse(line);
    const std::string address = placed["address"], email = placed["customer"]["email"];
    personal.insert({email, address, placed["customer"]["name"]});
    personal.insert(email.substr(0, email.find('@')));
    personal.insert(address.substr(0, address.find(',')));
  }
  BOOST_TEST_REQUIRE(count == 250u);

  const temp_dir dir;
  const auto journal = dir.path() / "shop";
  const auto run = run_program("order_fulfilment", {"--journal", journal.string(), "--fail", "payment=0.2"});
  BOOST_TEST(run.exit_code == 0, run.out << run.err);
  BOOST_TEST(run.printed("ok: 250 orders"), run.out);
  const auto at_the_shop = bytes_of(journal / "shop");
  const auto at_analytics = bytes_of(journal / "analytics");
  BOOST_TEST(at_analytics.find("coffee-yirgacheffe") != std::string::npos);
  for (const auto& text : personal) {
    BOOST_TEST(at_the_shop.find(text) != std::string::npos, text << " is not found where it must be");
    BOOST_TEST(at_analytics.find(text) == std::string::npos, text << " is known to the analytics service");
  }
  BOOST_TEST(at_analytics.find("@example.com") == std::string::npos);

  const auto known =
      run_program("eventcore", {"show", "order-o-4001", "--journal", (journal / "analytics").string()}).out;
  for (const auto* part :
       {"\"id\":\"c-1044\"", "\"name\":\"***\"", "\"email\":\"***@***.***\"", "\"address\":\"***\"",
        "coffee-yirgacheffe", "shop.OrderCreated", "\"federation.source\":\"shop\""})
    BOOST_TEST(known.find(part) != std::string::npos, part << " is missing in " << known);
}

BOOST_AUTO_TEST_CASE(a_journal_is_neither_overwritten_nor_missed) {
  const temp_dir dir;
  auto missing = run_program("order_fulfilment", with(dir, {"--resume"}));
  BOOST_TEST(missing.exit_code == 1);
  BOOST_TEST(missing.complained("there is no journal to go on with"), missing.err);
  BOOST_TEST(run_program("order_fulfilment", with(dir, {"--first", "2"})).exit_code == 0);
  auto there = run_program("order_fulfilment", with(dir, {"--first", "2"}));
  BOOST_TEST(there.exit_code == 1);
  BOOST_TEST(there.complained("--resume"), there.err);
}

BOOST_AUTO_TEST_CASE(bad_orders_are_named_by_their_lines_before_anything_happens) {
  const auto good = order_line("o-1", R"([{"sku":"mug-blue","quantity":1,"cents":5}])");
  const std::vector<std::pair<std::string, std::string>> cases{
      {order_line("o-2", "[]"), "the order has no items"},
      {order_line("o-2", R"([{"sku":"mug-blue","quantity":1,"cents":-5}])"), "\"cents\""},
      {order_line("o-2", R"([{"sku":"mug-blue","quantity":0,"cents":5}])"), "\"quantity\""},
      {order_line("o-2", R"([{"sku":"mug-blue","quantity":1.5,"cents":5}])"), "\"quantity\""},
      {order_line("o-2", R"([{"sku":"mug-blue","quantity":9223372036854775807,"cents":2}])"), "too large"},
      {order_line("o-2", R"([{"sku":"mug-blue","quantity":1,"cents":18446744073709551615}])"), "\"cents\""},
      {order_line("o-2", R"([{"sku":"unicorn","quantity":1,"cents":5}])"), "unicorn"},
      {order_line("../o", R"([{"sku":"mug-blue","quantity":1,"cents":5}])"), "\"order_id\""},
      {good, "is there already"},
      {"{\"order_id\":\n", "no JSON"},
      {"[]\n", "no JSON object"}};
  for (auto& [line, complaint] : cases) {
    auto run = run_lines(good + "\n" + line);
    BOOST_TEST(run.exit_code == 1, line);
    BOOST_TEST(run.complained(complaint), run.err);
    BOOST_TEST(run.complained("orders.jsonl:3: "), run.err);
  }
  BOOST_TEST(run_lines("").complained("there are no orders"));
}

BOOST_AUTO_TEST_CASE(wrong_arguments_are_named) {
  BOOST_TEST(run_program("order_fulfilment", {"--fail", "bank=0.1"}).exit_code == 2);
  BOOST_TEST(run_program("order_fulfilment", {"--first", "0"}).exit_code == 2);
  BOOST_TEST(run_program("order_fulfilment", {"--help"}).exit_code == 0);
}
