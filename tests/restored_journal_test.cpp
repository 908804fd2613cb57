/// A journal takes the place of the one that subscription, projection and federation target know, as after a backup was restored:
/// each refuses it, however long it becomes, and goes on when an operator says from where.

#include "support/journal_helpers.hpp"
#include "support/restored_backup.hpp"
#include "support/sums.hpp"
#include "support/temp_dir.hpp"

#include <eventcore/actors/subscription_errc.hpp>
#include <eventcore/persistence/memory_journal.hpp>
#include <eventcore/runtime/federation_hub.hpp>
#include <eventcore/runtime/journal_target.hpp>
#include <eventcore/runtime/node.hpp>

#include <spdlog/spdlog.h>

#include <boost/test/unit_test.hpp>

#include <mutex>
#include <thread>

using namespace eventcore;
using namespace eventcore::test;

namespace {

struct noting : subscriber<noting> {
  using events = eventcore::events<Happened>;

  explicit noting(std::vector<std::int64_t>& list)
      : seen{list} {}
  void handle(const Happened& e) { seen.push_back(e.number()); }

  std::vector<std::int64_t>& seen; ///< read when the subscription has reached a position
};

struct totals : projection<totals> {
  static constexpr std::string_view name = "totals";
  struct all : view<bool, Sum> {
    static constexpr std::string_view name = "all";
  };
  using views = eventcore::views<all>;
  using events = eventcore::events<Happened>;

  static void apply(views& v, const Happened& e) {
    v.update<all>(true, [&](auto& sum) { add(sum, e.number(), 0); });
  }
};

struct shop {
  temp_dir dir;
  std::vector<std::int64_t> seen;
  std::unique_ptr<journal> target = open_memory_journal();
  std::optional<node> n;

  shop() {
    spdlog::set_level(spdlog::level::off);
    open();
  }
  std::filesystem::path data() const { return dir.path() / "journal" / "data.mdb"; }
  std::filesystem::path backup() const { return dir.path() / "backup"; }

  void open() {
    node_options options;
    options.name = "shop";
    options.journal_dir = dir.path() / "journal";
    n.emplace(must(node::open(options)));
  }
  void append(std::int64_t first, std::size_t count) {
    must(n->journal().commit_and_wait(
        test::append("order-1", expected_version::any(), happened_many(count, first))));
  }
  result<subscription> subscribe() {
    return n->subscribe<noting>({.name = "sub"}, [this] { return std::make_unique<noting>(seen); });
  }
  result<federation_hub> federate() {
    publication orders;
    orders.map<Happened>("orders");
    orders.categories["order"];
    return federation_hub::start(*n, must(n->publish(orders)),
                                 must(federation_rules::create({{"", "shop", "*", {"target"}, ""}})),
                                 {{"target", make_journal_target(*target)}});
  }
  federation_stats when_away(const federation_hub& hub) {
    for (;;)
      if (auto stats = must(hub.stats("target", patience)); !stats.available)
        return stats;
  }
};

template <class T>
void must_refuse(const result<T>& r) {
  BOOST_TEST_REQUIRE(!r.has_value());
  BOOST_TEST((r.error().code() == subscription_errc::other_history), r.error().message());
  check_contains(r.error().message(), "a backup was restored");
}

} // namespace

BOOST_FIXTURE_TEST_CASE(a_restored_journal_is_refused_until_an_operator_says_how_to_go_on, shop) {
  // Two parts of a history, the second of which the backup does not have.
  for (std::int64_t part = 0; part != 2; ++part) {
    const auto s = must(subscribe());
    const auto view = must(n->project<totals>());
    const auto hub = must(federate());
    append(1 + 100 * part, 100);
    const auto head = must(n->journal().head());
    must_pass(s.reached(head, patience));
    must_pass(view.wait_until(head, patience));
    must_pass(hub.reached("target", head, patience));
    n.reset();
    if (part == 0)
      std::filesystem::copy_file(data(), backup());
    open();
  }
  n.reset();
  std::filesystem::copy_file(backup(), data(), std::filesystem::copy_options::overwrite_existing);
  stamp_anew(dir.path() / "journal");

  // However many events it gets: they are others.
  for (std::int64_t first : {1'001, 1'002}) {
    open();
    append(first, first == 1'001 ? 1 : 300);
    must_refuse(subscribe());
    must_refuse(federate());

    const auto view = must(n->project<totals>());
    const auto reached = [&] { return view.wait_until(must(n->journal().head()), std::chrono::seconds{0}); };
    BOOST_TEST(!reached());
    while (!view.stats().live.sources.at(0).failure)
      BOOST_TEST(!reached());
    check_contains(reached().error().message(), "Rebuild");
    BOOST_TEST(must(view.get<totals::all>(true))->events() == 200);
    n.reset();
  }

  open();
  must_pass(set_subscription_cursor(n->journal(), "sub", 100));
  must_pass(set_subscription_cursor(n->journal(), "federation/target", 100));
  const auto s = must(subscribe());
  const auto view = must(n->project<totals>());
  view.rebuild();
  const auto hub = must(federate());
  check_contains(when_away(hub).last_error, "accept_history");
  BOOST_TEST(read_log(*target).size() == 200u);
  must_pass(accept_history(*target, {"shop", n->journal().info().incarnation}, 100));
  append(2'001, 10);
  const auto head = must(n->journal().head());
  must_pass(s.reached(head, patience));
  must_pass(view.wait_rebuilt(patience));
  must_pass(view.wait_until(head, patience));
  must_pass(hub.reached("target", head, patience));

  std::vector<std::int64_t> here = numbers(read_log(n->journal(), 1, {{"order"}, {}}));
  BOOST_TEST(here.size() == 411u);
  BOOST_TEST(must(view.get<totals::all>(true))->events() == 411);
  // All that was seen before stays: the first 200, and then what followed the backup.
  std::vector<std::int64_t> wanted;
  for (std::int64_t i = 1; i <= 200; ++i)
    wanted.push_back(i);
  wanted.insert(wanted.end(), here.begin() + 100, here.end());
  BOOST_TEST((seen == wanted));
  BOOST_TEST((numbers(read_log(*target)) == wanted));
}
